package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recorded is a line of a journal and the event in it.
type recorded struct {
	raw []byte
	e   wire.Event
}

func journal(t testing.TB, name string) []recorded {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return parseJournal(t, b)
}

func parseJournal(t testing.TB, b []byte) []recorded {
	t.Helper()
	var list []recorded
	r := wire.NewReader(bytes.NewReader(b))
	for {
		raw, e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, recorded{bytes.Clone(raw), e})
	}
}

const testRun = "20261123-101502-x7k2"

func foldAll(host string, events []recorded) *HostRecord {
	r := NewHostRecord(testRun, host, Limits{})
	for i := range events {
		r.Apply(&events[i].e)
	}
	return r
}

// testReport is a fleet: one host failed, one had nothing to do, one was out of
// reach, one was never started.
func testReport(t testing.TB) *Report {
	t.Helper()
	offset := -7.25
	run := Run{Schema: Schema, ID: testRun, Verb: "provision", Argv: []string{"provision", "-l", "web*"}, Version: "0.1.0",
		Inventory: "/home/ann/vps/inventory.yaml", Phases: []string{"system-prep", "user-creation", "dev-tools", "verification"},
		Started: time.Date(2026, 11, 23, 10, 15, 2, 500e6, time.UTC), Finished: time.Date(2026, 11, 23, 10, 17, 2, 250e6, time.UTC),
		Hosts: []HostRun{
			{Host: "web1", Address: "203.0.113.10", User: "root", DialSec: 0.182, UploadSec: 1.1, Redials: 1},
			{Host: "web2", Address: "203.0.113.11", User: "root", DialSec: 0.21, ClockOffsetSec: &offset},
			{Host: "web3", Address: "203.0.113.12", Error: &HostError{Kind: Unreachable, Stage: "dial",
				Message: "web3: dial 203.0.113.12:22: no route to host", Hint: "is the host up? vpsctl ping --wait 10m -l web3"}},
			{Host: "web4", Address: "203.0.113.13", Status: wire.NotReached},
		}}
	recs := []*HostRecord{foldAll("web1", journal(t, "web1.jsonl")), foldAll("web2", journal(t, "web2.jsonl")), nil, nil}
	return NewReport(run, "/home/ann/.local/state/vpsctl/runs/"+testRun, recs)
}

// codes stands for the program's table.
func codes(o Outcome) int {
	return map[Outcome]int{Done: 0, PreflightFailed: 1, PhaseFailed: 2, RollbackFailed: 3, VerificationFailed: 4, BadUsage: 5,
		NoRights: 6, Unreachable: 7, Drift: 8, Locked: 9, Mixed: 10, LocalFault: 11, Cancelled: 130}[o]
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what it was (-want +got); -update writes it anew:\n%s", name, diff)
	}
}
