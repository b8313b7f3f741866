package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// A netBudget is how many bytes the network probes of one host may move. In a
// ring each host is measured twice: with the next one, and by the one before.
type netBudget struct{ mirror, ssh, peer int64 }

// budgetOf leaves a tenth for headers and what is sent again, and half of the
// peers' part to another program that does the same.
func budgetOf(most int64, peers, against bool) netBudget {
	most -= most / 10
	if !peers {
		return netBudget{mirror: most / 2, ssh: most / 4}
	}
	b := netBudget{mirror: most / 8, ssh: most / 16, peer: most * 3 / 8}
	if against {
		b.peer /= 2
	}
	return b
}

// A netRing has every host measured with the next one, and the last with the
// first: two paths a host however large the fleet, where all pairs would cost
// each host's traffic n-1 times.
type netRing struct {
	hosts []inventory.Host
	busy  map[string]*sync.Mutex // while a host is measured, by its own probes or with another

	mu    sync.Mutex
	begun map[string]func() // ends a host's time with its own probes
}

func newNetRing(hosts []inventory.Host) *netRing {
	r := &netRing{hosts: hosts, busy: map[string]*sync.Mutex{}, begun: map[string]func(){}}
	for _, h := range hosts {
		r.busy[h.Name] = &sync.Mutex{}
	}
	return r
}

// next is whom a host is measured with.
func (r *netRing) next(name string) (inventory.Host, bool) {
	for i, h := range r.hosts {
		if h.Name == name && len(r.hosts) > 1 {
			return r.hosts[(i+1)%len(r.hosts)], true
		}
	}
	return inventory.Host{}, false
}

// alone begins a host's time with its own probes; leave, which may be called
// again, ends it.
func (r *netRing) alone(name string) (leave func()) {
	leave = sync.OnceFunc(r.take(name, name))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun[name] = leave
	return leave
}

// done ends a host's time with its own probes: whoever waits for a peer holds
// no host.
func (r *netRing) done(name string) {
	r.mu.Lock()
	leave := r.begun[name]
	r.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// take waits until hosts are nobody else's. All take in the order of names, so
// that no two wait for each other.
func (r *netRing) take(a, b string) (leave func()) {
	if b < a {
		a, b = b, a
	}
	r.busy[a].Lock()
	if a != b {
		r.busy[b].Lock()
	}
	return func() {
		if a != b {
			r.busy[b].Unlock()
		}
		r.busy[a].Unlock()
	}
}

// networking is the network part of one host's session.
type networking struct {
	m    *measuring
	h    inventory.Host
	s    *remote.Session
	fold *bench.Fold
	each time.Duration // of one repeat of one rate
	most netBudget

	margin  time.Duration // beyond its own time that a path has: what is sent before, and is under way behind
	forgets time.Duration // how long a firewall remembers who connected; 0: nobody else will
}

// within is the time of one path, whatever the hosts do: others wait for them.
func (n *networking) within(ctx context.Context, took time.Duration) (context.Context, context.CancelFunc) {
	took += n.margin
	return context.WithTimeoutCause(ctx, took, fmt.Errorf("not over after %s", took.Round(100*time.Millisecond)))
}

// netEach is how long one repeat of one rate of a path takes at most: ten
// seconds say as much of it as minutes do.
func (m *measuring) netEach() time.Duration { return min(max(m.each/2, time.Second), 10*time.Second) }

// netRepeats is how often each rate is measured: as often as all else, though the
// bytes that are allowed would be too few for a rate if it was often.
func (m *measuring) netRepeats() int { return min(m.repeats, 5) }

// bounds are what a prober is told of the rates of a path: it takes them in turns,
// in an order of this session's own.
func (n *networking) bounds(bytes int64) []string {
	return []string{fmt.Sprintf("--bytes=%d", bytes), "--each=" + n.each.String(), fmt.Sprintf("--repeats=%d", n.m.netRepeats()), fmt.Sprintf("--seed=%d", n.m.seeds[n.h.Name])}
}

// network measures the paths of a host after its own probes; stopped, when ^C
// came before all of them.
func (m *measuring) network(ctx context.Context, h inventory.Host, s *remote.Session) (stopped bool) {
	peer, others := m.ring.next(h.Name)
	n := &networking{m: m, h: h, s: s, fold: m.folds[h.Name], each: m.netEach(), most: budgetOf(m.Int64("net-bytes"), others, m.Bool("against")),
		margin: 2 * time.Minute}
	if others {
		n.forgets = 31 * time.Second // ufw's limit counts over 30 s
	}
	if m.isStopping() {
		n.skip("mirror, ssh and peer", "stopped before")
		return true
	}
	m.screen.status(h.Name, "network: path to its mirror")
	n.mirror(ctx)
	m.screen.status(h.Name, "network: through ssh")
	n.throughSSH(ctx)
	m.screen.status(h.Name, fmt.Sprintf("network: through ssh, %d connections", sshStreams))
	n.throughEightSSH(ctx)
	m.ring.done(h.Name)
	if !others {
		n.fold.Skip("net/peer: there is no other host in this run")
		return false
	}
	m.screen.status(h.Name, "network: waits for "+peer.Name)
	defer m.ring.take(h.Name, peer.Name)()
	if m.isStopping() {
		n.skip("peer", "stopped before")
		return true
	}
	m.screen.status(h.Name, "network: with "+peer.Name)
	n.with(ctx, peer)
	return false
}

func (d *drive) isStopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// mirrorOf is the mirror that a session's figures are of.
func mirrorOf(s bench.Session) string {
	for _, m := range s.Metrics {
		if rest, ok := strings.CutPrefix(m.Name, "net/mirror/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			return name
		}
	}
	return ""
}

func (n *networking) skip(what string, why any) {
	n.fold.Skip(report.Clean(fmt.Sprintf("net/%s: %v", what, why)))
}

// mirror: how far it is, and what apt's own downloads would get.
func (n *networking) mirror(ctx context.Context) {
	ctx, cancel := n.within(ctx, 2*time.Duration(n.m.netRepeats())*n.each)
	defer cancel()
	out, err := n.prober(ctx, n.s, nil, append([]string{"net-mirror"}, n.bounds(n.most.mirror)...)...)
	if err != nil {
		n.skip("mirror", err)
		return
	}
	n.keep(out, "mirror", func(metric string) (string, bool) { return "net/" + metric, strings.HasPrefix(metric, "mirror/") })
}

// keep takes a prober's lines; rename says what its metrics are called here,
// and which it was asked for.
func (n *networking) keep(lines []byte, what string, rename func(string) (string, bool)) {
	for line := range bytes.Lines(lines) {
		p, err := bench.ParseProbe(bytes.TrimRight(line, "\r\n"))
		if err == nil && p.Got != nil {
			name, asked := rename(p.Got.Metric)
			if !asked {
				err = fmt.Errorf("%w: a metric nobody asked for", wire.ErrHostile)
			} else {
				p.Got.Metric = name
				err = n.fold.Add(*p.Got)
			}
		}
		switch {
		case err != nil:
			n.skip(what, err)
			return
		case p.Skip != nil:
			n.skip(what, p.Skip.Why)
		}
	}
}
