//go:build linux

package steps

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// debs are the packages dpkg knows, by name; those of another architecture
// have it behind a colon.
type debs map[string]deb

type deb struct {
	status   string // three letters: wanted, state, error
	provides []string
}

// installed: unpacked, configured, and waiting for nothing.
func (d deb) installed() bool { return len(d.status) == 2 && d.status[1] == 'i' }

// present: something of it is unpacked.
func (d deb) present() bool {
	return len(d.status) >= 2 && strings.IndexByte("HUFWti", d.status[1]) >= 0
}

// halfUnpacked: dpkg neither removes nor configures it, it wants it again.
func (d deb) halfUnpacked() bool {
	return len(d.status) >= 2 && d.status[1] == 'H' || strings.HasSuffix(d.status, "R")
}

// has tells whether a package of this name, or one that stands in for it, is
// installed.
func (d debs) has(name string) bool {
	if d[native(name)].installed() {
		return true
	}
	for _, p := range d {
		if p.installed() && slices.Contains(p.provides, name) {
			return true
		}
	}
	return false
}

// list is one line for each package that is or was there, sorted.
func (d debs) list() []byte {
	var lines []string
	for name, p := range d {
		lines = append(lines, name+"\t"+p.status+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// native drops this host's own architecture from a package's name.
func native(name string) string { return strings.TrimSuffix(name, ":"+runtime.GOARCH) }

const dpkgFormat = `${binary:Package}\t${db:Status-Abbrev}\t${Provides}\n`

// parseDebs reads dpkg-query's answer in dpkgFormat, and what list wrote.
func parseDebs(data []byte) debs {
	all := make(debs)
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) < 2 || f[0] == "" || len(f[1]) < 2 {
			continue
		}
		d := deb{status: strings.TrimRight(f[1], " ")}
		if len(f) > 2 {
			for p := range strings.SplitSeq(f[2], ",") {
				name, _, _ := strings.Cut(strings.TrimSpace(p), " ")
				if name != "" {
					d.provides = append(d.provides, name)
				}
			}
		}
		all[native(f[0])] = d
	}
	return all
}

// debs asks dpkg for all packages at once, which takes 10 ms; one question for
// each package takes longer than that. It is not asked again while its database
// is the same. The answer is everybody's: nobody may change it.
func (e *Env) debs(ctx context.Context) (debs, error) {
	if e.look("dpkg-query") == "" {
		return nil, failf("on other systems, use a run step", "package steps need apt (Debian, Ubuntu): there is no dpkg-query here")
	}
	before := e.dpkgState()
	if known := lastDebs.Load(); known != nil && before != "" && known.state == before {
		return known.debs, nil
	}
	out, err := e.call(ctx, call{name: "dpkg-query", args: []string{"-W", "-f", dpkgFormat}})
	now := parseDebs(out)
	if err == nil && before != "" && e.dpkgState() == before {
		lastDebs.Store(&answered{before, now})
	}
	return now, err
}

// answered is what dpkg last said, and what its database was then.
type answered struct {
	state string
	debs  debs
}

var lastDebs atomic.Pointer[answered]

// dpkgState names the database as it is: dpkg writes each change into updates, and
// then all of them into a new file. "" while it is in the middle of that.
func (e *Env) dpkgState() string {
	dir := e.at("/var/lib/dpkg")
	var st unix.Stat_t
	if changes, err := os.ReadDir(dir + "/updates"); err != nil || len(changes) > 0 || unix.Stat(dir+"/status", &st) != nil {
		return ""
	}
	return fmt.Sprint(dir, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
}

// removals are the packages that would go, in the answer of apt-get -s.
func removals(data []byte) (names []string) {
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "Remv" || f[0] == "Purg") {
			names = append(names, native(f[1]))
		}
	}
	return names
}

// isPackage refuses what apt would read as an option, a version, a pattern or,
// with a minus at its end, as a wish to remove. Package regexp would make the
// collector a tenth bigger.
func isPackage(name string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyz0123456789"
	name, arch, foreign := strings.Cut(name, ":")
	if foreign && (arch == "" || !only(arch, plain)) {
		return false
	}
	return len(name) >= 2 && only(name, plain+"+.-") && strings.Contains(plain, name[:1]) && strings.Contains(plain+"+", name[len(name)-1:])
}

// only tells whether s is made of nothing but chars.
func only(s, chars string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(chars, r) })
}

// someOf shows a few names of many.
func someOf(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, " ")
	}
	return strings.Join(names[:most], " ") + " …"
}

// interrupted tells whether dpkg was stopped in the middle of something.
func (e *Env) interrupted(ctx context.Context) (bool, error) {
	if left, err := os.ReadDir(e.at("/var/lib/dpkg/updates")); err == nil && len(left) > 0 {
		return true, nil
	}
	out, err := e.call(ctx, call{name: "dpkg", args: []string{"--audit"}})
	return len(out) > 0, err
}

// repair finishes what an interrupted dpkg had begun. What dpkg cannot do by
// itself, because a package was unpacked without all it needs, apt can. Neither
// is stopped when ctx ends.
func (e *Env) repair(ctx context.Context) error {
	args := []string{"--force-confdef", "--force-confold", "--configure", "-a"}
	_, err := e.call(ctx, call{name: "dpkg", args: args, env: aptEnv(), stream: true, keep: true})
	if err == nil || ctx.Err() != nil || isCause(err, diskFull) {
		return err
	}
	return e.transaction(ctx, "install", "--fix-broken", "--no-install-recommends")
}
