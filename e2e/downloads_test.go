//go:build e2e

package e2e

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// watchedMirror stands between a host and its mirrors: as apt's proxy, and as a mirror of its own below /mirror. It
// counts downloads of packages, and keeps some of them waiting.
type watchedMirror struct {
	cache *lab.AptCache
	url   string

	mu      sync.Mutex
	coming  int
	most    int            // at once
	asked   map[string]int // package files, by name
	mirror  int            // asked below /mirror
	stalls  string         // names with this text get some bytes and no more
	stalled int
	ended   chan struct{}
}

// watchMirror has the host's apt go through the watched mirror.
func watchMirror(t *testing.T, l *lab.Lab, h *lab.Host) *watchedMirror {
	t.Helper()
	conf, err := os.ReadFile(h.Root() + labAptConf)
	try(t, err)
	listener, err := net.Listen("tcp", l.Gateway()+":0")
	try(t, err)
	m := &watchedMirror{cache: &lab.AptCache{Dir: t.TempDir()}, url: "http://" + listener.Addr().String(), asked: map[string]int{}, ended: make(chan struct{})}
	for _, found := range regexp.MustCompile(`Proxy::(\S+)`).FindAllSubmatch(conf, -1) {
		m.cache.Mirrors = append(m.cache.Mirrors, string(found[1]))
	}
	server := &http.Server{Handler: m}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		close(m.ended)
		server.Close()
		m.cache.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	on(t, h, `sed -i 's#"http://[^"]*"#"`+m.url+`"#' `+labAptConf)
	return m
}

func (m *watchedMirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, "/mirror"); ok && r.URL.Host == "" {
		m.mu.Lock()
		m.mirror++
		m.mu.Unlock()
		r.URL = &url.URL{Scheme: "http", Host: m.cache.Mirrors[0], Path: "/debian" + path, RawPath: ""}
		r.Host, r.RequestURI = r.URL.Host, r.URL.String()
	}
	if !strings.HasSuffix(r.URL.Path, ".deb") {
		m.cache.ServeHTTP(w, r)
		return
	}
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	m.mu.Lock()
	m.coming++
	m.most = max(m.most, m.coming)
	m.asked[name]++
	stall := m.stalls != "" && strings.Contains(name, m.stalls)
	if stall {
		m.stalled++
	}
	m.mu.Unlock()
	if stall {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 1000))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-m.ended:
		}
	} else {
		time.Sleep(20 * time.Millisecond) // so that those at once are seen
		m.cache.ServeHTTP(w, r)
	}
	m.mu.Lock()
	m.coming--
	m.mu.Unlock()
}

func (m *watchedMirror) set(stalls string) (most, mirror, stalled int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	most, mirror, stalled = m.most, m.mirror, m.stalled
	m.most, m.stalls, m.stalled = 0, stalls, 0
	return most, mirror, stalled
}

// fetched are the record's downloads, by step.
func (r *record) fetched() map[string]*wire.Fetched {
	all := map[string]*wire.Fetched{}
	for _, e := range r.events {
		if e.Fetched != nil {
			all[e.Step] = e.Fetched
		}
	}
	return all
}

// said is what a step printed.
func (r *record) said(step string) string {
	var b strings.Builder
	for _, e := range r.events {
		if e.Output != nil && e.Step == step {
			b.WriteString(e.Output.Text)
		}
	}
	return b.String()
}

func (r *record) noted(text string) bool {
	for _, e := range r.events {
		if e.Note != nil && strings.Contains(e.Note.Text, text) {
			return true
		}
	}
	return false
}

const noDownloads = `if ls /var/cache/apt/archives/partial/vpsctl-* 2>/dev/null || ps -eo args | grep -E "^(nice .*)?/usr/lib/apt/(apt-helper|methods/http)"; then exit 1; fi`

// Packages of later steps are there when their turn comes, as many come at once as was asked for, and nothing that
// somebody else has put there is installed.
func TestPackagesAhead(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	m := watchMirror(t, f.Lab, h)
	v.phase("first", "steps:\n  - {name: tools, packages: {names: [git, python3], recommends: false}}\n")
	v.phase("second", "needs: [first]\nsteps:\n  - {name: more, packages: {names: [vim, tmux], recommends: false}}\n")
	v.phase("third", "needs: [second]\nsteps:\n  - {name: last, packages: {names: [jq], recommends: false}}\n"+
		"  - {name: own, run: \"apt-config dump | grep '^DPkg::Lock::Timeout'; apt-get install -q -y tree\"}\n")
	args := []string{"provision", "--only-phase", "first", "--only-phase", "second", "--only-phase", "third", "--plain"}
	forge := `apt-get -q -o APT::Update::Error-Mode=any update && apt-get -q -y -d --no-install-recommends install jq && cd /var/cache/apt/archives &&
		for f in jq_*.deb; do head -c $(stat -c %s $f) /dev/zero >$f.new && mv $f.new $f; done`
	on(t, h, forge)
	m.set("")

	v.env = append(v.env, "APT_ACQUIRE_MAX_PARALLEL=3")
	r := v.run(0, args...)
	wants(t, "the report", strings.Join(strings.Fields(r.says()), " "), "Downloads", "before their step had begun", "ran beside other work")
	rec := v.record(h.Name)
	got := rec.fetched()
	for step, ahead := range map[string]bool{"first/tools": false, "second/more": true, "third/last": true} {
		if e := got[step]; e == nil || ahead && !e.Ahead || e.Files == 0 || e.Bytes == 0 || e.Elapsed <= 0 {
			t.Errorf("%s: downloaded %+v", step, e)
		}
		if out := rec.said(step); !strings.Contains(out, "Need to get 0 B/") {
			t.Errorf("%s: apt downloaded something itself:\n%s", step, tail(out))
		}
	}
	if most, _, _ := m.set(""); most < 2 || most > 3 { // a list of few bytes is cut into two parts only
		t.Errorf("%d packages came at once, want 2 or 3", most)
	}
	m.mu.Lock()
	for name, n := range m.asked {
		if n != 1 && !strings.HasPrefix(name, "jq") && !strings.HasPrefix(name, "libjq") && !strings.HasPrefix(name, "libonig") {
			t.Errorf("%s was downloaded %d times", name, n)
		}
	}
	m.mu.Unlock()
	if !rec.noted("it is not the package that the signed lists name") {
		t.Error("nothing was said of the forged package")
	}
	on(t, h, "jq --version && test -z \"$(dpkg -V jq)\"")
	wants(t, "the script", rec.said("third/own"), `DPkg::Lock::Timeout "600"`)
	on(t, h, noDownloads)

	// One after the other, and none ahead.
	on(t, h, "apt-get -q -y purge git vim tmux jq tree >/dev/null; apt-get -q -y autoremove --purge >/dev/null; apt-get clean")
	m.set("")
	v.env = append(v.env, "APT_ACQUIRE_MAX_PARALLEL=1")
	v.run(0, append(args, "--sequential")...)
	if most, _, _ := m.set(""); most != 1 {
		t.Errorf("%d packages came at once, want 1", most)
	}
	for step, e := range v.record(h.Name).fetched() {
		if e.Ahead {
			t.Errorf("%s was downloaded ahead", step)
		}
	}

	// Too little room: apt alone, and it works.
	on(t, h, "apt-get -q -y purge vim tmux >/dev/null; mount -t tmpfs -o size=1g,mode=755 tmpfs /var/cache/apt/archives && mkdir -m 700 /var/cache/apt/archives/partial")
	v.run(0, args...)
	rec = v.record(h.Name)
	if len(rec.fetched()) != 0 || !rec.noted("less than 3 GiB or a tenth of the disk would be left free") {
		t.Errorf("with no room: downloaded %v", rec.fetched())
	}
	on(t, h, "umount /var/cache/apt/archives && command -v tmux")
}

// However a run ends, nothing goes on downloading and no part of a file stays.
func TestNoDownloadIsLeft(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	m := watchMirror(t, f.Lab, h)
	m.set("tmux")
	v.phase("slow", "steps:\n  - {name: tools, packages: {names: [jq], recommends: false}}\n"+
		"  - {name: rest, run: \"sleep 120\"}\n  - {name: more, packages: {names: [tmux], recommends: false}}\n")
	begin := func() *proc {
		p := v.start("provision", "--only-phase", "slow", "--plain")
		exists(t, h, "/var/cache/apt/archives/partial/vpsctl-*-tmux_*")
		return p
	}
	p := begin()
	on(t, h, `kill -9 $(grep -o '"pid": *[0-9]*' /run/lock/vpsctl | tr -dc 0-9)`)
	p.wait(2)
	until(t, "an end of all downloads after a kill", func() bool { _, err := h.Exec(t.Context(), noDownloads); return err == nil })

	p = begin()
	p.signal(syscall.SIGINT)
	p.wait(130)
	if _, err := h.Exec(t.Context(), noDownloads); err != nil {
		t.Errorf("after a cancel: %v", err)
	}
}

// What the guide sets by the environment takes effect on the host.
func TestDownloadSettings(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	m := watchMirror(t, f.Lab, h)
	on(t, h, "test ! -e /etc/apt/apt.conf.d/99vps-provision")
	v.env = append(v.env, "APT_MIRROR="+m.url+"/mirror", "APT_ACQUIRE_MAX_PARALLEL=2", "DOWNLOAD_TIMEOUT=10")
	v.provision(0, "system-prep")
	wants(t, "apt-config dump", on(t, h, "apt-config dump"), `Acquire::Queue-Mode "host"`, `Acquire::http::Pipeline-Depth "5"`,
		`Acquire::QueueHost::Limit "2"`, `Acquire::http::Timeout "10"`, `Acquire::https::Timeout "10"`, `Acquire::Retries "3"`)
	if out := on(t, h, "apt-config dump | grep -i max-parallel || true"); out != "" {
		t.Errorf("a setting that apt does not have: %s", out)
	}
	wants(t, "apt-cache policy", on(t, h, "apt-cache policy"), m.url+"/mirror trixie")
	most, mirror, _ := m.set("")
	if most < 2 || most > 4 || mirror == 0 { // two of ours, and beside them what the upgrade has apt itself download
		t.Errorf("%d packages came at once; the mirror was asked %d times", most, mirror)
	}
	// A server that says no more: twice 10 s. apt then refuses at once what has another length than it should.
	m.set("tree_")
	v.phase("stalls", "steps:\n  - {name: tools, packages: {names: [tree], recommends: false}}\n")
	r := v.run(2, "provision", "--only-phase", "stalls", "--plain")
	if _, _, stalled := m.set(""); stalled < 2 || r.took < 20*time.Second || r.took > 3*time.Minute {
		t.Errorf("gave up after %v and %d tries", r.took, stalled)
	}
	wants(t, "the failure", strings.Join(strings.Fields(r.says()), " "), "for its packages to be downloaded", "the network failed")
}
