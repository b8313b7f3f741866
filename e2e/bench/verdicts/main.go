//go:build linux

// Command verdicts puts the verdict to the test on a real host of the lab: many
// short sessions in which nothing happens, which nothing may be found in, and
// then limits on the host's CPU, disk and line, each of which must be found and
// named. It needs root.
//
//	verdicts -vpsctl bin/vpsctl -page docs/benchmarks.md
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

func main() {
	vpsctl := flag.String("vpsctl", "bin/vpsctl", "the `PROGRAM` that reaches the host")
	n := flag.Int("sessions", 29, "sessions in which nothing happens; 28 at least")
	each := flag.Duration("each", 250*time.Millisecond, "how `LONG` a repeat of a probe measures")
	to := flag.String("page", "", "put the tables into this `FILE`, between its marks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *vpsctl, *n, *each, *to); err != nil {
		fmt.Fprintln(os.Stderr, "verdicts:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, vpsctl string, n int, each time.Duration, to string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-verdicts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := prepare(ctx, dir, vpsctl, each)
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, b.lab.Down(down))
	}()
	calm, err := b.sessions(ctx, "calm", nil, max(28, n), all)
	if err != nil {
		return err
	}
	table, wrong := nothingHappened(calm)
	for _, l := range b.limits(calm) {
		row, e := b.limited(ctx, calm, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		table, wrong = table+row, errors.Join(wrong, e)
	}
	fmt.Print(table)
	return errors.Join(wrong, page.Put(to, "verdict", table))
}

// A bencher has the host and what is needed to reach it.
type bencher struct {
	lab    *lab.Lab
	host   *lab.Host
	vpsctl string
	dir    string
	each   time.Duration
}

// cores is what the host has of this machine's CPU time while nothing happens.
const cores = 1.0

func prepare(ctx context.Context, dir, vpsctl string, each time.Duration) (*bencher, error) {
	vpsctl, err := filepath.Abs(vpsctl)
	if err != nil {
		return nil, err
	}
	b := &bencher{vpsctl: vpsctl, dir: dir, each: each}
	if b.lab, err = lab.Up(ctx, lab.Options{Dir: filepath.Join(dir, "lab"), N: 1, Ephemeral: true, Log: os.Stderr}); err != nil {
		return nil, err
	}
	b.host = b.lab.Hosts[0]
	if err := b.host.Throttle(ctx, cores); err != nil {
		return nil, errors.Join(err, b.lab.Down(ctx))
	}
	return b, nil
}

// run is vpsctl with its home in the program's folder.
func (b *bencher) run(ctx context.Context, verb string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.vpsctl, append([]string{verb}, args...)...)
	cmd.Env = append(cmd.Environ(), "HOME="+b.dir, "XDG_STATE_HOME="+b.dir, "VPSCTL_INVENTORY="+b.lab.Inventory())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("vpsctl %s: %w: %s", verb, err, said.String())
	}
	return out, nil
}

// perDay is how many sessions make a day here: the host cannot be watched for
// weeks, so days are made up, and the page says so.
const perDay = 2

// sessions are n more sessions, each dated as if it were its turn, after those
// that were before.
func (b *bencher) sessions(ctx context.Context, what string, before []bench.Session, n int, kinds []string) ([]bench.Session, error) {
	out := append([]bench.Session{}, before...)
	for range n {
		i := len(out)
		s, err := b.session(ctx, kinds)
		if err != nil {
			return nil, fmt.Errorf("%s: session %d: %w", what, i+1, err)
		}
		s.Start = time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC).AddDate(0, 0, i/perDay).Add(time.Duration(i%perDay) * 9 * time.Hour)
		out = append(out, s)
		fmt.Fprintf(os.Stderr, "%s: session %d of %d, %.0f s\n", what, len(out)-len(before), n, s.Took.Seconds())
	}
	return out, nil
}
