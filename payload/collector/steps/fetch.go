//go:build linux

package steps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	fetchTries = 4 // the first, and after 2, 4 and 8 s
	fetchPause = 2 * time.Second
)

// fetch has a program of the host download url, and returns the file's path,
// which the caller removes. At most size bytes are taken. What had come before
// a line broke is kept for the next try, also of the whole step. With a hash
// (hex SHA-256) only these bytes are returned.
func (e *Env) fetch(ctx context.Context, url, hash string, size int64) (string, error) {
	file := filepath.Join(e.RunDir, "fetch-"+hexSum([]byte(url))[:16])
	for n := 1; ; n++ {
		had := fileSize(file)
		err := e.fetchOnce(ctx, url, file, size)
		if err == nil {
			if err = checkSum(file, hash); err == nil {
				return file, nil
			}
			os.Remove(file)
			if had > 0 && n < fetchTries { // it was the old part that did not fit
				continue
			}
			return "", fmt.Errorf("%s: %w", url, err)
		}
		var f *failure
		if !errors.As(err, &f) || !f.retryable {
			os.Remove(file)
			return "", fmt.Errorf("fetch %s: %w", url, err)
		}
		if n == fetchTries || ctx.Err() != nil {
			return "", fmt.Errorf("fetch %s: %w", url, err)
		}
		pause := fetchPause << (n - 1)
		e.Note("info", fmt.Sprintf("fetching %s: %v; %d bytes are there, again in %s", url, err, fileSize(file), pause))
		if e.sleep(ctx, pause) != nil {
			return "", fmt.Errorf("fetch %s: %w", url, err)
		}
	}
}

// fetchOnce goes on with file. The program cannot write more than size bytes:
// a server that never ends does not fill the disk.
func (e *Env) fetchOnce(ctx context.Context, url, file string, size int64) error {
	argv, err := e.fetcher(url, file)
	if err != nil {
		return err
	}
	const limited = `ulimit -f "$1" && shift && exec "$@"`
	blocks := strconv.FormatInt(size/512+1, 10)
	args := append([]string{"-c", limited, "sh", blocks}, argv...)
	_, err = e.call(ctx, call{name: "sh", args: args, stream: true})
	var f *failure
	if !errors.As(err, &f) || f.rc == nil {
		return err
	}
	f.text = strings.Replace(f.text, "sh "+limited, filepath.Base(argv[0]), 1)
	switch {
	case fileSize(file) >= size:
		os.Remove(file)
		return failf("", "it has more than %d MiB", size>>20)
	case strings.Contains(f.stderr, "404") || strings.Contains(f.stderr, "403") || strings.Contains(f.stderr, "410  Gone"):
		f.text = strings.TrimPrefix(f.text, staleLists+": ")
		f.retryable, f.hint = false, "is the URL right?"
	case strings.Contains(f.stderr, "416"): // what is there is not a part of what the server has now
		os.Remove(file)
		f.retryable = true
	case strings.Contains(f.stderr, "certificate"):
		f.hint = "on the host: apt-get install ca-certificates; is its clock right? timedatectl"
	}
	return f
}

// fetcher is the command that downloads url. Debian always has apt-helper,
// which goes through apt's own proxy.
func (e *Env) fetcher(url, file string) ([]string, error) {
	limit := "30"
	if e.FetchTime > 0 {
		limit = strconv.Itoa(int(e.FetchTime / time.Second))
	}
	if helper := e.aptHelper(); helper != "" {
		return []string{helper, "-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=" + limit, "-o", "Acquire::https::Timeout=" + limit,
			"-o", "APT::Sandbox::User=root", "download-file", url, file}, nil
	}
	if p := e.look("curl"); p != "" {
		return []string{p, "-fsSL", "--connect-timeout", "30", "--speed-limit", "1", "--speed-time", limit, "-C", "-", "-o", file, "--", url}, nil
	}
	if p := e.look("wget"); p != "" {
		return []string{p, "-nv", "-c", "--tries=1", "--timeout=" + limit, "-O", file, "--", url}, nil
	}
	return nil, failf("install curl", "nothing on this host can fetch a file: there is no apt-helper, curl or wget")
}

func (e *Env) aptHelper() string {
	if p := e.look("apt-helper"); p != "" {
		return p
	}
	if p := e.at("/usr/lib/apt/apt-helper"); exists(p) {
		return p
	}
	return ""
}

func fileSize(file string) int64 {
	st, err := os.Lstat(file)
	if err != nil {
		return 0
	}
	return st.Size()
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func checkSum(file, want string) error {
	if want == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return sumIs(f, want)
}

func sumIs(f *os.File, want string) error {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	return sameSum(hex.EncodeToString(h.Sum(nil)), want)
}

func sameSum(got, want string) error {
	if got == want {
		return nil
	}
	return &failure{text: fmt.Sprintf("nothing was changed: its SHA-256 is %s, not %s", got, want),
		hint: "if its maker has replaced it on purpose, give the new sha256"}
}
