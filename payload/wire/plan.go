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

// LookRun begins the id of a run that only looks.
const LookRun = "dry-"

// Plan is all that a host is asked to do in one run. Nothing in it is a
// template any more and nothing in it is ever written to the host's disk: it
// may hold secrets.
type Plan struct {
	Wire  int    `json:"wire"`
	RunID string `json:"run_id"`
	Host  string `json:"host"`
	Verb  string `json:"verb"` // provision, dry-run, run, verify, rollback
	// Exclusive runs hold the host's lock from their first event to their last.
	Exclusive bool `json:"exclusive,omitempty"`
	// Sequential turns off running parallel phases side by side.
	Sequential bool `json:"sequential,omitempty"`
	// Interval between samples in nanoseconds; 0 takes none.
	Interval time.Duration `json:"interval,omitempty"`
	// Budget bounds the time of all phases together; over it the run has failed.
	Budget time.Duration `json:"budget,omitempty"`
	// Linger keeps the run sampling when its phases are over, for so long or
	// until it is cancelled, which is then its good end.
	Linger time.Duration `json:"linger,omitempty"`
	// Rotate bounds what the run's journal keeps, in bytes: once so much is
	// written since the last time, what came before that time goes.
	Rotate int64 `json:"rotate,omitempty"`
	// HostLogs asks for timing.csv, resources.csv and provision.log on the host.
	HostLogs bool `json:"host_logs,omitempty"`
	// Fetch says how packages are downloaded.
	Fetch *Fetch `json:"fetch,omitempty"`
	// Keep says how many old runs the host keeps before this one starts.
	Keep Keep `json:"keep,omitzero"`
	// ConnectionKey is the authorized_keys line that authenticated the
	// connection this plan came through; steps name it "@connection".
	ConnectionKey string  `json:"connection_key,omitempty"`
	Phases        []Phase `json:"phases"`
	// Secrets by name. They are masked by value in every event.
	Secrets map[string]string `json:"secrets,omitempty"`
	// Continues says that this is the rest of a run that had the host rebooted:
	// it is named by RunID, has its plan, and goes on behind the step that asked.
	// The boot it was begun in is over; the host refuses it until then.
	Continues *Reboot `json:"continues,omitempty"`
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
	// Ports are TCP ports that have to be free, or the named program's already.
	Ports map[int]string `json:"ports,omitempty"`
}

// Step is one thing that shall be true, or a script. Exactly one of the kinds
// (Packages … Look) is set.
type Step struct {
	Name     string    `json:"name"` // unique in its phase; its id is phase/name
	Packages *Packages `json:"packages,omitempty"`
	File     *File     `json:"file,omitempty"`
	Service  *Service  `json:"service,omitempty"`
	User     *User     `json:"user,omitempty"`
	Run      *Run      `json:"run,omitempty"`
	Assert   *Assert   `json:"assert,omitempty"`
	// Repository and Archive come from elsewhere, Revert takes back, Look only
	// finds out what a step would change.
	Repository *AptRepository `json:"apt_repository,omitempty"`
	Archive    *Archive       `json:"archive,omitempty"`
	Revert     *Revert        `json:"revert,omitempty"`
	Look       *Step          `json:"look,omitempty"`

	When     string        `json:"when,omitempty"` // read-only script; not 0 = skipped
	As       string        `json:"as,omitempty"`   // user for run, check, undo, file
	OnChange []Handler     `json:"on_change,omitempty"`
	Secrets  []string      `json:"secrets,omitempty"` // names, readable at $VPSCTL_SECRETS/name
	Timeout  time.Duration `json:"timeout,omitempty"` // of one try
	Budget   time.Duration `json:"budget,omitempty"`  // of all tries and waits together
	Retries  int           `json:"retries,omitempty"` // only of what can pass: the network, a lock
	Optional bool          `json:"optional,omitempty"`
	Reboot   bool          `json:"reboot,omitempty"` // the host reboots once the step has changed something
	Guard    *Guard        `json:"guard,omitempty"`
	Skip     string        `json:"skip,omitempty"` // not run, for this reason
}

// Packages shall be installed (apt). Answers are given to debconf before
// packages that are missing are installed, and to no others.
type Packages struct {
	Names      []string  `json:"names"`
	Recommends bool      `json:"recommends,omitempty"`
	Debconf    []Debconf `json:"debconf,omitempty"`
}

// Debconf is the answer to a question that a package asks.
type Debconf struct {
	Owner    string `json:"owner"` // package
	Question string `json:"question"`
	Type     string `json:"type"` // boolean, string, select, multiselect, password, note
	Value    string `json:"value,omitempty"`
	Secret   string `json:"secret,omitempty"` // the name of one, instead of a value
}

// AptRepository is a source of packages: one deb822 file and the keys that it
// trusts, none but those with these fingerprints.
type AptRepository struct {
	Name          string   `json:"name"`
	URIs          []string `json:"uris"`
	Suites        []string `json:"suites"`
	Components    []string `json:"components,omitempty"`
	Architectures []string `json:"architectures,omitempty"`
	KeyURL        string   `json:"key_url,omitempty"` // fetched on the host; else Key
	Key           []byte   `json:"key,omitempty"`
	Fingerprints  []string `json:"fingerprints"` // upper-case hex: 40 digits (version 4) or 64 (version 6)
	Path          string   `json:"path"`         // of the source
	Keyring       string   `json:"keyring"`      // of the keys, binary
}

// Archive is a tar archive, compressed or not, whose files shall lie in the
// folder Dest.
type Archive struct {
	URL     string `json:"url,omitempty"` // fetched on the host; else Content
	Content []byte `json:"content,omitempty"`
	SHA256  string `json:"sha256"`          // hex, of the archive
	Dest    string `json:"dest"`            // the folder; all that is in it comes from the archive
	Strip   int    `json:"strip,omitempty"` // leading parts taken from each name
	Owner   string `json:"owner,omitempty"` // user or user:group of all of it
}

// Revert undoes what a step of an earlier run did, and has its handlers run.
type Revert struct {
	Run  string `json:"run"`
	Step string `json:"step"` // phase/name
}

// File shall be as described. State is present (the default), absent,
// directory or link. With Keys the file is there already and only these keys of
// it change.
type File struct {
	Path      string `json:"path"`
	State     string `json:"state,omitempty"`
	Content   []byte `json:"content,omitempty"`
	Target    string `json:"target,omitempty"` // of a link
	Mode      string `json:"mode,omitempty"`   // octal; empty = 0644 for a new file, 0755 for a directory, else as it is
	Owner     string `json:"owner,omitempty"`  // user or user:group
	Validate  string `json:"validate,omitempty"`
	Sensitive bool   `json:"sensitive,omitempty"`
	Keys      []Key  `json:"keys,omitempty"`
}

// Key is a line "name = value" of an ini-like file. Section is empty for what
// stands before the first section.
type Key struct {
	Section string `json:"section,omitempty"`
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`
	Absent  bool   `json:"absent,omitempty"` // there shall be no such line
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
// content of sensitive files, so that nobody can test guesses against it. Where
// a run goes on and through which connection does not count.
func (p Plan) Hash() string {
	p.Secrets, p.Continues, p.ConnectionKey = nil, nil, ""
	p.Phases = slices.Clone(p.Phases)
	for i := range p.Phases {
		p.Phases[i].Steps = slices.Clone(p.Phases[i].Steps)
		for j := range p.Phases[i].Steps {
			p.Phases[i].Steps[j].forget()
		}
	}
	b, err := json.Marshal(p)
	if err != nil { // only strings, numbers and byte slices: cannot happen
		panic(fmt.Sprintf("wire: marshal plan: %v", err))
	}
	return sumOf(b)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// forget takes out what a hash must not be made of. What s points to stays as
// it is for others.
func (s *Step) forget() {
	if s.Look != nil {
		look := *s.Look
		look.forget()
		s.Look = &look
	}
	if s.File != nil && s.File.Sensitive {
		f := *s.File
		f.Content, f.Keys = nil, nil
		s.File = &f
	}
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
	case s.Repository != nil:
		return "apt_repository"
	case s.Archive != nil:
		return "archive"
	case s.Revert != nil:
		return "revert"
	case s.Look != nil:
		return "look"
	}
	return ""
}
