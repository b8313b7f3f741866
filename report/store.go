package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/state"
)

// Store is the record of runs in the state folder Dir of this machine. All
// reading and writing stays inside Dir/runs, whatever links lie there.
type Store struct{ Dir string }

func (s Store) runs() string { return filepath.Join(s.Dir, "runs") }

func (s Store) root() (*os.Root, error) {
	root, err := os.OpenRoot(s.runs())
	if err != nil {
		return nil, fault("open", s.runs(), err)
	}
	return root, nil
}

// Create begins the record of a run. Without an ID it gets one, without a
// start it starts now. A record of this ID must not exist.
func (s Store) Create(run Run) (*RunDir, error) {
	if err := os.MkdirAll(s.runs(), 0o700); err != nil {
		return nil, fault("make", s.runs(), err)
	}
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if run.Started.IsZero() {
		run.Started = time.Now().UTC()
	}
	run.Schema = Schema
	if run.ID, err = s.mkdir(root, run); err != nil {
		return nil, err
	}
	d, err := s.open(root, run.ID, true)
	if err == nil {
		d.run = run.clone()
		if err = d.save(); err == nil {
			err = writeAtomic(root, s.runs(), latestFile, []byte(run.ID+"\n"))
		}
		if err == nil {
			return d, nil
		}
		d.Close()
	}
	_ = root.RemoveAll(run.ID) // nothing has been recorded yet
	return nil, err
}

// mkdir makes the folder of a run; a plain mkdir is what makes an id unique.
func (s Store) mkdir(root *os.Root, run Run) (string, error) {
	id := run.ID
	for range 10 {
		if run.ID == "" {
			id = NewID(run.Started)
		}
		if _, err := idTime(id); err != nil {
			return "", fmt.Errorf("record: %w", err)
		}
		err := root.Mkdir(id, 0o700)
		if err == nil {
			return id, nil
		}
		if run.ID != "" || !errors.Is(err, fs.ErrExist) {
			return "", fault("make", filepath.Join(s.runs(), id), err)
		}
	}
	return "", fault("make", filepath.Join(s.runs(), id), fs.ErrExist)
}

// Open opens a record for reading. id is a run id, or "" or "latest".
func (s Store) Open(id string) (*RunDir, error) { return s.existing(id, false) }

// Attach opens a record to go on writing it, as Open names it. A *BusyError
// says that another vpsctl is doing that.
func (s Store) Attach(id string) (*RunDir, error) { return s.existing(id, true) }

func (s Store) existing(id string, write bool) (*RunDir, error) {
	root, err := s.root()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("record: %w: there are none in %s yet", ErrNoRun, s.runs())
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if id, err = resolve(root, id); err != nil {
		return nil, err
	}
	d, err := s.open(root, id, write)
	if err != nil {
		return nil, err
	}
	if d.run, err = readRun(d.root, d.dir, id); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// open opens the folder of a run, and takes its lock for writing.
func (s Store) open(root *os.Root, id string, write bool) (*RunDir, error) {
	dir := filepath.Join(s.runs(), id)
	own, err := root.OpenRoot(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("record: %w: %s", ErrNoRun, id)
	}
	if err != nil {
		return nil, fault("open", dir, err)
	}
	d := &RunDir{root: own, dir: dir, write: write, id: id, store: s}
	if write {
		if d.lock, err = lockRun(own, dir, id); err != nil {
			own.Close()
			return nil, err
		}
	}
	return d, nil
}

// lockRun takes the lock of a run. Somebody who lists runs holds it for an
// instant, so it is asked for more than once.
func lockRun(root *os.Root, dir, id string) (*os.File, error) {
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault("open", filepath.Join(dir, lockFile), err)
	}
	for try := range 10 {
		time.Sleep(time.Duration(try) * 5 * time.Millisecond)
		var got bool
		if got, err = state.TryLock(f, true); err != nil {
			f.Close()
			return nil, fault("lock", filepath.Join(dir, lockFile), err)
		}
		if got {
			_ = f.Truncate(0)
			_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // only for the words of a BusyError
			return f, nil
		}
	}
	defer f.Close()
	b, _ := root.ReadFile(lockFile)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return nil, &BusyError{ID: id, PID: pid}
}

// resolve turns "" and "latest" into a run id.
func resolve(root *os.Root, id string) (string, error) {
	if id != "" && id != latestFile {
		if _, err := idTime(id); err != nil {
			return "", fmt.Errorf("record: %w: %w", ErrNoRun, err)
		}
		return id, nil
	}
	if b, err := root.ReadFile(latestFile); err == nil {
		id = strings.TrimSpace(string(b))
		if st, err := root.Stat(id); ValidID(id) && err == nil && st.IsDir() {
			return id, nil
		}
	}
	ids, err := runIDs(root)
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", fmt.Errorf("record: %w: there are none yet", ErrNoRun)
	}
	return ids[0], nil
}

// runIDs are the ids of all runs, newest first.
func runIDs(root *os.Root) ([]string, error) {
	ids, err := runNames(root)
	return slices.DeleteFunc(ids, func(id string) bool {
		st, err := root.Lstat(id)
		return err != nil || !st.IsDir()
	}), err
}

// runNames are the names that runs have, newest first, for those whom it does not
// trouble that one of them may be something else.
func runNames(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, fault("read", root.Name(), err)
	}
	defer f.Close()
	ids, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fault("read", root.Name(), err)
	}
	ids = slices.DeleteFunc(ids, func(name string) bool { return !ValidID(name) })
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// readRun reads run.json; what it says of itself must fit where it lies.
func readRun(root *os.Root, dir, id string) (Run, error) {
	path := filepath.Join(dir, runFile)
	b, err := root.ReadFile(runFile)
	if err != nil {
		return Run{}, fault("read", path, err)
	}
	var run Run
	if err := json.Unmarshal(b, &run); err != nil {
		return Run{}, &Error{Op: "read", Path: path, Err: fmt.Errorf("damaged: %w", err)}
	}
	if run.Schema != Schema {
		return Run{}, &Error{Op: "read", Path: path, Err: fmt.Errorf("schema %d, this vpsctl knows %d", run.Schema, Schema),
			hint: "it was written by another version of vpsctl"}
	}
	if run.ID != id {
		return Run{}, &Error{Op: "read", Path: path, Err: fmt.Errorf("it is the record of run %q", cleanLine(run.ID))}
	}
	return run, nil
}
