//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Line is what a host's network line is like, both ways alike. The zero value is as good as this machine can do.
type Line struct {
	Mbit  float64       `json:"mbit,omitempty"`  // per second
	Loss  float64       `json:"loss,omitempty"`  // percent of the packets of each direction
	Delay time.Duration `json:"delay,omitempty"` // of a round trip
}

// Rate bounds the host's line to that many megabits a second each way; zero lifts the bound. Like Loss and Delay it
// acts at once and outlives reboots and resets.
func (h *Host) Rate(ctx context.Context, mbit float64) error {
	if mbit < 0 || mbit > 0 && mbit < 0.01 || mbit > 100_000 || math.IsNaN(mbit) {
		return fmt.Errorf("%s: rate of %v Mbit/s: want 0.01 to 100000, or 0 for none", h.Name, mbit)
	}
	return h.reline(ctx, func(l *Line) { l.Mbit = mbit })
}

// Loss drops that percentage of the IP packets to the host and of those from it, at random.
func (h *Host) Loss(ctx context.Context, percent float64) error {
	if !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("%s: loss of %v %%: want 0 to 100", h.Name, percent)
	}
	return h.reline(ctx, func(l *Line) { l.Loss = percent })
}

// Delay makes every packet of the host take half of d. It fails where the kernel has no netem; a Proxy does it for TCP
// on every kernel.
func (h *Host) Delay(ctx context.Context, d time.Duration) error {
	if d < 0 || d > time.Minute {
		return fmt.Errorf("%s: delay of %v: want 0 to 1m", h.Name, d)
	}
	if d > 0 {
		// In a network of its own, which ends with the command.
		if _, err := run(ctx, "", "unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"); err != nil {
			return &needsNetem{err}
		}
	}
	return h.reline(ctx, func(l *Line) { l.Delay = d })
}

type needsNetem struct{ error }

func (e *needsNetem) Unwrap() error { return e.error }
func (*needsNetem) Hint() string {
	return "this kernel has no netem: reach the host through a lab.Proxy (lab proxy)"
}

// Line is what was last asked of the host's line.
func (h *Host) Line() (line Line, err error) {
	b, err := os.ReadFile(h.lineFile())
	if errors.Is(err, os.ErrNotExist) {
		return line, nil
	}
	if err := errors.Join(err, json.Unmarshal(b, &line)); err != nil {
		return line, fmt.Errorf("%s: line: %w", h.Name, err)
	}
	return line, nil
}

func (h *Host) lineFile() string   { return filepath.Join(h.dir(), "line.json") }
func (h *Host) lineScript() string { return filepath.Join(h.dir(), "line.sh") }

func (h *Host) reline(ctx context.Context, change func(*Line)) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	line, err := h.Line()
	if err != nil {
		return err
	}
	change(&line)
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	err = errors.Join(os.MkdirAll(h.dir(), 0o755), renameio.WriteFile(h.lineFile(), b, 0o644),
		renameio.WriteFile(h.lineScript(), []byte(line.qdiscs(h.link(), h.netns())), 0o755))
	if err != nil {
		return fmt.Errorf("%s: line: %w", h.Name, err)
	}
	if _, err := run(ctx, line.drops(h.table(), h.link()), "nft", "-f", "-"); err != nil {
		return err
	}
	if _, err := net.InterfaceByName(h.link()); err != nil {
		return nil // it is off: boot.sh makes the link, and runs the script
	}
	_, err = run(ctx, "", "sh", h.lineScript())
	return err
}

// qdiscs is a shell script that shapes what leaves both ends of the link.
func (l Line) qdiscs(link, netns string) string {
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, tc := range []string{"tc qdisc %s dev " + link, "tc -n " + netns + " qdisc %s dev host0"} {
		// A queue of another kind cannot take the place of one that is there.
		fmt.Fprintf(&script, tc+" root 2>/dev/null || true\n", "del")
		parent := "root"
		if l.Mbit > 0 {
			// Timers may be as coarse as 4 ms: what can be sent in that time must fit in the bucket, and a packet.
			burst := max(16<<10, int(l.Mbit*1e6/8*0.004))
			fmt.Fprintf(&script, tc+" root handle 1: tbf rate %.0fbit burst %db latency 200ms\n", "add", l.Mbit*1e6, burst)
			parent = "parent 1:1"
		}
		if l.Delay > 0 {
			fmt.Fprintf(&script, tc+" %s handle 2: netem delay %dus limit 100000\n", "add", parent, (l.Delay / 2).Microseconds())
		}
	}
	return script.String()
}

func (h *Host) table() string { return tableOf(h.lab.ID) + "_" + h.Name }

// drops is an nft script. Rules of a bridge see the hosts' traffic among each other as well as that with this machine.
func (l Line) drops(table, link string) string {
	// Naming the table first makes its removal succeed whether or not it was there.
	script := fmt.Sprintf("table bridge %[1]s {}\ndelete table bridge %[1]s\n", table)
	if l.Loss == 0 {
		return script
	}
	return script + fmt.Sprintf(`table bridge %[1]s {
	chain from { type filter hook prerouting priority 0; iifname "%[2]s" ether type { ip, ip6 } numgen random mod 10000 < %[3]d counter drop; }
	chain to { type filter hook postrouting priority 0; oifname "%[2]s" ether type { ip, ip6 } numgen random mod 10000 < %[3]d counter drop; }
}
`, table, link, int(math.Round(l.Loss*100)))
}

// removeLoss removes the rules of all hosts of a lab.
func removeLoss(ctx context.Context, id string) error {
	tables, err := run(ctx, "", "nft", "list", "tables", "bridge")
	if err != nil {
		return err
	}
	for line := range strings.Lines(tables) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.HasPrefix(f[2], tableOf(id)+"_") {
			continue
		}
		if _, e := run(ctx, "", "nft", "delete", "table", "bridge", f[2]); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}
