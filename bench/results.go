package bench

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxResults bounds a results.json or baseline.json in bytes.
const maxResults = 16 << 20

// SchemaResults names the format of results.json and baseline.json.
const SchemaResults = "vpsctl/bench-results/1"

// Results is results.json and baseline.json: one session's headline figures
// under the guide's keys, and all of its metrics. The guide's keys say mbps
// where the disk's numbers are MB/s; the twins name their units.
type Results struct {
	Schema    string         `json:"schema"`
	Timestamp time.Time      `json:"timestamp"`
	Session   string         `json:"session"`
	Host      string         `json:"host"`
	CPU       ResultsCPU     `json:"cpu"`
	Disk      ResultsDisk    `json:"disk_io"`
	Network   ResultsNetwork `json:"network"`
	System    ResultsSystem  `json:"system"`
	Method    ResultsMethod  `json:"method"`
	Epoch     Epoch          `json:"epoch"`
	Around    Conditions     `json:"conditions"`
	Excluded  string         `json:"excluded,omitempty"`
	Skipped   []string       `json:"skipped,omitempty"`
	Metrics   []Metric       `json:"metrics"`
}

// ResultsCPU counts SHA-256 of 64-byte blocks on one thread. Null: not measured.
type ResultsCPU struct {
	Ops    *float64 `json:"operations_per_second"`
	Spread *float64 `json:"spread_pct"` // of the repeats: largest distance from the median
}

// ResultsDisk is sequential, 1 MiB at a time, past the page cache.
type ResultsDisk struct {
	Read      *float64 `json:"read_speed_mbps"`  // MB/s, whatever the key says
	Write     *float64 `json:"write_speed_mbps"` // MB/s
	ReadMBs   *float64 `json:"read_mb_s"`
	WriteMBs  *float64 `json:"write_mb_s"`
	ReadIOPS  *float64 `json:"randread_4k_iops"` // depth 32
	WriteIOPS *float64 `json:"randwrite_4k_iops"`
	SyncUs    *float64 `json:"fdatasync_p50_us"` // of a 4 KiB write and its fdatasync
}

// ResultsNetwork is the path to the host's mirror, named.
type ResultsNetwork struct {
	Download *float64 `json:"download_speed_mbps"` // Mbit/s
	Mbps     *float64 `json:"network_mbps"`        // the same
	Path     string   `json:"path,omitempty"`      // "path to mirror X through the proxy Y"
}

// ResultsSystem is the machine.
type ResultsSystem struct {
	Hostname string `json:"hostname"`
	Kernel   string `json:"kernel"`
	Cores    int    `json:"cpu_cores"`
	RAMMB    int    `json:"total_ram_mb"`
	DiskGB   int    `json:"total_disk_gb"`
}

// ResultsMethod is how it was measured.
type ResultsMethod struct {
	Depth   Depth   `json:"depth"`
	Version int     `json:"version"`
	Seconds float64 `json:"duration_sec"`
	Repeats int     `json:"repeats"`
	Seed    uint64  `json:"seed"`
}

// ResultsOf is a session as results.json has it.
func ResultsOf(s Session) Results {
	r := Results{Schema: SchemaResults, Timestamp: s.Start.UTC().Truncate(time.Second), Session: s.ID, Host: s.Host, Epoch: s.Epoch, Around: s.Around,
		Excluded: s.Excluded, Skipped: s.Skipped, Metrics: s.Metrics,
		System: ResultsSystem{s.Notes.Hostname, s.Notes.Kernel, s.Epoch.Cores, s.Epoch.MemoryMB, s.Notes.DiskGB},
		Method: ResultsMethod{Depth: s.Depth, Version: s.Epoch.Method, Seconds: math.Round(s.Took.Seconds()*10) / 10, Seed: s.Seed}}
	for _, m := range s.Metrics {
		r.Method.Repeats = max(r.Method.Repeats, len(m.Values))
		r.headline(m)
	}
	if m := mirrorRate(s.Metrics); m != nil {
		v := m.Median
		r.Network = ResultsNetwork{Download: &v, Mbps: &v, Path: m.Note}
	}
	return r
}

// mirrorRate is the download from the mirror over the most streams, which fill a
// path best: of net/mirror/HOST/WAY/STREAMS, without a way where it is plain http.
// It is a path that every host has. nil: not measured.
func mirrorRate(metrics []Metric) (best *Metric) {
	most := 0
	for i := range metrics {
		m := &metrics[i]
		of, ok := strings.CutPrefix(m.Name, "net/mirror/")
		streams, err := strconv.Atoi(of[strings.LastIndexByte(of, '/')+1:])
		if ok && err == nil && m.Unit == "Mbit/s" && streams > most {
			best, most = m, streams
		}
	}
	return best
}

func (r *Results) headline(m Metric) {
	v := &m.Median
	switch m.Name {
	case "cpu/sha256/1":
		spread := m.SpreadPct()
		r.CPU.Ops, r.CPU.Spread = v, &spread
	case "disk/read-1m/qd8":
		r.Disk.Read, r.Disk.ReadMBs = v, v
	case "disk/write-1m/qd8":
		r.Disk.Write, r.Disk.WriteMBs = v, v
	case "disk/randread-4k/qd32":
		r.Disk.ReadIOPS = v
	case "disk/randwrite-4k/qd32":
		r.Disk.WriteIOPS = v
	case "disk/fdatasync-4k/qd1":
		if p, ok := m.Percentiles["p50_us"]; ok {
			r.Disk.SyncUs = &p
		}
	}
}

// SpreadPct is the largest distance of a repeat from the median, in percent.
func (m Metric) SpreadPct() float64 {
	most := 0.0
	for _, v := range m.Values {
		most = max(most, math.Abs(v-m.Median))
	}
	if m.Median == 0 {
		return 0
	}
	return 100 * most / m.Median
}

// ReadResults reads such a file, wherever it lies.
func ReadResults(name string) (Results, error) {
	b, err := readRegular(func() (*os.File, error) { return os.Open(name) }, func() (fs.FileInfo, error) { return os.Stat(name) }, maxResults)
	if err != nil {
		return Results{}, &StoreError{"read", name, err}
	}
	r, err := parseResults(b)
	if err != nil {
		return Results{}, &StoreError{"read", name, err}
	}
	return r, nil
}

// parseResults reads a document of ours, or one with the guide's keys alone.
func parseResults(b []byte) (Results, error) {
	var r Results
	if err := json.Unmarshal(b, &r); err != nil {
		return Results{}, fmt.Errorf("damaged: %w", err)
	}
	if r.Schema != "" && r.Schema != SchemaResults {
		return Results{}, fmt.Errorf("schema %q, this vpsctl knows %q", cut(r.Schema, 60), SchemaResults)
	}
	r.Host, r.Session, r.Network.Path = cut(r.Host, 63), cut(r.Session, 100), cut(r.Network.Path, 300)
	r.System.Hostname, r.System.Kernel = cut(r.System.Hostname, 200), cut(r.System.Kernel, 200)
	return r, nil
}
