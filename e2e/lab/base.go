//go:build linux

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const baseMaxAge = 14 * 24 * time.Hour

func cacheDir() string { return cmp.Or(os.Getenv("VPSCTL_LAB_CACHE"), "/var/cache/vpsctl-lab") }

// ensureBase returns the folder of a base of the recipe, made now unless the cache holds one that is not too old. An
// old one is better than none where the mirror is out of reach.
func ensureBase(ctx context.Context, r recipe, log io.Writer) (string, error) {
	unlock, err := lockFile(ctx, filepath.Join(cacheDir(), "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	newest := newestBase(r)
	if newest != "" && time.Since(builtAt(newest)) < baseMaxAge {
		return newest, nil
	}
	fmt.Fprintf(log, "lab: building the %s base in %s (once, 20 to 50 s)\n", r.suite, cacheDir())
	fresh, err := buildBase(ctx, r)
	if err != nil && newest != "" && ctx.Err() == nil {
		fmt.Fprintln(log, "lab: keeping the old base:", err)
		return newest, nil
	}
	if err != nil {
		return "", err
	}
	return fresh, pruneBases(r, fresh)
}

func newestBase(r recipe) string {
	found, _ := filepath.Glob(filepath.Join(cacheDir(), r.prefix()+"2*"))
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

func buildBase(ctx context.Context, r recipe) (string, error) {
	tmp, err := os.MkdirTemp(cacheDir(), "building-")
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	defer os.RemoveAll(tmp)
	root := filepath.Join(tmp, "root")
	if err := r.fill(ctx, tmp, root, "--variant=minbase", "--include="+r.packages(), "--customize-hook="+r.customize()); err != nil {
		return "", err
	}
	base := filepath.Join(cacheDir(), r.prefix()+time.Now().UTC().Format(baseTime))
	return base, os.Rename(root, base)
}

// Served asks the mirrors that a base of this system would come from for their lists alone. An error says that it cannot
// be had here, whatever else may be wrong with its base.
func Served(ctx context.Context, suite string) error {
	tmp, err := os.MkdirTemp("", "vpsctl-lab-")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer os.RemoveAll(tmp)
	return recipes[suite].fill(ctx, tmp, filepath.Join(tmp, "root"), "--variant=custom", "--simulate")
}

// fill has a base, or what is asked for of it, laid down in root; tmp is for what that takes.
func (r recipe) fill(ctx context.Context, tmp, root string, what ...string) error {
	args := append(r.args(), what...)
	if r.vendor == "Ubuntu" {
		keyring, err := ubuntuKeyring(ctx, filepath.Join(tmp, "keyring"))
		if err != nil {
			return err
		}
		args = append(args, "--keyring="+keyring)
	}
	return debootstrap(ctx, r, os.Getenv("VPSCTL_LAB_MIRROR"), root, args)
}

// ubuntuKeyring is the path of the keys that sign Ubuntu's archive: this machine's, or else those in Debian's package
// of them, which Debian's own keys vouch for.
func ubuntuKeyring(ctx context.Context, dir string) (string, error) {
	const path = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	err := debootstrap(ctx, recipes["trixie"], "", dir, []string{"--variant=extract", "--include=ubuntu-archive-keyring"})
	return filepath.Join(dir, path), err
}

// debootstrap fills root. It asks mmdebstrap's own default mirror first; where that is out of reach, the mirrors that
// this machine's apt uses, with the security updates and without. A mirror that is named is asked alone.
func debootstrap(ctx context.Context, r recipe, mirror, root string, args []string) (err error) {
	args = append([]string{"--quiet"}, args...)
	proxies, _ := run(ctx, "", "apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy")
	for _, opt := range usableProxies(proxies) {
		args = append(args, "--aptopt="+opt)
	}
	ours, _ := run(ctx, "", "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")
	lists := r.sourcesLike(ours)
	if mirror != "" {
		lists = []string{r.sources(mirror, "")}
	} else if _, err = run(ctx, "", "mmdebstrap", append(args, r.suite, root)...); err == nil {
		return nil
	}
	for _, sources := range lists {
		if ctx.Err() != nil {
			break
		}
		_ = os.RemoveAll(root)
		_, e := run(ctx, sources, "mmdebstrap", append(args, r.suite, root, "-")...)
		if err = errors.Join(err, e); e == nil {
			return nil
		}
	}
	return err
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
func pruneBases(r recipe, fresh string) error {
	labs, err := allLabs()
	if err != nil {
		return err
	}
	used := []string{fresh}
	for _, st := range labs {
		used = append(used, st.Base)
	}
	found, _ := filepath.Glob(filepath.Join(cacheDir(), "*-*-2*T*"))
	for _, dir := range found {
		old := strings.HasPrefix(filepath.Base(dir), r.prefix()) || time.Since(builtAt(dir)) > baseMaxAge
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
