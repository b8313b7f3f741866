package main

import (
	"bytes"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/inventory"
)

// benchCall is `vpsctl bench run` with these flags.
func benchCall(t *testing.T, args ...string) *call {
	t.Helper()
	set := flag.NewFlagSet("run", flag.ContinueOnError)
	for _, f := range benchCommand().Subcommands[0].Flags {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &call{Context: cli.NewContext(nil, set, nil)}
}

// TestBenchSustained: only a thorough session has the host measure for minutes on
// end, also where its repeats are others than usual.
func TestBenchSustained(t *testing.T) {
	for flags, want := range map[string]string{
		"":                                  "",
		"--quick":                           "",
		"--repeats 5":                       "",
		"--quick --each 2s":                 "",
		"--thorough":                        "4m0s",
		"--thorough --repeats 5 --each 20s": "4m0s",
	} {
		k := benchCall(t, strings.Fields(flags)...)
		m, err := k.measuring()
		if err != nil {
			t.Fatalf("%q: %v", flags, err)
		}
		args, got := m.plan(k, "20261123-101502-x7k2", inventory.Host{Name: "alpha"}).Phases[0].Steps[0].Run.Args, ""
		if i := slices.Index(args, "--sustained"); i >= 0 && i+1 < len(args) {
			got = args[i+1]
		}
		if got != want {
			t.Errorf("%q: the prober gets %q, want --sustained %q", flags, args, want)
		}
	}
}

// TestNetTraffic: what is said before is what the last session's rates come to in
// the time there is, within what each path is allowed, and the most it can be.
func TestNetTraffic(t *testing.T) {
	state := t.TempDir()
	store := bench.Store{Dir: filepath.Join(state, "bench")}
	keep := func(host string, day int, rates map[string]float64) {
		s := bench.Session{ID: "x", Host: host, Depth: bench.Default, Start: time.Date(2026, 9, day, 8, 0, 0, 0, time.UTC)}
		for name, v := range rates {
			unit := "Mbit/s"
			if strings.HasSuffix(name, "rtt") {
				unit = "us"
			}
			s.Metrics = append(s.Metrics, bench.Metric{Name: name, Unit: unit, Better: bench.Higher, Values: []float64{v}, Median: v})
		}
		if err := store.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	const once = 8 * 1.048576 / 4 // Mbit/s that come to 1 MiB within 4 s
	const mib = once / 3          // and within three times that
	keep("alpha", 1, map[string]float64{"net/mirror/a/8": 90 * mib})
	keep("alpha", 2, map[string]float64{"net/mirror/a/8": 10 * mib, "net/ssh/to-host": 2 * once, "net/ssh/rtt": 1e9, "net/peer/beta/up/1": 20 * mib, "disk/read-1m/qd8": 500})
	keep("alpha", 3, map[string]float64{"disk/read-1m/qd8": 500}) // knows nothing of the network
	keep("beta", 2, map[string]float64{"net/mirror/a/1": 1e6, "net/ssh/to-host": 1e6, "net/peer/alpha/up/8": 1e6})
	hosts := func(names ...string) (out []inventory.Host) {
		for _, name := range names {
			out = append(out, inventory.Host{Name: name})
		}
		return out
	}
	m := &measuring{each: 8 * time.Second, repeats: 3}
	for _, c := range []struct {
		hosts []inventory.Host
		flags string
		want  string
	}{
		{hosts("gamma"), "", "at most 1024.0 MiB per host (--net-bytes)"},
		{hosts("alpha"), "", "about 12.0 MiB at the rates of last time, at most 1024.0 MiB per host (--net-bytes)"},
		{hosts("alpha", "gamma"), "", "about 52.0 MiB at the rates of last time (known of 1 of 2 hosts), at most 1024.0 MiB per host (--net-bytes)"},
		{hosts("alpha", "gamma"), "--against", "about 92.0 MiB at the rates of last time (known of 1 of 2 hosts), at most 1024.0 MiB per host (--net-bytes)"},
		// A fast line's bytes are bounded: a tenth stays for headers.
		{hosts("alpha", "beta"), "--net-bytes=52428800", "about 41.4 MiB to 42.2 MiB at the rates of last time, at most 50.0 MiB per host (--net-bytes)"},
	} {
		k := benchCall(t, append(strings.Fields(c.flags), "--state-dir="+state)...)
		if got := m.netTraffic(k, c.hosts); got != c.want {
			t.Errorf("%d hosts %s: %q, want %q", len(c.hosts), c.flags, got, c.want)
		}
	}
}

// TestBenchText: what was not measured is said in the words that people look for,
// and beside the figures stands what neighbours took and how fast the CPU ran.
func TestBenchText(t *testing.T) {
	doc := benchDoc{Sessions: []bench.Session{{Host: "alpha", Around: bench.Conditions{StealPct: 1.24, MHz: 2400, PSICPU: -1}, Epoch: bench.Epoch{Cores: 2},
		Metrics: []bench.Metric{
			{Name: "cpu/sha256/1", Unit: "ops/s", Values: []float64{1, 1}, Median: 1, Steal: []float64{0, 7.51}, MHz: []float64{2300, 2500}},
			{Name: "net/ssh/to-host", Unit: "Mbit/s", Values: []float64{9}, Median: 9}},
		Skipped: []string{"sustained: only --thorough lasts long enough to see credits end", "net/peer/b: not measurable: firewall", "disk"}}}}
	var b bytes.Buffer
	if err := doc.text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sustained: not measured: only --thorough", "net/peer/b: not measurable: firewall", "] disk: not measured\n",
		"1.2 % of the CPU time was stolen by neighbours, 7.5 % while cpu/sha256/1 was measured", "the CPU ran at 2400 MHz in the mean, 2300 to 2500 in single repeats"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}
