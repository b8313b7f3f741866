package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"mvdan.cc/sh/v3/shell"
)

// TestExamples: every example of the help and every line of the README that
// types vpsctl names commands and flags that exist.
func TestExamples(t *testing.T) {
	app := newApp(streams{strings.NewReader(""), io.Discard, io.Discard})
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(readme), app.CustomAppHelpTemplate}
	for _, c := range allCommands(app.Commands) {
		texts = append(texts, c.CustomHelpTemplate)
		if n := strings.Count(c.CustomHelpTemplate, "  $ "); n < 3 {
			t.Errorf("the help of %s has %d examples, at least 3 are promised", c.Name, n)
		}
	}
	seen := 0
	for _, line := range regexp.MustCompile(`(?m)(?:\$ |`+"`"+`)(vpsctl [^`+"`"+`\n]*)`).FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		args, err := shell.Fields(cutShell(line[1]), func(string) string { return "x" })
		if err != nil || len(args) < 2 || args[1] != strings.ToLower(args[1]) { // "vpsctl COMMAND": no example
			continue
		}
		seen++
		if _, err := arrange(app, args[1:]); err != nil {
			t.Errorf("%s: %v", line[1], err)
		}
	}
	if seen < 40 {
		t.Errorf("only %d examples were found", seen)
	}
}

func allCommands(cmds []*cli.Command) []*cli.Command {
	var all []*cli.Command
	for _, c := range cmds {
		all = append(append(all, c), allCommands(c.Subcommands)...)
	}
	return all
}

// cutShell ends a line where another command begins.
func cutShell(line string) string {
	line = regexp.MustCompile(` +(#|\||>|&&|\|\|).*`).ReplaceAllString(line, "")
	return strings.NewReplacer("[RUN]", "", "[HOST…]", "", "list|show|attach|cancel|prune", "list").Replace(line)
}
