package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// memory is a folder of files without a disk. With a room it is full once so
// many bytes more have been written, in the middle of a write if need be.
type memory struct {
	files map[string][]byte
	room  int // -1: no end
}

func newMemory() *memory { return &memory{files: map[string][]byte{}, room: -1} }

func (m *memory) open(name string) (disk, int64, error) {
	return &memoryFile{m, name}, int64(len(m.files[name])), nil
}

type memoryFile struct {
	m    *memory
	name string
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.m.files[f.name]).ReadAt(p, off)
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	b := f.m.files[f.name]
	if off != int64(len(b)) {
		return 0, fmt.Errorf("%s: a write at %d, the file has %d bytes", f.name, off, len(b))
	}
	n := len(p)
	if f.m.room >= 0 {
		n = min(n, f.m.room)
		f.m.room -= n
	}
	f.m.files[f.name] = append(b, p[:n]...)
	if n < len(p) {
		return n, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	return n, nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.m.files[f.name] = f.m.files[f.name][:size]
	return nil
}
func (f *memoryFile) Sync() error  { return nil }
func (f *memoryFile) Close() error { return nil }

func openMemory(t *testing.T, m *memory) *HostWriter {
	t.Helper()
	w, err := newHostWriter("d", NewHostRecord(testRun, "web1", Limits{}), m.open)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// rest are the events a follower sends after a cursor: status first.
func rest(events []recorded, after wire.Cursor) []recorded {
	var status, output []recorded
	for _, e := range events {
		switch {
		case e.e.IsOutput() && e.e.N > after.Output:
			output = append(output, e)
		case !e.e.IsOutput() && e.e.N > after.Status:
			status = append(status, e)
		}
	}
	return append(status, output...)
}

func appendAll(w *HostWriter, events []recorded) error {
	for i := range events {
		if err := w.Append(events[i].raw, &events[i].e); err != nil {
			return err
		}
	}
	return w.output.finish()
}

// result is all that a record shows; the events sorted, because a follower may
// send output later.
func result(t *testing.T, w *HostWriter, m *memory) map[string]string {
	t.Helper()
	lines := strings.SplitAfter(string(m.files[eventsFile]), "\n")
	slices.Sort(lines)
	doc, err := Performance(w.Record()).JSON()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{eventsFile: strings.Join(lines, ""), reportFile: string(doc), outputFile: string(m.files[outputFile]),
		timingFile: string(m.files[timingFile]), resourcesFile: string(m.files[resourcesFile])}
}

func uncut(t *testing.T, events []recorded) (map[string]string, *memory) {
	t.Helper()
	m := newMemory()
	w := openMemory(t, m)
	if err := appendAll(w, events); err != nil {
		t.Fatal(err)
	}
	return result(t, w, m), m
}

// vpsctl is killed after every byte of what it writes to events.jsonl in turn,
// with derived files as they were then, older, torn or spoiled; opened again
// and given the rest, the record equals that of a run that was never cut.
func TestRecordCutAfterEveryByte(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	events := journal(t, "web1.jsonl")
	want, whole := uncut(t, events)
	full := whole.files[eventsFile]
	for k := range len(full) + 1 {
		m := newMemory()
		m.files[eventsFile] = slices.Clone(full[:k])
		for i, name := range []string{outputFile, timingFile, resourcesFile} {
			b := whole.files[name]
			m.files[name] = slices.Clone(b[:len(b)*k/len(full)])
			switch (k + i) % 4 {
			case 1:
				m.files[name] = nil
			case 2:
				m.files[name] = append(m.files[name], "garbage\n"...)
			case 3:
				m.files[name] = slices.Clone(b)
			}
		}
		w := openMemory(t, m)
		if err := appendAll(w, rest(events, w.Cursor())); err != nil {
			t.Fatalf("cut after byte %d: %v", k, err)
		}
		if got := result(t, w, m); !maps.Equal(want, got) {
			t.Fatalf("cut after byte %d: %s", k, cmp.Diff(want, got))
		}
	}
}

// The disk is full after every byte in turn: the error names it, what is there
// is whole lines, the fold goes on, and with room again the record is completed.
func TestRecordOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	events := journal(t, "web1.jsonl")
	want, whole := uncut(t, events)
	total := 0
	for _, b := range whole.files {
		total += len(b)
	}
	for room := 0; room < total; room += 7 {
		m := newMemory()
		m.room = room
		w, err := newHostWriter("d", NewHostRecord(testRun, "web1", Limits{}), m.open)
		if err == nil {
			for i := range events {
				if e := w.Append(events[i].raw, &events[i].e); e != nil {
					err = e
				}
			}
			if got, want := w.Record().Events, int64(len(events)); got != want {
				t.Fatalf("room for %d: %d of %d events folded", room, got, want)
			}
			err = errors.Join(err, w.output.finish())
		}
		var own *Error
		if !errors.As(err, &own) || !errors.Is(err, syscall.ENOSPC) || own.Hint() == "" || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("room for %d: error %v", room, err)
		}
		for name, b := range m.files {
			if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) && name != outputFile {
				t.Fatalf("room for %d: %s ends within a line", room, name)
			}
		}
		m.room = -1
		w = openMemory(t, m)
		if err := appendAll(w, rest(events, w.Cursor())); err != nil {
			t.Fatalf("room for %d, then more: %v", room, err)
		}
		if got := result(t, w, m); !maps.Equal(want, got) {
			t.Fatalf("room for %d, then more: %s", room, cmp.Diff(want, got))
		}
	}
}

// The same files come out however output and status come in between each other.
func TestRecordIgnoresTheOrderOfClasses(t *testing.T) {
	events := journal(t, "web1.jsonl")
	want, _ := uncut(t, events)
	for seed := range uint64(50) {
		// Start is always first: before it there is no clock.
		got, _ := uncut(t, append(slices.Clone(events[:1]), shuffleClasses(events[1:], seed)...))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func TestRecordFilesGolden(t *testing.T) {
	_, m := uncut(t, journal(t, "web1.jsonl"))
	golden(t, "output.log", m.files[outputFile])
	golden(t, "timing.csv", m.files[timingFile])
	golden(t, "resources.csv", m.files[resourcesFile])
	for name, head := range map[string][]string{timingFile: wire.TimingHeader, resourcesFile: wire.ResourcesHeader} {
		rows, err := csv.NewReader(bytes.NewReader(m.files[name])).ReadAll()
		if err != nil || len(rows) < 2 || !slices.Equal(rows[0], head) {
			t.Errorf("%s: %v, %v", name, rows, err)
		}
	}
}

func TestAppendRefusesWhatIsHostile(t *testing.T) {
	events := journal(t, "web1.jsonl")
	m := newMemory()
	w := openMemory(t, m)
	if err := appendAll(w, events[:5]); err != nil {
		t.Fatal(err)
	}
	before := len(m.files[eventsFile])
	for name, c := range map[string]recorded{
		"a number that came already":  events[4],
		"a number that goes backward": events[1],
		"two lines":                   {[]byte("{}\n{}"), events[6].e},
		"no line":                     {nil, events[6].e},
		"a line over its bound":       {bytes.Repeat([]byte{'x'}, wire.MaxLine), events[6].e},
	} {
		if err := w.Append(c.raw, &c.e); !errors.Is(err, wire.ErrHostile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(m.files[eventsFile]) != before {
		t.Error("something of it was written")
	}
	if err := appendAll(w, events[5:]); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// A line in the middle that is no event is not thrown away: the file is left as
// it is and named, with the line.
func TestRebuildOfADamagedRecord(t *testing.T) {
	events := journal(t, "web1.jsonl")
	m := newMemory()
	bad := fmt.Sprintf("%s\nnot an event\n%s\n", events[0].raw, events[1].raw)
	m.files[eventsFile] = []byte(bad)
	_, err := newHostWriter("d", NewHostRecord(testRun, "web1", Limits{}), m.open)
	var own *Error
	if !errors.As(err, &own) || !strings.Contains(err.Error(), filepath.Join("d", eventsFile)+":2") || own.Hint() == "" {
		t.Errorf("error %v", err)
	}
	if string(m.files[eventsFile]) != bad {
		t.Error("the file was changed")
	}
}

// A refused run leaves its one event and nothing dated.
func TestRefusedRun(t *testing.T) {
	m := newMemory()
	w := openMemory(t, m)
	e := wire.Event{Kind: wire.KindRefused, Refused: &wire.Refused{Stage: "lock", Text: "another run holds this host", Holder: &wire.Lock{RunID: "20261123-090000-aaaa", Verb: "provision"}}}
	raw, err := wire.Encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(raw, &e); err != nil {
		t.Fatal(err)
	}
	again := openMemory(t, m)
	if again.Record().Refused == nil || again.Cursor() != (wire.Cursor{}) {
		t.Errorf("%+v", again.Record())
	}
}

// 100 MB of output pass through a few buffers, and all of it is on disk.
func TestFloodOfOutputIsFlat(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := openHost(root, root.Name(), NewHostRecord(testRun, "web1", Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	const chunk, chunks = 32 << 10, 1600
	text := strings.Repeat(strings.Repeat("x", 99)+"\n", chunk/100+1)[:chunk]
	e := wire.Event{Kind: wire.KindOutput, Step: "a/b", Output: &wire.Output{Stream: "stdout", Text: text}}
	raw, err := wire.Encode(&wire.Event{N: 1, Kind: wire.KindOutput, Step: "a/b", Output: e.Output})
	if err != nil {
		t.Fatal(err)
	}
	perEvent := testing.AllocsPerRun(1, func() {
		for range chunks {
			e.N++
			if err := w.Append(raw, &e); err != nil {
				t.Fatal(err)
			}
		}
	}) / chunks
	if perEvent > 8 {
		t.Errorf("%.1f allocations per event", perEvent)
	}
	if n := cap(w.line) + cap(w.output.text) + cap(w.output.line); n > 1<<20 {
		t.Errorf("the writer holds %d bytes", n)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(root.Name(), outputFile))
	if err != nil || st.Size() < 2*chunk*chunks { // AllocsPerRun runs it twice
		t.Errorf("output.log: %v, %v", st, err)
	}
}

func TestTailFileKeepsWhatIsRight(t *testing.T) {
	m := newMemory()
	m.files["f"] = []byte("one\ntwo\nold\n")
	d, size, _ := m.open("f")
	f := newTailFile("f", d, size)
	for _, line := range []string{"one\n", "two\n", "new\n"} {
		if _, err := io.WriteString(f, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.settle(); err != nil || string(m.files["f"]) != "one\ntwo\nnew\n" {
		t.Errorf("%q, %v", m.files["f"], err)
	}
}

// Whatever lies in events.jsonl: it is either refused and left alone, or opening
// it a second time finds everything as the first time left it.
func FuzzRebuild(f *testing.F) {
	lines := journal(f, "web2.jsonl")
	f.Add(slices.Concat(lines[0].raw, []byte("\n"), lines[1].raw, []byte("\n{\"n\":3")))
	f.Add([]byte("{\"n\":1,\"k\":\"out\",\"t\":1,\"out\":{\"stream\":\"stderr\",\"text\":\"=a\\u001b[1m\\r\\nb\"}}\n\x00\x00"))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := newMemory()
		m.files[eventsFile] = slices.Clone(in)
		w, err := newHostWriter("d", NewHostRecord(testRun, "web1", Limits{}), m.open)
		if err != nil {
			if !bytes.Equal(m.files[eventsFile], in) {
				t.Fatalf("%v, and the file was changed", err)
			}
			return
		}
		once := map[string]string{}
		for name, b := range m.files {
			once[name] = string(b)
		}
		again := openMemory(t, m)
		for name, b := range m.files {
			if once[name] != string(b) {
				t.Fatalf("%s: %q, then %q", name, once[name], b)
			}
		}
		if w.Cursor() != again.Cursor() {
			t.Fatalf("%v, then %v", w.Cursor(), again.Cursor())
		}
	})
}
