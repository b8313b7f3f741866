package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// newApp is the table of contents of the command line: every verb, its one
// line, its function.
func newApp(s streams) *cli.App {
	commands := []*cli.Command{
		initCommand(),
		inventoryCommand(),
		{Name: "ping", Usage: "reach every host and log in", Flags: flags(hostFlags, waitFlags), Action: with(ping),
			Description: "Dials every host, checks its key, logs in, runs one command.", CustomHelpTemplate: help(
				"vpsctl ping", "vpsctl ping -l eu,!beta", "vpsctl ping --wait 10m -o json")},
		{Name: "facts", Usage: "what every host is", Flags: hostFlags, Action: with(facts), CustomHelpTemplate: help(
			"vpsctl facts", "vpsctl facts -l alpha -o json", "vpsctl facts -o json | jq '.hosts[].facts.os'")},
		preflightCommand(),
		{Name: "phases", Usage: "every phase known, built in and yours", Flags: flags(talkFlags, phaseFolderFlags), Action: with(phasesList), CustomHelpTemplate: help(
			"vpsctl phases", "vpsctl phases -o json", "vpsctl phases --phases ./my-phases")},
		{Name: "plan", Usage: "what provision would send, without touching the network", Flags: flags(hostFlags, planFlags), Action: with(plan), CustomHelpTemplate: help(
			"vpsctl plan", "vpsctl plan -l alpha --only-phase system-prep", "vpsctl plan -o json > plan.json")},
		{Name: "provision", Usage: "bring the hosts to the plan; stream, record, report", Flags: flags(hostFlags, planFlags, provisionFlags, tryFlags), Action: with(provision), CustomHelpTemplate: help(
			"vpsctl provision -i inventory.yaml", "vpsctl provision -l eu --skip-phase user-creation", "vpsctl provision --dry-run --exit-code", "vpsctl provision -o json --non-interactive > result.json")},
		verifyCommand(),
		rollbackCommand(),
		runsCommand(),
		monitorCommand(),
		benchCommand(),
		checkCommand(),
		{Name: "timings", Usage: "phase timings of a run", ArgsUsage: "[RUN]", Flags: flags(talkFlags, stateFlags, []cli.Flag{
			&cli.StringFlag{Name: "phase", Usage: "only this `PHASE`: start, end, duration"}, limitFlag}), Action: with(timings), CustomHelpTemplate: help(
			"vpsctl timings", "vpsctl timings --phase system-prep", "vpsctl timings 20261123-101502-x7k2 -o json")},
		{Name: "report", Usage: "the report of a run", ArgsUsage: "[RUN]", Flags: flags(talkFlags, stateFlags, []cli.Flag{limitFlag,
			&cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text, json, html, csv, junit or openmetrics"},
			&cli.BoolFlag{Name: "serve", Usage: "show the run in a browser on this machine, as it grows"},
			&cli.StringFlag{Name: "to", Usage: "write to `FILE` instead of standard output"}}), Action: with(reportRun), CustomHelpTemplate: help(
			"vpsctl report", "vpsctl report --format html --to report.html", "vpsctl report --serve", "vpsctl report 20261123-101502-x7k2 --format junit --to junit.xml")},
		sshCommand(),
		rdpCommand(),
		credentialsCommand(),
		pinsCommand(),
		hostsCommand(),
		{Name: "clean", Usage: "remove everything vpsctl left on the hosts", Flags: flags(hostFlags, []cli.Flag{yesFlag,
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be removed"}}), Action: with(clean), CustomHelpTemplate: help(
			"vpsctl clean --dry-run", "vpsctl clean -l alpha", "vpsctl clean -y")},
		{Name: "completion", Usage: "a completion script", ArgsUsage: "bash|zsh|fish", Action: with(completion), CustomHelpTemplate: help(
			"vpsctl completion bash > /etc/bash_completion.d/vpsctl", "vpsctl completion zsh > ~/.zfunc/_vpsctl", "vpsctl completion fish > ~/.config/fish/completions/vpsctl.fish")},
		{Name: "version", Usage: "the version", Flags: talkFlags, Action: with(showVersion), CustomHelpTemplate: help(
			"vpsctl version", "vpsctl --version", "vpsctl version -o json")},
	}
	commands = append(append(commands, oneOffCommands()...), copyCommands()...)
	app := &cli.App{Name: "vpsctl", HelpName: "vpsctl", Usage: "provision, measure and watch VPSs over SSH",
		Commands: commands, Writer: s.out, ErrWriter: s.err, HideVersion: true,
		ExitErrHandler: func(*cli.Context, error) {},
		Metadata:       map[string]any{"streams": s}}
	app.OnUsageError = wrongUsage
	refuseBadFlags(commands)
	app.CustomAppHelpTemplate = appHelp(commands)
	writeHelp(commands, "vpsctl")
	return app
}

// wrongUsage makes a usage error of what the library says about flags.
func wrongUsage(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if i := strings.Index(text, " for flag -"); i > 0 { // invalid value "x" for flag -y: parse error
		text = strings.TrimSuffix(strings.Replace(text, " for flag -", " for flag --", 1), ": parse error")
	}
	k := &call{Context: c, ui: newUI(c.App.Metadata["streams"].(streams), uiOptions{})}
	return k.said(usageError{text, "see `" + c.Command.HelpName + " --help`"})
}

func refuseBadFlags(cmds []*cli.Command) {
	for _, c := range cmds {
		c.OnUsageError, c.HideHelpCommand = wrongUsage, true
		refuseBadFlags(c.Subcommands)
	}
}

// Flags, grouped by what a command does.
var (
	limitFlag = &cli.StringFlag{Name: "limit", Aliases: []string{"l"}, EnvVars: env("limit"), Usage: "only these hosts: names, groups, globs, a,b !c &d (`PATTERN`)"}
	yesFlag   = &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, EnvVars: env("yes"), Usage: "answer yes to every question"}

	talkFlags = []cli.Flag{
		&cli.StringFlag{Name: "inventory", Aliases: []string{"i"}, EnvVars: env("inventory"), Value: "./inventory.yaml", Usage: "the inventory `FILE`"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: env("output"), Value: "text", Usage: "`FORMAT` of the result: text or json"},
		&cli.BoolFlag{Name: "plain", EnvVars: env("plain"), Usage: "plain lines: no animation, no colour"},
		&cli.BoolFlag{Name: "no-color", EnvVars: append(env("no-color"), "NO_COLOR"), Usage: "no colour"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: env("quiet"), Usage: "only results and errors"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, EnvVars: env("verbose"), Usage: "also what connections do"},
		&cli.BoolFlag{Name: "non-interactive", EnvVars: env("non-interactive"), Usage: "never ask"},
	}
	stateFlags = []cli.Flag{
		&cli.StringFlag{Name: "state-dir", EnvVars: env("state-dir"), Usage: "where runs are kept (`DIR`; default " + filepath.ToSlash(shortStateDir()) + ")"},
	}
	dialFlags = []cli.Flag{
		limitFlag,
		&cli.IntFlag{Name: "forks", EnvVars: env("forks"), Value: 64, Usage: "`N` hosts at once"},
		&cli.StringSliceFlag{Name: "extra-var", Aliases: []string{"e"}, Usage: "a variable, `KEY=VALUE`; wins over the inventory"},
		&cli.DurationFlag{Name: "timeout", EnvVars: env("timeout"), Usage: "for the command, per host (`DUR`; 0: none)"},
		&cli.DurationFlag{Name: "connect-timeout", EnvVars: env("connect-timeout"), Value: 10 * time.Second, Usage: "from dial to logged in (`DUR`)"},
		&cli.StringFlag{Name: "known-hosts", EnvVars: env("known-hosts"), Usage: "this `FILE` instead of all other known_hosts"},
		&cli.BoolFlag{Name: "ask-become-password", Aliases: []string{"K"}, EnvVars: env("ask-become-password"), Usage: "type what the hosts' sudo asks for; wins over the inventory"},
		&cli.BoolFlag{Name: "accept-new-host-keys", EnvVars: env("accept-new-host-keys"), Usage: "accept and keep keys of hosts never seen before"},
	}
	hostFlags  = flags(talkFlags, stateFlags, dialFlags)
	eventFlags = []cli.Flag{&cli.BoolFlag{Name: "events", EnvVars: env("events"), Usage: "print the event stream as JSON lines with the host's name"}}
	waitFlags  = []cli.Flag{&cli.DurationFlag{Name: "wait", Usage: "wait up to `DUR` for SSH, then for the login, then for cloud-init"}}

	phaseFolderFlags = []cli.Flag{&cli.StringFlag{Name: "phases", EnvVars: env("phases"), Usage: "your phases (`DIR`; default: phases/ beside the inventory)"}}
	planFlags        = flags(phaseFolderFlags, []cli.Flag{
		&cli.StringSliceFlag{Name: "only-phase", EnvVars: env("only-phase"), Usage: "only this `PHASE` (repeatable)"},
		&cli.StringSliceFlag{Name: "skip-phase", EnvVars: env("skip-phase"), Usage: "not this `PHASE` (repeatable)"},
		&cli.StringFlag{Name: "username", EnvVars: env("username"), Usage: "`NAME` of the developer user"},
		&cli.BoolFlag{Name: "skip-validation", EnvVars: env("skip-validation"), Usage: "do not check what phases require of a host"},
		&cli.BoolFlag{Name: "sequential", EnvVars: env("sequential"), Usage: "one phase after another"},
		&cli.DurationFlag{Name: "sample-interval", EnvVars: env("sample-interval"), Value: 10 * time.Second, Usage: "`DUR` between resource samples (0: none)"},
	})
	tryFlags = []cli.Flag{
		&cli.BoolFlag{Name: "dry-run", EnvVars: env("dry-run"), Usage: "only say what would change; hosts are asked, nothing is changed there"},
		&cli.BoolFlag{Name: "exit-code", EnvVars: env("exit-code"), Usage: "with --dry-run: exit 8 when something would change"},
		&cli.DurationFlag{Name: "budget", EnvVars: env("budget"), Usage: "a host's run that takes longer than `DUR` is stopped, has failed, and says why (0: none)"},
		&cli.BoolFlag{Name: "rollback-on-failure", EnvVars: env("rollback-on-failure"), Usage: "where the run fails, undo what it changed"},
	}
	provisionFlags = flags(eventFlags, notifyFlags, []cli.Flag{yesFlag,
		&cli.BoolFlag{Name: "detach", EnvVars: env("detach"), Usage: "start the run on the hosts and leave (see runs attach)"},
		&cli.IntFlag{Name: "max-fail", EnvVars: env("max-fail"), Usage: "start no further host once `N` hosts have failed (0: no limit)"},
		&cli.StringFlag{Name: "serial", EnvVars: env("serial"), Usage: "`N` or P% of the hosts at a time"},
	})
)

func flags(groups ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func env(flag string) []string {
	return []string{"VPSCTL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
}

// with turns a function of a call into an action of the cli library.
func with(f func(*call) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		k, err := newCall(c)
		if err != nil {
			return err
		}
		return k.said(f(k))
	}
}

// stateDir is where runs are kept when --state-dir does not say.
func stateDir() string {
	if d := os.Getenv("XDG_STATE_HOME"); d != "" && runtime.GOOS != "windows" {
		return filepath.Join(d, "vpsctl")
	}
	if d := os.Getenv("LOCALAPPDATA"); d != "" && runtime.GOOS == "windows" {
		return filepath.Join(d, "vpsctl")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "vpsctl-state"
	}
	return filepath.Join(home, ".local", "state", "vpsctl")
}

// shortStateDir is the default as the help says it: not this user's own path.
func shortStateDir() string {
	if runtime.GOOS == "windows" {
		return `%LOCALAPPDATA%\vpsctl`
	}
	return "$XDG_STATE_HOME/vpsctl"
}
