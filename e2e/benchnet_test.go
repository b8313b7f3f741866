//go:build e2e

package e2e

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

// TestBenchNetwork: two hosts measure each other over a line of a known rate, through a firewall that drops what it
// does not know, within the bytes that were allowed by the kernel's own count; no port is open and no rule is there
// afterwards.
func TestBenchNetwork(t *testing.T) {
	t.Parallel()
	const mbit, most = 200, 320 << 20
	f := FreshLab(t, 2)
	v := newTool(t, f)
	before := map[string]int64{}
	for _, h := range f.Hosts {
		try(t, h.Rate(t.Context(), mbit))
		t.Cleanup(func() { _ = h.Rate(t.Context(), 0) })
		on(t, h, "apt-get -q update && apt-get -q -y install --no-install-recommends nftables")
		on(t, h, `nft add table inet strict
nft add chain inet strict input '{ type filter hook input priority 10; policy drop; }'
nft add rule inet strict input iif lo accept
nft add rule inet strict input ct state established,related accept
nft add rule inet strict input meta l4proto '{ icmp, ipv6-icmp }' accept
nft add rule inet strict input tcp dport 22 accept`)
		before[h.Name] = moved(t, h)
	}
	rules := on(t, f.Hosts[0], "nft list ruleset")
	sessions := networkOf(t, v.run(0, "bench", "run", "--quick", "--only", "network", "--each", "4s", "--quiet-wait", "0s", "--net-bytes", strconv.Itoa(most), "-o", "json"))
	if len(sessions) != 2 {
		t.Fatalf("%d sessions", len(sessions))
	}
	for _, s := range sessions {
		ratesOf(t, s, mbit)
	}
	for _, h := range f.Hosts {
		// Beside the probes the programs themselves are sent: three times the prober, and the collector where there was none.
		if n := moved(t, h) - before[h.Name]; n > most+16<<20 {
			t.Errorf("%s: %d bytes moved, %d were allowed", h.Name, n, most)
		}
		nothingLeft(t, h)
		if left := on(t, h, "nft list ruleset | grep vpsctl-bench; systemctl list-units --all --plain --no-legend 'vpsctl-bench-*'; pgrep -a -f '[n]et-serve' || true"); left != "" {
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

func networkOf(t *testing.T, r result) []bench.Session {
	t.Helper()
	var doc struct{ Sessions []bench.Session }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatalf("%v\n%s", err, tail(r.says()))
	}
	return doc.Sessions
}

// ratesOf holds a session's figures against the line's limit.
func ratesOf(t *testing.T, s bench.Session, mbit float64) {
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
	for _, name := range []string{"up/1", "down/1", "up/8", "down/8"} {
		// Headers take 5 % of a packet; the machine that plays both hosts may be busy.
		if m := got[name]; m.Median > mbit*1.05 || m.Median < mbit*0.6 {
			t.Errorf("%s: %s is %.0f Mbit/s on a line of %.0f: %v", s.Host, name, m.Median, mbit, s.Skipped)
		}
	}
	if m := got["rtt"]; m.Median <= 0 || m.Percentiles["p99_us"] < m.Percentiles["p50_us"] {
		t.Errorf("%s: %+v", s.Host, m)
	}
}
