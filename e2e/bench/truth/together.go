//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

const (
	lineMbit = 1000
	omit     = 2 // seconds that count for nothing, on both sides
	counted  = 5 // seconds of iperf3 behind them

	// The prober omits three tenths of a repeat.
	netEach = omit * time.Second * 10 / 3

	token  = "00112233445566778899aabbccddeeff" // its peer's, which nobody else can reach
	listen = "var/lib/prober.listen"
)

// limit makes each host's line as fast as a rented one, and has iperf3 listen at the peer.
func (t *truth) limit(ctx context.Context) error {
	for _, h := range []*lab.Host{t.host, t.peer} {
		if err := h.Rate(ctx, lineMbit); err != nil {
			return err
		}
	}
	_, err := t.peer.Exec(ctx, "systemd-run -q --unit=iperf3-server iperf3 --server --forceflush")
	return err
}

// together measures the line between both hosts, each metric by both sides.
func (t *truth) together(ctx context.Context, round int) error {
	rows := slices.DeleteFunc(slices.Clone(t.rows), func(r row) bool { return r.kind != "net" })
	if len(rows) == 0 {
		return nil
	}
	port, err := t.serve(ctx)
	if err != nil {
		return err
	}
	for i := range rows {
		r := rows[(i+round)%len(rows)]
		var p pair
		sides := []func() error{
			func() (err error) { p.ours, err = t.ours(ctx, r, port); return err },
			func() (err error) { p.other, err = t.iperf(ctx, r); return err },
		}
		if (i+round)%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return fmt.Errorf("%s: %w", r.metric, err)
			}
		}
		t.add(r.metric, p)
	}
	_, err = t.peer.Exec(ctx, "systemctl stop prober-server")
	return err
}

// serve starts the peer's prober and says where it listens.
func (t *truth) serve(ctx context.Context) (port int, err error) {
	file := filepath.Join(t.peer.Root(), listen)
	if err := os.RemoveAll(file); err != nil {
		return 0, err
	}
	// It ends with its stdin.
	script := fmt.Sprintf("{ echo %s; exec sleep 540; } | /var/lib/prober net-serve --peers %s --bytes %d --for 9m >/%s", token, t.host.Addr, int64(1)<<40, listen)
	if _, err := t.peer.Exec(ctx, "systemd-run -q --collect --unit=prober-server sh -c '"+script+"'"); err != nil {
		return 0, err
	}
	for range 100 {
		var l wire.NetListening
		if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &l) == nil && l.Port > 0 {
			return l.Port, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("%s: the prober does not listen", t.peer.Name)
}

func (t *truth) ours(ctx context.Context, r row, port int) (float64, error) {
	out, err := t.host.Exec(ctx, fmt.Sprintf("echo %s | /var/lib/prober net-client --to %s:%d --bytes %d --each %s --metrics %s",
		token, t.peer.Addr, port, int64(1)<<36, netEach, r.net()))
	if err != nil {
		return 0, fmt.Errorf("prober: %w: %s", err, out)
	}
	got, err := samples(out)
	if err != nil {
		return 0, err
	}
	if len(got[r.net()]) != 1 {
		return 0, fmt.Errorf("the prober has measured nothing: %s", out)
	}
	return got[r.net()][0], nil
}

// iperf is what arrived, as iperf3's receiver counts it.
func (t *truth) iperf(ctx context.Context, r row) (float64, error) {
	out, err := t.host.Exec(ctx, fmt.Sprintf("iperf3 --json --client %s --omit %d --time %d %s", t.peer.Addr, omit, counted, r.other))
	if err != nil {
		return 0, fmt.Errorf("iperf3: %w: %s", err, out)
	}
	return parseIperf(out)
}

func parseIperf(text string) (float64, error) {
	var doc struct {
		Error string
		End   struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	err := json.Unmarshal([]byte(text[max(0, strings.IndexByte(text, '{')):]), &doc)
	if err != nil || doc.Error != "" || doc.End.Received.Bits <= 0 {
		return 0, fmt.Errorf("iperf3 said %.200q: %w", text, err)
	}
	return doc.End.Received.Bits / 1e6, nil
}
