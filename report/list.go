package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/state"
)

// State is what became of the vpsctl that made a record.
type State string

// The states of a record.
const (
	StateComplete State = "complete" // it came to its end
	StateRunning  State = "running"  // it is at work on this machine
	StateDetached State = "detached" // it left on purpose; the hosts may be at work
	StateKilled   State = "killed"   // it is gone without a word; the hosts may be at work
	StateDamaged  State = "damaged"  // run.json cannot be read
)

// Entry is one run of a list.
type Entry struct {
	ID      string
	Run     Run // zero when damaged
	State   State
	Problem string // why it is damaged
}

// List tells all runs, newest first. Records that cannot be read are in it,
// with the reason. No records yet is no error.
func (s Store) List() ([]Entry, error) {
	root, ids, err := s.names(runIDs)
	if root == nil || err != nil {
		return nil, err
	}
	defer root.Close()
	list := make([]Entry, 0, len(ids))
	for _, id := range ids {
		list = append(list, s.entry(root, id))
	}
	return list, nil
}

// names opens the folder of the runs and reads who is in it. Without one the
// root is nil.
func (s Store) names(read func(*os.Root) ([]string, error)) (*os.Root, []string, error) {
	root, err := s.root()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	ids, err := read(root)
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return root, ids, nil
}

func (s Store) entry(root *os.Root, id string) Entry {
	e := Entry{ID: id, State: StateDamaged}
	own, err := root.OpenRoot(id)
	if err == nil {
		defer own.Close()
		e.Run, err = readRun(own, id, id)
	}
	busy := err == nil && isLocked(own)
	switch {
	case err != nil:
		e.Problem = cleanLine(err.Error())
	case busy:
		e.State = StateRunning
	case e.Run.Detached:
		e.State = StateDetached
	case e.Run.Finished.IsZero():
		e.State = StateKilled
	default:
		e.State = StateComplete
	}
	return e
}

// isLocked tells whether somebody is writing the record.
func isLocked(root *os.Root) bool {
	f, err := root.OpenFile(lockFile, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := state.TryLock(f, false)
	return err == nil && !got
}

// Keep says which runs a prune leaves: the newest so many, and those of the
// last so many days. A run that either of the two keeps stays.
type Keep struct {
	Runs   int
	Days   int
	DryRun bool // nothing is removed, only told
}

// Prune removes the runs that keep does not keep and tells their ids, newest
// first. Runs that somebody is writing stay. Age is that of the run's id.
func (s Store) Prune(now time.Time, keep Keep) (gone []string, err error) {
	if keep.Runs <= 0 && keep.Days <= 0 {
		return nil, errors.New("record: prune: say how many runs or days to keep")
	}
	root, err := s.root()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	ids, err := runIDs(root)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, id := range ids {
		began, _ := idTime(id)
		if i < keep.Runs || keep.Days > 0 && now.Sub(began) < time.Duration(keep.Days)*24*time.Hour {
			continue
		}
		removed, err := s.remove(root, id, keep.DryRun)
		if removed {
			gone = append(gone, id)
		}
		errs = append(errs, err)
	}
	return gone, errors.Join(errs...)
}

// remove takes the run's lock, so that nobody begins to write what goes away.
func (s Store) remove(root *os.Root, id string, dry bool) (bool, error) {
	own, err := root.OpenRoot(id)
	if err != nil {
		return false, fault("open", filepath.Join(s.runs(), id), err)
	}
	defer own.Close()
	if isLocked(own) {
		return false, nil
	}
	if dry {
		return true, nil
	}
	lock, err := lockRun(own, filepath.Join(s.runs(), id), id)
	var busy *BusyError
	if errors.As(err, &busy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	own.Close()
	lock.Close() // an open file cannot be removed on Windows
	if err := root.RemoveAll(id); err != nil {
		return false, fault("remove", filepath.Join(s.runs(), id), err)
	}
	return true, nil
}

// RunsDoc is what `runs list -o json` prints.
type RunsDoc struct {
	Schema int       `json:"schema"`
	Runs   []RunLine `json:"runs"`
}

// RunLine is one run of it. Status, outcome and exit code are empty until it is
// complete.
type RunLine struct {
	ID          string      `json:"id"`
	State       State       `json:"state"`
	Problem     string      `json:"problem,omitempty"`
	Verb        string      `json:"verb,omitempty"`
	Status      wire.Status `json:"status,omitempty"`
	Outcome     Outcome     `json:"outcome,omitempty"`
	ExitCode    *int        `json:"exit_code"`
	Started     *time.Time  `json:"started"`
	DurationSec *float64    `json:"duration_sec"`
	Hosts       []RunHost   `json:"hosts"`
}

// RunHost is one host of a RunLine.
type RunHost struct {
	Host   string      `json:"host"`
	Status wire.Status `json:"status,omitempty"`
}

// Runs makes the document of a list.
func Runs(list []Entry) RunsDoc {
	doc := RunsDoc{Schema: Schema, Runs: []RunLine{}}
	for _, e := range list {
		l := RunLine{ID: e.ID, State: e.State, Problem: e.Problem, Verb: e.Run.Verb, Status: e.Run.Status, Outcome: e.Run.Outcome,
			ExitCode: e.Run.ExitCode, Hosts: []RunHost{}}
		if !e.Run.Started.IsZero() {
			started := e.Run.Started.UTC().Truncate(time.Millisecond)
			l.Started = &started
		}
		if e.State == StateComplete {
			took := secs(e.Run.took())
			l.DurationSec = &took
		}
		for _, h := range e.Run.Hosts {
			l.Hosts = append(l.Hosts, RunHost{Host: h.Host, Status: h.Status})
		}
		doc.Runs = append(doc.Runs, l)
	}
	return doc
}

// JSON is the document's text.
func (d RunsDoc) JSON() ([]byte, error) { return marshal(d) }

// RunDoc is what `runs show -o json` prints: run.json, and what its hosts' events
// amount to.
type RunDoc struct {
	Schema int             `json:"schema"`
	State  State           `json:"state"`
	Dir    string          `json:"dir"`
	Text   string          `json:"text"`
	Run    Run             `json:"run"`
	Hosts  []ProvisionHost `json:"hosts"`
}

// Show makes the document of one run.
func Show(r *Report, state State, code func(Outcome) int) RunDoc {
	p := Provision(r, code)
	return RunDoc{Schema: Schema, State: state, Dir: r.Dir, Text: r.Verdict.Text, Run: r.Run, Hosts: p.Hosts}
}

// JSON is the document's text.
func (d RunDoc) JSON() ([]byte, error) { return marshal(d) }

// Entry finds the list's entry of a run, named as Open names it.
func (s Store) Entry(id string) (Entry, error) {
	root, err := s.root()
	if err != nil {
		return Entry{}, fmt.Errorf("record: %w", ErrNoRun)
	}
	defer root.Close()
	if id, err = resolve(root, id); err != nil {
		return Entry{}, err
	}
	if _, err := root.Stat(id); err != nil {
		return Entry{}, fmt.Errorf("record: %w: %s", ErrNoRun, id)
	}
	return s.entry(root, id), nil
}
