//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Runs are kept so long and so many when the plan does not say.
const (
	keepRuns = 10
	keepDays = 30
	mostDays = 100 * 365 // more is no time.Duration any more
)

func listRuns(p place) []runDir {
	entries, err := os.ReadDir(p.runs())
	if err != nil {
		return nil
	}
	var list []runDir
	for _, e := range entries {
		if e.IsDir() && isName(e.Name()) {
			list = append(list, runDir(filepath.Join(p.runs(), e.Name())))
		}
	}
	return list
}

// bornAt reads when a run began: by the laptop's clock, which its id carries,
// else by the folder's time.
func bornAt(d runDir) time.Time {
	if id := d.id(); len(id) >= 15 {
		if t, err := time.Parse("20060102-150405", id[:15]); err == nil {
			return t
		}
	}
	st, err := os.Stat(string(d))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// prune removes old runs, and collectors no kept run needs. Runs that go on, the
// plan's own, and those that it undoes stay.
func prune(p place, plan *wire.Plan) {
	keep, current := plan.Keep, plan.RunID
	undone := map[string]bool{}
	for _, ph := range plan.Phases {
		for _, s := range ph.Steps {
			if s.Revert != nil {
				undone[s.Revert.Run] = true
			}
		}
	}
	if keep.Runs <= 0 {
		keep.Runs = keepRuns
	}
	if keep.Days <= 0 {
		keep.Days = keepDays
	}
	keep.Days = min(keep.Days, mostDays)
	now := bornAt(runDir(filepath.Join(p.runs(), current)))
	list := slices.DeleteFunc(listRuns(p), func(d runDir) bool { return d.id() == current || dropLook(d) })
	sort.SliceStable(list, func(i, j int) bool { return bornAt(list[i]).After(bornAt(list[j])) }) // slices.SortFunc is 3 KB for each type
	for i, d := range list {
		old := i >= keep.Runs || now.Sub(bornAt(d)) > time.Duration(keep.Days)*24*time.Hour
		if old && !runs(d) && !guardPending(d, "pending", "reverting") && !undone[d.id()] {
			_ = os.RemoveAll(string(d))
		}
	}
	pruneCollectors(p)
}

// dropLook removes what a dry run left. There is nothing to undo in it, and it
// takes no other run's place.
func dropLook(d runDir) bool {
	return strings.HasPrefix(d.id(), wire.LookRun) && !runs(d) && os.RemoveAll(string(d)) == nil
}

// guardPending tells whether a run has a guard in one of these states ("pending"
// without any), or nobody can tell.
func guardPending(d runDir, states ...string) bool {
	if len(states) == 0 {
		states = []string{"pending"}
	}
	f, err := os.Open(d.control())
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return err != nil || slices.ContainsFunc(names, func(name string) bool {
		return slices.Contains(states, strings.TrimPrefix(filepath.Ext(name), "."))
	})
}

// pruneCollectors removes collectors that no run was begun by, but for new ones:
// they may be on their way into use. The notes beside them go too: then they are
// hashed once more.
func pruneCollectors(p place) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "bin"))
	if err != nil {
		return
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		info, err := e.Info()
		return err != nil || e.Name() == ownHash() || time.Since(info.ModTime()) <= 24*time.Hour
	})
	if len(entries) == 0 {
		return
	}
	used := map[string]bool{}
	for _, d := range listRuns(p) {
		b, _ := os.ReadFile(d.file("collector")) // one without was not begun in full
		used[strings.TrimSpace(string(b))] = true
	}
	for _, e := range entries {
		if !used[e.Name()] {
			_ = os.Remove(filepath.Join(p.dir, "bin", e.Name()))
		}
	}
}

func runsVerb(p place, stdout io.Writer) error {
	enc := json.NewEncoder(stdout)
	var problems []error
	for _, d := range listRuns(p) {
		info, err := inspect(d)
		if err == nil {
			err = enc.Encode(info)
		}
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return fail(exitRefused, "list the runs: %w", err)
	}
	return nil
}

// reportVerb puts a run's report where the guide's is, whole or not at all.
func reportVerb(p place, run string, stdin io.Reader) error {
	if _, err := p.run(run); err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxPlan+1))
	if err != nil || len(b) > maxPlan || !json.Valid(b) {
		return fail(exitUsage, "take the report of run %s: not one JSON document (%d bytes, %v)", run, len(b), err)
	}
	return keepReport(p, b)
}

// reportWait is how long a laptop that has seen the end may take to send the
// run's report.
const reportWait = 3 * time.Second

// takeReport keeps the report that comes behind the plan, if one does. A laptop
// that is gone, or has none, ends the input.
func takeReport(p place, in *inbox) error {
	got := make(chan json.RawMessage, 1)
	go func() { // ends with the input, or with us
		got <- in.report()
	}()
	select {
	case doc := <-got:
		if doc == nil {
			return nil
		}
		return keepReport(p, append(doc, '\n'))
	case <-time.After(reportWait):
		return nil
	}
}

func keepReport(p place, b []byte) error {
	err := os.MkdirAll(p.logs, 0o755)
	if err != nil {
		return fail(exitRefused, "keep the report: %w", err)
	}
	path := filepath.Join(p.logs, "performance-report.json")
	tmp := path + "." + randomName()
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil { // not synced: it is a copy of what the laptop has
		_, err = f.Write(b)
		err = errors.Join(err, f.Chmod(0o644), f.Close())
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fail(exitRefused, "keep the report: %w", err)
	}
	return nil
}

// cleanVerb removes everything of vpsctl's from this host, or with -n says what
// that is. What a rollback would need goes too.
func cleanVerb(p place, args []string, stdout io.Writer) error {
	if len(args) == 1 && args[0] != "-n" {
		return fail(exitUsage, "%s", usageText)
	}
	hadLock := fileExists(p.lock)
	if !fileExists(p.dir) && !p.root {
		return nil // the lock would be in it
	}
	lock, err := takeLock(p.lock)
	if r := (*refusal)(nil); errors.As(err, &r) {
		return &exitError{r.code, err}
	} else if err != nil {
		return err
	}
	defer lock.Close()
	undo := 0
	for _, d := range listRuns(p) {
		if runs(d) || guardPending(d) {
			return fail(exitLocked, "clean: run %s still goes on", d.id())
		}
		if fileExists(filepath.Join(d.undo(), "records.jsonl")) {
			undo++
		}
	}
	paths := []string{elsewhere(p), p.dir, p.logs, p.fleet}
	if p.root {
		guards, _ := filepath.Glob(filepath.Join(unitFolder, "vpsctl-guard-*")) // the pattern is right
		links, _ := filepath.Glob(filepath.Join(unitFolder, "timers.target.wants/vpsctl-guard-*"))
		paths = append(append(paths, guards...), links...)
	}
	if hadLock || len(args) == 0 {
		paths = append(paths, p.lock) // last: with it goes our hold
	} else {
		defer os.Remove(p.lock)
	}
	if undo > 0 {
		fmt.Fprintf(stdout, "lost with it: how to roll back %d run(s)\n", undo)
	}
	for _, path := range paths {
		inside := strings.HasPrefix(path, p.dir+"/") // goes with it
		if path == "" || inside || !fileExists(path) && !isLink(path) {
			continue
		}
		fmt.Fprintln(stdout, path)
		if len(args) == 1 {
			continue
		}
		if err := os.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(exitRefused, "clean: %w", err)
		}
	}
	return nil
}

// elsewhere is the folder the collectors lie in when they cannot be run below
// p.dir, where bin is then a link to its bin; else "".
func elsewhere(p place) string {
	to, err := os.Readlink(filepath.Join(p.dir, "bin"))
	folder := filepath.Dir(to)
	if err != nil || filepath.Base(to) != "bin" || !strings.HasPrefix(filepath.Base(folder), "vpsctl-") {
		return ""
	}
	return folder
}

func isLink(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}
