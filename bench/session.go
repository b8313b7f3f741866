// Package bench holds what benchmark sessions measured, a host's history of
// them, and what may honestly be said by comparing them.
package bench

import (
	"strings"
	"time"
)

// SchemaSession names the format of one line of history.jsonl.
const SchemaSession = "vpsctl/bench-session/1"

// A Depth is how long a session measures.
type Depth string

// The depths: about 60 s a host; about 9 minutes; 10 minutes and more. Only
// thorough sessions last long enough to see a host's CPU and disk credits end.
const (
	Quick    Depth = "quick"
	Default  Depth = "default"
	Thorough Depth = "thorough"
)

// Sustains tells whether a session of this depth measures for minutes on end,
// also where its repeats were lengthened or multiplied ("thorough, 5 repeats
// of 2s").
func (d Depth) Sustains() bool { return strings.HasPrefix(string(d), string(Thorough)) }

// Session is one visit to one host: every probe, its warm-up discarded,
// repeated in random order. Its unit in every verdict is the median of a
// metric's repeats; single repeats are never pooled.
type Session struct {
	Schema  string        `json:"schema"`
	ID      string        `json:"id"` // the run's id
	Host    string        `json:"host"`
	Start   time.Time     `json:"start"` // the laptop's clock, with its zone
	Took    time.Duration `json:"took_ns"`
	Depth   Depth         `json:"depth"`
	Seed    uint64        `json:"seed"` // of the random order
	Epoch   Epoch         `json:"epoch"`
	Notes   Notes         `json:"notes"`
	Around  Conditions    `json:"conditions"`
	Metrics []Metric      `json:"metrics"`
	// Excluded says why a session is kept but no baseline counts it ("38 min
	// after a provision", "busy: load 3.1 on 2 cores", or both); empty for a good one.
	Excluded string   `json:"excluded,omitempty"`
	Skipped  []string `json:"skipped,omitempty"` // what was not measured, each with its why
}

// Epoch is what makes two sessions those of the same machine measured the
// same way. Sessions of different epochs are never compared by a verdict.
type Epoch struct {
	CPUModel string `json:"cpu_model"`
	Cores    int    `json:"cores"`
	MemoryMB int    `json:"memory_mb"` // rounded to 64 MiB: kernels keep a little more or less
	Disk     string `json:"disk"`      // model, or type of the filesystem where there is none
	Virt     string `json:"virt"`      // what systemd-detect-virt calls it
	Method   int    `json:"method"`    // raised whenever a probe measures differently
}

// Notes are facts drawn on a history and never part of an epoch: a kernel
// that costs 25 % is what must be found.
type Notes struct {
	Hostname  string `json:"hostname,omitempty"`
	Kernel    string `json:"kernel"`
	Microcode string `json:"microcode,omitempty"`
	Prober    string `json:"prober"`               // its hash
	Mirror    string `json:"mirror,omitempty"`     // the one that apt is told to use
	PeerGroup string `json:"peer_group,omitempty"` // vars.peer_group; see Group
	Provider  string `json:"provider,omitempty"`   // these three as the host's own files have them
	Plan      string `json:"plan,omitempty"`
	Region    string `json:"region,omitempty"`
	DiskGB    int    `json:"disk_gb,omitempty"` // of the measured filesystem
}

// Conditions is the state of the host while it was measured. Steal is no
// reason to discard a session: it is part of what is measured.
type Conditions struct {
	Load1    float64 `json:"load1"`         // before the first probe
	PSICPU   float64 `json:"psi_cpu_avg10"` // percent, before the first probe; -1 where the kernel has none
	StealPct float64 `json:"steal_pct"`     // mean over the session
	MHz      float64 `json:"mhz,omitempty"` // mean of all repeats, where the kernel says
	QuotaCPU float64 `json:"cpu_quota,omitempty"`
	Busy     string  `json:"busy,omitempty"` // who kept the host busy, in words; empty if nobody
}

// Metric is one measured thing. Its name is stable ("cpu/sha256/1",
// "disk/randread-4k/qd32"): histories are joined by it.
type Metric struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"` // "MB/s", "IOPS", "ops/s", "GB/s", "Mbit/s", "ns", "us", "ms"
	Better Direction `json:"better"`
	Values []float64 `json:"values"` // one per repeat, in the order taken, warm-up left out
	Median float64   `json:"median"`
	// Percentiles of single operations, by name ("p50_us", "p99_us"), where the
	// probe times each: the median of the repeats' percentiles.
	Percentiles map[string]float64 `json:"percentiles,omitempty"`
	Steal       []float64          `json:"steal_pct,omitempty"` // per repeat, where it was measured
	MHz         []float64          `json:"mhz,omitempty"`       // per repeat, where the kernel says
	Bytes       int64              `json:"bytes,omitempty"`     // moved by all repeats
	Seconds     float64            `json:"seconds,omitempty"`   // measured by all repeats
	Note        string             `json:"note,omitempty"`      // how, in words

	latency map[string][]float64 // percentiles of each repeat, until the session is whole
}

// A Direction says which way a metric gets better.
type Direction string

// The directions.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
)
