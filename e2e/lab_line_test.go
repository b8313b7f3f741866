//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

const transfer = 2 << 20

// megabits takes transfer bytes from the host, or brings them there, and tells the speed.
func megabits(t *testing.T, h *lab.Host, up bool) float64 {
	t.Helper()
	client, err := h.Dial(t.Context(), "root")
	try(t, err)
	defer client.Close()
	defer time.AfterFunc(patience, func() { client.Close() }).Stop()
	session, err := client.NewSession()
	try(t, err)
	began := time.Now()
	if up {
		session.Stdin = io.LimitReader(zero{}, transfer)
		out, err := session.Output("wc -c")
		try(t, err)
		if got := strings.TrimSpace(string(out)); got != strconv.Itoa(transfer) {
			t.Fatalf("%s bytes arrived", got)
		}
	} else {
		out, err := session.Output("head -c " + strconv.Itoa(transfer) + " /dev/zero")
		try(t, err)
		if len(out) != transfer {
			t.Fatalf("%d bytes arrived", len(out))
		}
	}
	return transfer * 8 / 1e6 / time.Since(began).Seconds()
}

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestLabRate(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	t.Cleanup(func() { try(t, h.Rate(context.Background(), 0)) })
	try(t, h.Rate(t.Context(), 20))
	check := func(when string) {
		t.Helper()
		for _, up := range []bool{true, false} {
			got := megabits(t, h, up)
			t.Logf("%s, up %v: %.1f Mbit/s", when, up, got)
			if got > 22 || got < 5 {
				t.Errorf("%s, up %v: %.1f Mbit/s, want 20 at most", when, up, got)
			}
		}
	}
	check("at once")
	try(t, h.Kill(t.Context()))
	try(t, h.Start(t.Context()))
	check("after a power cut")
	try(t, h.Rate(t.Context(), 0))
	if got := megabits(t, h, false); got < 30 {
		t.Errorf("lifted: %.1f Mbit/s", got)
	}
}

const datagrams = 2000

// lost counts which share of datagrams to the host, and from it, does not arrive.
func lost(t *testing.T, l *lab.Lab, h *lab.Host) (there, back float64) {
	t.Helper()
	unwanted := func() int {
		out, err := h.Exec(t.Context(), "awk '/^Udp: [0-9]/ {print $3}' /proc/net/snmp")
		try(t, err)
		n, err := strconv.Atoi(strings.TrimSpace(out))
		try(t, err)
		return n
	}
	before := unwanted()
	conn, err := net.ListenPacket("udp", l.Gateway()+":0")
	try(t, err)
	defer conn.Close()
	discard, err := net.ResolveUDPAddr("udp", h.Addr+":9")
	try(t, err)
	for range datagrams {
		_, err := conn.WriteTo([]byte("x"), discard)
		try(t, err)
	}
	there = 1 - float64(unwanted()-before)/datagrams

	arrived := make(chan int)
	go func() {
		n := 0
		for buf := make([]byte, 10); ; n++ {
			if _, _, err := conn.ReadFrom(buf); err != nil {
				arrived <- n
				return
			}
		}
	}()
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	_, err = h.Exec(t.Context(), fmt.Sprintf("bash -c 'exec 3>/dev/udp/%s/%s; for ((i=0; i<%d; i++)); do echo >&3; ((i %% 100)) || sleep 0.02; done'", l.Gateway(), port, datagrams))
	try(t, err)
	try(t, conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	return there, 1 - float64(<-arrived)/datagrams
}

func TestLabLoss(t *testing.T) {
	f := NewLab(t, 1)
	h := f.Hosts[0]
	t.Cleanup(func() { try(t, h.Loss(context.Background(), 0)) })
	for _, percent := range []float64{10, 0} {
		try(t, h.Loss(t.Context(), percent))
		there, back := lost(t, f.Lab, h)
		t.Logf("%g %%: lost %.1f %% of those to the host, %.1f %% of those from it", percent, 100*there, 100*back)
		// Five times the standard deviation of what chance alone does at 10 %.
		for _, got := range []float64{there, back} {
			if got < percent/100-0.035 || got > percent/100+0.035 || percent == 0 && got != 0 {
				t.Errorf("%g %% asked, %.1f %% lost", percent, 100*got)
			}
		}
		if out, err := say(t, h, "root", "echo through"); out != "through" {
			t.Errorf("ssh at %g %%: %q, %v", percent, out, err)
		}
	}
}

// roundTrips measures requests over one ssh connection, the quickest first.
func roundTrips(t *testing.T, client *ssh.Client) (took []time.Duration) {
	t.Helper()
	for range 15 {
		began := time.Now()
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		try(t, err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

func TestLabProxyMakesALongLine(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	p := h.Proxy(50*time.Millisecond, 0)
	try(t, p.Start())
	t.Cleanup(p.Close)
	began := time.Now()
	client, err := h.DialAt(t.Context(), "root", p.Addr())
	try(t, err)
	defer client.Close()
	login := time.Since(began)
	took := roundTrips(t, client)
	t.Logf("login %v; round trips %v to %v, median %v", login, took[0], took[len(took)-1], took[len(took)/2])
	// Tests beside this one make some of them late, so the middle may not speak for the line.
	if got := took[len(took)/4]; got < 50*time.Millisecond || got > 55*time.Millisecond {
		t.Errorf("a round trip takes %v, want 50 ms", got)
	}
}

func TestLabDelay(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	err := h.Delay(t.Context(), 50*time.Millisecond)
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		if !strings.Contains(hinted.Hint(), "lab proxy") {
			t.Errorf("hint: %q", hinted.Hint())
		}
		t.Skip("this kernel has no netem")
	}
	t.Cleanup(func() { try(t, h.Delay(context.Background(), 0)) })
	try(t, err)
	client, err := h.Dial(t.Context(), "root")
	try(t, err)
	defer client.Close()
	if got := roundTrips(t, client)[4]; got < 50*time.Millisecond || got > 55*time.Millisecond {
		t.Errorf("a round trip takes %v, want 50 ms", got)
	}
}
