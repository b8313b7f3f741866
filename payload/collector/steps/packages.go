//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// packages shall be installed.
type packages struct {
	env     *Env
	want    *wire.Packages
	before  debs
	missing []string
	fresh   []string // what apt was about to install newly when it was asked
	lists   lists
	release func() // ends our hold on apt's daily lock; nil before we have it
}

func doPackages(ctx context.Context, env *Env, want *wire.Packages) Result {
	p := &packages{env: env, want: want, lists: lists{env: env}}
	defer func() {
		if p.release != nil {
			p.release()
		}
	}()
	return converge(ctx, env, p)
}

func (p *packages) differs(ctx context.Context) (string, error) {
	for _, name := range p.want.Names {
		if !isPackage(name) {
			return "", failf("a plain name such as vim or libc6:i386; versions and patterns are not read", "%q cannot be a package's name", name)
		}
	}
	now, err := p.env.debs(ctx)
	if err != nil {
		return "", err
	}
	p.before, p.missing = now, nil
	for _, name := range p.want.Names {
		if !now.has(name) {
			p.missing = append(p.missing, name)
		}
	}
	if len(p.missing) == 0 {
		return "", nil
	}
	return "not installed: " + strings.Join(p.missing, " "), nil
}

// remember waits for whoever else works with packages, repairs, and refreshes
// the lists where they are too old. The way back is kept by act, as soon as apt
// knows what it will do.
func (p *packages) remember(ctx context.Context) (*wire.Undo, []byte, error) {
	if !p.env.Root {
		return nil, nil, needsRoot("packages")
	}
	var err error
	if p.release, err = p.env.freeApt(ctx); err != nil {
		return nil, nil, err
	}
	if err := p.env.repairIfNeeded(ctx); err != nil {
		return nil, nil, err
	}
	if _, err := p.differs(ctx); err != nil { // somebody else or the repair may have done it
		return nil, nil, err
	}
	return nil, nil, p.lists.refreshIfOld(ctx)
}

func (e *Env) repairIfNeeded(ctx context.Context) error {
	broken, err := e.interrupted(ctx)
	if err != nil || !broken {
		return err
	}
	e.Note("warn", "dpkg had been interrupted on this host: repairing it first")
	return e.repair(ctx)
}

// first is done when apt is ready to begin: the way back is written down, which
// holds even from the middle of it, and the answers to questions are there.
func (p *packages) first(ctx context.Context, plan transaction) error {
	p.fresh = plan.fresh
	tell(p.env, plan)
	if err := p.env.rememberAnswers(ctx, p.want.Debconf, plan.fresh); err != nil {
		return err
	}
	if u := p.undo(plan.fresh); u != nil {
		if err := p.env.Undo(*u, p.before.list()); err != nil {
			return fmt.Errorf("nothing was changed: the way back could not be kept: %w", err)
		}
	}
	return p.env.preseed(ctx, p.want.Debconf)
}

// tell warns of what rollback will not bring back.
func tell(env *Env, plan transaction) {
	if n := len(plan.removed); n > 0 {
		env.Note("warn", fmt.Sprintf("apt removes %d packages for this, which rollback does not bring back: %s", n, someOf(plan.removed)))
	}
	if n := len(plan.upgraded); n > 0 {
		env.Note("info", fmt.Sprintf("apt upgrades %d packages for this, which rollback does not take back: %s", n, someOf(plan.upgraded)))
	}
}

func (p *packages) undo(fresh []string) *wire.Undo {
	if len(fresh) == 0 {
		return nil
	}
	slices.Sort(fresh)
	return &wire.Undo{Kind: "packages", What: fmt.Sprintf("remove %d packages: %s", len(fresh), someOf(fresh)),
		Data: map[string]string{"installed": strings.Join(fresh, " ")}}
}

func (p *packages) installArgs(more ...string) []string {
	args := append(more, "--no-upgrade")
	if p.want.Recommends {
		args = append(args, "--install-recommends")
	} else {
		args = append(args, "--no-install-recommends")
	}
	return append(append(args, "--"), p.missing...)
}

func (p *packages) act(ctx context.Context) error {
	if len(p.missing) == 0 { // the repair was enough
		return nil
	}
	err := p.install(ctx)
	if why := p.needsLists(err); why != "" && ctx.Err() == nil {
		if err := p.lists.refresh(ctx, why); err != nil {
			return err
		}
		err = p.install(ctx)
	}
	return errors.Join(p.lists.blame(err), p.rememberMore(context.WithoutCancel(ctx)))
}

// needsLists says why newer lists may help where installing failed.
func (p *packages) needsLists(err error) string {
	switch {
	case err == nil || p.lists.fresh:
		return ""
	case isCause(err, staleLists):
		return "a package has gone from the mirror"
	case isCause(err, unknownPackage):
		return "a wanted package is not in them"
	}
	return ""
}

func (p *packages) install(ctx context.Context) error {
	if p.env.Fetch != nil {
		p.env.Fetch(ctx, p.want)
	}
	return p.env.install(ctx, func(plan transaction) error { return p.first(ctx, plan) }, p.installArgs()...)
}

// rememberMore writes down what came beyond the plan: lists that were refreshed
// in between can bring other dependencies.
func (p *packages) rememberMore(ctx context.Context) error {
	after, err := p.env.debs(ctx)
	if err != nil {
		return err
	}
	var more []string
	for name, d := range after {
		if d.present() && !p.before[name].present() && !slices.Contains(p.fresh, name) {
			more = append(more, name)
		}
	}
	if u := p.undo(more); u != nil {
		return p.env.Undo(*u, p.before.list())
	}
	return nil
}

func aptEnv() []string {
	return []string{"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "APT_LISTCHANGES_FRONTEND=none"}
}

// apt runs apt-get so that it asks nothing and takes names as names.
func (e *Env) apt(ctx context.Context, c call, verb string, args ...string) ([]byte, error) {
	c.name, c.env = "apt-get", aptEnv()
	c.args = append([]string{verb, "-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Cmd::Pattern-Only=true",
		"-o", "DPkg::Lock::Timeout=" + lockTimeout(ctx), "-o", "Acquire::Retries=3",
		"-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"}, args...)
	return e.call(ctx, c)
}

// lockTimeout is how long apt itself waits for a lock that somebody took after
// we looked, in seconds.
func lockTimeout(ctx context.Context) string {
	wait := 10 * time.Minute
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(end), time.Second))
	}
	return strconv.Itoa(int(wait / time.Second))
}

// transaction is apt-get changing packages. It is not killed: half a
// transaction is worse than a late one.
func (e *Env) transaction(ctx context.Context, verb string, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		e.Note("info", "stopping after the package transaction that is running: it is not killed in the middle")
	})
	_, err := e.apt(ctx, call{stream: true, keep: true}, verb, args...)
	if !stop() {
		<-told
	}
	return err
}

// lists are apt's package lists.
type lists struct {
	env   *Env
	fresh bool  // refreshed by this step
	err   error // of a refresh that failed though old lists are there
}

const (
	listsAge    = 6 * time.Hour
	refreshTime = 10 * time.Minute // 17 MB of lists over a bad line
)

func (l *lists) refreshIfOld(ctx context.Context) error {
	why, err := l.old(time.Now())
	if err != nil || why == "" {
		return err
	}
	return l.refresh(ctx, why)
}

// old says why the lists should be refreshed. Their files bear the mirror's
// dates, so the folder's own date counts: we set it after each refresh.
func (l *lists) old(now time.Time) (string, error) {
	dir := l.env.at("/var/lib/apt/lists")
	st, err := os.Stat(dir)
	if err != nil {
		return "there are none", nil
	}
	if l.none() {
		return "there are none", nil
	}
	age := now.Sub(st.ModTime())
	if age > listsAge || age < -time.Minute {
		return "they are older than 6 h", nil
	}
	sources, err := filepath.Glob(l.env.at("/etc/apt/sources.list.d/*"))
	if err != nil {
		return "", err
	}
	for _, s := range append(sources, l.env.at("/etc/apt/sources.list"), l.env.at("/etc/apt/sources.list.d")) {
		if src, err := os.Stat(s); err == nil && src.ModTime().After(st.ModTime()) {
			return "the sources have changed", nil
		}
	}
	return "", nil
}

func (l *lists) none() bool {
	some, _ := filepath.Glob(l.env.at("/var/lib/apt/lists/*_*"))
	return len(some) == 0
}

func (l *lists) refresh(ctx context.Context, why string) error {
	l.env.Note("info", "refreshing the package lists: "+why)
	limited, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	// Without this mode a mirror that cannot be reached is only a warning.
	_, err := l.env.apt(limited, call{stream: true}, "update", "-o", "APT::Update::Error-Mode=any")
	if err == nil {
		l.fresh, l.err = true, nil
		now := time.Now()
		_ = os.Chtimes(l.env.at("/var/lib/apt/lists"), now, now) // else they are refreshed once more than needed
		return nil
	}
	if limited.Err() != nil && ctx.Err() == nil {
		err = &failure{text: "refreshing the package lists took over " + refreshTime.String(), retryable: true, err: err}
	}
	if ctx.Err() != nil || l.none() || isCause(err, diskFull) {
		return err
	}
	l.err = err
	l.env.Note("warn", "the package lists could not all be refreshed, going on with the old ones: "+err.Error())
	return nil
}

// blame makes the failed refresh the reason for a failure that follows from it.
func (l *lists) blame(err error) error {
	if err != nil && l.err != nil && (isCause(err, unknownPackage) || isCause(err, staleLists)) {
		return fmt.Errorf("%w; before that: %w", l.err, err)
	}
	return err
}
