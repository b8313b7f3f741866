package report

import (
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestDownloads(t *testing.T) {
	r := NewHostRecord("run", "web1", Limits{})
	if r.Downloads() != nil {
		t.Error("downloads out of nothing")
	}
	const s = int64(time.Second)
	events := []wire.Event{
		{Kind: wire.KindStart, Start: &wire.Start{Phases: []wire.PhaseHead{{ID: "a", Steps: []string{"x"}}, {ID: "b", Steps: []string{"y"}}}}},
		{Kind: wire.KindWait, T: 1 * s, Phase: "a", Step: "a/x", Wait: &wire.Wait{For: wire.WaitDownloads}},
		{Kind: wire.KindWait, T: 3 * s, Phase: "a", Step: "a/x", Wait: &wire.Wait{For: wire.WaitDownloads, Done: true}},
		{Kind: wire.KindFetched, T: 3 * s, Phase: "a", Step: "a/x", Fetched: &wire.Fetched{Files: 2, Bytes: 4e6, Elapsed: 3 * time.Second}},
		// Beside it, and on when the step installs; 1 s of it lies in the wait.
		{Kind: wire.KindFetched, T: 7 * s, Phase: "b", Step: "b/y", Fetched: &wire.Fetched{Files: 3, Bytes: 6e6, Elapsed: 5 * time.Second, Ahead: true}},
	}
	for i := range events {
		r.Apply(&events[i])
	}
	want := Downloads{Files: 5, Bytes: 10e6, Ahead: 3, Took: 7 * time.Second, Waited: 2 * time.Second, Beside: 5 * time.Second}
	if got := r.Downloads(); got == nil || *got != want || r.Strange != 0 {
		t.Fatalf("%+v, want %+v (strange: %d)", got, want, r.Strange)
	}
	text := want.Text()
	for _, part := range []string{"5 packages, 10.0 MB", "3 of them before", "5.0s of that ran beside", "waited 2.0s"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	// A host's claims stay within bounds.
	r.Apply(&wire.Event{Kind: wire.KindFetched, T: 1, Step: "b/y", Fetched: &wire.Fetched{Files: -1, Bytes: -1, Elapsed: -time.Hour}})
	r.Apply(&wire.Event{Kind: wire.KindFetched, T: 1, Step: "b/y", Fetched: &wire.Fetched{Files: 1 << 60, Bytes: 1 << 62, Elapsed: 1 << 62}})
	if got := r.Downloads(); got.Bytes < 0 || got.Files < 0 || got.Took < 0 || got.Beside < 0 || got.Waited < 0 {
		t.Errorf("%+v", got)
	}
}
