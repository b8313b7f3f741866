package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/state"
)

// The files of a host, as users know them.
const (
	HistoryFile  = "history.jsonl"
	ResultsFile  = "results.json"
	BaselineFile = "baseline.json"
	FrozenFile   = "frozen.json" // when an owner accepted the host's level as it was
)

// maxHistory bounds what is read of a history: some 5,000 thorough sessions.
const maxHistory = 256 << 20

// hostName is what can be one folder on every system; devices of Windows are
// refused where an inventory is read.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_-])?$`)

// Store keeps sessions: a folder per host below Dir. Folders are 0700, files
// 0600. All reading and writing stays inside Dir, whatever links lie there.
type Store struct{ Dir string }

// StoreError says which file of a store could not be read or written.
type StoreError struct {
	Op, Path string
	Err      error
}

func (e *StoreError) Error() string { return fmt.Sprintf("bench: %s %s: %v", e.Op, e.Path, e.Err) }
func (e *StoreError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *StoreError) Hint() string {
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		return "vpsctl bench run   (measures the hosts and keeps the result)"
	case errors.Is(e.Err, fs.ErrPermission):
		return "the state folder belongs to another user; name one of your own with --state-dir"
	}
	return ""
}

// folder opens a host's folder; make makes it first.
func (s Store) folder(op, host string, make bool) (*os.Root, error) {
	path := filepath.Join(s.Dir, host)
	if !hostName.MatchString(host) {
		return nil, &StoreError{op, path, fmt.Errorf("%q is no name of a host", host)}
	}
	if make {
		if err := os.MkdirAll(s.Dir, 0o700); err != nil {
			return nil, &StoreError{op, path, err}
		}
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil, &StoreError{op, path, err}
	}
	defer root.Close()
	if make {
		if err := root.Mkdir(host, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, &StoreError{op, path, err}
		}
	}
	own, err := root.OpenRoot(host)
	if err != nil {
		return nil, &StoreError{op, path, err}
	}
	return own, nil
}

// Append adds a session to its host's history, under a lock and synced, and
// makes it the newest result. A line that a power cut tore is ended first.
func (s Store) Append(session Session) error {
	path := filepath.Join(s.Dir, session.Host, HistoryFile)
	session.Schema = SchemaSession
	line, err := json.Marshal(session)
	if err != nil {
		return &StoreError{"write", path, err}
	}
	if err := session.check(session.Host); err != nil {
		return &StoreError{"write", path, err}
	}
	root, err := s.folder("write", session.Host, true)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(HistoryFile, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return &StoreError{"write", path, err}
	}
	defer f.Close() // and with it the lock
	if err = state.Lock(f); err == nil {
		err = appendLine(f, line)
	}
	if err != nil {
		return &StoreError{"write", path, err}
	}
	return s.put(session.Host, ResultsFile, ResultsOf(session))
}

// appendLine adds a whole line, or as good as nothing: what a full disk took of
// it is cut off again.
func appendLine(f *os.File, line []byte) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	line = append(line, '\n')
	last := []byte{'\n'}
	if st.Size() > 0 {
		if _, err := f.ReadAt(last, st.Size()-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	_, err = f.Write(line)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(st.Size()))
	}
	return err
}

// History is every session of a host, oldest first. Lines that cannot be read
// (torn, of a later version, of another host) are counted, not hidden. A host
// without any has an empty history.
func (s Store) History(host string) (list []Session, unread int, err error) {
	b, err := s.read(host, HistoryFile, maxHistory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	list, unread = parseHistory(host, b)
	return list, unread, nil
}

// parseHistory reads lines of a history. It gives sessions that fit the host
// and can be counted with, whatever the lines say.
func parseHistory(host string, b []byte) (list []Session, unread int) {
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var one Session
		if json.Unmarshal(line, &one) != nil || one.check(host) != nil {
			unread++
			continue
		}
		list = append(list, one)
	}
	slices.SortStableFunc(list, func(a, b Session) int { return a.Start.Compare(b.Start) })
	return list, unread
}

// check refuses what would mislead everything behind it.
func (s *Session) check(host string) error {
	if s.Schema != SchemaSession {
		return fmt.Errorf("schema %q", cut(s.Schema, 60))
	}
	if s.Host != host || s.ID == "" || len(s.ID) > 100 || !printable(s.ID) || s.Start.IsZero() {
		return errors.New("a session of nobody")
	}
	for _, m := range s.Metrics {
		if !probeName.MatchString(m.Name) || !probeUnits.MatchString(m.Unit) || m.Better != Higher && m.Better != Lower ||
			!(m.Median > 0) || math.IsInf(m.Median, 0) || len(m.Values) == 0 {
			return fmt.Errorf("metric %q", cut(m.Name, 60))
		}
	}
	return nil
}

// Hosts are those with a history, by name.
func (s Store) Hosts() ([]string, error) {
	dir, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &StoreError{"read", s.Dir, err}
	}
	var names []string
	for _, e := range dir {
		if !e.IsDir() || !hostName.MatchString(e.Name()) {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Dir, e.Name(), HistoryFile)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Results reads results.json or baseline.json of a host. Without one the error
// is fs.ErrNotExist.
func (s Store) Results(host, file string) (Results, error) {
	b, err := s.read(host, file, maxResults)
	if err != nil {
		return Results{}, err
	}
	r, err := parseResults(b)
	if err != nil {
		return Results{}, &StoreError{"read", filepath.Join(s.Dir, host, file), err}
	}
	return r, nil
}

// SetBaseline keeps r as what `compare` compares with.
func (s Store) SetBaseline(host string, r Results) error { return s.put(host, BaselineFile, r) }

// ClearBaseline forgets it, and what was frozen; that there was none is no error.
func (s Store) ClearBaseline(host string) error {
	root, err := s.folder("remove", host, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{BaselineFile, FrozenFile} {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &StoreError{"remove", filepath.Join(s.Dir, host, name), err}
		}
	}
	return nil
}

// Frozen is when an owner accepted a host's level as it was then.
type Frozen struct {
	Schema  string    `json:"schema"`
	Session string    `json:"session"`
	Since   time.Time `json:"since"` // sessions before it count no more
}

const schemaFrozen = "vpsctl/bench-frozen/1"

// Freeze accepts a host's level as it is from a session on.
func (s Store) Freeze(session Session) error {
	return s.put(session.Host, FrozenFile, Frozen{schemaFrozen, session.ID, session.Start})
}

// FrozenSince is the session a host's level was accepted with; nil: never.
func (s Store) FrozenSince(host string) (*Frozen, error) {
	b, err := s.read(host, FrozenFile, maxResults)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f Frozen
	if err := json.Unmarshal(b, &f); err != nil || f.Schema != schemaFrozen {
		return nil, &StoreError{"read", filepath.Join(s.Dir, host, FrozenFile), errors.Join(errors.New("damaged"), err)}
	}
	return &f, nil
}

// read reads a regular file of a host, as long as it is no longer than most.
func (s Store) read(host, name string, most int64) ([]byte, error) {
	path := filepath.Join(s.Dir, host, name)
	root, err := s.folder("read", host, false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := readRegular(func() (*os.File, error) { return root.Open(name) }, func() (fs.FileInfo, error) { return root.Stat(name) }, most)
	if err != nil {
		return nil, &StoreError{"read", path, err}
	}
	return b, nil
}

// readRegular asks what it is first: opening a pipe waits for its other end.
func readRegular(open func() (*os.File, error), stat func() (fs.FileInfo, error), most int64) ([]byte, error) {
	st, err := stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > most {
		return nil, fmt.Errorf("it is no file of at most %d bytes", most)
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// put writes a document so that a reader finds the old or the new one, never
// half of it, also after a power cut.
func (s Store) put(host, name string, doc any) error {
	root, err := s.folder("write", host, true)
	if err != nil {
		return err
	}
	defer root.Close()
	b, err := json.MarshalIndent(doc, "", "  ")
	if err == nil {
		err = state.Write(root, name, append(b, '\n'))
	}
	if err != nil {
		return &StoreError{"write", filepath.Join(s.Dir, host, name), err}
	}
	return nil
}
