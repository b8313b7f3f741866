//go:build linux

// Command verdicts puts the verdict to the test on real hosts of the lab: many
// short sessions in which nothing happens, which nothing may be found in, and
// then half of the host's CPU time, disk rate and line rate, each of which
// `vpsctl check` must find and name. It needs root.
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
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

func main() {
	vpsctl := flag.String("vpsctl", "bin/vpsctl", "the `PROGRAM` that reaches the host")
	n := flag.Int("sessions", 30, "sessions in which nothing happens; fewer than 30 only show that the program works")
	to := flag.String("page", "", "put the tables into this `FILE`, between its marks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *vpsctl, max(1, *n), *to); err != nil {
		fmt.Fprintln(os.Stderr, "verdicts:", err)
		os.Exit(1)
	}
}

// mirrorName is in a metric's name; which mirror this machine is set up with is nobody's business.
var mirrorName = regexp.MustCompile(`net/mirror/\S+/`)

func run(ctx context.Context, vpsctl string, n int, to string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-verdicts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := prepare(ctx, dir, vpsctl)
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, b.lab.Down(down))
	}()
	began := time.Now()
	if err := b.calm(ctx, n); err != nil {
		return err
	}
	table, wrong := b.nothingHappened(ctx)
	for _, l := range b.limits() {
		row, e := b.limited(ctx, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		table, wrong = table+row, errors.Join(wrong, e)
	}
	table = b.intro(n, time.Since(began)) + mirrorName.ReplaceAllString(table, "net/mirror/…/")
	fmt.Print(table)
	if wrong != nil { // a page tells what holds
		return wrong
	}
	return page.Put(to, "verdict", table)
}

// A bencher has the measured host, the one at the other end of its line, and
// what is needed to reach them.
type bencher struct {
	lab    *lab.Lab
	host   *lab.Host
	vpsctl string
	dir    string
	series []*series
}

// What the host has while nothing happens, as a rented one has its plan's. The
// rates are far enough below what this machine can do that its own moods hardly
// show in them. Half a core is what it can give whatever else it does; disk and
// line get a whole one, so that they are no measure of the CPU.
const (
	cpuCores  = 0.5 // of this machine's CPU time, while that is measured
	restCores = 1.0
	diskRate  = 400 // MB/s each way
	lineRate  = 400 // Mbit/s each way
)

func prepare(ctx context.Context, dir, vpsctl string) (*bencher, error) {
	vpsctl, err := filepath.Abs(vpsctl)
	if err != nil {
		return nil, err
	}
	b := &bencher{vpsctl: vpsctl, dir: dir, series: allSeries()}
	if b.lab, err = lab.Up(ctx, lab.Options{Dir: filepath.Join(dir, "lab"), N: 2, Ephemeral: true, Log: os.Stderr}); err != nil {
		return nil, err
	}
	b.host = b.lab.Hosts[0]
	err = errors.Join(b.host.ThrottleDisk(ctx, diskRate*1e6), b.host.Rate(ctx, lineRate), b.lab.Hosts[1].Throttle(ctx, restCores))
	if err != nil {
		return nil, errors.Join(err, b.lab.Down(ctx))
	}
	return b, nil
}

// run is vpsctl with its home in a folder.
func (b *bencher) run(ctx context.Context, home, verb string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.vpsctl, append([]string{verb}, args...)...)
	cmd.Env = append(cmd.Environ(), "HOME="+b.dir, "XDG_STATE_HOME="+home, "VPSCTL_INVENTORY="+b.lab.Inventory())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("vpsctl %s: %w: %s", verb, err, said.String())
	}
	return out, nil
}
