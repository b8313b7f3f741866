//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload"
)

// What the collector may cost while it samples once a second.
const (
	coreGoal = 0.15 // percent of one core
	rssGoal  = 12   // MiB
	sizeGoal = 1.5  // MB, compressed
)

// cost is what a sampler took over a while.
type cost struct {
	core float64 // percent of one core
	rss  float64 // MiB, its processes together
}

// costs measures the collector in the middle of a run, and sadc, on a host with as many processes as a server has.
func (b *bencher) costs(ctx context.Context, span time.Duration) (string, error) {
	h := b.lab.Hosts[0]
	const crowd = `i=0; while [ $i -lt 160 ]; do i=$((i+1)); setsid sleep 3600 >/dev/null 2>&1 & done
		command -v /usr/lib/sysstat/sadc >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends sysstat; } >/dev/null 2>&1`
	if _, err := h.Exec(ctx, crowd); err != nil {
		return "", fmt.Errorf("a crowded host with sadc: %w", err)
	}
	processes, err := h.Exec(ctx, "ls -d /proc/[0-9]* | wc -l")
	if err != nil {
		return "", err
	}
	ours, err := b.collectorCost(ctx, h, span)
	if err != nil {
		return "", err
	}
	theirs, err := sadcCost(ctx, h, span)
	if err != nil {
		return "", err
	}
	return costTable(strings.TrimSpace(processes), span, ours, theirs)
}

// collectorCost runs a plan that only waits, and looks at the collector's processes from the host.
func (b *bencher) collectorCost(ctx context.Context, h *lab.Host, span time.Duration) (cost, error) {
	folder := filepath.Join(b.dir, "phases", "quiet")
	text := fmt.Sprintf("schema: 1\nid: quiet\ntitle: Quiet\nsteps:\n  - {name: waits, run: \"sleep %d\"}\n", int(span.Seconds())+10)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return cost{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, "phase.yaml"), []byte(text), 0o644); err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(ctx, b.vpsctl, "provision", "-i", b.lab.Inventory(), "-l", h.Name, "--phases", filepath.Join(b.dir, "phases"), "--only-phase", "quiet",
		"--sample-interval", "1s", "--plain", "-q")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "XDG_STATE_HOME=" + filepath.Join(b.dir, "state")}
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	time.Sleep(4 * time.Second) // the start is over
	c, err := watch(ctx, h, "pgrep -f /var/lib/vpsctl/bin/", span)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	return c, err
}

func sadcCost(ctx context.Context, h *lab.Host, span time.Duration) (cost, error) {
	n := int(span.Seconds()) + 10
	if _, err := h.Exec(ctx, fmt.Sprintf("rm -f /tmp/sa; setsid /usr/lib/sysstat/sadc -S XALL 1 %d /tmp/sa >/dev/null 2>&1 &", n)); err != nil {
		return cost{}, err
	}
	time.Sleep(4 * time.Second)
	return watch(ctx, h, "pgrep -x sadc", span)
}

// watch reads the CPU time and the memory of processes at the beginning and the end of a while.
func watch(ctx context.Context, h *lab.Host, find string, span time.Duration) (c cost, err error) {
	read := func() (ns, kb float64, err error) {
		out, err := h.Exec(ctx, `for p in $(`+find+`); do cat /proc/$p/task/*/schedstat | cut -d' ' -f1; echo rss $(grep VmRSS /proc/$p/status | tr -dc 0-9); done`)
		for line := range strings.Lines(out) {
			var v float64
			if n, _ := fmt.Sscanf(line, "rss %g", &v); n == 1 {
				kb += v
			} else if n, _ := fmt.Sscan(line, &v); n == 1 {
				ns += v
			}
		}
		if err == nil && ns == 0 {
			err = fmt.Errorf("%s: found no process by: %s", h.Name, find)
		}
		return ns, kb, err
	}
	from, _, err := read()
	if err != nil {
		return c, err
	}
	time.Sleep(span)
	to, kb, err := read()
	return cost{100 * (to - from) / float64(span), kb / 1024}, err
}

func costTable(processes string, span time.Duration, ours, theirs cost) (string, error) {
	var s strings.Builder
	fmt.Fprintf(&s, "\nThe collector while it samples once a second on a host with %s processes, over %v; sadc (all activities) beside it.\n\n", processes, span)
	s.WriteString("| what | collector | sadc | goal | reached |\n|---|---|---|---|---|\n")
	fmt.Fprintf(&s, "| CPU, percent of one core | %.3f | %.3f | under %.2f | %s |\n", ours.core, theirs.core, coreGoal, verdict("", ours.core < coreGoal))
	fmt.Fprintf(&s, "| resident memory, MiB, runner and follower | %.1f | %.1f | under %d | %s |\n", ours.rss, theirs.rss, rssGoal, verdict("", ours.rss < rssGoal))
	for _, arch := range []string{"amd64", "arm64"} {
		bin, err := payload.Collector(arch)
		if err != nil {
			return "", err
		}
		mb := float64(len(bin.Gzip)) / 1e6
		fmt.Fprintf(&s, "| compressed, MB, %s | %.2f | | under %.1f | %s |\n", arch, mb, sizeGoal, verdict("", mb < sizeGoal))
	}
	return s.String(), nil
}
