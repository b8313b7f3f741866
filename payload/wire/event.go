package wire

import "time"

// Kind of an event. Unknown kinds are kept and skipped, so that an older
// vpsctl can follow a newer collector.
type Kind string

// The kinds of events, in the order they can first appear in a journal.
const (
	KindRefused   Kind = "refused"    // no run was begun; the only event of its stream, n = 0
	KindStart     Kind = "start"      // always n = 1
	KindPhase     Kind = "phase"      // a phase begins
	KindStep      Kind = "step"       // a step begins
	KindWait      Kind = "wait"       // a step waits for somebody else, by name
	KindUndo      Kind = "undo"       // how to undo what comes next; synced before the act
	KindOutput    Kind = "out"        // what a step printed
	KindGuard     Kind = "guard"      // confirm is awaited, through a new connection
	KindGuardEnd  Kind = "guard_end"  // confirmed or reverted
	KindStepEnd   Kind = "step_end"   //
	KindPhaseEnd  Kind = "phase_end"  //
	KindSample    Kind = "sample"     // resources of the host since the last sample
	KindNote      Kind = "note"       // something a reader should know
	KindCancelled Kind = "cancelling" // cancel was asked for; what is still waited for
	KindReboot    Kind = "reboot"     // the host reboots; the run goes on when the rest of its plan comes
	KindResumed   Kind = "resumed"    // it goes on, in another boot
	KindEnd       Kind = "end"        // always the last
)

// Status of a host, a phase or a step.
type Status string

// The six status words.
const (
	OK         Status = "ok"
	Changed    Status = "changed"
	Failed     Status = "failed"
	Skipped    Status = "skipped"
	Cancelled  Status = "cancelled"
	NotReached Status = "not_reached"
)

// Event is one line of a journal. N counts from 1 without gaps in the journal;
// T is nanoseconds of CLOCK_BOOTTIME since Start. At most one body is set.
//
// A follower may send output events later than status events with a higher N
// (a flood of output never delays status); within each of the two classes N
// only grows.
type Event struct {
	N     int64  `json:"n"`
	Kind  Kind   `json:"k"`
	T     int64  `json:"t"`
	Phase string `json:"phase,omitempty"`
	Step  string `json:"step,omitempty"` // phase/name

	Refused  *Refused  `json:"refused,omitempty"`
	Start    *Start    `json:"start,omitempty"`
	Output   *Output   `json:"out,omitempty"`
	Wait     *Wait     `json:"wait,omitempty"`
	Undo     *Undo     `json:"undo,omitempty"`
	Guard    *Guarding `json:"guard,omitempty"`
	StepEnd  *StepEnd  `json:"step_end,omitempty"`
	PhaseEnd *PhaseEnd `json:"phase_end,omitempty"`
	Sample   *Sample   `json:"sample,omitempty"`
	Note     *Note     `json:"note,omitempty"`
	Fetched  *Fetched  `json:"fetched,omitempty"`
	Reboot   *Reboot   `json:"reboot,omitempty"`
	End      *End      `json:"end,omitempty"`
}

// Reboot says behind which step of which boot a run rests.
type Reboot struct {
	BootID string `json:"boot_id"`        // of reboot: the boot that ends; of resumed: the new one
	Step   string `json:"step,omitempty"` // phase/name of the step that asked
	After  Cursor `json:"after,omitzero"` // of a plan: the events that the laptop has
}

// Refused says why no run was begun.
type Refused struct {
	Stage  string `json:"stage"` // lock, plan, exists, disk, boot (the host has not rebooted yet)
	Text   string `json:"text"`
	Holder *Lock  `json:"holder,omitempty"`
}

// Lock is who holds a host.
type Lock struct {
	RunID string    `json:"run_id"`
	Verb  string    `json:"verb"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// Start opens a journal: what began, where and when.
type Start struct {
	Wire      int           `json:"wire"`
	RunID     string        `json:"run_id"`
	Verb      string        `json:"verb"`
	Collector string        `json:"collector"` // hex SHA-256 of the running binary
	Plan      string        `json:"plan"`      // Plan.Hash
	BootID    string        `json:"boot_id"`
	Wall      time.Time     `json:"wall"` // the host's clock at T = 0, UTC
	Interval  time.Duration `json:"interval,omitempty"`
	Phases    []PhaseHead   `json:"phases"`
	Facts     Facts         `json:"facts"`
}

// PhaseHead is what a reader of a journal must know of a phase of the plan.
type PhaseHead struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Needs  []string `json:"needs,omitempty"`
	Target Target   `json:"target,omitzero"`
	Steps  []string `json:"steps"` // names
}

// Facts describe a host.
type Facts struct {
	Hostname    string `json:"hostname"`
	OS          string `json:"os"`      // ID-VERSION_ID, e.g. debian-13
	OSName      string `json:"os_name"` // PRETTY_NAME
	Kernel      string `json:"kernel"`
	Arch        string `json:"arch"` // amd64, arm64
	CPUModel    string `json:"cpu_model,omitempty"`
	Cores       int    `json:"cores"`
	MemoryMB    int    `json:"memory_mb"` // MiB of MemTotal
	SwapMB      int    `json:"swap_mb"`
	DiskMB      int    `json:"disk_mb"` // MiB of /
	DiskAvailMB int    `json:"disk_avail_mb"`
	Virt        string `json:"virt,omitempty"` // none, kvm, systemd-nspawn, …
	Cgroup      string `json:"cgroup"`         // v2, v1, none
	UID         int    `json:"uid"`
	User        string `json:"user"`
	Systemd     bool   `json:"systemd"`
}

// Output is what a step printed: Text when valid UTF-8, else Bytes. A chunk is
// at most 32 KiB and ends at a line's end where it can.
type Output struct {
	Stream string `json:"stream"` // stdout, stderr
	Text   string `json:"text,omitempty"`
	Bytes  []byte `json:"b64,omitempty"`
}

// Wait names what a step waits for and who is in the way.
type Wait struct {
	For    string `json:"for"`              // "apt lock /var/lib/dpkg/lock-frontend"
	Holder string `json:"holder,omitempty"` // "pid 812 unattended-upgr (apt-daily-upgrade.service)"
	Done   bool   `json:"done,omitempty"`   // true: the wait is over
}

// Undo tells how to undo a step. The content needed for it stays on the host,
// in the run's undo folder; the event has its hash.
type Undo struct {
	Kind string            `json:"kind"` // kind of the step
	What string            `json:"what"` // one line for people
	Data map[string]string `json:"data,omitempty"`
	Hash string            `json:"hash,omitempty"` // hex SHA-256 of the saved content
}

// Guarding is a change that is reverted unless it is confirmed.
type Guarding struct {
	Token    string        `json:"token,omitempty"`
	Login    string        `json:"login,omitempty"`
	Window   time.Duration `json:"window,omitempty"`
	Outcome  string        `json:"outcome,omitempty"` // of guard_end: confirmed, reverted, unconfirmed
	Reason   string        `json:"reason,omitempty"`
	Attached bool          `json:"attached,omitempty"`
}

// StepEnd is how a step ended.
type StepEnd struct {
	Status   Status `json:"status"`
	Reason   string `json:"reason,omitempty"` // why skipped or failed; what differed when changed
	RC       *int   `json:"rc,omitempty"`
	Stderr   string `json:"stderr,omitempty"` // last lines of a failed step, at most 4 KiB
	Hint     string `json:"hint,omitempty"`
	Optional bool   `json:"optional,omitempty"` // a failure is a warning: an optional step, an assert that is not critical
	Critical bool   `json:"critical,omitempty"` // of an assert
	Created  string `json:"created,omitempty"`  // "user devuser": a thing that was not there before
	Attempts int    `json:"attempts,omitempty"` // only when more than one
	TimedOut bool   `json:"timed_out,omitempty"`
	Found    *Found `json:"found,omitempty"`
}

// MaxFound bounds each text of a Found, in bytes.
const MaxFound = 64 << 10

// Found is what a look at a step saw of what it would change.
type Found struct {
	Path   string `json:"path,omitempty"`   // of the file that Was and Want, or Hidden, are about
	Was    string `json:"was,omitempty"`    // its text now
	Want   string `json:"want,omitempty"`   // its text then
	Hidden string `json:"hidden,omitempty"` // why the texts are not here: sensitive, size, binary
	Apt    string `json:"apt,omitempty"`    // what apt-get -s says of packages: its lines Inst, Remv, Purg
}

// PhaseEnd is how a phase ended and what it cost.
type PhaseEnd struct {
	Status  Status  `json:"status"`
	Reason  string  `json:"reason,omitempty"`
	OK      int     `json:"ok"`
	Changed int     `json:"changed"`
	Failed  int     `json:"failed"`
	Skipped int     `json:"skipped"`
	Cost    Figures `json:"cost"`
}

// Figures are what a phase used. Each names the method it was measured by.
type Figures struct {
	CPUSec       float64 `json:"cpu_sec"`
	CPUMethod    string  `json:"cpu_method"` // cgroup, wait4
	PeakMemoryMB float64 `json:"peak_memory_mb"`
	AvgMemoryMB  float64 `json:"avg_memory_mb,omitempty"` // mean of the samples; 0 when none fell into the phase
	MemoryMethod string  `json:"memory_method"`           // cgroup, sampled
	DiskReadMB   float64 `json:"disk_read_mb"`
	DiskWriteMB  float64 `json:"disk_write_mb"`
	DiskMethod   string  `json:"disk_method"` // cgroup, proc
	NetRxMB      float64 `json:"net_rx_mb"`
	NetTxMB      float64 `json:"net_tx_mb"`
	NetShared    bool    `json:"net_shared,omitempty"` // phases overlapped: the host's traffic is everybody's
	WaitSec      float64 `json:"wait_sec,omitempty"`   // waited for locks
}

// Sample is the state of a host and its rates over Elapsed. MiB are 1024² bytes.
// Nil pointers: the kernel does not say.
type Sample struct {
	Elapsed     time.Duration `json:"elapsed"`
	MemUsedMB   int           `json:"mem_used_mb"` // MemTotal - MemAvailable, rounded down
	MemAvailMB  int           `json:"mem_avail_mb"`
	SwapUsedMB  int           `json:"swap_used_mb"`
	CPUPct      float64       `json:"cpu_pct"` // 0 to 100 of all CPUs; iowait counts as idle
	StealPct    float64       `json:"steal_pct"`
	DiskAvailMB int           `json:"disk_avail_mb"`
	Load1       float64       `json:"load1"`
	Procs       int           `json:"procs"`
	PSICPU      *float64      `json:"psi_cpu,omitempty"` // "some" avg10, percent
	PSIMem      *float64      `json:"psi_mem,omitempty"`
	PSIIO       *float64      `json:"psi_io,omitempty"`
	DiskReadMBs *float64      `json:"disk_read_mb_s,omitempty"` // MiB/s
	DiskWritMBs *float64      `json:"disk_write_mb_s,omitempty"`
	NetRxMBs    *float64      `json:"net_rx_mb_s,omitempty"`
	NetTxMBs    *float64      `json:"net_tx_mb_s,omitempty"`
	Running     []string      `json:"running,omitempty"` // phases
}

// Note is a line for people. Level is info or warn.
type Note struct {
	Level string `json:"level"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
}

// End closes a journal. Stage says where a run that is not ok ended.
type End struct {
	Status Status `json:"status"`          // ok, changed, failed, cancelled
	Stage  string `json:"stage,omitempty"` // requires, phase, verification, died, cancel, journal
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// IsOutput tells the class an event belongs to when numbers are compared.
func (e *Event) IsOutput() bool { return e.Kind == KindOutput }
