package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestArrange(t *testing.T) {
	app := newApp(streams{strings.NewReader(""), io.Discard, io.Discard})
	for _, c := range []struct{ in, want string }{
		{"plan -i x.yaml", "plan -i x.yaml"},
		{"report RUN --format json", "report --format json -- RUN"},
		{"report --format=json RUN", "report --format=json -- RUN"},
		{"inventory show alpha -o json", "inventory show -o json -- alpha"},
		{"report -- --format", "report -- --format"},
		{"-V", "version"},
		{"--help", "help"},
		{"", "help"},
		{"provision alpha --help", "provision --help"},
	} {
		got, err := arrange(app, strings.Fields(c.in))
		if err != nil || !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("arrange(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	app := newApp(streams{strings.NewReader(""), io.Discard, io.Discard})
	for _, c := range []struct{ in, text, hint string }{
		{"-i x plan", "flag -i stands before the command", "write it behind"},
		{"provison", `no command "provison"`, "`vpsctl provision`"},
		{"runs shwo", `no command "shwo"`, "`vpsctl runs show`"},
		{"benchmark run", `no command "benchmark"`, ""},
		{"plan --limt x", "no flag --limt", "--limit"},
		{"plan --limit", "needs a value", ""},
		{"provision --dry-runs", "no flag --dry-runs", "--dry-run"},
	} {
		_, err := arrange(app, strings.Fields(c.in))
		var u usageError
		if !errors.As(err, &u) || !strings.Contains(u.text, c.text) || !strings.Contains(u.hint, c.hint) {
			t.Errorf("arrange(%q): %v, want %q with hint %q", c.in, err, c.text, c.hint)
		}
	}
}
