package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange moves flags in front of the arguments, because the cli library stops
// at the first argument. Flags may stand anywhere after the command, up to "--".
// Everything that is not a known command or flag is refused here, with a hint.
func arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 || isHelp(args[0]) {
		return []string{"help"}, nil
	}
	if args[0] == "-V" || args[0] == "--version" {
		return []string{"version"}, nil
	}
	if strings.HasPrefix(args[0], "-") {
		return nil, usageError{fmt.Sprintf("flag %s stands before the command", args[0]), "write it behind: vpsctl COMMAND " + args[0]}
	}
	path, cmd, rest, err := findCommand(app.Commands, args)
	if err != nil {
		return nil, err
	}
	if cmd == nil {
		return append(path, rest...), nil
	}
	moved, err := moveFlags(cmd, strings.Join(path, " "), rest)
	return append(path, moved...), err
}

func isHelp(s string) bool { return s == "-h" || s == "--help" }

// findCommand walks down the sub-commands args name. cmd is nil when the words
// end at a group (its help is shown).
func findCommand(cmds []*cli.Command, args []string) (path []string, cmd *cli.Command, rest []string, err error) {
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		next := lookup(cmds, args[0])
		if next == nil {
			where := strings.TrimSpace("vpsctl " + strings.Join(path, " "))
			return nil, nil, nil, usageError{fmt.Sprintf("%s has no command %q", where, args[0]), suggestCommand(cmds, where, args[0])}
		}
		path, args = append(path, next.Name), args[1:]
		if len(next.Subcommands) == 0 {
			return path, next, args, nil
		}
		cmds = next.Subcommands
	}
	return path, nil, []string{"--help"}, nil
}

func lookup(cmds []*cli.Command, name string) *cli.Command {
	for _, c := range cmds {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func suggestCommand(cmds []*cli.Command, where, word string) string {
	var names []string
	for _, c := range cmds {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	if best := closest(names, word); best != "" {
		return fmt.Sprintf("did you mean `%s %s`?", where, best)
	}
	return fmt.Sprintf("it has: %s", strings.Join(names, ", "))
}

func moveFlags(cmd *cli.Command, name string, args []string) ([]string, error) {
	var flags, words []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return join(flags, append(words, args[i+1:]...)), nil
		case (len(a) < 2 || a[0] != '-') && ownsRest(cmd.Name):
			return join(flags, args[i:]), nil
		case len(a) < 2 || a[0] != '-':
			words = append(words, a)
		case isHelp(a):
			return []string{"--help"}, nil
		default:
			takes, err := takesValue(cmd, name, a)
			if err != nil {
				return nil, err
			}
			flags = append(flags, a)
			if takes && !strings.Contains(a, "=") {
				if i++; i == len(args) {
					return nil, usageError{fmt.Sprintf("flag %s needs a value", a), "see `vpsctl " + name + " --help`"}
				}
				flags = append(flags, args[i])
			}
		}
	}
	return join(flags, words), nil
}

// join puts "--" between flags and words, so that a word that looks like a flag
// stays a word.
func join(flags, words []string) []string {
	if len(words) == 0 {
		return flags
	}
	return append(append(flags, "--"), words...)
}

func takesValue(cmd *cli.Command, name, arg string) (bool, error) {
	word, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	var known []string
	for _, f := range cmd.Flags {
		for _, n := range f.Names() {
			if n == word {
				_, isBool := f.(*cli.BoolFlag)
				return !isBool, nil
			}
		}
		known = append(known, f.Names()[0])
	}
	hint := "see `vpsctl " + name + " --help`"
	if best := closest(known, word); best != "" {
		hint = "did you mean --" + best + "?"
	}
	return false, usageError{fmt.Sprintf("%s has no flag %s", name, arg), hint}
}

// closest is the candidate within two edits of word, or "".
func closest(candidates []string, word string) string {
	best, least := "", 3
	for _, c := range candidates {
		if d := edits(c, word); d < least {
			best, least = c, d
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, cost)
		}
	}
	return row[len(b)]
}
