package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

//go:embed hostside/bench/door.sh
var doorScript string

const netSays = 256 << 10 // what a prober may say of one path

// set is a script with its variables and arguments before it.
func set(script string, vars map[string]string, args ...string) string {
	var b strings.Builder
	for name, value := range vars {
		fmt.Fprintf(&b, "%s=%s\n", name, remote.ShellLine([]string{value}))
	}
	if len(args) > 0 {
		fmt.Fprintf(&b, "set -- %s\n", remote.ShellLine(args))
	}
	return b.String() + script
}

// netProber is the prober for a host's processor, and the script that runs it.
func netProber(ctx context.Context, s *remote.Session, args []string) (gz []byte, script string, err error) {
	bin, err := proberFor(ctx, s)
	if err != nil {
		return nil, "", err
	}
	return bin.Gzip, set(proberScript, map[string]string{"len": strconv.Itoa(len(bin.Gzip)), "sum": bin.SHA256}, args...), nil
}

// said is what a short command of a host prints.
func said(ctx context.Context, s *remote.Session, command string) (string, error) {
	var out, errs bytes.Buffer
	rc, err := s.Exec(ctx, command, nil, &limited{&out, 4096}, &limited{&errs, 300})
	if err == nil && rc != 0 {
		err = fmt.Errorf("%s", report.Clean(strings.TrimSpace(errs.String())))
	}
	return strings.TrimSpace(out.String()), err
}

// prober runs one verb of the prober, whose own input is given.
func (n *networking) prober(ctx context.Context, s *remote.Session, input []byte, args ...string) ([]byte, error) {
	gz, script, err := netProber(ctx, s, args)
	if err != nil {
		return nil, err
	}
	var out, errs bytes.Buffer
	rc, err := s.Exec(ctx, script, io.MultiReader(bytes.NewReader(gz), bytes.NewReader(input)), &limited{&out, netSays}, &limited{&errs, 300})
	if err == nil && rc != 0 {
		err = fmt.Errorf("the prober: %s", report.Clean(strings.TrimSpace(errs.String())))
	}
	return out.Bytes(), err
}

// with measures the path to another host: its prober listens, ours asks.
func (n *networking) with(ctx context.Context, peer inventory.Host) {
	what, against := "peer/"+strings.ToLower(peer.Name), n.m.Bool("against")
	ctx, cancel := n.within(ctx, n.m.pairTakes(against))
	defer cancel()
	other := n.m.dialer.Session(peer)
	defer other.Close()
	ours, err := addresses(ctx, n.h, n.s)
	if err != nil {
		n.skip(what, err)
		return
	}
	theirs, err := addresses(ctx, peer, other)
	if err != nil {
		n.skip(what, err)
		return
	}
	var secret [wire.NetTokenBytes / 2]byte
	_, _ = rand.Read(secret[:])
	token := hex.EncodeToString(secret[:]) + "\n"
	door := &netDoor{s: other, peers: ours, long: n.m.pairTakes(against)}
	defer door.close(ctx)
	listening, err := door.listen(ctx, token, n.most.peer)
	if err != nil {
		n.skip(what, fmt.Errorf("%s: %w", peer.Name, err))
		return
	}
	got := n.ask(ctx, what, token, theirs, door)
	listening()
	if against && got != nil {
		n.iperf3(ctx, peer.Name, other, theirs, door, got)
	}
}

// pairTakes is how long a peer may listen: while four rates are measured, by
// iperf3 too where it goes the same way, and until they can be. A prober listens
// for ten minutes and no longer.
func (m *measuring) pairTakes(against bool) time.Duration {
	rates := 4 * time.Duration(m.netRepeats()) * m.netEach()
	if against {
		rates *= 2
	}
	return rates + time.Minute
}

// ask measures; where nobody answers, the peer's firewall is asked to let us in.
// It gives what was measured, nil if nothing was.
func (n *networking) ask(ctx context.Context, what, token string, theirs []string, door *netDoor) []byte {
	to := make([]string, len(theirs))
	for i, addr := range theirs {
		to[i] = net.JoinHostPort(addr, strconv.Itoa(door.port))
	}
	args := append([]string{"net-client", "--to=" + strings.Join(to, ",")}, n.bounds(n.most.peer)...)
	out, err := n.prober(ctx, n.s, []byte(token), args...)
	if err == nil && !bytes.Contains(out, []byte(`"got"`)) {
		if e := door.open(ctx); e != nil {
			n.skip(what, fmt.Sprintf("not measurable: firewall (%v)", e))
			return nil
		}
		out, err = n.prober(ctx, n.s, []byte(token), args...)
		if err == nil && !bytes.Contains(out, []byte(`"got"`)) {
			n.skip(what, "not measurable: firewall")
			return nil
		}
	}
	if err != nil {
		n.skip(what, err)
		return nil
	}
	n.keep(out, what, func(metric string) (string, bool) {
		return "net/" + what + "/" + metric, slices.Contains([]string{"rtt", "up/1", "down/1", "up/8", "down/8"}, metric)
	})
	return out
}

// addresses are where a host may be reached, or come from: first the
// inventory's, then those it says are its own.
func addresses(ctx context.Context, h inventory.Host, s *remote.Session) (out []string, err error) {
	text, err := said(ctx, s, "hostname -I")
	if err != nil {
		return nil, err
	}
	words := strings.Fields(text)
	if ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h.Address); err == nil {
		for _, ip := range slices.Backward(ips) {
			words = append([]string{ip.String()}, words...)
		}
	}
	for _, word := range words {
		a, err := netip.ParseAddr(word)
		if err != nil || a.Zone() != "" {
			continue
		}
		a = a.Unmap()
		if a.IsGlobalUnicast() && !slices.Contains(out, a.String()) && len(out) < 4 {
			out = append(out, a.String())
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it has no address that another host could reach")
	}
	return out, nil
}

// netDoor is the listening end of a pair, and the way through its firewall.
type netDoor struct {
	s     *remote.Session
	peers []string // who may come in
	long  time.Duration
	port  int
	ajar  bool // something may have been opened
}

// listen starts the peer's prober and waits for its port. The prober ends when
// its input does, so that a lost laptop leaves none, and by its own deadline.
func (d *netDoor) listen(ctx context.Context, token string, most int64) (end func(), err error) {
	gz, script, err := netProber(ctx, d.s, []string{"net-serve", "--peers=" + strings.Join(d.peers, ","), fmt.Sprintf("--bytes=%d", most), "--for=" + d.long.String()})
	if err != nil {
		return nil, err
	}
	open, last := io.Pipe()
	said := &firstLine{got: make(chan struct{})}
	var errs bytes.Buffer
	var work sync.WaitGroup
	over := make(chan struct{})
	var failed error
	work.Go(func() {
		defer close(over)
		var rc int
		if rc, failed = d.s.Exec(ctx, script, io.MultiReader(bytes.NewReader(gz), strings.NewReader(token), open), said, &limited{&errs, 300}); failed == nil && rc != 0 {
			failed = fmt.Errorf("the prober: %s", report.Clean(strings.TrimSpace(errs.String())))
		}
	})
	end = func() { _ = last.Close(); work.Wait() }
	select {
	case <-said.got:
	case <-over:
		end()
		if failed == nil {
			failed = errors.New("it did not listen")
		}
		return nil, failed
	}
	if d.port, err = parseListening(said.line); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// parseListening reads what a listening prober says.
func parseListening(line []byte) (int, error) {
	var l wire.NetListening
	if err := json.Unmarshal(line, &l); err != nil || l.Port < 1 || l.Port > 65535 {
		return 0, fmt.Errorf("%w: no port", wire.ErrHostile)
	}
	return l.Port, nil
}

// firstLine keeps the first line, of at most 256 bytes.
type firstLine struct {
	line []byte
	once sync.Once
	got  chan struct{}
	full bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	for _, b := range p {
		if f.full {
			break
		}
		if b == '\n' || len(f.line) == 256 {
			f.full = true
			f.once.Do(func() { close(f.got) })
			break
		}
		f.line = append(f.line, b)
	}
	return len(p), nil
}

func (d *netDoor) vars() map[string]string {
	return map[string]string{"port": strconv.Itoa(d.port), "seconds": strconv.Itoa(int(d.long.Seconds()))}
}

// open lets the peer in for as long as the prober may listen, and no longer.
func (d *netDoor) open(ctx context.Context) error {
	d.ajar = true
	_, err := said(ctx, d.s, set(doorScript, d.vars(), d.peers...))
	return err
}

// close closes what open opened or began to, also when the run was stopped; if
// the host cannot be told, its timer does it.
func (d *netDoor) close(ctx context.Context) {
	if !d.ajar {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	_, _ = said(ctx, d.s, set(doorScript, d.vars(), "close"))
}
