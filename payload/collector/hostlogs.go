//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// rotateAt is the size at which a log goes into the archive, which keeps so many
// of each.
const (
	rotateAt = 10 << 20
	archives = 5
)

// hostLogs writes the logs people look for on the host. They are a courtesy:
// what cannot be written to them does not end a run.
type hostLogs struct {
	plan   *wire.Plan
	facts  wire.Facts
	wall   time.Time // of T = 0
	timing logFile
	usage  logFile
	talk   logFile
	began  map[string]int64 // phase -> T
}

func openHostLogs(dir string, plan *wire.Plan, facts wire.Facts, wall time.Time) *hostLogs {
	_ = os.MkdirAll(dir, 0o755)
	header := func(columns []string) string { return strings.Join(columns, ",") + "\n" }
	return &hostLogs{plan: plan, facts: facts, wall: wall, began: map[string]int64{},
		timing: logFile{path: filepath.Join(dir, "timing.csv"), header: header(wire.TimingHeader)},
		usage:  logFile{path: filepath.Join(dir, "resources.csv"), header: header(wire.ResourcesHeader)},
		talk:   logFile{path: filepath.Join(dir, "provision.log")}}
}

func (l *hostLogs) close() {
	for _, f := range []*logFile{&l.timing, &l.usage, &l.talk} {
		f.close()
	}
}

// event writes what an event means for the logs. It is called under the
// journal's lock, in the order of the events.
func (l *hostLogs) event(e *wire.Event, _ int64) {
	switch {
	case e.Kind == wire.KindPhase:
		l.began[e.Phase] = e.T
		n, ph := l.find(e.Phase)
		l.say(e, "Phase %d/%d: %s", n, len(l.plan.Phases), ph.Title)
	case e.PhaseEnd != nil:
		l.phaseEnd(e)
	case e.Sample != nil:
		l.usage.add(strings.Join(wire.ResourceRow(l.at(e.T), e.Sample), ",") + "\n")
	case e.StepEnd != nil && e.StepEnd.Status == wire.Failed:
		l.say(e, "[ERR] %s: %s", e.Step, e.StepEnd.Reason)
	case e.Note != nil && e.Note.Level == "warn":
		l.say(e, "[WARN] %s", e.Note.Text)
	case e.End != nil:
		l.say(e, "Run %s ended: %s %s", l.plan.RunID, e.End.Status, e.End.Reason)
	}
}

func (l *hostLogs) phaseEnd(e *wire.Event) {
	n, ph := l.find(e.Phase)
	from, ran := l.began[e.Phase]
	if !ran {
		from = e.T
	}
	row := wire.TimingRow(e.Phase, e.PhaseEnd.Status, l.at(from), l.at(e.T), ph.Target.For(l.facts))
	l.timing.add(strings.Join(row, ",") + "\n")
	took := wire.FormatDuration(time.Duration(e.T - from))
	switch e.PhaseEnd.Status {
	case wire.OK, wire.Changed:
		l.say(e, "Phase %d completed in %s", n, took)
	case wire.NotReached, wire.Skipped:
		l.say(e, "Phase %d skipped: %s", n, e.PhaseEnd.Reason)
	default:
		l.say(e, "[ERR] Phase %d %s after %s: %s", n, e.PhaseEnd.Status, took, e.PhaseEnd.Reason)
	}
}

func (l *hostLogs) find(id string) (n int, ph wire.Phase) {
	for i, ph := range l.plan.Phases {
		if ph.ID == id {
			return i + 1, ph
		}
	}
	return 0, wire.Phase{ID: id, Title: id}
}

func (l *hostLogs) at(t int64) time.Time { return l.wall.Add(time.Duration(t)) }

func (l *hostLogs) say(e *wire.Event, format string, args ...any) {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 { // a log line is one line
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	l.talk.add(l.at(e.T).UTC().Format("[2006-01-02 15:04:05] ") + strings.TrimSpace(text) + "\n")
}

// logFile is appended to across runs.
type logFile struct {
	path   string
	header string
	f      *os.File
	size   int64
	err    error
}

func (l *logFile) add(line string) {
	if l.err != nil {
		return
	}
	if l.f == nil || l.size+int64(len(line)) > rotateAt {
		l.err = l.open(int64(len(line)))
	}
	if l.err == nil {
		var n int
		n, l.err = io.WriteString(l.f, line)
		l.size += int64(n)
	}
}

// open opens the file, after moving one that is too long into the archive.
func (l *logFile) open(more int64) error {
	l.close()
	if st, err := os.Lstat(l.path); err == nil && st.Size()+more > rotateAt {
		if err := l.archive(); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	if l.f, l.size = f, st.Size(); l.size == 0 && l.header != "" {
		n, err := io.WriteString(f, l.header)
		l.size = int64(n)
		return err
	}
	return nil
}

func (l *logFile) archive() error {
	dir := filepath.Join(filepath.Dir(l.path), "archive")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ext := filepath.Ext(l.path)
	base := strings.TrimSuffix(filepath.Base(l.path), ext)
	name := filepath.Join(dir, base+"-"+time.Now().UTC().Format("20060102-150405"))
	for i := 1; fileExists(name + ext); i++ {
		name = strings.TrimSuffix(name, fmt.Sprintf(".%d", i-1)) + fmt.Sprintf(".%d", i)
	}
	err := os.Rename(l.path, name+ext)
	if old, _ := filepath.Glob(filepath.Join(dir, base+"-*"+ext)); len(old) > archives { // sorted: by time
		for _, f := range old[:len(old)-archives] {
			_ = os.Remove(f)
		}
	}
	if errors.Is(err, os.ErrNotExist) { // another run was faster
		return nil
	}
	return err
}

func (l *logFile) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
