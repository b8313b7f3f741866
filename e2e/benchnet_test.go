//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

// TestBenchNetwork: two hosts measure each other over a line of a known rate, through a firewall that drops what it
// does not know, within the bytes that were allowed by the kernel's own count; no port is open and no rule is there
// afterwards.
func TestBenchNetwork(t *testing.T) {
	t.Parallel()
	const mbit, most = 200, 1600 << 20
	f := FreshLab(t, 2)
	v := newTool(t, f)
	before := map[string]int64{}
	for _, h := range f.Hosts {
		try(t, h.Rate(t.Context(), mbit))
		t.Cleanup(func() { _ = h.Rate(t.Context(), 0) })
		strictFirewall(t, h, "nftables iperf3")
		before[h.Name] = moved(t, h)
	}
	rules := on(t, f.Hosts[0], "nft list ruleset")
	sessions := sessionsOf(t, v.run(0, "bench", "run", "--quick", "--only", "network", "--against", "--each", "4s", "--quiet-wait", "0s", "--net-bytes", strconv.Itoa(most), "-o", "json"))
	if len(sessions) != 2 {
		t.Fatalf("%d sessions", len(sessions))
	}
	for _, s := range sessions {
		peer := f.Hosts[0].Name
		if s.Host == peer {
			peer = f.Hosts[1].Name
		}
		ratesOf(t, s, peer, mbit)
	}
	for _, h := range f.Hosts {
		// Beside the probes the programs themselves are sent: three times the prober, and the collector where there was none.
		if n := moved(t, h) - before[h.Name]; n > most+16<<20 {
			t.Errorf("%s: %d bytes moved, %d were allowed", h.Name, n, most)
		}
		nothingLeft(t, h)
		if left := netLeft(t, h); left != "" {
			t.Errorf("%s: left behind:\n%s", h.Name, left)
		}
	}
	if now := on(t, f.Hosts[0], "nft list ruleset"); now != rules {
		t.Errorf("the rules were\n%s\nand are\n%s", rules, now)
	}
	for _, h := range f.Hosts {
		on(t, h, "nft delete table inet strict")
	}
}

// TestBenchNetworkBroken: ^C closes at once what was opened for a peer; where the laptop is gone, the host's own timer
// does it, and what listened ends with its line. A line that falls silent costs the paths over it, not the session.
func TestBenchNetworkBroken(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 2)
	v := newTool(t, f)
	for _, h := range f.Hosts {
		strictFirewall(t, h, "nftables")
	}
	for name, end := range map[string]func(*proc){
		"^C":        func(p *proc) { p.signal(syscall.SIGINT); p.wait(130) },
		"no laptop": func(p *proc) { p.kill() },
		"a silent line": func(p *proc) {
			try(t, f.Hosts[1].Cut(t.Context()))
			t.Cleanup(func() { _ = f.Hosts[1].Restore(context.Background()) })
			time.Sleep(65 * time.Second) // past the minute after which a silent line is given up
			try(t, f.Hosts[1].Restore(t.Context()))
			sessions, lost := sessionsOf(t, p.wait(0)), ""
			for _, s := range sessions {
				lost += strings.Join(s.Skipped, "\n") + "\n"
			}
			if len(sessions) != 2 {
				t.Errorf("%d sessions beside a silent line", len(sessions))
			}
			wants(t, "what the silent line cost", lost, "net/peer/")
		},
	} {
		p := v.start("bench", "run", "--only", "network", "--quick", "--each", "2s", "--quiet-wait", "0s", "--net-bytes", "107374182400", "--plain", "-o", "json")
		until(t, "a port to be opened", func() bool {
			if p.over() {
				t.Fatalf("%s: over already\n%s", name, p.talk())
			}
			return strings.Contains(netLeft(t, f.Hosts[0])+netLeft(t, f.Hosts[1]), "comment")
		})
		end(p)
		for _, h := range f.Hosts {
			if left := netLeft(t, h); name == "^C" && strings.Contains(left, "comment") {
				t.Errorf("%s: open behind ^C:\n%s", h.Name, left)
			}
			until(t, name+": all to be closed on "+h.Name, func() bool { return netLeft(t, h) == "" })
			nothingLeft(t, h)
		}
	}
}

// TestBenchNetworkNotMeasurable: where a peer's firewall cannot be opened, or was and something else still drops what
// comes, that is said in place of a figure, and nothing stays open.
func TestBenchNetworkNotMeasurable(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 2)
	v := newTool(t, f)
	drops, noNFT := f.Hosts[0], f.Hosts[1]
	for _, h := range f.Hosts {
		strictFirewall(t, h, "nftables")
	}
	on(t, drops, `nft add chain inet strict early '{ type filter hook prerouting priority -10; }'
nft add rule inet strict early ct state new tcp dport 1024-65535 drop`)
	on(t, noNFT, "mv /usr/sbin/nft /root/nft")
	sessions := sessionsOf(t, v.run(0, "bench", "run", "--quick", "--only", "network", "--each", "2s", "--quiet-wait", "0s", "-o", "json"))
	on(t, noNFT, "mv /root/nft /usr/sbin/nft")
	if len(sessions) != 2 {
		t.Fatalf("%d sessions", len(sessions))
	}
	for _, s := range sessions {
		want := "net/peer/" + noNFT.Name + ": not measurable: firewall (only root opens it, with nft and systemd)"
		if s.Host == noNFT.Name {
			want = "net/peer/" + drops.Name + ": not measurable: firewall"
		}
		if !slices.Contains(s.Skipped, want) {
			t.Errorf("%s: %q is not said: %q", s.Host, want, s.Skipped)
		}
		if slices.ContainsFunc(s.Metrics, func(m bench.Metric) bool { return strings.HasPrefix(m.Name, "net/peer/") }) {
			t.Errorf("%s: a figure where no packet comes through: %+v", s.Host, s.Metrics)
		}
	}
	for _, h := range f.Hosts {
		if left := netLeft(t, h); left != "" {
			t.Errorf("%s: left behind:\n%s", h.Name, left)
		}
		nothingLeft(t, h)
	}
}

// TestBenchMirrorByTLS: a mirror by https is measured by a program of the host, which believes no certificate that the
// host does not. Where there is none, that is the reason.
func TestBenchMirrorByTLS(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h, v := f.Hosts[0], newTool(t, f)
	file := bytes.Repeat([]byte("packages"), 1<<20)
	mirror := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(file) }))
	mirror.Listener.Close()
	var err error
	mirror.Listener, err = net.Listen("tcp", net.JoinHostPort(f.Lab.Gateway(), "0"))
	try(t, err)
	mirror.Config.ErrorLog = log.New(io.Discard, "", 0) // a host that does not believe it says so there
	mirror.StartTLS()
	t.Cleanup(mirror.Close)
	_, port, _ := net.SplitHostPort(mirror.Listener.Addr().String())
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mirror.Certificate().Raw})

	const apt = "apt-get -q -y -o DPkg::Lock::Timeout=60 "
	on(t, h, apt+"update && "+apt+"install --no-install-recommends ca-certificates wget && "+apt+"purge curl")
	on(t, h, fmt.Sprintf(`echo %s example.com >>/etc/hosts
rm -f /etc/apt/sources.list.d/*
echo 'deb https://example.com:%s/debian trixie main' >/etc/apt/sources.list
echo 'Acquire::https::Proxy "DIRECT";' >/etc/apt/apt.conf.d/90direct`, f.Lab.Gateway(), port))
	measured := func() bench.Session {
		return sessionOf(t, v.run(0, "bench", "run", "--quick", "--only", "network", "--each", "20s", "--quiet-wait", "0s", "-o", "json")) // a laden machine starts eight programs
	}
	wants(t, "without the certificate", strings.Join(measured().Skipped, "\n"), "net/mirror: example.com", "wget", "certificate")
	on(t, h, "cat >/usr/local/share/ca-certificates/mirror.crt <<'END'\n"+string(certificate)+"END\nupdate-ca-certificates")
	s := measured()
	for end, n := range map[string]int{"rtt": 1, "1": 3, "8": 3} {
		i := slices.IndexFunc(s.Metrics, func(m bench.Metric) bool { return m.Name == "net/mirror/example.com/https-wget/"+end })
		if i < 0 {
			t.Errorf("%s: no figure: %v", end, s.Skipped)
			continue
		}
		m := s.Metrics[i]
		wants(t, "the figure's note", m.Note, "path to mirror example.com")
		if end != "rtt" {
			wants(t, "the figure's note", m.Note, "by https through wget")
		}
		if m.Median <= 0 || len(m.Values) != n || (m.Percentiles["p50_us"] > 0) != (end == "rtt") {
			t.Errorf("%+v", m)
		}
	}
	on(t, h, "rm $(command -v wget)")
	wants(t, "without a program", strings.Join(measured().Skipped, "\n"), "net/mirror: example.com", "neither curl nor wget")
}

// strictFirewall drops what comes in by a port but ssh's.
func strictFirewall(t *testing.T, h *lab.Host, packages string) {
	t.Helper()
	on(t, h, "apt-get -q update && apt-get -q -y install --no-install-recommends "+packages)
	on(t, h, `nft add table inet strict
nft add chain inet strict input '{ type filter hook input priority 10; policy drop; }'
nft add rule inet strict input iif lo accept
nft add rule inet strict input ct state established,related accept
nft add rule inet strict input meta l4proto '{ icmp, ipv6-icmp }' accept
nft add rule inet strict input tcp dport 22 accept`)
}

// netLeft is what of a measured path is still there.
func netLeft(t *testing.T, h *lab.Host) string {
	t.Helper()
	return on(t, h, "nft list ruleset | grep vpsctl-bench; systemctl list-units --all --plain --no-legend 'vpsctl-bench-*'; pgrep -a -f '[n]et-serve|[n]et-client|[i]perf3' || true")
}

// moved is what went through a host's line so far, both ways.
func moved(t *testing.T, h *lab.Host) int64 {
	t.Helper()
	sum := int64(0)
	for word := range strings.FieldsSeq(on(t, h, `sed -n 's/^ *host0://p' /proc/net/dev | awk '{ print $1, $9 }'`)) {
		n, err := strconv.ParseInt(word, 10, 64)
		try(t, err)
		sum += n
	}
	return sum
}

func sessionsOf(t *testing.T, r result) []bench.Session {
	t.Helper()
	var doc struct{ Sessions []bench.Session }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatalf("%v\n%s", err, tail(r.says()))
	}
	return doc.Sessions
}

// ratesOf holds a session's figures, and those of iperf3, against the line's limit.
func ratesOf(t *testing.T, s bench.Session, peer string, mbit float64) {
	t.Helper()
	got := map[string]bench.Metric{}
	mirror := strings.Contains(strings.Join(s.Skipped, "\n"), "net/mirror: ")
	for _, m := range s.Metrics {
		_, what, _ := strings.Cut(strings.TrimPrefix(m.Name, "net/peer/"), "/")
		got[what] = m
		if strings.HasPrefix(m.Name, "net/mirror/") {
			mirror = true
			wants(t, m.Name, m.Note, "path to mirror ")
		}
		if strings.HasPrefix(m.Name, "net/ssh/") {
			wants(t, m.Name, m.Note, "through ssh")
		}
	}
	if !mirror {
		t.Errorf("%s: neither a mirror's figure nor a reason: %v", s.Host, s.Skipped)
	}
	for _, way := range []string{"up/1", "down/1", "up/8", "down/8"} {
		// Headers take 5 % of a packet; the machine that plays both hosts may be busy.
		for _, name := range []string{way, "iperf3/" + peer + "/" + way} {
			if m := got[name]; m.Median > mbit*1.05 || m.Median < mbit*0.6 {
				t.Errorf("%s: %s is %.0f Mbit/s on a line of %.0f: %v", s.Host, name, m.Median, mbit, s.Skipped)
			}
		}
	}
	for _, way := range []string{"up/1", "down/1", "up/8", "down/8"} {
		if m := got[way]; len(m.Values) != 3 || len(m.Steal) != 3 {
			t.Errorf("%s: %s has not three repeats: %+v", s.Host, way, m)
		}
	}
	if m := got["rtt"]; m.Median <= 0 || m.Percentiles["p99_us"] < m.Percentiles["p50_us"] || m.Steal != nil {
		t.Errorf("%s: %+v", s.Host, m)
	}
}
