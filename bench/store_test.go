package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func stored(t *testing.T, s Store, list []Session) {
	t.Helper()
	for _, one := range list {
		if err := s.Append(one); err != nil {
			t.Fatal(err)
		}
	}
}

func history(t *testing.T, s Store, host string, unread int) []Session {
	t.Helper()
	list, n, err := s.History(host)
	if err != nil || n != unread {
		t.Fatalf("history of %s: %d unread lines, want %d; %v", host, n, unread, err)
	}
	return list
}

func fits(t *testing.T, name string, doc []byte) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "docs", "schema", name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestStore: what is kept comes back, whatever happened to the file meanwhile.
func TestStore(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "state", "bench")}
	made := life{host: "web1", noise: 0.05, metrics: []string{"cpu/sha256/1", "disk/read-1m/qd8"}}.sessions(rand.New(rand.NewPCG(1, 1)), 6)
	if got := history(t, s, "web1", 0); len(got) != 0 {
		t.Errorf("%d sessions of a host that has none", len(got))
	}
	stored(t, s, made[:3])
	path := filepath.Join(s.Dir, "web1", HistoryFile)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	other := made[0]
	other.Host = "web2"
	line, _ := json.Marshal(other)
	later := strings.Replace(string(line), "bench-session/1", "bench-session/2", 1)
	for _, l := range []string{string(line), later, "not json", `{"schema":"vpsctl/bench-session/1","id":"2026`} { // the last without its end
		if _, err := f.WriteString("\n" + l); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	stored(t, s, []Session{made[5], made[3], made[4]}) // clocks go back
	got := history(t, s, "web1", 4)
	if len(got) != len(made) {
		t.Fatalf("%d sessions, want %d", len(got), len(made))
	}
	for i := range got {
		if got[i].ID != made[i].ID || !got[i].Start.Equal(made[i].Start) || !slices.Equal(got[i].Metrics[0].Values, made[i].Metrics[0].Values) {
			t.Errorf("session %d is %s, want %s", i, got[i].ID, made[i].ID)
		}
	}
	b, err := os.ReadFile(filepath.Join(s.Dir, "web1", ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	fits(t, "bench-results", b)
	if hosts, err := s.Hosts(); err != nil || !slices.Equal(hosts, []string{"web1"}) {
		t.Errorf("hosts %q, %v", hosts, err)
	}
	if runtime.GOOS != "windows" {
		for name, mode := range map[string]fs.FileMode{"..": 0o700, ".": 0o700, HistoryFile: 0o600, ResultsFile: 0o600} {
			if st, err := os.Stat(filepath.Join(s.Dir, "web1", name)); err != nil || st.Mode().Perm() != mode {
				t.Errorf("%s: mode %v, want %v; %v", name, st.Mode().Perm(), mode, err)
			}
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	outside := t.TempDir()
	s := Store{Dir: filepath.Join(t.TempDir(), "bench")}
	good := life{host: "web1", metrics: []string{"cpu/x"}}.sessions(rand.New(rand.NewPCG(1, 1)), 1)[0]
	stored(t, s, []Session{good})
	if err := os.Symlink(outside, filepath.Join(s.Dir, "web9")); err == nil {
		bad := good
		bad.Host = "web9"
		if err := s.Append(bad); err == nil {
			t.Error("a link out of the state folder was followed")
		}
		if left, _ := os.ReadDir(outside); len(left) > 0 {
			t.Errorf("%d files were written outside of the state folder", len(left))
		}
	}
	for _, name := range []string{"", ".", "..", "../web1", "a/b", `a\b`, ".hidden", strings.Repeat("x", 64), "web1\n"} {
		bad := good
		bad.Host = name
		if err := s.Append(bad); err == nil {
			t.Errorf("a host called %q was kept", name)
		}
	}
	for what, spoil := range map[string]func(*Session){
		"no id":     func(s *Session) { s.ID = "" },
		"no values": func(s *Session) { s.Metrics[0].Values = nil },
		"no median": func(s *Session) { s.Metrics[0].Median = 0 },
		"a name":    func(s *Session) { s.Metrics[0].Name = "cpu/\x1b[2J" },
	} {
		bad := good
		bad.Metrics = slices.Clone(good.Metrics)
		spoil(&bad)
		if err := s.Append(bad); err == nil {
			t.Errorf("a session was kept that has %s to refuse", what)
		}
	}
	if got := history(t, s, "web1", 0); len(got) != 1 {
		t.Errorf("%d sessions, want 1", len(got))
	}
}

// TestAppendTogether: processes that append at once lose nothing of each other.
func TestAppendTogether(t *testing.T) {
	if dir := os.Getenv("BENCH_APPEND_DIR"); dir != "" {
		n, _ := strconv.Atoi(os.Getenv("BENCH_APPEND_N"))
		list := life{host: "web1", noise: 0.1, metrics: []string{"cpu/x", "disk/y"}}.sessions(rand.New(rand.NewPCG(uint64(n), 1)), 20)
		for i := range list {
			list[i].ID += "-of-" + strconv.Itoa(n)
		}
		stored(t, Store{Dir: dir}, list)
		return
	}
	dir := t.TempDir()
	var running []*exec.Cmd
	for n := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAppendTogether$")
		cmd.Env = append(os.Environ(), "BENCH_APPEND_DIR="+dir, "BENCH_APPEND_N="+strconv.Itoa(n))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, s := range history(t, Store{Dir: dir}, "web1", 0) {
		seen[s.ID] = true
	}
	if len(seen) != 80 {
		t.Errorf("%d sessions, want 80", len(seen))
	}
}

func TestBaselineFiles(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	one := life{host: "web1", metrics: []string{"cpu/sha256/1"}}.sessions(rand.New(rand.NewPCG(1, 1)), 1)[0]
	if _, err := s.Results("web1", BaselineFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no baseline: %v", err)
	}
	if err := errors.Join(s.ClearBaseline("web1"), s.SetBaseline("web1", ResultsOf(one)), s.Freeze(one)); err != nil {
		t.Fatal(err)
	}
	r, err := s.Results("web1", BaselineFile)
	if err != nil || r.CPU.Ops == nil || *r.CPU.Ops != one.Metrics[0].Median {
		t.Errorf("baseline %+v, %v", r.CPU, err)
	}
	if f, err := s.FrozenSince("web1"); err != nil || f == nil || !f.Since.Equal(one.Start) {
		t.Errorf("frozen %+v, %v", f, err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "web1", FrozenFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FrozenSince("web1"); err == nil {
		t.Error("a damaged file is taken for none: sessions would count that their owner has set aside")
	}
	if err := s.ClearBaseline("web1"); err != nil {
		t.Fatal(err)
	}
	if f, err := s.FrozenSince("web1"); err != nil || f != nil {
		t.Errorf("frozen %+v, %v", f, err)
	}
}

// TestFirstFormat: histories of the first version are read for ever. The file
// was written by it and is never written anew.
func TestFirstFormat(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	b, err := os.ReadFile(filepath.Join("testdata", "history-1.jsonl"))
	if err == nil {
		err = os.Mkdir(filepath.Join(s.Dir, "web1"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Dir, "web1", HistoryFile), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		fits(t, "bench-session", line)
	}
	list := history(t, s, "web1", 0)
	if len(list) != 14 {
		t.Fatalf("%d sessions, want 14", len(list))
	}
	first := list[0]
	if first.Epoch.CPUModel != "AMD EPYC 7" || first.Depth != Default || first.Notes.Kernel != "6.12.1" || first.Notes.PeerGroup != "ams" || list[13].Excluded != "38 min after a provision" {
		t.Errorf("%+v", first)
	}
	if m := first.metric("disk/read-1m/qd8"); m == nil || m.Unit != "MB/s" || m.Better != Higher || len(m.Values) != 3 {
		t.Errorf("%+v", m)
	}
	if r := Judge(map[string][]Session{"web1": list}, Question{}); r.Screened != 6 || r.Judged != 6 {
		t.Errorf("%d of %d judged: %s", r.Judged, r.Screened, r.Text)
	}
}

func FuzzHistory(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "history-1.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f.Add(line)
	f.Add([]byte("{}\n\n[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, unread := parseHistory("web1", b)
		if n := bytes.Count(b, []byte("\n")) + 1; len(list)+unread > n {
			t.Fatalf("%d sessions and %d unread of %d lines", len(list), unread, n)
		}
		for i, s := range list {
			if err := s.check("web1"); err != nil {
				t.Fatal(err)
			}
			if i > 0 && s.Start.Before(list[i-1].Start) {
				t.Fatal("not in their order")
			}
		}
		Changes(list)
		HostSide("web1", list)
	})
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"cpu":{"operations_per_second":1},"disk_io":{"read_speed_mbps":-1},"system":{"cpu_cores":2}}`), []byte(`{"schema":"vpsctl/bench-results/1","metrics":[{"name":"a","values":[1]}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		now, err := parseResults(a)
		if err != nil {
			return
		}
		before, err := parseResults(b)
		if err != nil {
			return
		}
		for _, l := range GuideLines(now, before, plainGrade) {
			if l.Text() == "" {
				t.Fatal("a line without words")
			}
			for _, p := range l.Parts {
				if p.Regressed && (*p.Baseline <= 0 || *p.Current <= 0) {
					t.Fatalf("%v against %v", *p.Current, *p.Baseline)
				}
			}
		}
		now.Differs(before)
		Table(SessionSide(before), SessionSide(now))
	})
}
