package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// RunDir is the record of one run: of Store.Create and Store.Attach to be
// written, of Store.Open to be read. Its methods may be called by several
// goroutines; Close ends it.
type RunDir struct {
	store Store
	root  *os.Root
	dir   string
	id    string
	write bool
	lock  *os.File

	mu   sync.Mutex
	run  Run
	open []string // hosts that are being written
}

// ID of the run.
func (d *RunDir) ID() string { return d.id }

// Dir is the path of the record's folder.
func (d *RunDir) Dir() string { return d.dir }

// HostDir is the path of a host's folder, whether it is there or not.
func (d *RunDir) HostDir(host string) string { return filepath.Join(d.dir, host) }

// Run is what run.json says by now.
func (d *RunDir) Run() Run {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.clone()
}

// Update changes run.json by change, at once and as a whole.
func (d *RunDir) Update(change func(*Run)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.writable(); err != nil {
		return err
	}
	change(&d.run)
	d.run.Schema, d.run.ID = Schema, d.id
	return d.save()
}

func (d *RunDir) writable() error {
	if !d.write {
		return &Error{Op: "write", Path: d.dir, Err: errors.New("the record was opened to be read")}
	}
	return nil
}

func (d *RunDir) save() error {
	b, err := marshal(d.run)
	if err != nil {
		return fault("write", filepath.Join(d.dir, runFile), err)
	}
	return writeAtomic(d.root, d.dir, runFile, b)
}

// Host opens the part of a host to be written. What is there already is kept:
// its Cursor says where to go on. A name that differs from another host's in
// case alone is refused, because both would be one folder on some systems.
func (d *RunDir) Host(name string) (*HostWriter, error) {
	if err := errors.Join(d.writable(), checkHost(name)); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.open {
		if strings.EqualFold(other, name) {
			return nil, fmt.Errorf("record: host %q: %q is being written already", name, other)
		}
	}
	for _, h := range d.run.Hosts {
		if h.Host != name && strings.EqualFold(h.Host, name) {
			return nil, fmt.Errorf("record: host %q: %q would be the same folder on some systems", name, h.Host)
		}
	}
	root, err := d.hostRoot(name)
	if err != nil {
		return nil, err
	}
	w, err := openHost(root, d.HostDir(name), d.newRecord(name))
	if err != nil {
		return nil, err
	}
	d.open = append(d.open, name)
	if d.run.Verb == provisionVerb {
		w.previous = d.store.previous
	}
	return w, nil
}

func (d *RunDir) hostRoot(name string) (*os.Root, error) {
	if err := d.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault("make", d.HostDir(name), err)
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, fault("open", d.HostDir(name), err)
	}
	return root, nil
}

func (d *RunDir) newRecord(host string) *HostRecord {
	var l Limits
	for _, h := range d.run.Hosts {
		if h.Host == host {
			l = h.Limits
		}
	}
	return NewHostRecord(d.id, host, l)
}

// Record folds what is kept of a host. A host without events has an empty
// record. With an error the record holds what could be read.
func (d *RunDir) Record(host string) (*HostRecord, error) {
	d.mu.Lock()
	rec := d.newRecord(host)
	d.mu.Unlock()
	if err := checkHost(host); err != nil {
		return rec, fmt.Errorf("record: %w", err)
	}
	name := host + "/" + eventsFile
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	path := filepath.Join(d.dir, host, eventsFile)
	if err != nil {
		return rec, fault("open", path, err)
	}
	defer f.Close()
	var seen wire.Cursor
	_, err = readEvents(f, path, func(e *wire.Event) error {
		if e.Kind != wire.KindRefused {
			if err := seen.Take(e); err != nil {
				return err
			}
		}
		rec.Apply(e)
		return nil
	})
	return rec, err
}

// Close lets others write the record. HostWriters are finished before.
func (d *RunDir) Close() error {
	err := d.root.Close()
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	if err != nil {
		return fault("close", d.dir, err)
	}
	return nil
}

// marshal is the form of every document on disk: indented, with its newline,
// and with no HTML escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
