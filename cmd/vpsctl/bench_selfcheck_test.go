package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/bench"
)

// keepHistory gives a host a history of quiet days, two sessions each.
func keepHistory(t *testing.T, store bench.Store, host string, sessions int) {
	t.Helper()
	for i := range sessions {
		v := 800 + float64(i*37%41) // the same values always, in no order
		s := bench.Session{Schema: bench.SchemaSession, ID: fmt.Sprint(i), Host: host, Depth: bench.Default,
			Start:   time.Date(2026, 9, 1+i/2, 8+9*(i%2), 0, 0, 0, time.UTC),
			Metrics: []bench.Metric{{Name: "disk/read-1m/qd8", Unit: "MB/s", Better: bench.Higher, Values: []float64{v}, Median: v}}}
		if err := store.Append(s); err != nil {
			t.Fatal(err)
		}
	}
}

func selfcheck(t *testing.T, state string, args ...string) (code int, out, said string) {
	t.Helper()
	var result, talk bytes.Buffer
	code = Main(t.Context(), append([]string{"bench", "selfcheck", "--state-dir", state}, args...), streams{strings.NewReader(""), &result, &talk})
	return code, result.String(), talk.String()
}

// TestBenchSelfcheck splits histories that are there, says why where they are too
// short, and refuses what nobody has measured.
func TestBenchSelfcheck(t *testing.T) {
	state := t.TempDir()
	if code, out, _ := selfcheck(t, state); code != 0 || !strings.Contains(out, "No host has been measured") {
		t.Errorf("%d %s", code, out)
	}
	store := bench.Store{Dir: filepath.Join(state, "bench")}
	keepHistory(t, store, "alpha", 44)
	keepHistory(t, store, "beta", 10)
	code, out, _ := selfcheck(t, state, "--splits", "300")
	for _, want := range []string{"alpha", "44", "22", "20 v 8", "0 of 300", "beta", "too few days: 10 sessions", "none of 300 splits"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, want %q in:\n%s", code, want, out)
		}
	}
	var doc selfcheckDoc
	code, out, _ = selfcheck(t, state, "alpha", "-o", "json", "--splits", "300", "--seed", "7")
	if err := json.Unmarshal([]byte(out), &doc); code != 0 || err != nil || len(doc.Hosts) != 1 || doc.Hosts[0].Seed != 7 || doc.Hosts[0].Metrics[0].Splits != 300 {
		t.Errorf("%d %v %s", code, err, out)
	}
	pinned, _, err := store.History("alpha")
	if err == nil {
		err = store.Freeze(pinned[34])
	}
	if code, out, _ := selfcheck(t, state, "alpha", "--splits", "300"); err != nil || code != 0 || !strings.Contains(out, "too few days: 10 sessions") || !strings.Contains(out, "before 2026-09-18") {
		t.Errorf("%v: sessions before the pinned one count: %d %s", err, code, out)
	}
	for _, wrong := range [][]string{{"gamma"}, {"--splits", "0"}} {
		if code, _, said := selfcheck(t, state, wrong...); code != exitUsage || said == "" {
			t.Errorf("%v: %d %s", wrong, code, said)
		}
	}
}
