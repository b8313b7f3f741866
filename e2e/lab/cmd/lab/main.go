//go:build linux

// Lab builds real Debian and Ubuntu hosts on this machine and handles them. "lab help" tells how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

const usage = `lab VERB [-dir FOLDER] …: real hosts on this machine. Needs root.

  up [-n N] [-prefix NAME] [-suite NAME] [-mem MB] [-cpus N] [-ipv6-only] [-apt-cache=false]
                               at least N running hosts; prints addresses, inventory, known_hosts, identity
  down                         stop and remove them and all that was made for them
  list                         the hosts, whether they run, their CPU seconds, what is special about them
  reset|kill|start|reboot|cut|restore [HOST…]    all hosts when none is named
  exec HOST COMMAND…           as root inside the host, without ssh, outside of its limits
  limit HOST MB CPUS           another size, by a power cycle; 0 is all that this machine has
  rate HOST MBIT               bound on its line in Mbit/s, each way; 0 lifts it
  loss HOST PERCENT            of the packets, each way
  delay HOST DURATION          of a round trip, such as 50ms, where the kernel has netem
  proxy HOST DURATION [JITTER] an address on loopback that leads to the host's ssh with that delay, until ^C
  help                         this

-dir is the lab's state folder, .lab if not named. Suites are trixie (the default), bookworm and noble.
VPSCTL_LAB_MIRROR names a mirror to build a base from. VPSCTL_LAB_CACHE (default /var/cache/vpsctl-lab) holds bases and
what apt has downloaded, and may be removed when no lab is up; VPSCTL_LAB_STORE (default /var/lib/vpsctl-lab) holds the
disks of the labs that are up`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		var hinted interface{ Hint() string }
		if errors.As(err, &hinted) {
			fmt.Fprintln(os.Stderr, "lab: hint:", hinted.Hint())
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, talk io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb := args[0]
	if verb == "help" || verb == "-h" || verb == "--help" {
		_, err := fmt.Fprintln(out, usage)
		return err
	}
	flags := flag.NewFlagSet("lab "+verb, flag.ContinueOnError)
	flags.SetOutput(talk)
	opt := lab.Options{Log: talk}
	flags.StringVar(&opt.Dir, "dir", ".lab", "state folder of the lab")
	flags.IntVar(&opt.N, "n", 2, "how many hosts (up)")
	flags.StringVar(&opt.Prefix, "prefix", "lab", "of the hosts' names (up)")
	flags.StringVar(&opt.Suite, "suite", "", "trixie, bookworm or noble (up)")
	flags.IntVar(&opt.Limits.MemoryMB, "mem", 0, "megabytes of a host's memory; 0: all (up)")
	flags.IntVar(&opt.Limits.CPUs, "cpus", 0, "of a host; 0: all (up)")
	flags.BoolVar(&opt.IPv6Only, "ipv6-only", false, "hosts without IPv4 (up)")
	flags.BoolVar(&opt.AptCache, "apt-cache", true, "hosts share what apt downloads (up)")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch verb {
	case "up":
		return up(ctx, opt, out)
	case "down":
		return down(ctx, opt, out)
	case "list":
		return withLab(opt, func(l *lab.Lab) error { return list(l, out) })
	case "exec":
		return withLab(opt, func(l *lab.Lab) error { return inside(ctx, l, flags.Args(), out) })
	case aptCacheVerb:
		return withLab(opt, func(l *lab.Lab) error { return l.ServeApt(ctx) })
	}
	if set, ok := settings[verb]; ok {
		return withLab(opt, func(l *lab.Lab) error { return set.do(ctx, l, flags.Args(), out) })
	}
	act, ok := actions[verb]
	if !ok {
		return fmt.Errorf("lab: unknown verb %q\n%s", verb, usage)
	}
	return withLab(opt, func(l *lab.Lab) error { return each(l, flags.Args(), func(h *lab.Host) error { return act(h, ctx) }) })
}

var actions = map[string]func(*lab.Host, context.Context) error{
	"reset":   (*lab.Host).Reset,
	"kill":    (*lab.Host).Kill,
	"start":   (*lab.Host).Start,
	"reboot":  (*lab.Host).Reboot,
	"cut":     (*lab.Host).Cut,
	"restore": (*lab.Host).Restore,
}

func up(ctx context.Context, opt lab.Options, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return err
	}
	opt.AptServer = []string{self, aptCacheVerb, "-dir", dir}
	l, err := lab.Up(ctx, opt)
	if err != nil {
		return err
	}
	for _, h := range l.Hosts {
		fmt.Fprintf(out, "%-12s %-15s %s\n", h.Name, h.Addr, h.Addr6)
	}
	_, err = fmt.Fprintf(out, "inventory    %s\nknown_hosts  %s\nidentity     %s\n", l.Inventory(), l.KnownHosts(), l.Identity())
	return err
}

func down(ctx context.Context, opt lab.Options, out io.Writer) error {
	if err := lab.Sweep(ctx, opt.Log); err != nil {
		return err
	}
	l, err := lab.Open(opt.Dir, opt.Log)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(out, "lab: there is none")
		return nil
	}
	if err != nil {
		return err
	}
	return l.Down(ctx)
}

func withLab(opt lab.Options, do func(*lab.Lab) error) error {
	l, err := lab.Open(opt.Dir, opt.Log)
	if err != nil {
		return err
	}
	return do(l)
}

func list(l *lab.Lab, out io.Writer) error {
	for _, h := range l.Hosts {
		state, cpu := "off", 0.0
		if h.Running() {
			state = "running"
		}
		cpu, _ = h.CPU() // a host that was never started has none
		fmt.Fprintf(out, "%-12s %-15s %-8s %8.1f s CPU%s\n", h.Name, h.Addr, state, cpu, describe(h))
	}
	return nil
}

func inside(ctx context.Context, l *lab.Lab, args []string, out io.Writer) error {
	if len(args) < 2 {
		return errors.New("lab: exec: name a host and a command")
	}
	h := l.Host(args[0])
	if h == nil {
		return fmt.Errorf("lab: unknown host %q", args[0])
	}
	text, err := h.Exec(ctx, strings.Join(args[1:], " "))
	fmt.Fprint(out, text)
	return err
}

func each(l *lab.Lab, names []string, do func(*lab.Host) error) error {
	hosts := l.Hosts
	if len(names) > 0 {
		hosts = nil
	}
	for _, name := range names {
		h := l.Host(name)
		if h == nil {
			return fmt.Errorf("lab: unknown host %q", name)
		}
		hosts = append(hosts, h)
	}
	var err error
	for _, h := range hosts {
		err = errors.Join(err, do(h))
	}
	return err
}
