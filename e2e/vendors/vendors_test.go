//go:build linux

package vendors

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

func start(t *testing.T) *Vendors {
	t.Helper()
	for _, tool := range []string{"go", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	v, err := Start(t.Context(), Options{Address: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(v.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", v.dir)
		}
	})
	return v
}

func get(t *testing.T, c *http.Client, url string) (int, []byte, error) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// valid tells whether a repository's index is signed by the key that is served beside it.
func valid(t *testing.T, v *Vendors, c *http.Client) bool {
	t.Helper()
	vars := v.Vars()
	_, key, err := get(t, c, vars["vscode_key"])
	if err != nil {
		t.Fatal(err)
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(key))
	if err != nil {
		t.Fatal(err)
	}
	_, signed, err := get(t, c, vars["vscode_repository"]+"/dists/stable/InRelease")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := clearsign.Decode(signed)
	if block == nil {
		t.Fatalf("not signed: %s", signed)
	}
	_, err = block.VerifySignature(ring, nil)
	return err == nil
}

func TestRepositoryAndItsFaults(t *testing.T) {
	v := start(t)
	c := v.Client()
	if !valid(t, v, c) {
		t.Error("the index is not signed by the key")
	}
	for _, tamper := range []Tamper{Signature, Key} {
		v.Break(VSCode, Fault{Tampered: tamper})
		if valid(t, v, c) {
			t.Errorf("tampered with the %s: the signature holds", tamper)
		}
	}
	v.Break(VSCode, Fault{Unavailable: 2})
	for i, want := range []int{503, 503, 200} {
		if code, _, err := get(t, c, v.Vars()["vscode_key"]); code != want {
			t.Errorf("request %d: %d, %v, want %d", i+1, code, err, want)
		}
	}
	if got := v.Requests(VSCode); len(got) != 3 || got[0] != "503 /keys/microsoft.asc" || got[2] != "200 /keys/microsoft.asc" {
		t.Errorf("requests %q", got)
	}
	v.Break(VSCode, Fault{Dead: true})
	if _, _, err := get(t, c, v.Vars()["vscode_key"]); err == nil {
		t.Error("a dead vendor answers")
	}
	if code, _, err := get(t, c, v.Vars()["cursor_key"]); code != 200 {
		t.Errorf("another vendor: %d, %v", code, err)
	}
}

func TestArchiveAndItsFaults(t *testing.T) {
	v := start(t)
	c := v.Client()
	vars := v.Vars()
	url, want := vars["antigravity_url_amd64"], vars["antigravity_sha256_amd64"]
	_, body, err := get(t, c, url)
	if sum := sha256.Sum256(body); err != nil || hex.EncodeToString(sum[:]) != want {
		t.Fatalf("%v, %x, want %s", err, sum, want)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF && n > 5 {
			break
		}
		if err != nil || !strings.HasPrefix(h.Name, "Antigravity IDE/") {
			t.Fatalf("%v, %v", h, err)
		}
	}
	v.Break(Antigravity, Fault{Tampered: Content})
	_, other, err := get(t, c, url)
	if err != nil || len(other) != len(body) || bytes.Equal(other, body) {
		t.Errorf("tampered with: %d bytes of %d, %v", len(other), len(body), err)
	}
	v.Break(Antigravity, Fault{Cut: 1})
	_, half, err := get(t, c, url)
	if err == nil || len(half) == 0 || len(half) > len(body)/2 {
		t.Errorf("cut: %d bytes of %d, %v", len(half), len(body), err)
	}
	q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	q.Header.Set("Range", fmt.Sprintf("bytes=%d-", len(half)))
	resp, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 206 || !bytes.Equal(append(half, rest...), body) {
		t.Errorf("the rest: %d, %d bytes, %v", resp.StatusCode, len(rest), err)
	}
	v.Break(Antigravity, Fault{BytesPerSec: 4 * len(body)})
	began := time.Now()
	if _, _, err := get(t, c, url); err != nil || time.Since(began) < 200*time.Millisecond {
		t.Errorf("slow: %v, %v", time.Since(began), err)
	}
	if err := v.Publish(t.Context(), Release{IDE: Antigravity, Version: "2.6.0-1"}); err != nil {
		t.Fatal(err)
	}
	_, answer, err := get(t, c, v.Vars()["antigravity_latest"]+"/linux-x64/stable/latest")
	if err != nil || !strings.Contains(string(answer), `"productVersion":"2.6.0"`) || !strings.Contains(string(answer), v.Vars()["antigravity_sha256_amd64"]) {
		t.Errorf("the update service: %s, %v", answer, err)
	}
}

// TestPackages: dpkg reads them, and their scripts are what they say.
func TestPackages(t *testing.T) {
	v := start(t)
	debs, _ := filepath.Glob(filepath.Join(v.dir, "*", "*", "*", "*", "*", "*.deb"))
	more, _ := filepath.Glob(filepath.Join(v.dir, "*", "*", "*", "*", "*", "*", "*.deb"))
	debs = append(debs, more...)
	if len(debs) != 2 {
		t.Fatalf("packages %q", debs)
	}
	for _, deb := range debs {
		list, err := exec.CommandContext(t.Context(), "dpkg-deb", "--contents", deb).CombinedOutput()
		if err != nil || !strings.Contains(string(list), "-rwsr-xr-x root/root") {
			t.Errorf("%v\n%s", err, list)
		}
		dir := t.TempDir()
		if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--control", deb, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range []string{"config", "postinst", "prerm", "postrm"} {
			script := filepath.Join(dir, name)
			if _, err := os.Stat(script); err != nil {
				continue
			}
			if out, err := exec.CommandContext(t.Context(), "sh", "-n", script).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", script, err, out)
			}
		}
	}
}
