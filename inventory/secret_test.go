package inventory

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

func TestResolve(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh and links")
	}
	home, dir := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("TOKEN", "from the environment\n")
	t.Setenv("SHORT", "12345\n")
	t.Setenv("EMPTY", "")
	write(t, filepath.Join(dir, "in/token"), "from a file\r\n")
	write(t, filepath.Join(dir, "two"), "two lines\n\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", maxSecret+1))
	write(t, filepath.Join(dir, "binary"), "\xff\xfe\xfd\xfc\xfb\xfa")
	write(t, filepath.Join(home, "away"), "from elsewhere")
	for link, to := range map[string]string{"out": filepath.Join(home, "away"), "folder": home, "near": "in/token"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	sh := func(script string) Ref { return Ref{Command: []string{"sh", "-c", script}} }
	for _, c := range []struct {
		ref        Ref
		value, err string
	}{
		{Ref{Env: "TOKEN"}, "from the environment", ""},
		{Ref{Env: "NOT_SET_ANYWHERE"}, "", "secret {env: NOT_SET_ANYWHERE}: it is not set"},
		{Ref{Env: "SHORT"}, "", "secret {env: SHORT}: it is shorter than 6 bytes"},
		{Ref{Env: "EMPTY"}, "", "secret {env: EMPTY}: it is shorter than 6 bytes"},
		{Ref{File: "in/token"}, "from a file", ""},
		{Ref{File: "./in/../in/token"}, "from a file", ""},
		{Ref{File: "near"}, "from a file", ""},
		{Ref{File: "two"}, "two lines\n", ""},
		{Ref{File: "~/away"}, "from elsewhere", ""},
		{Ref{File: filepath.Join(home, "away")}, "from elsewhere", ""},
		{Ref{File: "out"}, "", "secret {file: out}: path escapes from parent"},
		{Ref{File: "folder/away"}, "", "secret {file: folder/away}: path escapes from parent"},
		{Ref{File: "gone"}, "", "secret {file: gone}: there is no such file"},
		{Ref{File: "in"}, "", "secret {file: in}: it is no file"},
		{Ref{File: "large"}, "", "secret {file: large}: it is longer than 64 KiB"},
		{Ref{File: "binary"}, "", "secret {file: binary}: it is not text in UTF-8"},
		{sh("pwd >&2; cat in/token"), "from a file", ""},
		{sh("echo no such entry >&2; exit 3"), "", `secret {command: ["sh", "-c", "echo no such entry >&2; exit 3"]}: exit status 3: "no such entry"`},
		{sh("yes"), "", `secret {command: ["sh", "-c", "yes"]}: it prints more than 64 KiB`},
		{sh("yes >&2 & p=$!; sleep 0.1; kill $p; echo long enough"), "long enough", ""},
		{Ref{Command: []string{"no-such-program-anywhere"}}, "", `secret {command: ["no-such-program-anywhere"]}: exec: "no-such-program-anywhere": executable file not found in $PATH`},
		{Ref{}, "", "secret that was typed: it names nothing"},
	} {
		t.Run(c.ref.String(), func(t *testing.T) {
			s, err := c.ref.Resolve(t.Context(), dir)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if s.Reveal() != c.value || got != c.err {
				t.Errorf("%q, %s\nwant %q, %s", s.Reveal(), got, c.value, c.err)
			}
			var r *RefError
			if err != nil && !errors.As(err, &r) {
				t.Errorf("a %T", err)
			}
		})
	}
}

// TestResolveObeysContext: a command that hangs ends with its context.
func TestResolveObeysContext(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sleep")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := Ref{Command: []string{"sleep", "60"}}.Resolve(ctx, t.TempDir())
	if err == nil || time.Since(begin) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}

type holder struct{ A Secret }

func TestSecretNeverShows(t *testing.T) {
	const value = "hunter2-hunter2"
	s := newSecret(value)
	hidden := struct {
		s Secret
		p *Secret
	}{s, &s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%U", "%e", "%c", "%b", "%o", "%10.3s", "%p"} {
		for _, v := range []any{s, &s, []Secret{s}, map[string]Secret{"k": s}, hidden, &hidden} {
			out := fmt.Sprintf(verb, v)
			if strings.Contains(out, value) || strings.Contains(out, fmt.Sprintf("%x", value)) {
				t.Errorf("%s of %T shows it: %s", verb, v, out)
			}
		}
		if out := fmt.Sprintf(verb, s); verb != "%T" && verb != "%p" && out != masked {
			t.Errorf("%s is %q", verb, out)
		}
	}
	j, err := json.Marshal(map[string]any{"a": s, "b": &s})
	if err != nil || string(j) != `{"a":"***","b":"***"}` {
		t.Errorf("%s %v", j, err)
	}
	y, err := yaml.Marshal(map[string]Secret{"a": s})
	if err != nil || string(y) != "a: '***'\n" {
		t.Errorf("%s %v", y, err)
	}
	x, err := xml.Marshal(holder{s})
	if err != nil || !strings.Contains(string(x), "<A>***</A>") {
		t.Errorf("%s %v", x, err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "a", s)
	if strings.Contains(log.String(), value) || !strings.Contains(log.String(), "a=***") {
		t.Error(log.String())
	}
	if s.Reveal() != value || (Secret{}).Reveal() != "" {
		t.Error("Reveal does not")
	}
}

// TestCode: what a shared inventory runs or reads elsewhere, and nothing else.
// Loading runs none of it.
func TestCode(t *testing.T) {
	inv := mustLoad(t, `defaults:
  vars: {a: {command: [touch, ran]}, b: {env: X}, c: {file: in/token}}
hosts:
  x: {vars: {d: {file: ../out}, e: {file: /etc/passwd}, f: {file: in/../../out}}}
  y: {vars: {a: {command: [touch, "ran too", "a\nb"]}, d: {file: ../out}}}
`, Options{SSHConfig: "none"})
	up := filepath.Dir(inv.Dir())
	want := []string{
		`a: command: ["touch", "ran too", "a\nb"]`,
		`a: command: ["touch", "ran"]`,
		fmt.Sprintf("d: file: %q", filepath.Join(up, "out")),
		`e: file: "/etc/passwd"`,
		fmt.Sprintf("f: file: %q", filepath.Join(up, "out")),
	}
	if diff := cmp.Diff(want, inv.Code()); diff != "" && runtime.GOOS != "windows" {
		t.Error(diff)
	}
	if _, err := os.Stat("ran"); err == nil {
		t.Error("loading ran a command")
	}
}
