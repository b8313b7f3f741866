package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestNewID(t *testing.T) {
	at := time.Date(2026, 11, 23, 11, 15, 2, 9, time.FixedZone("CET", 3600))
	seen := map[string]bool{}
	for range 500 {
		id := NewID(at)
		if !ValidID(id) || !strings.HasPrefix(id, "20261123-101502-") {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
	if len(seen) < 490 {
		t.Errorf("%d different ones of 500", len(seen))
	}
	for _, bad := range []string{"", "latest", "20261123-101502", "20261123-101502-X7K2", "20261399-101502-x7k2", "../20261123-101502-x7k2", "20261123-101502-x7k2/"} {
		if ValidID(bad) {
			t.Errorf("%q passes for a run id", bad)
		}
	}
}

func TestHostNames(t *testing.T) {
	for _, ok := range []string{"a", "web1", "web-1.example.net", "10.0.0.1", "X_1", strings.Repeat("a", 63), "console"} {
		if err := checkHost(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".lock", "a/b", `a\b`, "a b", "-a", "a:b", "ä", "a\n", "con", "NUL", "Com1.txt", "lpt9", "run.json", "RUN.JSON", "report.html", "a.", strings.Repeat("a", 64)} {
		if checkHost(bad) == nil {
			t.Errorf("%q passes for a host's folder", bad)
		}
	}
}

func create(t *testing.T, s Store, run Run) *RunDir {
	t.Helper()
	d, err := s.Create(run)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closed(t *testing.T, d *RunDir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecordOfARun(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "state")}
	if list, err := s.List(); len(list) != 0 || err != nil {
		t.Errorf("before the first run: %v, %v", list, err)
	}
	d := create(t, s, Run{Verb: "provision", Argv: []string{"provision"}, Hosts: []HostRun{{Host: "web1", Limits: Limits{MemoryMB: 300}}}})
	w, err := d.Host("web1")
	if err != nil {
		t.Fatal(err)
	}
	if err := appendAll(w, journal(t, "web1.jsonl")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Finish(), d.Update(func(r *Run) { r.Finished = r.Started.Add(time.Minute) })); err != nil {
		t.Fatal(err)
	}
	closed(t, d)

	again, err := s.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	rep := again.Load()
	if again.ID() != d.ID() || rep.Verdict.Outcome != PhaseFailed || rep.Hosts[0].Record.Limits.MemoryMB != 300 || rep.Hosts[0].Problem != "" {
		t.Errorf("%+v", rep.Verdict)
	}
	for _, a := range rep.Hosts[0].Record.Alerts {
		if a.Type == AlertMemory {
			t.Errorf("the run's own limits are forgotten: %v", a)
		}
	}
	if err := again.Update(func(*Run) {}); err == nil || !strings.Contains(err.Error(), "opened to be read") {
		t.Errorf("written while read: %v", err)
	}
	modes(t, s.Dir)
}

// modes checks that nobody else can look into the record.
func modes(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, "runs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if err == nil && st.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
		return err
	})
	if err != nil || files != 8 { // run.json, .lock, latest, and five of the host
		t.Errorf("%d files, %v", files, err)
	}
}

func TestOnlyOneWritesARecord(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	d := create(t, s, Run{ID: testRun})
	var busy *BusyError
	if _, err := s.Attach(testRun); !errors.As(err, &busy) || busy.PID != os.Getpid() || busy.Hint() == "" || !strings.Contains(err.Error(), testRun) {
		t.Errorf("attached to a run that is being written: %v", err)
	}
	if _, err := s.Create(Run{ID: testRun}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same id twice: %v", err)
	}
	reader, err := s.Open(testRun)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, reader)
	closed(t, d)
	d, err = s.Attach("latest")
	if err != nil {
		t.Fatal(err)
	}
	closed(t, d)
}

// Listing takes the lock for an instant; nobody who wants to write may be
// refused because of it.
func TestListDoesNotStandInTheWay(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	closed(t, create(t, s, Run{ID: testRun}))
	stop := make(chan struct{})
	var listing sync.WaitGroup
	listing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := s.List(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 100 {
		d, err := s.Attach(testRun)
		if err != nil {
			t.Error(err)
			break
		}
		closed(t, d)
	}
	close(stop)
	listing.Wait()
}

func TestHostsOfARun(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	d := create(t, s, Run{ID: testRun, Hosts: []HostRun{{Host: "web1"}}})
	defer d.Close()
	w, err := d.Host("web1")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"web1", "WEB1", "../evil", "nul"} {
		if _, err := d.Host(bad); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
}

// Links planted in the state folder lead nowhere.
func TestLinksInTheRecord(t *testing.T) {
	outside := t.TempDir()
	s := Store{Dir: t.TempDir()}
	d := create(t, s, Run{ID: testRun})
	defer d.Close()
	if err := os.Symlink(outside, d.HostDir("web1")); err != nil {
		t.Skip(err)
	}
	if w, err := d.Host("web1"); err == nil {
		t.Errorf("wrote through a link to %s: %v", outside, w.dir)
	}
	if err := os.Mkdir(d.HostDir("web2"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "f"), filepath.Join(d.HostDir("web2"), eventsFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Host("web2"); err == nil {
		t.Error("wrote through a link to a file")
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("outside: %v", left)
	}
}

func TestListNamesEveryState(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	id := func(n int) string { return fmt.Sprintf("20261123-10150%d-aaaa", n) }
	exit := 0
	done := func(r *Run) {
		r.Finished, r.Status, r.Outcome, r.ExitCode = r.Started.Add(time.Second), wire.OK, Done, &exit
	}
	running := create(t, s, Run{ID: id(5), Verb: "provision", Hosts: []HostRun{{Host: "a"}, {Host: "b"}, {Host: "c"}, {Host: "d"}}})
	defer running.Close()
	for n, change := range map[int]func(*Run){4: done, 3: func(r *Run) { r.Detached = true }, 2: func(*Run) {}, 1: func(*Run) {}, 0: func(*Run) {}} {
		d := create(t, s, Run{ID: id(n), Verb: "provision", Started: time.Date(2026, 11, 23, 10, 15, n, 0, time.UTC)})
		if err := d.Update(change); err != nil {
			t.Fatal(err)
		}
		closed(t, d)
	}
	for n, text := range map[int]string{1: "{\"schema\":1,\"id\":\"half", 0: "{\"schema\":99}"} {
		if err := os.WriteFile(filepath.Join(s.runs(), id(n), runFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.runs(), "notes"), 0o700); err != nil { // not a run
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.ID+" "+string(e.State))
	}
	want := []string{id(5) + " running", id(4) + " complete", id(3) + " detached", id(2) + " killed", id(1) + " damaged", id(0) + " damaged"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p := list[4].Problem; !strings.Contains(p, filepath.Join(id(1), runFile)) || !strings.Contains(p, "damaged") {
		t.Errorf("problem %q", p)
	}
	if p := list[5].Problem; !strings.Contains(p, "schema 99") {
		t.Errorf("problem %q", p)
	}
	var b strings.Builder
	if err := RunsText(&b, list[1:], TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "runs.txt", []byte(strings.ReplaceAll(b.String(), s.Dir, "DIR")))
	validate(t, "runs", Runs(list))
}

func TestLatest(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if _, err := s.Open(""); !errors.Is(err, ErrNoRun) {
		t.Errorf("no runs yet: %v", err)
	}
	closed(t, create(t, s, Run{ID: "20261123-101502-bbbb"}))
	closed(t, create(t, s, Run{ID: "20261123-101501-aaaa"})) // begun later, by a clock that was set back
	for content, want := range map[string]string{"20261123-101501-aaaa\n": "20261123-101501-aaaa", "20261122-000000-gone\n": "20261123-101502-bbbb", "../..": "20261123-101502-bbbb", "": "20261123-101502-bbbb"} {
		if err := os.WriteFile(filepath.Join(s.runs(), latestFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := s.Open("latest")
		if err != nil || d.ID() != want {
			t.Fatalf("%q: %v, %v", content, d, err)
		}
		closed(t, d)
	}
	for _, id := range []string{"20261123-101502-cccc", "nonsense", "../../etc"} {
		if _, err := s.Open(id); !errors.Is(err, ErrNoRun) {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := s.Entry(id); !errors.Is(err, ErrNoRun) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestPrune(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		keep Keep
		gone []int // days ago
	}{
		{Keep{Runs: 2}, []int{9, 20}},
		{Keep{Runs: 3}, []int{20}},
		{Keep{Runs: 100}, nil},
		{Keep{Days: 5}, []int{9, 20}},
		{Keep{Days: 2}, []int{4, 9, 20}},
		{Keep{Runs: 3, Days: 2}, []int{20}},
		{Keep{Runs: 1, Days: 10}, []int{20}},
		{Keep{Runs: 2, DryRun: true}, []int{9, 20}},
	} {
		s := Store{Dir: t.TempDir()}
		ids := map[int]string{}
		var busy *RunDir
		for _, days := range []int{40, 20, 9, 4, 1} {
			ids[days] = NewID(now.AddDate(0, 0, -days))
			d := create(t, s, Run{ID: ids[days]})
			if days == 40 { // the oldest is being written: it stays
				busy = d
				continue
			}
			closed(t, d)
		}
		gone, err := s.Prune(now, c.keep)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, days := range c.gone {
			want = append(want, ids[days])
		}
		if diff := cmp.Diff(want, gone); diff != "" {
			t.Errorf("%+v: %s", c.keep, diff)
		}
		list, err := s.List()
		left := 5 - len(c.gone)
		if c.keep.DryRun {
			left = 5
		}
		if err != nil || len(list) != left || !slices.ContainsFunc(list, func(e Entry) bool { return e.ID == ids[40] }) {
			t.Errorf("%+v: %d left, %v", c.keep, len(list), err)
		}
		closed(t, busy)
	}
}

func TestPruneOfNothing(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if _, err := s.Prune(time.Now(), Keep{}); err == nil {
		t.Error("pruned without being told what to keep")
	}
	if gone, err := s.Prune(time.Now(), Keep{Runs: 1}); gone != nil || err != nil {
		t.Errorf("nothing to prune: %v, %v", gone, err)
	}
}

// A state folder that cannot be used is named.
func TestStoreThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Store{Dir: file}.Create(Run{})
	var own *Error
	if !errors.As(err, &own) || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
}
