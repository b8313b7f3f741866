// Package wire is the language between the laptop and the collector it pushes:
// a Plan goes down once, on the collector's standard input, and Events come up,
// one JSON line each. Both ends import it; it imports neither.
package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Version is the wire's version. A collector refuses a plan of another version;
// `follow`, `cancel` and `confirm` run the collector that began the run.
const Version = 1

// Plan is all that a host is asked to do in one run. Nothing in it is a
// template any more and nothing in it is ever written to the host's disk: it
// may hold secrets.
type Plan struct {
	Wire  int    `json:"wire"`
	RunID string `json:"run_id"`
	Host  string `json:"host"`
	Verb  string `json:"verb"` // provision, run, verify
	// Exclusive runs hold the host's lock from their first event to their last.
	Exclusive bool `json:"exclusive,omitempty"`
	// Sequential turns off running parallel phases side by side.
	Sequential bool `json:"sequential,omitempty"`
	// Interval between samples in nanoseconds; 0 takes none.
	Interval time.Duration `json:"interval,omitempty"`
	// HostLogs asks for timing.csv, resources.csv and provision.log on the host.
	HostLogs bool `json:"host_logs,omitempty"`
	// Keep says how many old runs the host keeps before this one starts.
	Keep Keep `json:"keep,omitzero"`
	// ConnectionKey is the authorized_keys line that authenticated the
	// connection this plan came through; steps name it "@connection".
	ConnectionKey string  `json:"connection_key,omitempty"`
	Phases        []Phase `json:"phases"`
	// Secrets by name. They are masked by value in every event.
	Secrets map[string]string `json:"secrets,omitempty"`
}

// Keep bounds what old runs leave on a host. Zero values mean 10 runs, 30 days.
type Keep struct {
	Runs int `json:"runs,omitempty"`
	Days int `json:"days,omitempty"`
}

// Phase is a named group of steps with a target.
type Phase struct {
	ID       string            `json:"id"`
	Title    string            `json:"title"`
	Needs    []string          `json:"needs,omitempty"` // only ids that are in the plan
	Parallel bool              `json:"parallel,omitempty"`
	Requires *Requires         `json:"requires,omitempty"`
	Target   Target            `json:"target,omitzero"`
	Budget   time.Duration     `json:"budget,omitempty"`
	Env      map[string]string `json:"env,omitempty"`   // vars, as scripts see them
	Files    map[string][]byte `json:"files,omitempty"` // siblings of phase.yaml, at $PHASE_DIR
	Steps    []Step            `json:"steps"`
}

// Target is how long a phase should take, by the tier of the host.
type Target struct {
	Standard time.Duration `json:"standard,omitempty"` // 4 GB, 2 CPUs
	Small    time.Duration `json:"small,omitempty"`    // 2 GB, 1 CPU
	Rerun    time.Duration `json:"rerun,omitempty"`    // nothing to change
}

// Requires is what a phase needs of a host; it is checked before any phase runs.
type Requires struct {
	OS       []string `json:"os,omitempty"`        // ID-VERSION_ID of os-release, e.g. debian-13
	Arch     []string `json:"arch,omitempty"`      // amd64, arm64
	MemoryMB int      `json:"memory_mb,omitempty"` // MiB of MemTotal
	DiskMB   int      `json:"disk_mb,omitempty"`   // MiB available on /
}

// Step is one thing that shall be true, or a script. Exactly one of the kinds
// (Packages … Assert) is set.
type Step struct {
	Name     string        `json:"name"` // unique in its phase; its id is phase/name
	Packages *Packages     `json:"packages,omitempty"`
	File     *File         `json:"file,omitempty"`
	Service  *Service      `json:"service,omitempty"`
	User     *User         `json:"user,omitempty"`
	Run      *Run          `json:"run,omitempty"`
	Assert   *Assert       `json:"assert,omitempty"`
	When     string        `json:"when,omitempty"` // read-only script; not 0 = skipped
	As       string        `json:"as,omitempty"`   // user for run, check, undo, file
	OnChange []Handler     `json:"on_change,omitempty"`
	Secrets  []string      `json:"secrets,omitempty"` // names, readable at $VPSCTL_SECRETS/name
	Timeout  time.Duration `json:"timeout,omitempty"`
	Retries  int           `json:"retries,omitempty"`
	Optional bool          `json:"optional,omitempty"`
	Guard    *Guard        `json:"guard,omitempty"`
	Skip     string        `json:"skip,omitempty"` // not run, for this reason
}

// Packages shall be installed (apt).
type Packages struct {
	Names      []string `json:"names"`
	Recommends bool     `json:"recommends,omitempty"`
}

// File shall be as described. State is present (the default), absent,
// directory or link.
type File struct {
	Path      string `json:"path"`
	State     string `json:"state,omitempty"`
	Content   []byte `json:"content,omitempty"`
	Target    string `json:"target,omitempty"` // of a link
	Mode      string `json:"mode,omitempty"`   // octal; empty = 0644 for a new file, 0755 for a directory, else as it is
	Owner     string `json:"owner,omitempty"`  // user or user:group
	Validate  string `json:"validate,omitempty"`
	Sensitive bool   `json:"sensitive,omitempty"`
}

// Service shall be enabled or not, running or not (systemd). An empty field is
// left as it is.
type Service struct {
	Name    string `json:"name"`
	Enabled *bool  `json:"enabled,omitempty"`
	State   string `json:"state,omitempty"` // running, stopped
}

// User shall exist. A password is set only for an account this tool made, after
// the step's guard (if any) has been confirmed; until then the password field
// reads "!vpsctl".
type User struct {
	Name           string   `json:"name"`
	Group          string   `json:"group,omitempty"`  // primary; made when missing
	Groups         []string `json:"groups,omitempty"` // supplementary; added, none removed; made when missing
	Shell          string   `json:"shell,omitempty"`
	Home           string   `json:"home,omitempty"`
	Comment        string   `json:"comment,omitempty"`
	AuthorizedKeys []string `json:"authorized_keys,omitempty"` // key lines; "@connection", "@root" (root's lines without options)
	Password       string   `json:"password,omitempty"`        // name of a secret
	MustChange     bool     `json:"must_change,omitempty"`     // expire the password once it is set
}

// Run is a script: POSIX sh unless it has a #! line of its own.
type Run struct {
	Script string   `json:"script"`
	Args   []string `json:"args,omitempty"`
	Check  string   `json:"check,omitempty"` // 0 = holds, 1 = does not, else an error
	Undo   string   `json:"undo,omitempty"`
	// Apt says that the script changes packages: it waits for those who do so
	// already, keeps Debian's own updates out, and is not killed in the middle.
	Apt bool `json:"apt,omitempty"`
}

// Assert is a read-only question. A critical one that does not hold fails its
// phase; another one is a warning. Its id and description go into reports.
type Assert struct {
	Check    string `json:"check"`
	Critical bool   `json:"critical,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// Handler is run once, at the end of its phase, when a step that names it has
// changed something. Exactly one field is set.
type Handler struct {
	Reload  string `json:"reload,omitempty"`  // a unit
	Restart string `json:"restart,omitempty"` // a unit
	Run     string `json:"run,omitempty"`     // a script
}

// Guard makes a step prove that the host is still within reach: its handlers
// run at once, and unless `confirm` arrives through a new connection within
// Window, the step is undone. On a user step nothing is undone, but the
// password is only set after the proof.
type Guard struct {
	Window time.Duration `json:"window,omitempty"` // 0 = 45 s
	Login  string        `json:"login,omitempty"`  // this user must have authenticated too
}

// Hash names the plan: hex SHA-256 of its JSON without secrets and without the
// content of sensitive files, so that nobody can test guesses against it.
func (p Plan) Hash() string {
	p.Secrets = nil
	p.Phases = slices.Clone(p.Phases)
	for i := range p.Phases {
		p.Phases[i].Steps = slices.Clone(p.Phases[i].Steps)
		for j, s := range p.Phases[i].Steps {
			if s.File != nil && s.File.Sensitive {
				f := *s.File
				f.Content = nil
				p.Phases[i].Steps[j].File = &f
			}
		}
	}
	b, err := json.Marshal(p)
	if err != nil { // only strings, numbers and byte slices: cannot happen
		panic(fmt.Sprintf("wire: marshal plan: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Kind names the kind of a step, as the phase format spells it.
func (s Step) Kind() string {
	switch {
	case s.Packages != nil:
		return "packages"
	case s.File != nil:
		return "file"
	case s.Service != nil:
		return "service"
	case s.User != nil:
		return "user"
	case s.Run != nil:
		return "run"
	case s.Assert != nil:
		return "assert"
	}
	return ""
}
