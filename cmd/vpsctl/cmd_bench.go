package main

import (
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/bench"
)

func benchCommand() *cli.Command {
	return &cli.Command{Name: "bench", Usage: "what hosts really deliver: measure, compare, judge", CustomHelpTemplate: help(
		"vpsctl bench run --quick", "vpsctl bench compare", "vpsctl bench history -l alpha"), Subcommands: []*cli.Command{
		{Name: "run", Usage: "one benchmark session on every host", Flags: flags(hostFlags, eventFlags, []cli.Flag{yesFlag,
			&cli.StringSliceFlag{Name: "only", Usage: "measure only this `KIND`: cpu, memory, disk or network (repeatable)"},
			&cli.BoolFlag{Name: "quick", Usage: "about a minute per host"},
			&cli.BoolFlag{Name: "thorough", Usage: "about 20 minutes per host; sees the end of CPU and disk credits"},
			&cli.IntFlag{Name: "repeats", Usage: "`N` repeats of every probe (default 3)"},
			&cli.DurationFlag{Name: "each", Usage: "`DUR` of one repeat instead of the depth's own"},
			&cli.DurationFlag{Name: "quiet-wait", Value: 20 * time.Second, Usage: "wait up to `DUR` for a busy host to become quiet"},
			&cli.StringFlag{Name: "disk-dir", Usage: "measure the filesystem of this `DIR` of the host (default: where vpsctl keeps its state)"},
			&cli.Int64Flag{Name: "net-bytes", Value: 1 << 30, Usage: "network probes stop at `N` bytes per host"},
			&cli.BoolFlag{Name: "against", Usage: "also run fio, sysbench, iperf3 and openssl where the host has them"}}), Action: with(benchRun),
			Description: "Warm-up discarded, repeats in random order, every raw value kept. Leaves nothing on the host but\nits results.json. Hosts of the same vars.peer_group take turns unless --forks is given.", CustomHelpTemplate: help(
				"vpsctl bench run", "vpsctl bench run --quick -l eu", "vpsctl bench run --only disk --thorough -o json")},
		benchCompareCommand(),
		benchBaselineCommand(),
		benchHistoryCommand(),
		benchSelfcheckCommand(),
	}}
}

func (k *call) benchStore() bench.Store {
	return bench.Store{Dir: filepath.Join(k.stateDir(), "bench")}
}
