package wire

// ProbeMethod is raised whenever a probe measures differently than before:
// figures of different methods are never compared by a verdict.
const ProbeMethod = 3

// MaxProbeLine bounds a line of the prober in bytes.
const MaxProbeLine = 16 << 10

// ProbeLine is one line that the prober prints; exactly one body is set.
type ProbeLine struct {
	Host *ProbeHost   `json:"host,omitempty"` // first
	At   *ProbeAt     `json:"at,omitempty"`   // what is measured next
	Got  *ProbeSample `json:"got,omitempty"`
	Skip *ProbeSkip   `json:"skip,omitempty"`
	End  *ProbeEnd    `json:"end,omitempty"` // last; without it the session is not complete
}

// ProbeHost is the measured host before the first probe.
type ProbeHost struct {
	Method    int     `json:"method"`
	CPUModel  string  `json:"cpu_model"`
	Cores     int     `json:"cores"` // usable ones
	MemoryMB  int     `json:"memory_mb"`
	Disk      string  `json:"disk"`
	DiskGB    int     `json:"disk_gb"` // of the measured filesystem
	Virt      string  `json:"virt"`
	Kernel    string  `json:"kernel"`
	Microcode string  `json:"microcode,omitempty"`
	Mirror    string  `json:"mirror,omitempty"` // apt's first
	Provider  string  `json:"provider,omitempty"`
	Plan      string  `json:"plan,omitempty"` // the provider's word for the machine's size
	Region    string  `json:"region,omitempty"`
	Hostname  string  `json:"hostname"`
	Load1     float64 `json:"load1"`
	PSICPU    float64 `json:"psi_cpu_avg10"` // percent; -1: the kernel has none
	QuotaCPU  float64 `json:"cpu_quota,omitempty"`
	Busy      string  `json:"busy,omitempty"`
}

// ProbeAt says what comes next: the N-th of Of.
type ProbeAt struct {
	Metric string `json:"metric"`
	N      int    `json:"n"`
	Of     int    `json:"of"`
}

// ProbeSample is one repeat of one probe.
type ProbeSample struct {
	Metric      string             `json:"metric"`
	Unit        string             `json:"unit"`
	Better      string             `json:"better"` // higher, lower
	Value       float64            `json:"value"`
	Seconds     float64            `json:"seconds"`
	Bytes       int64              `json:"bytes,omitempty"`
	StealPct    *float64           `json:"steal_pct,omitempty"` // nil: not measured
	MHz         float64            `json:"mhz,omitempty"`
	Percentiles map[string]float64 `json:"percentiles,omitempty"` // p50_us …
	Note        string             `json:"note,omitempty"`
}

// ProbeSkip is what was not measured, and why.
type ProbeSkip struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// ProbeEnd closes a session.
type ProbeEnd struct {
	Seconds  float64 `json:"seconds"`
	StealPct float64 `json:"steal_pct"`
	Busy     string  `json:"busy,omitempty"` // who else was at work meanwhile
}
