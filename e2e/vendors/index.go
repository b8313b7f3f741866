//go:build linux

package vendors

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// architectures are what the repositories say they have; only one of them has packages.
var architectures = []string{"amd64", "arm64", "armhf"}

// index writes Packages and the signed Release of a repository.
func (v *Vendors) index(ide IDE, f facts) error {
	packages, err := v.packages(ide, f.repository)
	if err != nil {
		return err
	}
	dist := path.Join(f.repository, "dists", "stable")
	var release bytes.Buffer
	fmt.Fprintf(&release, "Origin: %[1]s\nLabel: %[1]s\nSuite: stable\nCodename: stable\nDate: %[2]s\nArchitectures: %[3]s\nComponents: main\nSHA256:\n",
		f.Command, time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), strings.Join(architectures, " "))
	for _, arch := range architectures {
		body := []byte{}
		if arch == f.Arch {
			body = packages
		}
		name := "main/binary-" + arch + "/Packages"
		if err := write(v.behind(ide, path.Join(dist, name)), body, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&release, " %x %d %s\n", sha256.Sum256(body), len(body), name)
	}
	signed, err := v.key.clearsigned(release.Bytes())
	if err != nil {
		return err
	}
	wrong := bytes.Replace(signed, []byte("Label: "), []byte("Label: x"), 1)
	if err := write(v.behind(ide, path.Join(dist, "InRelease.wrong")), wrong, 0o644); err != nil {
		return err
	}
	return write(v.behind(ide, path.Join(dist, "InRelease")), signed, 0o644)
}

// packages lists all packages of a repository's pool.
func (v *Vendors) packages(ide IDE, repository string) ([]byte, error) {
	root := v.behind(ide, repository)
	debs, err := filepath.Glob(filepath.Join(root, "pool/main/*/*.deb"))
	if err != nil {
		return nil, err
	}
	slices.Sort(debs)
	var list bytes.Buffer
	for _, deb := range debs {
		control, err := exec.Command("dpkg-deb", "--field", deb).Output()
		if err != nil {
			return nil, err
		}
		body, err := os.ReadFile(deb)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(root, deb)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&list, "%s\nFilename: %s\nSize: %d\nSHA256: %x\n\n", bytes.TrimSpace(control), filepath.ToSlash(name), len(body), sha256.Sum256(body))
	}
	return list.Bytes(), nil
}
