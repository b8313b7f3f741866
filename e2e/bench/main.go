//go:build linux

// Command bench measures vpsctl against a floor on hosts of the lab and writes the figures into a page. It needs root.
//
//	bench -vpsctl bin/vpsctl -n 20 -rounds 7 -page docs/benchmarks.md
package main

import (
	"context"
	"crypto/rand"
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

	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

func main() {
	if os.Getenv(measureEnv) != "" {
		if err := measured(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	vpsctl := flag.String("vpsctl", "bin/vpsctl", "the `PROGRAM` to measure")
	n := flag.Int("n", 20, "hosts")
	rounds := flag.Int("rounds", 9, "interleaved rounds")
	window := flag.Duration("cost", time.Minute, "how `LONG` to look at what the collector costs")
	to := flag.String("page", "", "put the table into this `FILE`, between its marks")
	peers := flag.Bool("peers", false, "measure other tools beside vpsctl, on one host")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *peers {
		if err := benchPeers(ctx, *vpsctl, *rounds, *to); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := bench(ctx, *vpsctl, *n, *rounds, *window, *to); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, vpsctl string, n, rounds int, window time.Duration, to string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := prepare(ctx, dir, vpsctl, n)
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, b.lab.Down(down))
	}()
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	table := b.table(rounds)
	fmt.Print(table)
	cost, err := collectorCost(ctx, window)
	if err != nil {
		return err
	}
	fmt.Print(cost)
	table += cost
	return page.Put(to, "measured", table)
}

// bencher has the hosts, the two programs, and what was measured so far.
type bencher struct {
	lab    *lab.Lab
	dir    string // home and working folder of vpsctl
	vpsctl string
	floor  string
	addrs  []string
	got    map[string][]usage // by the name of the case
}

func prepare(ctx context.Context, dir, vpsctl string, n int) (*bencher, error) {
	vpsctl, err := filepath.Abs(vpsctl)
	if err != nil {
		return nil, err
	}
	b := &bencher{dir: dir, vpsctl: vpsctl, floor: filepath.Join(dir, "floor"), got: map[string][]usage{}}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.floor, "./e2e/bench/floor").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the floor: %w: %s", err, out)
	}
	if err := writePhases(filepath.Join(dir, "phases")); err != nil {
		return nil, err
	}
	if b.lab, err = lab.Up(ctx, lab.Options{Dir: filepath.Join(dir, "lab"), N: n, Ephemeral: true, Log: os.Stderr}); err != nil {
		return nil, err
	}
	for _, h := range b.lab.Hosts {
		b.addrs = append(b.addrs, h.Addr)
	}
	return b, nil
}

// steps of the measured plans.
const steps = 10

// writePhases makes the two plans: ten scripts, and ten typed steps that hold on every host of the lab.
func writePhases(dir string) error {
	var scripts strings.Builder
	for i := range steps {
		fmt.Fprintf(&scripts, "  - {name: step%d, run: \"echo step %d\"}\n", i+1, i+1)
	}
	const typed = `  - {name: packages, packages: [openssh-server, sudo, procps]}
  - {name: more packages, packages: {names: [iproute2, ca-certificates], recommends: false}}
  - {name: folder, file: {path: /etc/ssh/sshd_config.d, state: directory}}
  - {name: gone, file: {path: /etc/nothing-here, state: absent}}
  - {name: link, file: {path: /etc/os-release, state: link, target: ../usr/lib/os-release}}
  - {name: content, file: {path: /etc/bench.conf, content: "a = 1\n", mode: "0644", owner: root}}
  - {name: content of another, file: {path: /etc/bench2.conf, content: "b = {{ .host }}\n"}}
  - {name: service, service: {name: ssh, enabled: true, state: running}}
  - {name: account, user: {name: plain, shell: /bin/bash}}
  - {name: question, assert: {check: "command -v sudo", critical: true}}
`
	for id, body := range map[string]string{"ten": scripts.String(), "typed": typed} {
		folder := filepath.Join(dir, id)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf("schema: 1\nid: %s\ntitle: Ten steps\nsteps:\n%s", id, body)
		if err := os.WriteFile(filepath.Join(folder, "phase.yaml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// line is the ten scripts as one, for the floor.
func line() string {
	var b strings.Builder
	for i := range steps {
		fmt.Fprintf(&b, "sh -c 'echo step %d'; ", i+1)
	}
	return b.String()
}

// The cases, in the order of the table.
const (
	floorTrue = "floor: `true`"
	ping      = "`vpsctl ping`"
	execTrue  = "`vpsctl exec -- true`"
	scpFile   = "parallel `scp` of 10 MiB"
	pushFile  = "`vpsctl push` of 10 MiB"
	floorTen  = "floor: the ten scripts as one line"
	tenRun    = "`provision`, ten `run` steps, collector there"
	tenTyped  = "`provision`, ten typed steps that hold"
	firstRun  = "`provision`, ten `run` steps, with the upload"
)

func (b *bencher) commands() map[string][]string {
	provision := func(phase string) []string {
		return []string{b.vpsctl, "provision", "-i", b.lab.Inventory(), "--phases", filepath.Join(b.dir, "phases"), "--only-phase", phase, "--plain", "-q"}
	}
	floor := func(line string) []string {
		return append([]string{b.floor, "-key", b.lab.Identity(), "-known", b.lab.KnownHosts(), line}, b.addrs...)
	}
	return map[string][]string{
		floorTrue: floor("true"), ping: {b.vpsctl, "ping", "-i", b.lab.Inventory()},
		execTrue: {b.vpsctl, "exec", "-i", b.lab.Inventory(), "--", "true"},
		scpFile:  b.scp(), pushFile: {b.vpsctl, "push", "-i", b.lab.Inventory(), filepath.Join(b.dir, "ten-mib"), "/root/pushed"},
		floorTen: floor(line()), tenRun: provision("ten"), tenTyped: provision("typed"), firstRun: provision("ten"),
	}
}

// measure runs a case. Hosts get a moment to come to rest, so that their CPU time is counted where it belongs and no
// case pays for the one before it.
func (b *bencher) measure(name string) error {
	before, err := b.hostsCPU()
	if err != nil {
		return err
	}
	u, err := measure(b.dir, []string{"HOME=" + b.dir, "XDG_STATE_HOME=" + filepath.Join(b.dir, "state")}, b.commands()[name])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	time.Sleep(time.Second)
	after, err := b.hostsCPU()
	u.Hosts = after - before
	b.got[name] = append(b.got[name], u)
	return err
}

func (b *bencher) hostsCPU() (sum time.Duration, err error) {
	for _, h := range b.lab.Hosts {
		seconds, e := h.CPU()
		err = errors.Join(err, e)
		sum += time.Duration(seconds * float64(time.Second))
	}
	return sum, err
}

// warmUp runs every case once and forgets what it took: caches are warm, and the typed steps hold.
func (b *bencher) warmUp(ctx context.Context) error {
	if err := b.round(ctx, 0); err != nil {
		return err
	}
	b.got = map[string][]usage{}
	return nil
}

// round measures every case once. Each round begins with another case, so that none always comes after the same one.
func (b *bencher) round(ctx context.Context, turn int) error {
	cases := []string{floorTrue, ping, execTrue, scpFile, pushFile, floorTen, tenRun, tenTyped, firstRun}
	turn %= len(cases)
	for _, name := range append(cases[turn:], cases[:turn]...) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if name == firstRun {
			if err := b.forget(ctx); err != nil {
				return err
			}
		}
		if name == pushFile || name == scpFile {
			if err := b.newFile(ctx); err != nil {
				return err
			}
		}
		if err := b.measure(name); err != nil {
			return err
		}
	}
	return nil
}

// scp copies the file to all hosts at once, as a shell would.
func (b *bencher) scp() []string {
	var line strings.Builder
	for _, addr := range b.addrs {
		fmt.Fprintf(&line, "scp -q -i %q -o UserKnownHostsFile=%q -o BatchMode=yes %q root@%s:/root/copied & pids=\"$pids $!\"; ",
			b.lab.Identity(), b.lab.KnownHosts(), filepath.Join(b.dir, "ten-mib"), addr)
	}
	return []string{"/bin/sh", "-c", line.String() + "for p in $pids; do wait $p || exit 1; done"}
}

// newFile makes 10 MiB that no host has.
func (b *bencher) newFile(ctx context.Context) error {
	body := make([]byte, 10<<20)
	if _, err := rand.Read(body); err != nil {
		return err
	}
	for _, h := range b.lab.Hosts {
		if _, err := h.Exec(ctx, "rm -f /root/pushed /root/copied"); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(b.dir, "ten-mib"), body, 0o600)
}

// forget removes what vpsctl has on the hosts.
func (b *bencher) forget(ctx context.Context) error {
	for _, h := range b.lab.Hosts {
		if _, err := h.Exec(ctx, "rm -rf /var/lib/vpsctl"); err != nil {
			return err
		}
	}
	return nil
}
