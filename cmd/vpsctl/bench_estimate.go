package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/inventory"
)

// netTraffic says what the network's probes will move per host: what is to be
// expected by the hosts' last sessions, and the most it can be.
func (m *measuring) netTraffic(k *call, hosts []inventory.Host) string {
	most, against := k.Int64("net-bytes"), k.Bool("against")
	low, high, known := most, int64(0), 0
	for _, h := range hosts {
		history, _, err := k.benchStore().History(h.Name)
		if err != nil { // whoever adds this session to it will say so
			continue
		}
		if n := m.netLikely(history, budgetOf(most, len(hosts) > 1, against), against); n > 0 {
			low, high, known = min(low, n), max(high, n), known+1
		}
	}
	limit := fmt.Sprintf("at most %s per host (--net-bytes)", size(most))
	if known == 0 {
		return limit
	}
	likely := size(low)
	if size(high) != likely {
		likely += " to " + size(high)
	}
	text := "about " + likely + " at the rates of last time"
	if known < len(hosts) {
		text += fmt.Sprintf(" (known of %d of %d hosts)", known, len(hosts))
	}
	return text + ", " + limit
}

// netLikely is how much a host will move at the rates of the last session that
// has some, within what each path is allowed; 0: none has. What it moves with
// its peer it moves once more, when it is the peer of another.
func (m *measuring) netLikely(history []bench.Session, allowed netBudget, against bool) int64 {
	with := 2.0
	if against { // another program does the same
		with *= 2
	}
	for _, s := range slices.Backward(history) {
		var mirror, ssh, peer float64
		for _, one := range s.Metrics {
			if one.Unit != "Mbit/s" {
				continue
			}
			once := one.Median * 1e6 / 8 * m.netEach().Seconds()
			switch {
			case strings.HasPrefix(one.Name, "net/mirror/"):
				mirror += once * float64(m.netRepeats())
			case strings.HasPrefix(one.Name, "net/ssh/"):
				ssh += once
			case strings.HasPrefix(one.Name, "net/peer/"):
				peer += once * float64(m.netRepeats())
			}
		}
		if mirror+ssh+peer > 0 {
			return int64(min(mirror, float64(allowed.mirror)) + min(ssh, float64(allowed.ssh)) + with*min(peer, float64(allowed.peer)))
		}
	}
	return 0
}
