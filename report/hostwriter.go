package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// The files of a record. All but eventsFile are made from it.
const (
	runFile       = "run.json"
	htmlFile      = "report.html"
	lockFile      = ".lock"
	latestFile    = "latest"
	eventsFile    = "events.jsonl"
	outputFile    = "output.log"
	timingFile    = "timing.csv"
	resourcesFile = "resources.csv"
	reportFile    = "performance-report.json"
)

// HostWriter writes one host's part of a record as events come. It belongs to
// one goroutine.
type HostWriter struct {
	root *os.Root // the host's folder
	dir  string   // its path, for errors
	rec  *HostRecord

	previous func(*PerformanceReport) *PerfRegression // nil: the run compares with none
	compared []*PerfRegression                        // what it gave once the end was there; it may be nil

	events    *tailFile
	output    *outLog
	timing    *tailFile
	resources *tailFile
	files     []*tailFile

	seen wire.Cursor // taken
	kept wire.Cursor // taken and written
	err  error       // the first failure to write
	line []byte
}

// openHost opens or makes the record of a host in root, which it then owns, and
// brings the derived files in line with the events.
func openHost(root *os.Root, dir string, rec *HostRecord) (*HostWriter, error) {
	w, err := newHostWriter(dir, rec, func(name string) (disk, int64, error) { return openFile(root, dir, name) })
	if err != nil {
		root.Close()
		return nil, err
	}
	w.root = root
	return w, nil
}

// newHostWriter works on the files that open opens; it tells their size too.
func newHostWriter(dir string, rec *HostRecord, open func(name string) (disk, int64, error)) (*HostWriter, error) {
	w := &HostWriter{dir: dir, rec: rec}
	for _, name := range []string{eventsFile, outputFile, timingFile, resourcesFile} {
		f, size, err := open(name)
		if err != nil {
			return nil, errors.Join(err, w.closeFiles())
		}
		w.files = append(w.files, newTailFile(filepath.Join(dir, name), f, size))
	}
	w.events, w.output, w.timing, w.resources = w.files[0], newOutLog(w.files[1]), w.files[2], w.files[3]
	if err := w.rebuild(); err != nil {
		return nil, errors.Join(err, w.closeFiles())
	}
	return w, nil
}

func openFile(root *os.Root, dir, name string) (disk, int64, error) {
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fault("open", filepath.Join(dir, name), err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("not a regular file: %w", fs.ErrInvalid)
	}
	if err != nil {
		f.Close()
		return nil, 0, fault("open", filepath.Join(dir, name), err)
	}
	return f, st.Size(), nil
}

// rebuild folds the events that are there and writes the derived files from
// them. A last line that was cut is dropped.
func (w *HostWriter) rebuild() error {
	if err := errors.Join(csvRow(w.timing, wire.TimingHeader), csvRow(w.resources, wire.ResourcesHeader)); err != nil {
		return err
	}
	var good int64
	if w.events.old != nil {
		n, err := readEvents(w.events.old, w.events.path, func(e *wire.Event) error {
			if err := w.take(e); err != nil {
				return err
			}
			return w.derive(e, w.rec.apply(e))
		})
		if err != nil {
			return err
		}
		good = n
	}
	w.kept = w.seen
	w.events.skip(good)
	for _, f := range w.files {
		if err := f.settle(); err != nil {
			return err
		}
	}
	return nil
}

// readEvents gives every event of r to f and returns how many bytes were whole
// lines; a torn last line is not an error.
func readEvents(r io.Reader, path string, f func(e *wire.Event) error) (int64, error) {
	events := wire.NewReader(r)
	var good int64
	for n := 1; ; n++ {
		raw, e, err := events.Next()
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return good, nil
		case err == nil:
			err = f(&e)
		}
		if err != nil {
			var own *Error
			if errors.As(err, &own) {
				return good, err
			}
			return good, &Error{Op: "read", Path: fmt.Sprintf("%s:%d", path, n), Err: err,
				hint: "move the file away; `vpsctl runs attach` fetches it anew while the host still has the run"}
		}
		good += int64(len(raw)) + 1
	}
}

// Cursor is the last event of each class that is in the record: what a follower
// asks to go on after.
func (w *HostWriter) Cursor() wire.Cursor { return w.kept }

// Record is the fold of all events given so far. It changes with Append.
func (w *HostWriter) Record() *HostRecord { return w.rec }

// Append writes the event whose line is raw (with or without its newline) to
// events.jsonl as it came, then to the derived files, then folds it. An event
// that was there already, or is older, is wire.ErrHostile and not written.
// When the disk fails, the error is an *Error and stays: later events are still
// folded, what was written stays valid.
func (w *HostWriter) Append(raw []byte, e *wire.Event) error {
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	if len(raw) == 0 || len(raw) >= wire.MaxLine || bytes.IndexByte(raw, '\n') >= 0 {
		return fmt.Errorf("%w: event %d is not one line of bounded length", wire.ErrHostile, e.N)
	}
	if err := w.take(e); err != nil {
		return err
	}
	if w.err == nil {
		if w.err = w.write(raw); w.err == nil {
			w.kept = w.seen
		}
	}
	ended := w.rec.apply(e)
	if w.err == nil {
		w.err = w.derive(e, ended)
	}
	return w.err
}

// write adds one line in a single call, so that a killed vpsctl leaves at most
// one torn line.
func (w *HostWriter) write(raw []byte) error {
	w.line = append(append(w.line[:0], raw...), '\n')
	_, err := w.events.Write(w.line)
	return err
}

func (w *HostWriter) take(e *wire.Event) error {
	if e.Kind == wire.KindRefused { // the only event of its stream, without a number
		return nil
	}
	return w.seen.Take(e)
}

// derive writes what an event that is in events.jsonl means for the other
// files; ended are the phases it ended.
func (w *HostWriter) derive(e *wire.Event, ended []int) error {
	if e.IsOutput() {
		return w.output.add(e)
	}
	if w.rec.Start == nil {
		return nil // no wall clock: no row can be dated
	}
	for _, i := range ended {
		if err := csvRow(w.timing, w.rec.timingRow(&w.rec.Phases[i]), 1); err != nil {
			return err
		}
	}
	if e.Kind == wire.KindSample && e.Sample != nil {
		s := cleanSample(e.Sample)
		return csvRow(w.resources, wire.ResourceRow(w.rec.Wall(clampT(e.T)), &s), 7)
	}
	return nil
}

// Finish ends the output log's last line, writes performance-report.json and
// closes the files. It is called once, also after a failure.
func (w *HostWriter) Finish() error {
	err := w.err
	if err == nil {
		err = w.output.finish()
	}
	if err == nil {
		err = w.writeReport()
	}
	return errors.Join(err, w.closeFiles(), w.root.Close())
}

// Report of the host so far, compared with the earlier run that did the same.
func (w *HostWriter) Report() PerformanceReport {
	p := Performance(w.rec)
	switch {
	case w.previous == nil:
	case w.rec.End == nil:
		p.Regression = w.previous(&p)
	default: // the same from now on
		if w.compared == nil {
			w.compared = []*PerfRegression{w.previous(&p)}
		}
		p.Regression = w.compared[0]
	}
	return p
}

func (w *HostWriter) writeReport() error {
	b, err := w.Report().JSON()
	if err != nil {
		return fault("write", filepath.Join(w.dir, reportFile), err)
	}
	return writeAtomic(w.root, w.dir, reportFile, b)
}

func (w *HostWriter) closeFiles() error {
	var first error
	for _, f := range w.files {
		if err := f.close(); err != nil && first == nil && w.err == nil {
			first = err
		}
	}
	return first
}
