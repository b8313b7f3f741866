package remote

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyPair makes a key and its file; with a passphrase when one is given.
func keyPair(t *testing.T, passphrase string) (ssh.PublicKey, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey(), writeFile(t, "id", string(pem.EncodeToMemory(block)))
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rig is a server with a host that leads to it and a dialer that knows it.
type rig struct {
	*sshtest.Server
	host   inventory.Host
	opt    Options
	dialer *Dialer
	mu     sync.Mutex
	said   []string // Verbose
	states []Status
}

// newRig starts a server that accepts the host's key.
func newRig(t *testing.T, opt sshtest.Options) *rig {
	t.Helper()
	pub, file := keyPair(t, "")
	opt.Keys = append(opt.Keys, pub)
	srv, err := sshtest.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	r := &rig{Server: srv, host: inventory.Host{Name: "web1", Address: srv.Host, Port: srv.Port, User: "dev", IdentityFiles: []string{file}, IdentitiesOnly: true}}
	r.opt = Options{KnownHosts: []string{writeFile(t, "known_hosts", srv.KnownHosts())}, Agent: "none"}
	r.opt.Verbose = func(_, text string) { r.note(func() { r.said = append(r.said, text) }) }
	r.opt.Status = func(_ string, s Status) { r.note(func() { r.states = append(r.states, s) }) }
	return r
}

func (r *rig) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) verbose() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.said, "\n")
}

func (r *rig) saw(s State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, have := range r.states {
		if have.State == s {
			return true
		}
	}
	return false
}

// session makes a dialer of r.opt, once, with short pauses, and a session.
func (r *rig) session(t *testing.T) *Session {
	t.Helper()
	if r.dialer == nil {
		r.dialer = NewDialer(r.opt)
		t.Cleanup(r.dialer.Close)
		l := &r.dialer.lim
		l.backoff, l.penalty, l.maxWait, l.grace = 10*time.Millisecond, 20*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond
	}
	s := r.dialer.Session(r.host)
	t.Cleanup(s.Close)
	return s
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// wantError holds err to be an *Error of this kind whose text and hint contain
// these words.
func wantError(t *testing.T, err error, kind Kind, words ...string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error of kind %v", err, kind)
	}
	if e.Kind != kind {
		t.Errorf("got kind %v, want %v: %v", e.Kind, kind, err)
	}
	for _, w := range words {
		if !strings.Contains(e.Error()+"\n"+e.Hint(), w) {
			t.Errorf("%q is not in %q, hint %q", w, e.Error(), e.Hint())
		}
	}
	return e
}

// fakeCollector stands for the collector: it takes the journal of a run from
// $HOME/journal and knows the verbs and exit codes. A line "#wait NAME" in the
// journal waits for that file in the run's folder.
const fakeCollector = `#!/bin/sh
d=$HOME/.local/state/vpsctl
verb=$1; shift
follow() {
	r=$d/runs/$1
	[ -d "$r" ] || { echo "no such run" >&2; exit 4; }
	for class in status output; do
		while IFS= read -r line; do
			case $line in
			"#wait "*) [ $class = output ] || while [ ! -e "$r/${line#\#wait }" ]; do sleep 0.02; done; continue ;;
			'{"n":'*'"k":"out"'*) [ $class = output ] || continue; after=$3 ;;
			*) [ $class = status ] || continue; after=$2 ;;
			esac
			n=${line#'{"n":'}; n=${n%%,*}
			case $n in *[!0-9]*|"") n=999999 ;; esac
			[ "$n" -le "$after" ] || printf '%s\n' "$line"
		done <"$r/journal.jsonl"
	done
}
# What comes on stdin behind the end is the run's report.
report() {
	grep -q '"k":"end"' "$d/runs/$1/journal.jsonl" || return 0
	IFS= read -r text
	[ -z "$text" ] || printf %s "$text" >"$d/runs/$1/report"
}
case $verb in
version) echo 1 ;;
start)
	IFS= read -r plan
	run=$(printf %s "$plan" | sed 's/.*"run_id":"\([^"]*\)".*/\1/')
	if [ -e "$HOME/refuse" ]; then cat "$HOME/refuse"; exit 9; fi
	mkdir -p "$d/runs"
	mkdir "$d/runs/$run" 2>/dev/null || { echo '{"n":0,"k":"refused","t":0,"refused":{"stage":"exists","text":"was begun before"}}'; exit 3; }
	printf '%s' "$plan" >"$d/runs/$run/plan"
	printf '%s %s' "$LC_VPSCTL_PLAN" "$1" >"$d/runs/$run/early"
	echo "${0##*/}" >"$d/runs/$run/collector"
	cat "$HOME/journal" >"$d/runs/$run/journal.jsonl"
	follow "$run" 0 0
	report "$run" ;;
follow) follow "$@"; report "$1" ;;
cancel|confirm) [ -d "$d/runs/$1" ] || exit 4; printf '%s\n' "$*" >>"$d/runs/$1/$verb"; : >"$d/runs/$1/${verb}ed" ;;
facts) echo '{"hostname":"fake","os":"debian-13","os_name":"","kernel":"","arch":"amd64","cores":2,"memory_mb":1,"swap_mb":0,"disk_mb":0,"disk_avail_mb":0,"cgroup":"v2","uid":65534,"user":"dev","systemd":false}' ;;
report) [ -d "$d/runs/$1" ] || exit 4; cat >"$d/runs/$1/report" ;;
flood) yes | head -c 20000000 ;;
busy) echo '{"n":0,"k":"refused","t":0,"refused":{"stage":"lock","text":"held","holder":{"run_id":"other","verb":"provision","pid":7,"since":"2026-01-01T00:00:00Z"}}}'; exit 9 ;;
*) echo "collector: usage" >&2; exit 2 ;;
esac
`

// binary packs a program as a collector.
func binary(t *testing.T, program string) payload.Binary {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(program)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(program))
	return payload.Binary{Arch: runtime.GOARCH, SHA256: hex.EncodeToString(sum[:]), Size: len(program), Gzip: b.Bytes()}
}

// collectors makes the rig push this program.
func (r *rig) collectors(t *testing.T, program string) payload.Binary {
	b := binary(t, program)
	r.opt.Collector = func(string) (payload.Binary, error) { return b, nil }
	return b
}

// journal is what the fake collector will tell.
func (r *rig) journal(t *testing.T, events ...any) {
	t.Helper()
	var b bytes.Buffer
	for _, e := range events {
		switch e := e.(type) {
		case wire.Event:
			line, err := wire.Encode(&e)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(line)
		case string:
			b.WriteString(e + "\n")
		}
	}
	r.put(t, "journal", b.String())
}

// put writes a file into the host's home that everybody can read.
func (r *rig) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(r.Home, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) state(path string) string {
	return filepath.Join(r.Home, ".local/state/vpsctl", path)
}

const testRun = "20260101-000000-test"

func testPlan() *wire.Plan {
	return &wire.Plan{Wire: wire.Version, RunID: testRun, Host: "web1", Verb: "run", Phases: []wire.Phase{
		{ID: "one", Title: "One", Steps: []wire.Step{{Name: "a", Run: &wire.Run{Script: "true"}}, {Name: "b", Run: &wire.Run{Script: "true"}}}}}}
}

func startEvent() wire.Event {
	return wire.Event{N: 1, Kind: wire.KindStart, Start: &wire.Start{Wire: wire.Version, RunID: testRun, Verb: "run",
		Phases: []wire.PhaseHead{{ID: "one", Title: "One", Steps: []string{"a", "b"}}}}}
}

// goodJournal is a small run with output between its steps.
func goodJournal() []any {
	step := func(n int64, kind wire.Kind, name string) wire.Event {
		return wire.Event{N: n, Kind: kind, T: n, Phase: "one", Step: "one/" + name}
	}
	out := func(n int64, text string) wire.Event {
		e := step(n, wire.KindOutput, "a")
		e.Output = &wire.Output{Stream: "stdout", Text: text}
		return e
	}
	return []any{startEvent(), wire.Event{N: 2, Kind: wire.KindPhase, Phase: "one"},
		step(3, wire.KindStep, "a"), out(4, "first\n"), out(5, "second\n"), step(6, wire.KindStepEnd, "a"),
		step(7, wire.KindStep, "b"), step(8, wire.KindStepEnd, "b"), out(9, "late\n"),
		wire.Event{N: 10, Kind: wire.KindPhaseEnd, Phase: "one"},
		wire.Event{N: 11, Kind: wire.KindEnd, End: &wire.End{Status: wire.OK}}}
}

// collect is a sink that keeps the lines.
func collect(lines *[]string) Sink {
	return func(raw []byte, _ *wire.Event) error {
		*lines = append(*lines, string(raw))
		return nil
	}
}

func pemText(b *pem.Block) string { return string(pem.EncodeToMemory(b)) }
