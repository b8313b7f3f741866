//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestT139SlowedHostIsFound: a host that has become slow is told from one that has not, and a pipeline can fail of it.
// The same phase, whose work is a fixed amount of CPU time, runs three times on one host; the last time the host gets
// half the CPU time it had.
func TestT139SlowedHostIsFound(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("work", `steps:
  - name: count
    run: i=0; while [ $i -lt 800000 ]; do i=$((i+1)); done
  - name: rest
    run: sleep 0.1
`)
	v.run(0, "facts")                                  // the collector is there before anything is timed
	const share = 0.1                                  // of a core: little enough that a busy machine can give it
	v.env = append(v.env, "VPSCTL_CONNECT_TIMEOUT=1m") // so slow a host is slow at a login, too
	try(t, h.Throttle(t.Context(), share))
	t.Cleanup(func() { _ = h.Throttle(t.Context(), 0) }) // the fresh disk's next start lifts it too

	v.provision(0, "work")
	wants(t, "the first check", v.run(0, "check", "--single").out, "no baseline yet", "judged 0 of 2")
	r := v.provision(0, "work")
	if strings.Contains(r.says(), "REGRESSION") {
		t.Errorf("a host that is as it was: %s", r.says())
	}
	wants(t, "check of a host as it was", v.run(0, "check", "--single").out, "judged 2 of 2")

	try(t, h.Throttle(t.Context(), share/2))
	r = v.provision(0, "work")
	wants(t, "provision on a slowed host", r.err, "Total Time: +", "REGRESSION DETECTED!", "vpsctl check --single")
	wants(t, "check of a slowed host", v.run(8, "check", "--single").out, "[ERR]", "Phase work: +", "Total Time: +", "REGRESSION DETECTED!", "judged 2 of 2")
	wants(t, "one slow run is no verdict", v.run(0, "check").out, "INCONCLUSIVE", "judged 0 of 2")
	v.run(8, "check", "--strict")

	var doc struct {
		ExitCode int `json:"exit_code"`
		Hosts    []struct {
			Rows []struct {
				Name      string   `json:"name"`
				ChangePct *float64 `json:"change_pct"`
				Regressed bool     `json:"regressed"`
			} `json:"rows"`
		} `json:"hosts"`
	}
	try(t, json.Unmarshal([]byte(v.run(8, "check", "--single", "-o", "json").out), &doc))
	if doc.ExitCode != 8 || len(doc.Hosts) != 1 || len(doc.Hosts[0].Rows) != 2 {
		t.Fatalf("%+v", doc)
	}
	for _, row := range doc.Hosts[0].Rows {
		if row.ChangePct == nil || *row.ChangePct < 40 || *row.ChangePct > 160 || !row.Regressed {
			t.Errorf("%s: half the CPU time is %v %% slower, want about 100", row.Name, *row.ChangePct)
		}
	}
}
