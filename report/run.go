package report

import (
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Schema is the version of every document this package writes.
const Schema = 1

// Run is run.json: what was asked for, and what this machine alone saw of it.
// It never holds a secret's value.
type Run struct {
	Schema    int       `json:"schema"`
	ID        string    `json:"id"`
	Verb      string    `json:"verb"`
	Argv      []string  `json:"argv"` // without secrets
	Version   string    `json:"version"`
	Inventory string    `json:"inventory,omitempty"` // path
	Phases    []string  `json:"phases,omitempty"`    // ids asked for
	After     string    `json:"after,omitempty"`     // the run this one resumes
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished,omitzero"` // zero while it goes on, or when vpsctl was killed
	Detached  bool      `json:"detached,omitempty"`
	// Interrupted names the signal that ended the run early: SIGINT, SIGTERM.
	Interrupted string      `json:"interrupted,omitempty"`
	Status      wire.Status `json:"status,omitempty"` // once finished
	Outcome     Outcome     `json:"outcome,omitempty"`
	ExitCode    *int        `json:"exit_code,omitempty"`
	Hosts       []HostRun   `json:"hosts"`
}

// HostRun is what this machine saw of one host.
type HostRun struct {
	Host        string      `json:"host"`
	Address     string      `json:"address,omitempty"`
	User        string      `json:"user,omitempty"`
	Status      wire.Status `json:"status,omitempty"` // set at the end; skipped and not_reached as soon as they are known
	Outcome     Outcome     `json:"outcome,omitempty"`
	ExitCode    *int        `json:"exit_code,omitempty"`
	Error       *HostError  `json:"error,omitempty"`
	Fingerprint string      `json:"fingerprint,omitempty"` // of the host key
	DialSec     float64     `json:"dial_sec,omitempty"`    // TCP to authenticated
	UploadSec   float64     `json:"upload_sec,omitempty"`  // 0: the collector was there
	Redials     int         `json:"redials,omitempty"`
	// ClockOffsetSec is the host's clock minus this machine's, at hello.
	ClockOffsetSec *float64 `json:"clock_offset_sec,omitempty"`
	Limits         Limits   `json:"alert_limits,omitzero"`
}

// HostError is why a host did not get to its end, as this machine saw it.
type HostError struct {
	Kind    Outcome `json:"kind"`
	Stage   string  `json:"stage"`
	Message string  `json:"message"`
	Hint    string  `json:"hint,omitempty"`
}

// HostNamed is the entry of a host; it is made when there is none.
func (r *Run) HostNamed(name string) *HostRun {
	for i := range r.Hosts {
		if r.Hosts[i].Host == name {
			return &r.Hosts[i]
		}
	}
	r.Hosts = append(r.Hosts, HostRun{Host: name})
	return &r.Hosts[len(r.Hosts)-1]
}

// took is how long a finished run took; a clock that was set back makes it 0.
func (r *Run) took() time.Duration { return max(0, r.Finished.Sub(r.Started)) }

// clone shares nothing with r that an update could change.
func (r Run) clone() Run {
	r.Argv, r.Phases, r.Hosts = slices.Clone(r.Argv), slices.Clone(r.Phases), slices.Clone(r.Hosts)
	for i := range r.Hosts {
		if e := r.Hosts[i].Error; e != nil {
			c := *e
			r.Hosts[i].Error = &c
		}
	}
	return r
}
