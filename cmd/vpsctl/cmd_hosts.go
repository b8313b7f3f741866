package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

func hostsCommand() *cli.Command {
	return &cli.Command{Name: "hosts", Usage: "known host keys", CustomHelpTemplate: help("vpsctl hosts forget alpha", "vpsctl hosts forget alpha -i other.yaml", "vpsctl hosts forget alpha --known-hosts ./known_hosts"), Subcommands: []*cli.Command{
		{Name: "forget", Usage: "forget the known keys of a host that was rebuilt", ArgsUsage: "NAME", Flags: flags(talkFlags, stateFlags, []cli.Flag{
			&cli.StringFlag{Name: "known-hosts", EnvVars: env("known-hosts"), Usage: "this `FILE` instead of ~/.ssh/known_hosts"}}),
			Action: with(hostsForget), CustomHelpTemplate: help("vpsctl hosts forget alpha", "vpsctl hosts forget alpha --known-hosts ./known_hosts", "vpsctl hosts forget alpha && vpsctl ping -l alpha --accept-new-host-keys")},
	}}
}

func hostsForget(k *call) error {
	if k.NArg() != 1 {
		return usageError{"hosts forget: name one host", "vpsctl hosts forget NAME"}
	}
	inv, err := k.inventory()
	if err != nil {
		return err
	}
	hosts, err := inv.Select(k.Args().First())
	if err != nil || len(hosts) != 1 {
		return usageError{fmt.Sprintf("hosts forget: %q is not one host of the inventory", k.Args().First()), hintOr(err, "see `vpsctl inventory list`")}
	}
	d := k.dialer(nil)
	defer d.Close()
	n, err := d.Forget(hosts[0])
	if err != nil {
		return err
	}
	k.ui.say("[OK]", "forgot %d keys of %s", n, hosts[0].Name)
	return nil
}

func clean(k *call) error {
	inv, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	args := []string{}
	if k.Bool("dry-run") {
		args = append(args, "-n")
	} else if err := k.confirm(fmt.Sprintf("Remove the collector, the run folders and the logs of vpsctl from %d hosts? Runs there can then not be rolled back or attached to.", len(hosts))); err != nil {
		return err
	}
	return ask(k, func(ctx context.Context, s *remote.Session, a *answer) error {
		out, err := s.Remote(ctx, "clean", args, nil)
		for _, line := range strings.Split(string(bytes.TrimSpace(out)), "\n") {
			if line != "" {
				fmt.Fprintf(k.ui.err, "%s: %s\n", a.Host, report.Clean(line))
			}
		}
		return err
	}, func(w io.Writer, answers []*answer) {
		for _, a := range answers {
			if a.err == nil && !k.Bool("dry-run") {
				fmt.Fprintf(w, "[OK] %s is clean\n", a.Host)
			}
		}
	})
}
