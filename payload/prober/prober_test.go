//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var all []float64
	var h, half histogram
	for i := range 100000 {
		d := time.Duration(math.Exp(r.NormFloat64()*2+11)) + 1
		all = append(all, float64(d)/1e3)
		if i%2 == 0 {
			h.add(d)
		} else {
			half.add(d)
		}
	}
	h.merge(&half)
	slices.Sort(all)
	for name, share := range map[string]float64{"p50_us": 0.5, "p95_us": 0.95, "p99_us": 0.99} {
		want, got := all[int(math.Ceil(share*float64(len(all))))-1], h.percentiles()[name]
		if math.Abs(got/want-1) > 0.016 {
			t.Errorf("%s is %g, it was counted as %g", name, want, got)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 127, 128, math.MaxInt64} {
		h.add(d) // no duration is outside of it
	}
	if last := bucket(math.MaxInt64); last >= len(h.counts) {
		t.Errorf("the longest duration is in bucket %d of %d", last, len(h.counts))
	}
	if (&histogram{}).percentiles() != nil {
		t.Error("percentiles of nothing")
	}
}

func TestChangePoint(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	level := func(n int, mean, noise float64) (out []stretch) {
		for range n {
			out = append(out, stretch{mean * (1 + noise*r.NormFloat64()), 1})
		}
		return out
	}
	for _, c := range []struct {
		name      string
		log       []stretch
		rise, at  int // one more or less is as good; 0: none
		isNowhere bool
	}{
		{name: "steady", log: level(240, 100, 0.03), isNowhere: true},
		{name: "a little slower", log: append(level(100, 100, 0.02), level(140, 90, 0.02)...), isNowhere: true},
		{name: "faster later", log: append(level(100, 50, 0.02), level(140, 100, 0.02)...), isNowhere: true},
		{name: "credits end", log: append(level(90, 100, 0.05), level(150, 40, 0.05)...), at: 90},
		{name: "they end at once", log: append(level(8, 100, 0.02), level(232, 30, 0.02)...), at: 8},
		{name: "they end behind a stronger rise", log: slices.Concat(level(60, 20, 0.03), level(60, 100, 0.03), level(120, 75, 0.03)), rise: 60, at: 120},
		{name: "behind two", log: slices.Concat(level(60, 5, 0.03), level(30, 50, 0.03), level(60, 100, 0.03), level(90, 80, 0.03)), rise: 90, at: 150},
		{name: "it rises and stays", log: slices.Concat(level(60, 20, 0.03), level(60, 100, 0.03), level(120, 95, 0.03)), isNowhere: true},
		{name: "too short to say", log: level(9, 100, 0.01), isNowhere: true},
		{name: "nothing", log: nil, isNowhere: true},
	} {
		from, at := changePoint(c.log)
		if c.isNowhere && at != 0 || !c.isNowhere && (max(at, c.at)-min(at, c.at) > 1 || max(from, c.rise)-min(from, c.rise) > 1) {
			t.Errorf("%s: from %d, at %d", c.name, from, at)
		}
	}
}

// TestSteadyHasNoEnd: noise alone is no end of credits, however it falls.
func TestSteadyHasNoEnd(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		log := make([]stretch, 240)
		for i := range log {
			log[i] = stretch{100 * (1 + 0.08*r.NormFloat64()), 1}
		}
		if _, at := changePoint(log); at != 0 {
			t.Fatalf("at %d: %v", at, log)
		}
	}
}

// TestSustained: two levels are two metrics, and their mean is none. What is
// said in seconds took so many, also where a stretch was longer than one.
func TestSustained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := sustained{probe{metric: "cpu/burst/all", unit: "ops/s", better: "higher"}, probe{metric: "cpu/sustained/all", unit: "ops/s", better: "higher"},
			func(_ context.Context, _ time.Duration, tell func(float64)) error {
				for _, level := range []struct{ rate, seconds float64 }{{100, 1.5}, {20, 3}} {
					for range 60 {
						time.Sleep(time.Duration(level.seconds * float64(time.Second)))
						tell(level.rate)
					}
				}
				return nil
			}}
		if err := s.run(t.Context(), &printer{to: &out}, wire.ProbeAt{Metric: "cpu/burst/all", N: 1, Of: 1}, time.Minute); err != nil {
			t.Fatal(err)
		}
		got := map[string]wire.ProbeSample{}
		for line := range strings.Lines(out.String()) {
			var p wire.ProbeLine
			if err := json.Unmarshal([]byte(line), &p); err != nil {
				t.Fatal(err)
			}
			if p.Got != nil {
				got[p.Got.Metric] = *p.Got
				if p.Got.Note != "credits exhausted after 90 s" {
					t.Errorf("note %q", p.Got.Note)
				}
			}
		}
		burst, level := got["cpu/burst/all"], got["cpu/sustained/all"]
		if len(got) != 2 || burst.Value != 100 || burst.Seconds != 90 || level.Value != 20 || level.Seconds != 180 {
			t.Errorf("%+v", got)
		}
	})
}

// TestLongStretches: a rate is that of the time it lasted for.
func TestLongStretches(t *testing.T) {
	if r := rateOf([]stretch{{100, 1}, {10, 9}}); r != 19 {
		t.Errorf("%g", r)
	}
}

// TestSustainedOrder: the order of what is measured for minutes hangs on the
// seed alone, and on the seed indeed.
func TestSustainedOrder(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(20) {
		order := ""
		for range 5 {
			now := ""
			for _, s := range (&disk{}).sustained(seed) {
				now += s.level.metric + " "
			}
			if order != "" && now != order {
				t.Fatalf("seed %d: %q, then %q", seed, order, now)
			}
			order = now
		}
		orders[order] = true
	}
	if len(orders) != 2 {
		t.Errorf("%v", orders)
	}
}

func TestFileSize(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct{ want, free, total, size int64 }{
		{2 * gib, 100 * gib, 200 * gib, 2 * gib},
		{2 * gib, 5 * gib, 20 * gib, gib},                       // a fifth of what is free
		{2 * gib, 20*gib*12/100 + 100*mib, 20 * gib, 100 * mib}, // a tenth stays free, and some
		{2 * gib, 2 * gib, 20 * gib, 0},
		{2 * gib, 0, 20 * gib, 0},
		{32 * mib, 100 * gib, 200 * gib, 0},
	} {
		size, err := fileSize(c.want, c.free, c.total)
		if size != c.size || (err == nil) != (c.size > 0) {
			t.Errorf("%d wanted, %d of %d free: %d, %v", c.want, c.free, c.total, size, err)
		}
		if size > 0 && c.free-size-c.total/100 < c.total*keepPct/100 {
			t.Errorf("%d wanted: under %d %% stay free when others write 1 %%", c.want, keepPct)
		}
	}
}

// TestFreshBlocks: no sector is written twice, and most of it stays noise.
func TestFreshBlocks(t *testing.T) {
	d := &disk{}
	block := bytes.Repeat([]byte{0xA5}, 4*sector)
	seen := map[string]bool{}
	for range 100 {
		d.freshen(block)
		for part := range slices.Chunk(block, sector) {
			seen[string(part)] = true
		}
	}
	if len(seen) != 400 || bytes.Count(block, []byte{0xA5}) != 4*(sector-8) {
		t.Errorf("%d sectors of 400 differ; %d bytes are noise", len(seen), bytes.Count(block, []byte{0xA5}))
	}
}

func TestMemoryIsNoDisk(t *testing.T) {
	if kind := filesystem("/dev/shm"); kind != "tmpfs" {
		t.Skipf("/dev/shm is a %s here", kind)
	}
	if _, err := openDisk(t.Context(), "/dev/shm", 1<<30, 1); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("%v", err)
	}
}

// TestChase: the walk goes through every line of memory before it comes back.
func TestChase(t *testing.T) {
	const lines = 1000
	c := &chase{mem: make([]uint64, lines*wordsPerLine)}
	c.lay(7)
	seen := map[uint64]bool{}
	for range lines {
		seen[c.at] = true
		c.follow(1)
	}
	if len(seen) != lines || c.at != 0 {
		t.Errorf("%d of %d lines in a round, back at %d", len(seen), lines, c.at)
	}
}

func TestBufferSize(t *testing.T) {
	for _, c := range []struct{ cache, free, want int }{
		{32 * mib, 100 << 30, 128 * mib}, {1 * mib, 100 << 30, 64 * mib}, {512 * mib, 100 << 30, 1 << 30},
		{16 * mib, 200 * mib, 40 * mib}, {32 * mib, 200 * mib, 0},
	} {
		if got, err := bufferSize(c.cache, c.free); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("cache of %d MiB, %d MiB free: %d MiB, %v", c.cache/mib, c.free/mib, got/mib, err)
		}
	}
}

func TestMultiply(t *testing.T) {
	const n = 5
	a, b, c := numbers(1, n*n), numbers(2, n*n), numbers(3, n*n)
	multiply(a, b, c, n)
	for i := range n {
		for j := range n {
			want := 0.0
			for k := range n {
				want += a[i*n+k] * b[k*n+j]
			}
			if math.Abs(c[i*n+j]-want) > 1e-12 {
				t.Errorf("row %d, column %d: %g, want %g", i, j, c[i*n+j], want)
			}
		}
	}
}

// TestFixedWork: the same seed is the same work, another one is other work.
func TestFixedWork(t *testing.T) {
	if !bytes.Equal(words(1, 9999), words(1, 9999)) || bytes.Equal(words(1, 9999), words(2, 9999)) {
		t.Error("words do not follow their seed")
	}
	if !slices.Equal(numbers(1, 99), numbers(1, 99)) || slices.Equal(numbers(1, 99), numbers(2, 99)) {
		t.Error("numbers do not follow their seed")
	}
}

// TestSessionsDoTheSameWork: what a probe computes is the same whatever the
// session's seed, and so are the places on a disk, others in every use.
func TestSessionsDoTheSameWork(t *testing.T) {
	found := map[uint64]map[string]uint64{}
	for _, seed := range []uint64{1, 2} {
		probes, _, release, err := prepare(t.Context(), &printer{to: io.Discard}, options{only: map[string]bool{"cpu": true}, seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		found[seed] = map[string]uint64{}
		for _, pr := range probes {
			if slices.Contains([]string{"cpu/sha256/1", "cpu/matrix/1", "cpu/sort/1"}, pr.metric) {
				if _, err := pr.measure(t.Context(), 0, 1); err != nil { // two calls: one is the ramp's
					t.Fatal(err)
				}
				found[seed][pr.metric] = sink.Load()
			}
		}
		release()
	}
	if len(found[1]) != 3 || !maps.Equal(found[1], found[2]) {
		t.Errorf("%v", found)
	}
	var places [2][]int64
	for session := range places {
		d := &disk{size: 1 << 30}
		for range 2 {
			place := d.places(patterns[3])
			for range 5 {
				places[session] = append(places[session], place())
			}
		}
	}
	if !slices.Equal(places[0], places[1]) || slices.Equal(places[0][:5], places[0][5:]) {
		t.Errorf("places %v", places)
	}
}

func TestBusiest(t *testing.T) {
	before := processes{{1, 10}: {name: "init", ticks: 500}, {7, 20}: {name: "old", ticks: 100}}
	later := processes{{1, 10}: {name: "init", ticks: 501}, {7, 99}: {name: "new one) R", ticks: 60}, {8, 30}: {name: "new", ticks: 20}}
	if got := before.busiest(later, time.Second); got != "new one) R (pid 7) used 60 % of a core" {
		t.Errorf("%q", got)
	}
	if got := before.busiest(later, 10*time.Second); got != "" { // 6 % of a core disturb nobody
		t.Errorf("%q", got)
	}
	id, u, ok := parseStat(5, "5 (a) b) S 1 2 3 4 5 4194560 7 8 9 10 30 12 0 0 20 0 1 0 777 0 0")
	if !ok || id != (process{5, 777}) || u.name != "a) b" || u.ticks != 42 || u.kernel {
		t.Errorf("%+v %+v %v", id, u, ok)
	}
	for _, bad := range []string{"", "5 (a", "5 (a) S 1 2", ")("} {
		if _, _, ok := parseStat(5, bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

// TestKernelWorksForUs: what a thread of the kernel does while we measure is our
// own load, also where it is the most.
func TestKernelWorksForUs(t *testing.T) {
	before, later := processes{}, processes{}
	for pid, ticks := range map[int][2]int{300: {10, 90}, 301: {5, 25}} {
		flags := map[int]string{300: "2129984", 301: "4194304"}[pid] // a raid's thread, as the kernel shows it; a program
		for i, all := range []processes{before, later} {
			id, u, ok := parseStat(pid, fmt.Sprintf("%d (p%d) S 2 0 0 0 -1 %s 0 0 0 0 0 %d 0 0 20 0 1 0 50 0 0", pid, pid, flags, ticks[i]))
			if !ok {
				t.Fatal("a line was not read")
			}
			all[id] = u
		}
	}
	if got := before.busiest(later, time.Second); !strings.HasPrefix(got, "p300 ") { // before we measure it may disturb
		t.Errorf("of all: %q", got)
	}
	if got := before.busiest(later.programs(), time.Second); got != "p301 (pid 301) used 20 % of a core" {
		t.Errorf("of programs: %q", got)
	}
	if len(later) != 2 {
		t.Error("the readings themselves were changed")
	}
}

// TestMeasure: a short session of the CPU prints a host, every probe as often as
// asked, and an end; in another order for another seed.
func TestMeasure(t *testing.T) {
	orders := map[string]bool{}
	for _, seed := range []string{"1", "2"} {
		var out bytes.Buffer
		if err := measure(t.Context(), &printer{to: &out}, []string{"--only", "cpu", "--each", "50ms", "--repeats", "2", "--quiet", "0s", "--seed", seed}); err != nil {
			t.Fatal(err)
		}
		count, order, ends := map[string]int{}, "", 0
		for line := range strings.Lines(out.String()) {
			var p wire.ProbeLine
			if err := json.Unmarshal([]byte(line), &p); err != nil {
				t.Fatal(err)
			}
			if p.Got != nil {
				count[p.Got.Metric]++
				order += p.Got.Metric + " "
				if p.Got.Value <= 0 || p.Got.Seconds <= 0 {
					t.Errorf("%+v", p.Got)
				}
			}
			if p.End != nil {
				ends++
			}
		}
		if len(count) != 8 || ends != 1 {
			t.Errorf("%d metrics, %d ends: %v", len(count), ends, count)
		}
		for metric, n := range count {
			if n != 2 {
				t.Errorf("%s was measured %d times", metric, n)
			}
		}
		orders[order] = true
	}
	if len(orders) != 2 {
		t.Error("two seeds, one order")
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range [][]string{{"--only", "gpu"}, {"--repeats", "0"}, {"--each", "1ms"}, {"--nonsense"}} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
