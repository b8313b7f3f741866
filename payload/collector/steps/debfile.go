//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// DebFile is a package as the signed lists describe it.
type DebFile struct {
	URL    string
	Name   string // in apt's folder of archives
	Size   int64
	SHA256 string
}

const (
	archives = "/var/cache/apt/archives"
	// comingPrefix marks what is downloaded but not judged yet. It lies in apt's
	// own folder for such files, which `apt-get clean` empties.
	comingPrefix = archives + "/partial/vpsctl-"
)

// Wanted asks apt which packages a step would install, as things are now;
// nothing when all are there. It takes no lock.
func Wanted(ctx context.Context, env *Env, want *wire.Packages) ([]DebFile, error) {
	p := &packages{env: env, want: want}
	if diff, err := p.differs(ctx); err != nil || diff == "" {
		return nil, err
	}
	// With no folder of archives all are named, also those that lie there.
	out, err := env.apt(ctx, call{}, "install", p.installArgs("-qq", "--print-uris", "-o", "Debug::NoLocking=1",
		"-o", "Dir::Cache::archives=/nonexistent/", "-o", "Acquire::ForceHash=SHA256")...)
	if err != nil {
		return nil, err
	}
	return parseURIs(out), nil
}

// parseURIs reads lines such as 'http://…' name_1_all.deb 1234 SHA256:…, and
// leaves out what is not such a line.
func parseURIs(data []byte) (list []DebFile) {
	for line := range strings.Lines(string(data)) {
		url, rest, ok := strings.Cut(strings.TrimPrefix(line, "'"), "' ")
		f := strings.Fields(rest)
		if !ok || len(f) != 3 {
			continue
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		sum, is256 := strings.CutPrefix(f[2], "SHA256:")
		if err != nil || size <= 0 || !is256 || len(sum) != 64 || !only(sum, "0123456789abcdef") || !isArchive(f[0]) || strings.ContainsAny(url, "' \t") {
			continue
		}
		list = append(list, DebFile{URL: url, Name: f[0], Size: size, SHA256: sum})
	}
	return list
}

// isArchive tells what can be a package's file in a folder.
func isArchive(name string) bool {
	return strings.HasSuffix(name, ".deb") && strings.Trim(name[:1], ".-") != "" && !strings.ContainsAny(name, "/\x00")
}

// There tells whether a package lies where apt looks for it, byte for byte.
// apt itself compares only the size of what lies there: a file with other bytes
// is removed, and told.
func (d DebFile) There(env *Env) bool {
	path := env.at(filepath.Join(archives, d.Name))
	if !exists(path) {
		return false
	}
	err := d.judge(path)
	if err == nil {
		return true
	}
	os.Remove(path)
	env.Note("warn", fmt.Sprintf("%s was removed: it is not the package that the signed lists name: %v", path, err))
	return false
}

// judge reads a package's file and makes it root's.
func (d DebFile) judge(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || st.Size != d.Size {
		return fmt.Errorf("it is no file of %d bytes", d.Size)
	}
	if err := errors.Join(f.Chown(os.Geteuid(), os.Getegid()), f.Chmod(0o644)); err != nil {
		return err
	}
	if err := sumIs(f, d.SHA256); err != nil {
		return errors.New("its bytes are others")
	}
	return nil
}

// Load downloads packages with one process and puts each whose bytes are right
// where apt looks for it. The error says why some did not come; what did counts.
func Load(ctx context.Context, env *Env, list []DebFile, timeout time.Duration) (came []DebFile, err error) {
	helper := env.aptHelper()
	if helper == "" {
		return nil, failf("", "apt-helper: not found on this host")
	}
	args := []string{"-n5", helper, "-q", "-o", "Acquire::Retries=1"} // dpkg first
	if s := strconv.Itoa(int(timeout / time.Second)); timeout > 0 {
		args = append(args, "-o", "Acquire::http::Timeout="+s, "-o", "Acquire::https::Timeout="+s)
	}
	args = append(args, "download-file")
	for _, d := range list {
		args = append(args, d.URL, env.coming(d), "SHA256:"+d.SHA256)
	}
	_, err = env.call(ctx, call{name: "nice", args: args})
	for _, d := range list {
		path := env.coming(d)
		if !exists(path) {
			continue
		}
		bad := d.judge(path)
		if bad == nil {
			bad = os.Rename(path, env.at(filepath.Join(archives, d.Name)))
		}
		if bad == nil {
			came = append(came, d)
		} else if os.Remove(path); err == nil {
			err = fmt.Errorf("%s: %w", d.URL, bad)
		}
	}
	return came, err
}

// RoomFor tells whether so many bytes of packages leave 3 GiB and a tenth of
// the disk free.
func RoomFor(env *Env, bytes int64) bool {
	var st unix.Statfs_t
	if unix.Statfs(env.at(archives), &st) != nil {
		return false
	}
	free, all := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	return free-bytes >= max(3<<30, all/10)
}

// coming is where a package lies until it has been judged.
func (e *Env) coming(d DebFile) string {
	return e.at(comingPrefix + filepath.Base(e.RunDir) + "-" + d.Name)
}

// Sweep removes what downloads that were killed have left: those of one run, or
// with "" of all.
func Sweep(run string) {
	left, _ := filepath.Glob(comingPrefix + run + "*")
	for _, path := range left {
		os.Remove(path)
	}
}

// ListsFresh tells whether the package lists are new enough to go by.
func ListsFresh(env *Env) bool {
	why, err := (&lists{env: env}).old(time.Now())
	return why == "" && err == nil
}
