package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseIperf3(t *testing.T) {
	part := func(seconds, bytes float64) string {
		return fmt.Sprintf(`{"streams":[],"sum":{"start":0,"seconds":%g,"bytes":%g,"bits_per_second":1,"omitted":false,"sender":true}}`, seconds, bytes)
	}
	parts := slices.Concat(slices.Repeat([]string{part(0.1, 9e6)}, 6), slices.Repeat([]string{part(0.1, 2.5e6)}, 13), []string{part(0.1, 1e3)})
	slower := strings.ReplaceAll(strings.Join(parts, ","), "2.5e+06", "1.25e+06")
	said := `{"server_output_json":{"intervals":[` + slower + `]},"start":{"version":"iperf 3.18"},"intervals":[` + strings.Join(parts, ",") + `],"end":{"sum_sent":{"retransmits":7}}}`
	got, err := parseIperf3([]byte(said), "up") // arrived there
	if err != nil || math.Abs(got.Value-100) > 1e-6 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = parseIperf3([]byte(said), "down")
	if err != nil || math.Abs(got.Value-200) > 1e-6 || math.Abs(got.Seconds-1.3) > 1e-6 || got.Bytes != 32500000 || got.Unit != "Mbit/s" ||
		got.Note != "iperf 3.18, as many bytes as our own, 7 segments sent again" {
		t.Errorf("%+v, %v", got, err)
	}
	wrong := func(p string) string {
		return `{"intervals":[` + strings.Join(slices.Repeat([]string{p}, 9), ",") + `]}`
	}
	for text, want := range map[string]string{
		`{"start":{},"error":"interrupt - the server has terminated"}`: "the server has terminated",
		`iperf3: error`:         "iperf3 said",
		``:                      "iperf3 said",
		wrong(part(0.1, 1e300)): "1e+300",
		wrong(part(0.1, -1)):    "-1",
		wrong(part(0, 1)):       "in 0 s",
		`{"intervals":[{}]}`:    "before a rate could be seen",
	} {
		if _, err := parseIperf3([]byte(text), "down"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestIperfWhy: why iperf3 failed gets through, wherever it says so.
func TestIperfWhy(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a host's shell is needed")
	}
	dir := t.TempDir()
	long := strings.Repeat(" ", 5000)
	fake := "#!/bin/sh\necho '{\"start\":{},\"intervals\":[]," + long + "\"error\":\"unable to connect: refused\"}'\necho odd >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "iperf3"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"port": "1", "long": "9", "bytes": "1", "streams": "1", "reverse": ""}
	cmd := exec.Command("/bin/sh", "-c", set(iperfScript, vars, "ask", "192.0.2.1"))
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatal(err)
	}
	_, said := parseIperf3(out, "up")
	why := whyIperf3(exit.ExitCode(), said, string(exit.Stderr)).Error()
	for _, want := range []string{"ended with 1", "unable to connect: refused", "odd"} {
		if !strings.Contains(why, want) {
			t.Errorf("%q is not in %q", want, why)
		}
	}
}

// TestNetBudget: all that is measured, by this host and with it as a peer, stays
// under what was allowed.
func TestNetBudget(t *testing.T) {
	const most = 1 << 30
	for _, against := range []bool{false, true} {
		b := budgetOf(most, true, against)
		each := b.peer
		if against {
			each *= 2
		}
		if sum := b.mirror + b.ssh + 2*each; sum > most || sum < most*8/10 {
			t.Errorf("against %v: %d of %d bytes", against, sum, most)
		}
	}
	if b := budgetOf(most, false, true); b.mirror+b.ssh > most || b.peer != 0 {
		t.Errorf("alone: %+v", b)
	}
}

// TestNetEstimate: what is said before is not less than what it will be.
func TestNetEstimate(t *testing.T) {
	m := &measuring{each: 8 * time.Second, repeats: 3}
	for _, c := range []struct {
		hosts         int
		against       bool
		probes, times int
	}{{1, false, 8, 12}, {1, true, 8, 12}, {2, false, 13, 25}, {20, true, 17, 37}} {
		if n, took := m.netEstimate(c.hosts, c.against); n != c.probes || took != time.Duration(c.times)*4*time.Second {
			t.Errorf("%d hosts, against %v: %d probes, %s", c.hosts, c.against, n, took)
		}
	}
}

// TestPairTakes: a peer listens while all repeats of all rates are measured, and
// for no longer than its prober would, whatever was asked for.
func TestPairTakes(t *testing.T) {
	for _, each := range []time.Duration{50 * time.Millisecond, 800 * time.Millisecond, 8 * time.Second, 10 * time.Minute} {
		for _, repeats := range []int{1, 3, 100} {
			m := &measuring{each: each, repeats: repeats}
			for against, times := range map[bool]int{false: 4, true: 8} {
				took := time.Duration(times*m.netRepeats()) * m.netEach()
				if long := m.pairTakes(against); long < took+time.Minute || long > 10*time.Minute {
					t.Errorf("%d repeats of %s, against %v: %s, the rates take %s", repeats, each, against, long, took)
				}
			}
		}
	}
	if m := (&measuring{each: 800 * time.Millisecond, repeats: 3}); m.netEach() != time.Second || m.netRepeats() != 3 {
		t.Errorf("%d repeats of %s", m.netRepeats(), m.netEach())
	}
}

// TestIperfMovesWhatOursDid: as many bytes as all repeats of a rate, at once.
func TestIperfMovesWhatOursDid(t *testing.T) {
	ours := ""
	for _, g := range []string{"rtt us 410", "up/8 Mbit/s 5", "down/1 Mbit/s 7", "up/8 Mbit/s 6", "down/1 Mbit/s 70", "up/1 Mbit/s 0"} {
		f := strings.Fields(g)
		ours += fmt.Sprintf(`{"got":{"metric":%q,"unit":%q,"better":"higher","value":1,"seconds":1,"bytes":%s}}`+"\n", f[0], f[1], f[2])
	}
	got := ""
	for _, r := range together([]byte(ours + `{"skip":{"what":"down/8","why":"over"}}` + "\n")) {
		got += fmt.Sprintf("%s %d, ", r.Metric, r.Bytes)
	}
	if got != "up/8 11, down/1 77, " {
		t.Error(got)
	}
}
