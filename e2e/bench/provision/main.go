//go:build linux

// Provision times the ten phases on fresh lab hosts beside plain apt, and prints a section in Markdown. Needs root and
// a quiet machine.
package main

import (
	"bufio"
	"bytes"
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

	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/e2e/vendors"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// goal is how many times the plain installation's time the ten phases may take.
const goal = 1.25

// What the rounds compare. A single plain installation waits 25 s for D-Bus, which calls for polkitd before that has its
// account; the second line is what apt takes without that.
const (
	plain      = "plain apt"
	unhindered = "plain apt, polkitd before"
	lean       = "lean"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bin := flag.String("vpsctl", "bin/vpsctl", "the program")
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	to := flag.String("page", "", "put the section into this `FILE`, between its marks")
	parts := flag.String("parts", "ratio,lines,full,sizes", "what to measure: the ratio to plain apt, slow and direct lines, the full desktop, sizes of hosts")
	flag.Parse()
	if err := run(ctx, *bin, *rounds, strings.Split(*parts, ","), *to); err != nil {
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

func run(ctx context.Context, bin string, rounds int, parts []string, to string) (err error) {
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
	text := b.report(rounds)
	fmt.Print(text)
	return page.Put(to, "provision", text)
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
		if err := b.round(n); err != nil {
			return err
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
		more := []string{"-e", "desktop=full"}
		if err := b.provision("full", more); err != nil {
			return err
		}
		if _, err := b.vpsctl("full", "verify", append([]string{"--deep"}, more...)); err != nil {
			return err
		}
		if err := b.again("full", more); err != nil {
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
		if err := b.table(name, size); err != nil {
			return err
		}
	}
	b.phases = kept
	return nil
}

// round runs all that is compared once, each round beginning with another.
func (b *bench) round(n int) error {
	all := []func() error{
		func() error { return b.install(plain, true, "") },
		func() error { return b.install(unhindered, true, "polkitd") },
		func() error { return errors.Join(b.provision(lean, nil), b.again(lean, nil)) },
	}
	for i := range all {
		if err := all[(i+n)%len(all)](); err != nil {
			return err
		}
	}
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
	began := time.Now()
	_, err = b.vpsctl(name, "provision", more)
	b.got[name] = append(b.got[name], time.Since(began))
	fmt.Fprintf(os.Stderr, "provision, %s: %.1f s\n", name, time.Since(began).Seconds())
	if err != nil {
		return err
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

// vpsctl runs a verb on the host as its user does, and gives what it printed.
func (b *bench) vpsctl(name, verb string, more []string) ([]byte, error) {
	args := slices.Concat([]string{verb, "-i", filepath.Join(b.dir, "inventory.yaml"), "--state-dir", filepath.Join(b.dir, "state"), "--plain", "-q", "-y"}, b.shops.Args(), more)
	cmd := exec.CommandContext(b.ctx, b.bin, args...)
	cmd.Dir, cmd.Env = b.dir, []string{"HOME=" + b.dir, "PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		text := append(said.Bytes(), out...)
		return out, fmt.Errorf("%s, %s: %w: %s", verb, name, err, text[max(0, len(text)-3000):])
	}
	return out, nil
}

// again times a second run, which has to change nothing.
func (b *bench) again(name string, more []string) error {
	began := time.Now()
	out, err := b.vpsctl(name+", again", "provision", append([]string{"-o", "json"}, more...))
	took := time.Since(began)
	b.got[name+": again"] = append(b.got[name+": again"], took)
	fmt.Fprintf(os.Stderr, "provision, %s, again: %.1f s\n", name, took.Seconds())
	if err != nil {
		return err
	}
	var doc report.ProvisionDoc
	if err := json.Unmarshal(out, &doc); err != nil {
		return fmt.Errorf("provision, %s, again: %w", name, err)
	}
	if n := doc.Hosts[0].Changed; n != 0 {
		return fmt.Errorf("provision, %s, again: the second run changed %d steps", name, n)
	}
	return nil
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

// sequentialApt is the whole of it: lists, downloads, installation.
func (b *bench) sequentialApt(name string) error { return b.install(name, false, "") }

// install times apt alone, with the packages downloaded before or not; first is installed by a call of its own.
func (b *bench) install(name string, downloaded bool, first string) error {
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
	const env, apt = "export DEBIAN_FRONTEND=noninteractive; ", "apt-get -q -y --no-install-recommends "
	update, install := env+"apt-get -q -y update >/dev/null; ", apt+"install "+b.names+" >/dev/null"
	if downloaded {
		if _, err := b.plain.Exec(b.ctx, update+apt+"-d install "+b.names+" >/dev/null"); err != nil {
			return err
		}
		update = env
	}
	if first != "" {
		install = apt + "install " + first + " >/dev/null && " + install
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
