//go:build linux

package lab

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	suite      = "trixie"
	packages   = "systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,ca-certificates"
	baseMaxAge = 14 * 24 * time.Hour
)

// customize makes the base what a fresh VPS is, with two more users. The daily apt timers are off, or they would take
// the package lock in the middle of some test; host keys and machine-id are every host's own.
const customize = `set -e
chroot "$1" useradd --create-home --shell /bin/bash admin
chroot "$1" useradd --create-home --shell /bin/bash plain
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/admin"
chmod 0440 "$1/etc/sudoers.d/admin"
rm -f "$1"/etc/ssh/ssh_host_*_key*
rm -f "$1"/etc/systemd/system/timers.target.wants/apt-daily*.timer
: >"$1/etc/machine-id"`

func cacheDir() string { return cmp.Or(os.Getenv("VPSCTL_LAB_CACHE"), "/var/cache/vpsctl-lab") }

// basePrefix names the recipe: another recipe is another base.
func basePrefix() string {
	sum := sha256.Sum256([]byte(packages + customize))
	return fmt.Sprintf("%s-%x-", suite, sum[:6])
}

// ensureBase returns the folder of a base of the present recipe, made now unless the cache holds one that is not too
// old. An old one is better than none where the mirror is out of reach.
func ensureBase(ctx context.Context, log io.Writer) (string, error) {
	unlock, err := lockFile(ctx, filepath.Join(cacheDir(), "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	newest := newestBase()
	if newest != "" && time.Since(builtAt(newest)) < baseMaxAge {
		return newest, nil
	}
	fmt.Fprintf(log, "lab: building the %s base in %s (once, about 20 s)\n", suite, cacheDir())
	fresh, err := buildBase(ctx)
	if err != nil && newest != "" && ctx.Err() == nil {
		fmt.Fprintln(log, "lab: keeping the old base:", err)
		return newest, nil
	}
	if err != nil {
		return "", err
	}
	return fresh, pruneBases(fresh)
}

func newestBase() string {
	found, _ := filepath.Glob(filepath.Join(cacheDir(), basePrefix()+"2*"))
	if len(found) == 0 {
		return ""
	}
	return slices.Max(found)
}

const baseTime = "20060102T150405"

func builtAt(base string) time.Time {
	t, _ := time.Parse(baseTime, base[strings.LastIndex(base, "-")+1:])
	return t
}

func buildBase(ctx context.Context) (string, error) {
	tmp, err := os.MkdirTemp(cacheDir(), "building-")
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	defer os.RemoveAll(tmp)
	root := filepath.Join(tmp, "root")
	if err := debootstrap(ctx, root); err != nil {
		return "", err
	}
	base := filepath.Join(cacheDir(), basePrefix()+time.Now().UTC().Format(baseTime))
	return base, os.Rename(root, base)
}

// debootstrap asks mmdebstrap's own default mirror first; where that is out of reach, the mirrors that this machine's
// apt uses, with the security updates and without.
func debootstrap(ctx context.Context, root string) error {
	args := []string{"--quiet", "--variant=minbase", "--include=" + packages, "--customize-hook=" + customize}
	proxies, _ := run(ctx, "", "apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy")
	for _, opt := range usableProxies(proxies) {
		args = append(args, "--aptopt="+opt)
	}
	_, err := run(ctx, "", "mmdebstrap", append(args, suite, root)...)
	ours, _ := run(ctx, "", "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")
	for _, sources := range sourcesLike(ours) {
		if err == nil || ctx.Err() != nil {
			break
		}
		_ = os.RemoveAll(root)
		_, e := run(ctx, sources, "mmdebstrap", append(args, suite, root, "-")...)
		if err = errors.Join(err, e); e == nil {
			return nil
		}
	}
	return err
}

// sourcesLike turns a machine's apt indexes, one ORIGIN|LABEL|URI a line, into sources.list texts for the lab's suite
// from the same mirrors, best first.
func sourcesLike(indexes string) []string {
	var mirror, security string
	for line := range strings.Lines(indexes) {
		f := strings.SplitN(strings.TrimSpace(line), "|", 3)
		switch {
		case len(f) != 3 || f[0] != "Debian":
		case f[1] == "Debian" && mirror == "":
			mirror = f[2]
		case f[1] == "Debian-Security" && security == "":
			security = f[2]
		}
	}
	if mirror == "" {
		return nil
	}
	plain := fmt.Sprintf("deb %[1]s %[2]s main\ndeb %[1]s %[2]s-updates main\n", mirror, suite)
	if security == "" {
		return []string{plain}
	}
	return []string{plain + fmt.Sprintf("deb %s %s-security main\n", security, suite), plain}
}

// usableProxies returns the proxies in apt-config's output as apt options, but for those on the machine's loopback, which
// hosts cannot reach.
func usableProxies(dump string) (options []string) {
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasSuffix(line, `"";`) || strings.Contains(line, "127.0.0.1") || strings.Contains(line, "localhost") {
			continue
		}
		options = append(options, strings.TrimSuffix(line, ";"))
	}
	return options
}

// pruneBases removes bases that are too old or have a successor, unless a lab stands on them, and what broken builds
// have left. The caller holds the cache's lock.
func pruneBases(fresh string) error {
	labs, err := allLabs()
	if err != nil {
		return err
	}
	used := []string{fresh}
	for _, st := range labs {
		used = append(used, st.Base)
	}
	found, _ := filepath.Glob(filepath.Join(cacheDir(), suite+"-*"))
	for _, dir := range found {
		old := strings.HasPrefix(filepath.Base(dir), basePrefix()) || time.Since(builtAt(dir)) > baseMaxAge
		if old && !slices.Contains(used, dir) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	broken, _ := filepath.Glob(filepath.Join(cacheDir(), "building-*"))
	for _, dir := range broken {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
