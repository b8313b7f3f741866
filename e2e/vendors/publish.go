//go:build linux

package vendors

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Publish makes a release, as the newest of its IDE.
func (v *Vendors) Publish(ctx context.Context, r Release) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	if r.IDE == Antigravity {
		r.sha256, err = v.publishArchive(r)
	} else {
		err = v.publishPackage(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("vendors: publish %s %s: %w", r.IDE, r.Version, err)
	}
	v.releases[r.IDE] = append(v.releases[r.IDE], r)
	return nil
}

// buildWindow builds the program that opens a window.
func buildWindow(ctx context.Context, out, arch string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "github.com/vpsctl/vpsctl/e2e/vendors/window")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build the window: %w: %s", err, text)
	}
	return nil
}

// writeKeys publishes the keys, and beside each another one for Tamper Key.
func (v *Vendors) writeKeys() error {
	for ide, p := range products {
		if p.keyPath == "" {
			continue
		}
		right, err := armored(v.key.own)
		if err != nil {
			return err
		}
		wrong, err := armored(v.key.other)
		if err != nil {
			return err
		}
		if err := write(v.behind(ide, p.keyPath), right, 0o644); err != nil {
			return err
		}
		if err := write(v.behind(ide, p.keyPath+".wrong"), wrong, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// behind is the file behind a path of a vendor's server.
func (v *Vendors) behind(ide IDE, p string) string {
	return filepath.Join(v.shops[ide].root, filepath.FromSlash(p))
}

func write(name string, body []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, body, 0o600); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}

func (v *Vendors) facts(r Release) (facts, error) {
	ring, err := keyring(v.key.own)
	f := facts{product: products[r.IDE], Version: r.Version, Arch: v.opt.Arch, Depends: "debconf (>= 0.5) | debconf-2.0",
		Keyring: base64.StdEncoding.EncodeToString(ring)}
	f.Repo = v.shops[r.IDE].base + f.repository
	if r.IDE == VSCode && v.opt.Heavy {
		f.Depends += ", chromium"
	}
	return f, err
}

// publishPackage builds the package and makes the repository's index anew.
func (v *Vendors) publishPackage(ctx context.Context, r Release) error {
	f, err := v.facts(r)
	if err != nil {
		return err
	}
	root := filepath.Join(v.dir, "build")
	defer os.RemoveAll(root)
	if err := v.layOut(root, r, f); err != nil {
		return err
	}
	name := path.Join(f.repository, "pool", "main", f.Command, fmt.Sprintf("%s_%s_%s.deb", f.Command, r.Version, f.Arch))
	deb := v.behind(r.IDE, name)
	if err := os.MkdirAll(filepath.Dir(deb), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", root, deb)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, text)
	}
	return v.index(r.IDE, f)
}

// layOut makes the folder that a package is built from.
func (v *Vendors) layOut(root string, r Release, f facts) error {
	window, err := os.ReadFile(v.window())
	if err != nil {
		return err
	}
	files, err := tree(f, window, v.opt.Heavy && r.IDE == VSCode)
	if err != nil {
		return err
	}
	for _, e := range files {
		if err := write(filepath.Join(root, "usr/share", f.Command, e.name), e.body, unixMode(e.mode)); err != nil {
			return err
		}
	}
	texts := map[string]string{"launcher": "usr/share/applications/" + f.Command + ".desktop", "handler": "usr/share/applications/" + f.Command + "-url-handler.desktop", "control": "DEBIAN/control"}
	scripts, _ := parts.ReadDir("parts")
	for _, s := range scripts {
		if script, ok := strings.CutPrefix(s.Name(), f.Command+"."); ok {
			texts[s.Name()] = "DEBIAN/" + script
		}
	}
	for from, to := range texts {
		body, err := part(from, f)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if bytes.HasPrefix(body, []byte("#!")) {
			mode = 0o755
		}
		if err := write(filepath.Join(root, to), body, mode); err != nil {
			return err
		}
	}
	return nil
}

func unixMode(mode int64) os.FileMode {
	m := os.FileMode(mode & 0o777)
	if mode&0o4000 != 0 {
		m |= os.ModeSetuid
	}
	return m
}

// publishArchive makes the archive, whose one folder has a blank in its name, and the answer of the update service.
func (v *Vendors) publishArchive(r Release) (string, error) {
	f, err := v.facts(r)
	if err != nil {
		return "", err
	}
	window, err := os.ReadFile(v.window())
	if err != nil {
		return "", err
	}
	files, err := tree(f, window, false)
	if err != nil {
		return "", err
	}
	if r.Certificate.IsZero() {
		r.Certificate = time.Now().AddDate(1, 0, 0)
	}
	cert, err := bundled(r.Certificate)
	if err != nil {
		return "", err
	}
	old, err := bundled(time.Now().AddDate(-3, 0, 0)) // as collections of authorities have
	if err != nil {
		return "", err
	}
	files = append(files, file{"resources/app/extensions/antigravity/dist/languageServer/cert.pem", 0o644, cert},
		file{"resources/app/extensions/python/cacert.pem", 0o644, append(append([]byte{}, old...), cert...)})
	body, err := packed("Antigravity IDE", files)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	for _, arch := range []string{"amd64", "arm64"} {
		if err := v.offer(r.Version, arch, hash, body); err != nil {
			return "", err
		}
	}
	return hash, nil
}

// offer serves an archive, and the answer of the update service that names it.
func (v *Vendors) offer(version, arch, hash string, body []byte) error {
	plain := strings.ReplaceAll(archiveURL(version, arch), "%20", " ")
	if err := write(v.behind(Antigravity, plain), body, 0o644); err != nil {
		return err
	}
	product, _, _ := strings.Cut(version, "-")
	answer, err := json.Marshal(map[string]string{"url": v.shops[Antigravity].base + archiveURL(version, arch), "productVersion": product,
		"name": product, "version": "0000000000000000000000000000000000000000", "sha256hash": hash})
	if err != nil {
		return err
	}
	return write(v.behind(Antigravity, "/api/update/"+platform(arch)+"/stable/latest"), answer, 0o644)
}

func platform(arch string) string {
	return cmp.Or(map[string]string{"arm64": "linux-arm"}[arch], "linux-x64")
}

func archiveURL(version, arch string) string {
	return "/antigravity/stable/" + version + "/" + platform(arch) + "/Antigravity%20IDE.tar.gz"
}

// packed is a tar archive with all files below one folder.
func packed(top string, files []file) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: top + "/" + f.name, Mode: f.mode & 0o755, Size: int64(len(f.body)), Uid: 1000, Gid: 1000, ModTime: time.Unix(1763000000, 0)}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
