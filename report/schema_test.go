package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "docs", "schema", name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks a document against the schema that users are given.
func validate(t *testing.T, name string, doc any) {
	t.Helper()
	if err := check(t, name, doc); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func check(t *testing.T, name string, doc any) error {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return schema(t, name).Validate(v)
}

func TestDocumentsFitTheirSchema(t *testing.T) {
	r := testReport(t)
	reports := []PerformanceReport{}
	for _, h := range r.Hosts {
		validate(t, "performance-report", Performance(h.Record))
		reports = append(reports, Performance(h.Record))
	}
	validate(t, "performance-report", map[string]any{"schema": Schema, "run_id": r.Run.ID, "hosts": reports})
	compared := comparedReport(t)
	validate(t, "performance-report", compared.Hosts[0].Performance())
	validate(t, "provision", Provision(r, codes))
	validate(t, "runs", Show(r, StateComplete, codes))
	timings, err := Timings(r, "")
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "timings", timings)
	validate(t, "run", r.Run)
	events := journal(t, "web1.jsonl")
	for n := range events { // every half of a run
		rec := foldAll("web1", events[:n])
		half := NewReport(Run{ID: testRun, Schema: Schema, Verb: "run", Hosts: []HostRun{{Host: "web1"}}}, "d", []*HostRecord{rec})
		validate(t, "performance-report", Performance(rec))
		validate(t, "provision", Provision(half, codes))
	}
}

// A record as the disk has it.
func TestRunFileFitsItsSchema(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	run := testReport(t).Run
	exit := 10
	run.Interrupted, run.Status, run.Outcome, run.ExitCode, run.Detached, run.After = "SIGINT", wire.Failed, Mixed, &exit, true, "20261122-101502-x7k2"
	run.Hosts[0].ExitCode, run.Hosts[0].Outcome, run.Hosts[0].Status, run.Hosts[0].Fingerprint = &exit, PhaseFailed, wire.Failed, "SHA256:x"
	run.Hosts[0].Limits = Limits{MemoryMB: 300, DiskMB: -1, CPUPct: 99.5}
	d := create(t, s, run)
	b, err := os.ReadFile(filepath.Join(d.Dir(), runFile))
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "run", json.RawMessage(b))
	closed(t, d)
}

func TestEventsFitTheirSchema(t *testing.T) {
	seen := map[wire.Kind]bool{}
	for _, name := range []string{"web1.jsonl", "web2.jsonl"} {
		for _, e := range journal(t, name) {
			validate(t, "events", json.RawMessage(e.raw))
			seen[e.e.Kind] = true
		}
	}
	for _, e := range []wire.Event{
		{Kind: wire.KindRefused, Refused: &wire.Refused{Stage: "lock", Text: "held", Holder: &wire.Lock{RunID: testRun, Verb: "provision", PID: 3}}},
		{N: 9, Kind: wire.KindCancelled, T: 5, Note: &wire.Note{Level: "info", Text: "waits for dpkg"}},
		{N: 9, Kind: wire.KindCancelled, T: 5},
		{N: 9, Kind: wire.KindEnd, T: 5, End: &wire.End{Status: wire.Cancelled, Stage: "cancel", Hint: "x"}},
	} {
		validate(t, "events", e)
		seen[e.Kind] = true
		validate(t, "events", map[string]any{"host": "web1", "event": e}) // --events
	}
	for _, k := range []wire.Kind{wire.KindRefused, wire.KindStart, wire.KindPhase, wire.KindStep, wire.KindWait, wire.KindUndo, wire.KindOutput,
		wire.KindGuard, wire.KindGuardEnd, wire.KindStepEnd, wire.KindPhaseEnd, wire.KindSample, wire.KindNote, wire.KindCancelled, wire.KindEnd} {
		if !seen[k] {
			t.Errorf("no event of kind %s was tried", k)
		}
	}
}

// The schemas say no, too.
func TestSchemasRefuse(t *testing.T) {
	for name, docs := range map[string][]string{
		"events":             {`{}`, `{"n":-1,"k":"phase","t":0}`, `{"n":1,"k":"end","t":0}`, `{"n":1,"k":"end","t":0,"end":{"status":"great"}}`, `{"n":1,"k":"out","t":0,"out":{"stream":"tty"}}`},
		"run":                {`{}`, `{"schema":2}`},
		"performance-report": {`{}`, `{"schema":1}`},
		"provision":          {`{}`, `{"schema":1,"run_id":"x"}`},
		"runs":               {`{}`, `{"schema":1,"runs":[{}]}`},
		"timings":            {`{}`, `{"schema":1,"run_id":"20261123-101502-x7k2","hosts":[{}]}`},
	} {
		for _, doc := range docs {
			if err := check(t, name, json.RawMessage(doc)); err == nil {
				t.Errorf("%s: %s fits", name, doc)
			}
		}
	}
	b, err := json.Marshal(Provision(testReport(t), codes))
	if err != nil {
		t.Fatal(err)
	}
	spoiled := strings.Replace(string(b), `"variance_pct"`, `"variance"`, 1)
	if err := check(t, "provision", json.RawMessage(spoiled)); err == nil {
		t.Error("a document with a misspelt field fits")
	}
}
