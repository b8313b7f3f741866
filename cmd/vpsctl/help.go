package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// help keeps a command's examples where the library looks for its help, until
// writeHelp makes the help of them.
func help(examples ...string) string { return strings.Join(examples, "\n") }

// writeHelp gives every command its help, made from the table: usage, examples,
// its own flags, then those it shares, at most 80 columns wide.
func writeHelp(cmds []*cli.Command, path string) {
	for _, c := range cmds {
		full := path + " " + c.Name
		examples := c.CustomHelpTemplate
		if len(c.Subcommands) > 0 {
			writeHelp(c.Subcommands, full)
			c.CustomHelpTemplate = commandsText(full, c)
		} else {
			c.CustomHelpTemplate = leafText(full, c)
		}
		c.CustomHelpTemplate += examplesText(examples) + flagsText(c) + "\nExit codes: see `vpsctl --help`.\n"
	}
}

func leafText(full string, c *cli.Command) string {
	text := fmt.Sprintf("%s: %s\n\nUsage:\n  %s", full, c.Usage, full)
	if c.ArgsUsage != "" {
		text += " " + c.ArgsUsage
	}
	text += " [flags]\n"
	if c.Description != "" {
		text += "\n" + c.Description + "\n"
	}
	return text
}

func commandsText(full string, c *cli.Command) string {
	text := fmt.Sprintf("%s: %s\n\nCommands:\n", full, c.Usage)
	for _, sub := range c.Subcommands {
		text += fmt.Sprintf("  %-12s%s\n", sub.Name, sub.Usage)
	}
	return text
}

func examplesText(examples string) string {
	text := "\nExamples:\n"
	for _, e := range strings.Split(examples, "\n") {
		text += "  $ " + e + "\n"
	}
	return text
}

func flagsText(c *cli.Command) string {
	if len(c.Flags) == 0 {
		return ""
	}
	var own, shared strings.Builder
	for _, f := range c.Flags {
		if slices.Contains(hostFlags, f) {
			flagText(&shared, f)
		} else {
			flagText(&own, f)
		}
	}
	text := ""
	if own.Len() > 0 {
		text = "\nFlags:\n" + own.String()
	}
	if shared.Len() > 0 {
		text += "\nShared flags:\n" + shared.String()
	}
	return text
}

// flagText writes a flag and what it means, in two columns.
func flagText(b *strings.Builder, f cli.Flag) {
	const left, width = 30, 80
	value, usage := flagNames(f.Names()), ""
	if d, ok := f.(cli.DocGenerationFlag); ok {
		name, text := placeholder(d.GetUsage())
		usage = text
		if v := d.GetValue(); d.TakesValue() && !slices.Contains([]string{"", "0", "0s", "[]"}, v) && !strings.Contains(usage, "default") {
			usage += " (default " + v + ")"
		}
		if name != "" {
			value += " " + name
		}
	}
	line := fmt.Sprintf("  %-*s", left-2, value)
	if len(value) > left-4 {
		line += "\n" + strings.Repeat(" ", left)
	}
	column := left
	for _, word := range strings.Fields(usage) {
		if column+len(word) > width {
			line = strings.TrimRight(line, " ") + "\n" + strings.Repeat(" ", left)
			column = left
		}
		line += word + " "
		column += len([]rune(word)) + 1
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// flagNames are "-i, --inventory": the short one first.
func flagNames(names []string) string {
	var short, long []string
	for _, n := range names {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	return strings.Join(append(short, long...), ", ")
}

// placeholder takes the `VALUE` out of a usage text.
func placeholder(usage string) (name, text string) {
	from := strings.IndexByte(usage, '`')
	to := strings.LastIndexByte(usage, '`')
	if from < 0 || to <= from {
		return "", usage
	}
	name = usage[from+1 : to]
	return name, usage[:from] + name + usage[to+1:]
}

func appHelp(cmds []*cli.Command) string {
	var b strings.Builder
	b.WriteString("vpsctl: provision, measure and watch VPSs over SSH\n\nUsage:\n  vpsctl COMMAND [ARGS] [flags]\n\nCommands:\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, "  %-12s%s\n", c.Name, c.Usage)
	}
	b.WriteString(`
Quick start:
  $ vpsctl init                     # writes inventory.yaml, to be edited
  $ vpsctl ping --accept-new-host-keys
  $ vpsctl provision
  $ vpsctl report

Flags stand anywhere behind the command. Each has an environment variable,
VPSCTL_<FLAG>; the flag wins over it, and it over the inventory.

Exit codes:
`)
	b.WriteString(exitHelp())
	return b.String()
}
