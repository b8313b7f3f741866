//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// record is what one host has in a run's folder on this machine.
type record struct {
	t      *testing.T
	dir    string
	run    string
	lines  []string // of events.jsonl
	events []wire.Event
}

// lastRun is the id of the newest run.
func (v *tool) lastRun() string {
	v.t.Helper()
	found, err := filepath.Glob(filepath.Join(v.state, "runs", "2*"))
	try(v.t, err)
	if len(found) == 0 {
		v.t.Fatalf("there is no run in %s", v.state)
	}
	newest := slices.MaxFunc(found, func(a, b string) int {
		x, errX := os.Stat(a)
		y, errY := os.Stat(b)
		if errX != nil || errY != nil {
			return 0
		}
		return cmp.Compare(x.ModTime().UnixNano(), y.ModTime().UnixNano())
	})
	return filepath.Base(newest)
}

// record reads the newest run's record of a host. A last line that was cut is left out.
func (v *tool) record(host string) *record {
	v.t.Helper()
	return v.recordOf(v.lastRun(), host)
}

func (v *tool) recordOf(run, host string) *record {
	v.t.Helper()
	r := &record{t: v.t, run: run, dir: filepath.Join(v.state, "runs", run, host)}
	b, err := os.ReadFile(filepath.Join(r.dir, "events.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return r
	}
	try(v.t, err)
	r.read(b)
	return r
}

func (r *record) read(b []byte) {
	r.t.Helper()
	for in := wire.NewReader(bytes.NewReader(b)); ; {
		raw, e, err := in.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		try(r.t, err)
		r.lines, r.events = append(r.lines, string(raw)), append(r.events, e)
	}
}

func (r *record) file(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	try(r.t, err)
	return string(b)
}

// end is the body of the last event; the record must have one.
func (r *record) end() *wire.End {
	r.t.Helper()
	i := slices.IndexFunc(r.events, func(e wire.Event) bool { return e.Kind == wire.KindEnd })
	if i < 0 {
		r.t.Fatalf("%s: the record has no end: %d events", r.dir, len(r.events))
	}
	return r.events[i].End
}

// step is how a step ended; one that did not has no status.
func (r *record) step(id string) *wire.StepEnd {
	for _, e := range r.events {
		if e.Kind == wire.KindStepEnd && e.Step == id {
			return e.StepEnd
		}
	}
	return &wire.StepEnd{Reason: "it never ended"}
}

// output is all that a step printed on a stream.
func (r *record) output(step, stream string) string {
	var b strings.Builder
	for _, e := range r.events {
		if e.Output != nil && e.Step == step && e.Output.Stream == stream {
			b.WriteString(e.Output.Text)
			b.Write(e.Output.Bytes)
		}
	}
	return b.String()
}

// whole wants every event of the host's journal in the record, each as the host said it, exactly once.
func (r *record) whole(h *lab.Host) {
	r.t.Helper()
	journal := strings.Split(on(r.t, h, "cat /var/lib/vpsctl/runs/"+r.run+"/journal.jsonl"), "\n")
	here := slices.Clone(r.lines)
	slices.Sort(here)
	slices.Sort(journal)
	if !slices.Equal(here, journal) {
		r.t.Errorf("%s: the record has %d events and the host's journal %d, or they differ", r.dir, len(here), len(journal))
		for _, l := range journal {
			if _, found := slices.BinarySearch(here, l); !found {
				r.t.Errorf("missing: %.200s", l)
				break
			}
		}
	}
	for i := range r.events {
		if !slices.ContainsFunc(r.events, func(e wire.Event) bool { return e.N == int64(i+1) }) {
			r.t.Fatalf("%s: event %d is missing", r.dir, i+1)
		}
	}
}

// shape is what must be equal in two runs of one plan: what happened in which order, and all that was printed. Times,
// ids, samples and how output was cut into chunks may differ.
func (r *record) shape() string {
	r.t.Helper()
	var b strings.Builder
	type key struct{ step, stream string }
	printed := map[key]string{}
	var order []key
	for _, e := range r.events {
		switch {
		case e.Output != nil:
			k := key{e.Step, e.Output.Stream}
			if _, ok := printed[k]; !ok {
				order = append(order, k)
			}
			printed[k] += e.Output.Text + string(e.Output.Bytes)
		case e.Kind == wire.KindSample:
		case e.StepEnd != nil:
			fmt.Fprintf(&b, "%s %s %s %q\n", e.Kind, e.Step, e.StepEnd.Status, e.StepEnd.Reason)
		case e.PhaseEnd != nil:
			p := e.PhaseEnd
			fmt.Fprintf(&b, "%s %s %s %d %d %d %d\n", e.Kind, e.Phase, p.Status, p.OK, p.Changed, p.Failed, p.Skipped)
		case e.End != nil:
			fmt.Fprintf(&b, "%s %s %s\n", e.Kind, e.End.Status, e.End.Reason)
		default:
			fmt.Fprintf(&b, "%s %s %s\n", e.Kind, e.Phase, e.Step)
		}
	}
	slices.SortFunc(order, func(x, y key) int { return strings.Compare(x.step+x.stream, y.step+y.stream) })
	for _, k := range order {
		fmt.Fprintf(&b, "%s %s:\n%s", k.step, k.stream, printed[k])
	}
	b.WriteString("output.log:\n" + r.outputLog() + "timing.csv:\n" + r.column("timing.csv", 1, 3))
	return b.String()
}

// outputLog is output.log without its times.
func (r *record) outputLog() string {
	r.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(r.file("output.log")) {
		b.WriteString(stamp.ReplaceAllString(line, ""))
	}
	return b.String()
}

// column gives two columns of a CSV file.
func (r *record) column(file string, columns ...int) string {
	r.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(r.file(file))).ReadAll()
	try(r.t, err)
	var b strings.Builder
	for _, row := range rows {
		for _, c := range columns {
			b.WriteString(row[c] + " ")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// runDoc is what scripts read of `provision -o json`.
type runDoc struct {
	RunID    string `json:"run_id"`
	Status   string `json:"status"`
	ExitCode int    `json:"exit_code"`
	Hosts    []struct {
		Host     string `json:"host"`
		Status   string `json:"status"`
		ExitCode int    `json:"exit_code"`
		Changed  int    `json:"changed"`
		OK       int    `json:"ok"`
		Failed   int    `json:"failed"`
		Phases   []struct {
			ID     string `json:"id"`
			Status string `json:"status"`
		} `json:"phases"`
		Error *struct {
			Stage   string `json:"stage"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
	} `json:"hosts"`
}

func (r result) doc(t *testing.T) runDoc {
	t.Helper()
	var d runDoc
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		t.Fatalf("standard output is not one JSON document: %v\n%s", err, tail(r.out))
	}
	return d
}
