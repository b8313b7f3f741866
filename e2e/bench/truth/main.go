//go:build linux

// Command truth holds the prober's figures against fio's, openssl's and iperf3's, on two hosts of the lab, and prints a
// table. It needs root.
//
//	truth -rounds 7 -page docs/benchmarks.md
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

	"golang.org/x/sync/errgroup"

	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

func main() {
	rounds := flag.Int("rounds", 7, "how often all is measured; disk and CPU twice in each")
	to := flag.String("page", "", "put the table into this `FILE`, between its marks")
	quiet := flag.String("quiet", "", "hold this `FILE` locked during each round, so that others who do measure in turns")
	only := flag.String("only", "", "rows whose metric begins with this `TEXT`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rounds, *only, *quiet, *to); err != nil {
		fmt.Fprintln(os.Stderr, "truth:", err)
		os.Exit(1)
	}
}

type truth struct {
	host, peer *lab.Host
	rows       []row
	pairs      map[string][]pair
}

// A pair is one metric, found by both right after each other.
type pair struct{ ours, other float64 }

func run(ctx context.Context, rounds int, only, quiet, to string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-truth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := lab.Up(ctx, lab.Options{Dir: filepath.Join(dir, "lab"), N: 2, Ephemeral: true, AptCache: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, l.Down(down))
	}()
	t := &truth{l.Hosts[0], l.Hosts[1], rowsOf(only), map[string][]pair{}}
	versions, err := t.prepare(ctx)
	if err != nil {
		return err
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		if err := t.round(ctx, round, quiet); err != nil {
			return err
		}
	}
	table := t.table(versions)
	fmt.Print(table)
	return page.Put(to, "truth", table)
}

// round measures all once.
func (t *truth) round(ctx context.Context, round int, quiet string) error {
	if quiet != "" {
		release, err := hold(ctx, quiet)
		if err != nil {
			return err
		}
		defer release()
	}
	if err := t.alone(ctx, round); err != nil {
		return err
	}
	return t.together(ctx, round)
}

// hold waits for a file's lock as long as ctx lasts.
func hold(ctx context.Context, file string) (release func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	// A signal does not end the call: after ctx it ends with the process.
	go func() { locked <- syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }()
	select {
	case err = <-locked:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// prepare brings both sides to the hosts.
func (t *truth) prepare(ctx context.Context) (versions string, err error) {
	prober := filepath.Join(t.host.Root(), "var/lib/prober")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", prober, "./payload/prober")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the prober: %w: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, "cp", prober, filepath.Join(t.peer.Root(), "var/lib/prober")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy the prober: %w: %s", err, out)
	}
	group, both := errgroup.WithContext(ctx)
	for _, h := range []*lab.Host{t.host, t.peer} {
		group.Go(func() error {
			if out, err := h.Exec(both, "apt-get -q update && apt-get -q -y install --no-install-recommends fio openssl iperf3"); err != nil {
				return fmt.Errorf("install fio, openssl and iperf3: %w: %s", err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if err := t.limit(ctx); err != nil {
		return "", err
	}
	out, err := t.host.Exec(ctx, "fio --version; openssl version | cut -d' ' -f1,2; iperf3 --version | head -n1 | cut -d' ' -f1,2")
	return strings.ReplaceAll(strings.TrimSpace(out), "\n", ", "), err
}
