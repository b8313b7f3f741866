//go:build unix

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vpsctl/vpsctl/bench"
)

// A madeHost is what a made-up host goes through: metrics vary by noise between
// sessions, and less within one.
type madeHost struct {
	host                    string
	sessions, perDay        int
	seed                    uint64
	at                      time.Time
	noise                   float64
	slow                    float64 // times as long, for the metrics that begin so
	slows                   string
	cpu, kernel, group, out string
	plan                    string
	depth                   bench.Depth
	base                    float64
}

var lifeMetrics = []struct {
	name, unit string
	better     bench.Direction
	value      float64
}{
	{"cpu/sha256/1", "ops/s", bench.Higher, 8e6}, {"cpu/sort/all", "Mkeys/s", bench.Higher, 55},
	{"memory/latency", "ns", bench.Lower, 92}, {"disk/read-1m/qd8", "MB/s", bench.Higher, 640},
	{"disk/write-1m/qd8", "MB/s", bench.Higher, 410}, {"disk/fdatasync-4k/qd1", "IOPS", bench.Higher, 1900},
}

// session is the n-th one of a made-up host.
func (l madeHost) session(n int) bench.Session {
	r := rand.New(rand.NewPCG(l.seed, uint64(n)))
	at := l.at.AddDate(0, 0, n/l.perDay).Add(time.Duration(n%l.perDay) * 9 * time.Hour)
	s := bench.Session{ID: fmt.Sprintf("%s-%s", at.UTC().Format("20060102-150405"), fmt.Sprintf("%04x", l.seed)[:4]), Host: l.host, Start: at, Took: 9 * time.Minute, Depth: l.depth, Seed: l.seed,
		Epoch: bench.Epoch{CPUModel: l.cpu, Cores: 2, MemoryMB: 4096, Disk: "QEMU HARDDISK", Virt: "kvm", Method: 1}, Excluded: l.out,
		Notes: bench.Notes{Hostname: l.host, Kernel: l.kernel, Prober: "abc", PeerGroup: l.group, DiskGB: 40}}
	if l.plan != "" {
		s.Notes.Provider, s.Notes.Plan, s.Notes.Region, s.Notes.Mirror = "hetzner", l.plan, "fsn1", "mirror.example"
	}
	for _, k := range lifeMetrics {
		m := bench.Metric{Name: k.name, Unit: k.unit, Better: k.better, Seconds: 24}
		middle := k.value * l.base * math.Exp(l.noise*r.NormFloat64())
		if l.slows != "" && strings.HasPrefix(k.name, l.slows) {
			middle *= map[bench.Direction]float64{bench.Higher: 1 / l.slow, bench.Lower: l.slow}[k.better]
		}
		for range 3 {
			m.Values = append(m.Values, middle*math.Exp(l.noise/5*r.NormFloat64()))
		}
		m.Median = max(min(m.Values[0], m.Values[1]), min(max(m.Values[0], m.Values[1]), m.Values[2]))
		s.Metrics = append(s.Metrics, m)
	}
	return s
}

// writeHistory is `history HOST [sessions=N] [from=DATE] [slow=PREFIX:TIMES] …`:
// sessions of a made-up host are added to those kept here.
func writeHistory(ts *testscript.TestScript, neg bool, args []string) {
	l := madeHost{host: args[0], sessions: 1, perDay: 2, seed: 7, at: time.Date(2026, 9, 1, 6, 0, 0, 0, time.UTC), noise: 0.03, cpu: "AMD EPYC 7", kernel: "6.12.1", depth: bench.Default, base: 1}
	for _, a := range args[1:] {
		key, v, _ := strings.Cut(a, "=")
		var err error
		switch key {
		case "sessions":
			l.sessions, err = strconv.Atoi(v)
		case "perday":
			l.perDay, err = strconv.Atoi(v)
		case "seed":
			l.seed, err = strconv.ParseUint(v, 10, 64)
		case "from":
			l.at, err = time.Parse(time.DateOnly, v)
			l.at = l.at.Add(6 * time.Hour)
		case "noise":
			l.noise, err = strconv.ParseFloat(v, 64)
		case "base":
			l.base, err = strconv.ParseFloat(v, 64)
		case "slow":
			prefix, times, _ := strings.Cut(v, ":")
			l.slows = prefix
			l.slow, err = strconv.ParseFloat(times, 64)
		case "cpu":
			l.cpu = v
		case "kernel":
			l.kernel = v
		case "group":
			l.group = v
		case "plan":
			l.plan = v
		case "excluded":
			l.out = strings.ReplaceAll(v, "_", " ")
		case "depth":
			l.depth = bench.Depth(v)
		default:
			ts.Fatalf("history: %s?", a)
		}
		ts.Check(err)
	}
	store := bench.Store{Dir: filepath.Join(ts.Getenv("XDG_STATE_HOME"), "vpsctl", "bench")}
	for n := range l.sessions {
		ts.Check(store.Append(l.session(n)))
	}
}
