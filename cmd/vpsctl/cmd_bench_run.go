package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

const (
	benchPhaseID = "bench"
	hostLogs     = "/var/log/vps-provision" // of root's runs
)

// A depth's times: 19 probes, three repeats each.
var depths = map[bench.Depth]struct{ each, sustained time.Duration }{
	bench.Quick:    {800 * time.Millisecond, 0},
	bench.Default:  {8 * time.Second, 0},
	bench.Thorough: {8 * time.Second, 4 * time.Minute},
}

// measuring is one `bench run`.
type measuring struct {
	*drive
	depth   bench.Depth
	kinds   []string
	repeats int
	each    time.Duration
	folds   map[string]*bench.Fold // by host; each written by that host's goroutine alone
	turns   map[string]*sync.Mutex // by peer group
	began   map[string]time.Time
	seeds   map[string]uint64 // of the random order, by host
	sent    map[string]string // the prober's hash, by host
	ring    *netRing          // who is measured with whom; nil without the network

	mu   sync.Mutex // of began, sent and done
	done []bench.Session
}

var benchKinds = []string{"cpu", "memory", "disk", "network"}

func benchRun(k *call) error {
	inv, hosts, w, err := k.crew()
	if err != nil {
		return err
	}
	m, err := k.measuring()
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	runID := report.NewID(time.Now())
	plans := make([]wire.Plan, len(hosts))
	for i, h := range hosts {
		plans[i] = m.plan(k, runID, h)
	}
	if err := m.announce(k, hosts); err != nil {
		return err
	}
	dir, err := k.begin(runID, hosts, plans)
	if err != nil {
		return err
	}
	defer dir.Close()
	m.drive = k.drive(dir, inv, hosts, plans, nil)
	m.prepare(runID)
	m.extra = extra{heard: m.hear, hush: true, ready: m.ready, gate: m.gate, beside: m.beside, result: m.result}
	return m.run(w)
}

// measuring reads the flags.
func (k *call) measuring() (*measuring, error) {
	m := &measuring{depth: bench.Default, kinds: benchKinds, repeats: 3, folds: map[string]*bench.Fold{}, began: map[string]time.Time{}, seeds: map[string]uint64{}, sent: map[string]string{}, turns: map[string]*sync.Mutex{}}
	switch {
	case k.Bool("quick") && k.Bool("thorough"):
		return nil, usageError{"bench run: --quick and --thorough exclude each other", ""}
	case k.Bool("quick"):
		m.depth = bench.Quick
	case k.Bool("thorough"):
		m.depth = bench.Thorough
	}
	if only := k.StringSlice("only"); len(only) > 0 {
		for _, kind := range only {
			if !slices.Contains(benchKinds, kind) {
				return nil, usageError{fmt.Sprintf("--only %s: there is no such kind of probe", kind), "the kinds are " + strings.Join(benchKinds, ", ")}
			}
		}
		m.kinds = only
	}
	if n := k.Int64("net-bytes"); n < 1<<20 || n > 1<<40 {
		return nil, usageError{fmt.Sprintf("--net-bytes %d: 1 MiB to 1 TiB", n), ""}
	}
	m.each = depths[m.depth].each
	if k.IsSet("repeats") {
		m.repeats = k.Int("repeats")
	}
	if k.IsSet("each") {
		m.each = k.Duration("each")
	}
	if m.repeats < 1 || m.repeats > 100 || m.each < 50*time.Millisecond || m.each > 10*time.Minute {
		return nil, usageError{fmt.Sprintf("%d repeats of %s: 1 to 100, of 50ms to 10m", m.repeats, m.each), ""}
	}
	if k.IsSet("repeats") || k.IsSet("each") { // never compared with sessions of the usual length
		m.depth = bench.Depth(fmt.Sprintf("%s, %d repeats of %s", m.depth, m.repeats, m.each))
	}
	return m, nil
}

// local are the kinds that the host measures alone.
func (m *measuring) local() []string {
	return slices.DeleteFunc(slices.Clone(m.kinds), func(kind string) bool { return kind == "network" })
}

// plan is one exclusive run of one step: it refuses to run beside a provision,
// survives a lost line, and ends with ^C, as every run does. It takes no
// samples of its own while others are taken.
func (m *measuring) plan(k *call, runID string, h inventory.Host) wire.Plan {
	kinds := m.kinds // the network's probes follow by verbs of their own
	p := wire.Plan{Wire: wire.Version, RunID: runID, Host: h.Name, Verb: "bench", Exclusive: true}
	ph := wire.Phase{ID: benchPhaseID, Title: "Benchmark"}
	m.seeds[h.Name] = rand.Uint64()
	args := []string{"measure", "--only", strings.Join(kinds, ","), "--each", m.each.String(), "--repeats", strconv.Itoa(m.repeats),
		"--seed", strconv.FormatUint(m.seeds[h.Name], 10), "--quiet", k.Duration("quiet-wait").String()}
	if m.depth.Sustains() {
		args = append(args, "--sustained", depths[bench.Thorough].sustained.String())
	}
	if k.Bool("against") {
		args = append(args, "--against")
	}
	if m.quick() {
		args = append(args, "--file-mb", "512")
	}
	ph.Env = map[string]string{}
	if dir := k.String("disk-dir"); dir != "" {
		ph.Env["BENCH_DIR"] = dir
	}
	ph.Steps = []wire.Step{{Name: "probes", Timeout: 2 * time.Hour, Run: &wire.Run{Script: proberScript, Args: args}}}
	p.Phases = []wire.Phase{ph}
	return p
}

// netEstimate is how many paths' figures a host gets, and how long that takes at
// most with all repeats.
func (m *measuring) netEstimate(hosts int, against bool) (probes int, took time.Duration) {
	repeats, times := m.netRepeats(), 0
	probes, times = 8, 5+1+2*repeats // ssh and a mirror: round trips; one stream and eight; ssh both ways, once
	if hosts > 1 {
		probes, times = probes+5, times+1+4*repeats // round trips; one stream and eight, both ways
		if against {
			probes, times = probes+4, times+4*repeats
		}
	}
	return probes, time.Duration(times) * m.netEach()
}

func (m *measuring) quick() bool { return strings.HasPrefix(string(m.depth), string(bench.Quick)) }

// announce says what it will take before anything is touched.
func (m *measuring) announce(k *call, hosts []inventory.Host) error {
	probes := map[string]int{"cpu": 8, "memory": 4, "disk": 7}
	if k.Bool("against") { // openssl and sysbench, one thread and all; fio
		probes["cpu"], probes["disk"] = 12, 14
	}
	n := 0
	for _, kind := range m.local() {
		n += probes[kind]
	}
	took := time.Duration(n*m.repeats) * m.each
	if m.depth.Sustains() {
		long := map[string]int{"cpu": 1, "disk": 2} // all cores; reading and writing
		for _, kind := range m.local() {
			took += time.Duration(long[kind]) * depths[bench.Thorough].sustained
		}
	}
	if slices.Contains(m.kinds, "network") {
		paths, long := m.netEstimate(len(hosts), k.Bool("against"))
		n, took = n+paths, took+long
		k.ui.say("[INFO]", "network: %s, in and out together; providers may charge for it", m.netTraffic(k, hosts))
	}
	k.ui.say("[INFO]", "%d hosts, %d probes: about %s per host", len(hosts), n, wire.FormatDuration(took.Round(time.Second)))
	return nil
}

// prepare begins a session for every host.
func (m *measuring) prepare(runID string) {
	shared := map[string]int{}
	for _, h := range m.hosts {
		s := bench.Session{ID: runID, Host: h.Name, Start: time.Now(), Depth: m.depth, Seed: m.seeds[h.Name]}
		s.Notes.PeerGroup = peerGroup(h)
		m.folds[h.Name] = bench.NewFold(s)
		shared[s.Notes.PeerGroup]++
	}
	if slices.Contains(m.kinds, "network") {
		m.ring = newNetRing(m.hosts)
	}
	for group, n := range shared {
		if group != "" && n > 1 && !m.IsSet("forks") {
			m.turns[group] = &sync.Mutex{}
		}
	}
}

// peerGroup is whose figures a host's should be like.
func peerGroup(h inventory.Host) string {
	if v, ok := h.Vars["peer_group"]; ok && v.Secret == nil {
		return report.Clean(fmt.Sprint(v.Value))
	}
	return ""
}

// limited takes at most so many bytes of what a host says.
type limited struct {
	to   *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.to.Write(p[:n])
	l.left -= n
	return len(p), nil
}

// hear folds what the prober says.
func (m *measuring) hear(host string, e *wire.Event) {
	if e.Kind != wire.KindOutput || e.Phase != benchPhaseID || e.Output == nil {
		return
	}
	if e.Output.Stream != "stdout" {
		m.screen.line("[WARN]", "%s%s", m.screen.who(host), report.Clean(strings.TrimSpace(e.Output.Text)))
		return
	}
	at, err := m.folds[host].Take(e.Output.Text)
	if err != nil {
		m.screen.line("[WARN]", "%s%v", m.screen.who(host), err)
	}
	if at != nil {
		m.screen.status(host, fmt.Sprintf("%d of %d: %s", at.N, at.Of, at.Metric))
	}
}

// resultsScript leaves the results where the guide looks for them on a host. Set
// before: baseline, "yes" where they may become one.
const resultsScript = `set -eu
umask 022
dir=/var/vps-provision/benchmark
mkdir -p "$dir" 2>/dev/null || dir=${XDG_STATE_HOME:-$HOME/.local/state}/vpsctl/benchmark
mkdir -p "$dir"
temp=$(mktemp "$dir/.results.XXXXXX")
trap 'rm -f "$temp"' EXIT
cat >"$temp"
chmod 644 "$temp"
[ "$baseline" != yes ] || [ -e "$dir/baseline.json" ] || cp -p "$temp" "$dir/baseline.json"
mv "$temp" "$dir/results.json"`

// beside keeps the session once the host has ended, here and there.
func (m *measuring) beside(ctx context.Context, h inventory.Host, s *remote.Session) {
	stopped := false
	if m.ring != nil && m.folds[h.Name].Whole() { // else there will be no session
		stopped = m.network(ctx, h, s)
	}
	switch err := m.keepSession(ctx, h, s); {
	case err != nil:
		m.fails(h, report.VerificationFailed, err.Error(), "see vpsctl runs show "+m.dir.ID())
	case stopped:
		m.fails(h, report.Cancelled, "stopped before all its paths were measured", "what was measured is kept")
	}
}

// fails keeps why a host's part of the run is none although its own run ended well.
func (m *measuring) fails(h inventory.Host, kind report.Outcome, why, hint string) {
	if err := m.dir.Update(func(r *report.Run) {
		r.HostNamed(h.Name).Error = &report.HostError{Kind: kind, Stage: report.StageBench, Message: why, Hint: hint}
	}); err != nil {
		m.screen.line("[ERR]", "%s: %v", h.Name, err)
	}
}

func (m *measuring) keepSession(ctx context.Context, h inventory.Host, s *remote.Session) error {
	m.mu.Lock()
	began, sent := m.began[h.Name], m.sent[h.Name]
	m.mu.Unlock()
	session, err := m.folds[h.Name].Session(time.Now())
	if err != nil {
		return err
	}
	session.Notes.Mirror = cmp.Or(mirrorOf(session), session.Notes.Mirror)
	session.Start, session.Took, session.Notes.Prober = began, time.Since(began), sent
	if err := (bench.Store{Dir: filepath.Join(m.stateDir(), "bench")}).Append(session); err != nil {
		return err
	}
	m.mu.Lock()
	m.done = append(m.done, session)
	m.mu.Unlock()
	doc, err := json.MarshalIndent(bench.ResultsOf(session), "", "  ")
	if err != nil {
		return err
	}
	var errs bytes.Buffer
	baseline := map[bool]string{true: "yes", false: "no"}[session.Excluded == ""]
	rc, err := s.Exec(ctx, set(resultsScript, map[string]string{"baseline": baseline}), bytes.NewReader(append(doc, '\n')), &limited{&errs, 0}, &limited{&errs, 300})
	if err == nil && rc != 0 {
		err = fmt.Errorf("%s", report.Clean(strings.TrimSpace(errs.String())))
	}
	if err != nil { // the session is kept here; the host's copy is a convenience
		m.screen.line("[WARN]", "%s: results.json could not be left on the host: %v", h.Name, err)
	}
	return nil
}
