//go:build linux

// Provision times the ten phases on fresh lab hosts beside plain apt, and prints a section in Markdown. Needs root and
// a quiet machine.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/e2e/vendors"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// goal is how many times the plain installation's time the ten phases may take.
const goal = 1.25

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bin := flag.String("vpsctl", "bin/vpsctl", "the program")
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	parts := flag.String("parts", "ratio,lines,full,sizes", "what to measure: the ratio to plain apt, slow and direct lines, the full desktop, sizes of hosts")
	flag.Parse()
	if err := run(ctx, *bin, *rounds, strings.Split(*parts, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench-provision:", err)
		os.Exit(1)
	}
}

// bench is two hosts: one is provisioned, one has apt alone.
type bench struct {
	ctx     context.Context
	bin     string
	dir     string
	ours    *lab.Host
	plain   *lab.Host
	shops   *vendors.Vendors
	got     map[string][]time.Duration
	names   string // packages that the phases brought
	phases  map[string][]time.Duration
	details strings.Builder
}

func run(ctx context.Context, bin string, rounds int, parts []string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	l, err := lab.Up(ctx, lab.Options{Dir: filepath.Join(dir, "lab"), N: 2, Ephemeral: true, AptCache: true, Limits: lab.Limits{MemoryMB: 4096, CPUs: 2}, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	shops, err := vendors.Start(ctx, vendors.Options{Address: l.Gateway()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shops.Close()) }()
	b := &bench{ctx: ctx, bin: bin, dir: dir, ours: l.Hosts[0], plain: l.Hosts[1], shops: shops, got: map[string][]time.Duration{}, phases: map[string][]time.Duration{}}
	if err := l.Describe(dir, l.Hosts[:1]); err != nil {
		return err
	}
	if err := b.all(rounds, parts); err != nil {
		return err
	}
	b.print(rounds)
	return nil
}

func (b *bench) all(rounds int, parts []string) error {
	wants := func(part string) bool { return slices.Contains(parts, part) }
	if err := b.provision("first", nil); err != nil { // finds the names, fills the lab's cache
		return err
	}
	clear(b.got)
	clear(b.phases)
	for n := range rounds {
		if !wants("ratio") {
			break
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", n+1, rounds)
		for _, f := range []func() error{b.apt, func() error { return b.provision("lean", nil) }} {
			if err := f(); err != nil {
				return err
			}
		}
	}
	kept := b.phases
	b.phases = map[string][]time.Duration{}
	for _, mbit := range []float64{0, 100} {
		if !wants("lines") {
			break
		}
		for _, h := range []*lab.Host{b.ours, b.plain} {
			if err := h.Rate(b.ctx, mbit); err != nil {
				return err
			}
		}
		name := map[float64]string{0: "direct", 100: "100 Mbit/s"}[mbit]
		if err := errors.Join(b.sequentialApt("apt, "+name), b.provision("ahead, "+name, nil), b.provision("--sequential, "+name, []string{"--sequential"})); err != nil {
			return err
		}
	}
	if err := errors.Join(b.ours.Rate(b.ctx, 0), b.plain.Rate(b.ctx, 0)); err != nil {
		return err
	}
	if wants("full") {
		if err := b.provision("full", []string{"-e", "desktop=full"}); err != nil {
			return err
		}
	}
	for _, size := range []lab.Limits{{MemoryMB: 4096, CPUs: 2}, {MemoryMB: 2048, CPUs: 1}} {
		if !wants("sizes") {
			break
		}
		clear(b.phases)
		name := fmt.Sprintf("%d MB, %d CPU", size.MemoryMB, size.CPUs)
		if err := errors.Join(b.ours.Limit(b.ctx, size), b.provision(name, nil)); err != nil {
			return err
		}
		b.table(name)
	}
	b.phases = kept
	return nil
}

// provision times the ten phases on a fresh host, as a user does: from the command's start to its end.
func (b *bench) provision(name string, more []string) error {
	if err := b.fresh(b.ours); err != nil {
		return err
	}
	before, err := b.installed(b.ours)
	if err != nil {
		return err
	}
	state := filepath.Join(b.dir, "state")
	if err := os.RemoveAll(state); err != nil {
		return err
	}
	args := slices.Concat([]string{"provision", "-i", filepath.Join(b.dir, "inventory.yaml"), "--state-dir", state, "--plain", "-q", "-y"}, b.shops.Args(), more)
	cmd := exec.CommandContext(b.ctx, b.bin, args...)
	cmd.Dir, cmd.Env = b.dir, []string{"HOME=" + b.dir, "PATH=" + os.Getenv("PATH")}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	b.got[name] = append(b.got[name], time.Since(began))
	fmt.Fprintf(os.Stderr, "provision, %s: %.1f s\n", name, time.Since(began).Seconds())
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out[max(0, len(out)-3000):])
	}
	after, err := b.installed(b.ours)
	if err != nil {
		return err
	}
	if b.names == "" {
		b.names = strings.Join(slices.DeleteFunc(after, func(p string) bool { return slices.Contains(before, p) }), " ")
	}
	return b.read(state, name)
}

// read takes the phases' times from the record.
func (b *bench) read(state, name string) error {
	files, err := filepath.Glob(filepath.Join(state, "runs", "*", "*", "events.jsonl"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("%d records in %s: %w", len(files), state, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		return err
	}
	defer f.Close()
	begin, desktop := map[string]int64{}, int64(0)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e wire.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return err
		}
		switch e.Kind {
		case wire.KindPhase:
			begin[e.Phase] = e.T
		case wire.KindPhaseEnd:
			b.phases[e.Phase] = append(b.phases[e.Phase], time.Duration(e.T-begin[e.Phase]))
			if e.Phase == "rdp-config" || e.Phase == "user-creation" {
				desktop = max(desktop, e.T)
			}
		}
	}
	b.got[name+": RDP"] = append(b.got[name+": RDP"], time.Duration(desktop))
	return lines.Err()
}

// apt times one plain installation of the same packages, all of them downloaded before.
func (b *bench) apt() error { return b.install("plain apt", true) }

// sequentialApt is the whole of it: lists, downloads, installation.
func (b *bench) sequentialApt(name string) error { return b.install(name, false) }

func (b *bench) install(name string, downloaded bool) error {
	if err := b.fresh(b.plain); err != nil {
		return err
	}
	// The makers' packages come from where the phases had them from.
	for _, dir := range []string{"etc/apt/sources.list.d", "etc/apt/keyrings", "usr/share/keyrings"} {
		from, to := filepath.Join(b.ours.Root(), dir), filepath.Join(b.plain.Root(), filepath.Dir(dir))
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if out, err := exec.CommandContext(b.ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w: %s", dir, err, out)
		}
	}
	const env = "export DEBIAN_FRONTEND=noninteractive; "
	update, install := env+"apt-get -q -y update >/dev/null; ", "apt-get -q -y --no-install-recommends install "+b.names+" >/dev/null"
	if downloaded {
		if _, err := b.plain.Exec(b.ctx, update+strings.Replace(install, "install ", "-d install ", 1)); err != nil {
			return err
		}
		update = env
	}
	began := time.Now()
	_, err := b.plain.Exec(b.ctx, update+install)
	b.got[name] = append(b.got[name], time.Since(began))
	fmt.Fprintf(os.Stderr, "%s: %.1f s\n", name, time.Since(began).Seconds())
	return err
}

// fresh gives a host a new disk that trusts the vendors' authority.
func (b *bench) fresh(h *lab.Host) error {
	if err := h.Reset(b.ctx); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.Root(), "usr/local/share/ca-certificates/vendors.crt"), []byte(b.shops.CA()), 0o644); err != nil {
		return err
	}
	_, err := h.Exec(b.ctx, "update-ca-certificates >/dev/null 2>&1")
	return err
}

func (b *bench) installed(h *lab.Host) ([]string, error) {
	out, err := h.Exec(b.ctx, `dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p'`)
	return strings.Fields(out), err
}
