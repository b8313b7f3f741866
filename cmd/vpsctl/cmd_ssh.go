package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/remote"
)

// oneHostFlags are those of a command that reaches one host, named as its
// argument.
var oneHostFlags = flags(talkFlags, stateFlags, []cli.Flag{
	&cli.StringSliceFlag{Name: "extra-var", Aliases: []string{"e"}, Usage: "a variable, `KEY=VALUE`; wins over the inventory"},
	&cli.DurationFlag{Name: "connect-timeout", EnvVars: env("connect-timeout"), Value: 10 * time.Second, Usage: "from dial to logged in (`DUR`)"},
	&cli.StringFlag{Name: "known-hosts", EnvVars: env("known-hosts"), Usage: "this `FILE` instead of all other known_hosts"},
	&cli.BoolFlag{Name: "accept-new-host-keys", EnvVars: env("accept-new-host-keys"), Usage: "accept and keep keys of hosts never seen before"},
})

func sshCommand() *cli.Command {
	return &cli.Command{Name: "ssh", Usage: "log in to a host as the inventory says", ArgsUsage: "HOST [-- CMD…]",
		Flags: flags(oneHostFlags, []cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "log in as `NAME` instead, with the same key"}}),
		Description: "The same address, jump host, key and checks as every other command; no\nforwarding. One word after -- is a line for the shell.", Action: with(sshHost),
		CustomHelpTemplate: help("vpsctl ssh alpha", "vpsctl ssh alpha --user devuser", "vpsctl ssh alpha -- htop")}
}

func sshHost(k *call) error {
	h, err := k.oneHostNamed()
	if err != nil {
		return err
	}
	if user := k.String("user"); user != "" {
		h.User = user
	}
	ctx, stop := k.interruptible()
	defer stop()
	d := k.dialer(nil)
	defer d.Close()
	command := k.Args().Tail()
	line := strings.Join(command, "")
	if len(command) > 1 {
		line = remote.ShellLine(command)
	}
	rc, err := k.shell(ctx, d, h, line)
	if err != nil || rc == 0 || len(command) == 0 { // a shell's last status is nobody's failure
		return err
	}
	return exitError{exitFailed, fmt.Errorf("%s: the command ended with status %d", h.Name, rc)}
}

// oneHostNamed is the host that the first argument names.
func (k *call) oneHostNamed() (inventory.Host, error) {
	if k.NArg() == 0 {
		return inventory.Host{}, usageError{k.Command.Name + ": name one host", "see `vpsctl inventory list`"}
	}
	inv, err := k.inventory()
	if err != nil {
		return inventory.Host{}, err
	}
	hosts, err := inv.Select(k.Args().First())
	if err != nil || len(hosts) != 1 {
		return inventory.Host{}, usageError{fmt.Sprintf("%s: %q is not one host of the inventory", k.Command.Name, k.Args().First()), hintOr(err, "see `vpsctl inventory list`")}
	}
	return hosts[0], k.trusted(inv)
}

// shell gives a person a shell on h. Where standard input is no terminal, it is
// what the shell reads.
func (k *call) shell(ctx context.Context, d *remote.Dialer, h inventory.Host, command string) (int, error) {
	s := d.Session(h)
	defer s.Close()
	t := remote.Terminal{In: k.ui.in, Out: k.ui.out, Err: k.ui.err}
	f, ok := k.ui.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s.Shell(ctx, command, t)
	}
	// Opened anew, so that closing it ends its reader: what is typed after this
	// is for whoever asks next.
	if tty, err := os.OpenFile("/dev/tty", os.O_RDONLY, 0); err == nil {
		defer tty.Close()
		t.In = tty
	}
	var was *term.State
	t.Ready = func() (err error) { // before, somebody may have to type a passphrase
		was, err = term.MakeRaw(int(f.Fd()))
		return err
	}
	defer func() {
		if was != nil {
			term.Restore(int(f.Fd()), was)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.Type = os.Getenv("TERM")
	if t.Type == "" {
		t.Type = "xterm-256color"
	}
	t.Size = terminalSize(f)
	t.Resize = watchSize(ctx, f, t.Size)
	return s.Shell(ctx, command, t)
}

func terminalSize(f *os.File) remote.Size {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 {
		return remote.Size{Columns: 80, Rows: 24}
	}
	return remote.Size{Columns: w, Rows: h}
}

// sizeEvery is how often the terminal is looked at: not every system tells.
const sizeEvery = 300 * time.Millisecond

// watchSize sends the terminal's size whenever it has changed, until ctx ends.
func watchSize(ctx context.Context, f *os.File, last remote.Size) <-chan remote.Size {
	sizes := make(chan remote.Size)
	go func() {
		defer close(sizes)
		tick := time.NewTicker(sizeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := terminalSize(f); now != last {
				last = now
				select {
				case sizes <- now:
				case <-ctx.Done():
				}
			}
		}
	}()
	return sizes
}
