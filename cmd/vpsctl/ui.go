package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/report"
)

// House rules of speech: results go to standard output, talk to standard error.
// A line of talk begins with its mark ([OK], [INFO], [WARN], [ERR]); colour only
// repeats what the mark says. An error is followed by " > " and the next thing
// to type. No capitals at the start of an error, no full stop at its end.

// uiOptions are what the talk flags say.
type uiOptions struct{ plain, noColor, quiet, verbose, never bool }

// ui is a command's voice.
type ui struct {
	streams
	uiOptions
	tty   bool // standard error is a terminal
	color bool
	width int
}

func newUI(s streams, o uiOptions) *ui {
	u := &ui{streams: s, uiOptions: o, width: 80}
	if f, ok := s.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		u.tty = !o.plain
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			u.width = w
		}
	}
	u.color = u.tty && !o.noColor && os.Getenv("TERM") != "dumb"
	return u
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	bold   = "1"
	dim    = "2"
)

func (u *ui) paint(code, s string) string {
	if !u.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (u *ui) mark(m string) string {
	code := map[string]string{"[OK]": green, "[INFO]": blue, "[WARN]": yellow, "[ERR]": red}[m]
	return u.paint(code, m)
}

func (u *ui) say(mark, format string, args ...any) {
	if u.quiet && mark != "[ERR]" && mark != "[WARN]" {
		return
	}
	fmt.Fprintf(u.err, "%s %s\n", u.mark(mark), fmt.Sprintf(format, args...))
}

func (u *ui) hint(h string) {
	if h != "" {
		fmt.Fprintf(u.err, " > %s\n", h)
	}
}

func (u *ui) warn(text, hint string) {
	u.say("[WARN]", "%s", text)
	u.hint(hint)
}

// result writes a document to standard output: doc as JSON, or what text
// writes.
func (u *ui) result(asJSON bool, doc any, text func(io.Writer) error) error {
	if !asJSON {
		return text(u.out)
	}
	enc := json.NewEncoder(u.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

// finish says an error that was not said yet and returns the exit code.
func (u *ui) finish(err error) int {
	u.explain(err)
	return exitCode(err)
}

func (u *ui) explain(err error) {
	var exit exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil {
		return
	}
	if u.problems(err) {
		return
	}
	for i, line := range strings.Split(err.Error(), "\n") {
		if i == 0 {
			u.say("[ERR]", "%s", line)
			continue
		}
		fmt.Fprintf(u.err, "      %s\n", line)
	}
	u.hint(hintOf(err))
}

// problems says each mistake of a file on a line of its own.
func (u *ui) problems(err error) bool {
	var inv *inventory.Problems
	var plan *phases.Problems
	if !errors.As(err, &inv) && !errors.As(err, &plan) {
		return false
	}
	fmt.Fprintln(u.err, err.Error())
	return true
}

// textOptions say how the report's writers write to this voice's results.
func (u *ui) textOptions() report.TextOptions {
	o := report.TextOptions{Width: 80, Zone: time.Local}
	if f, ok := u.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		o.Width, o.Color = u.width, !u.noColor && !u.plain && os.Getenv("TERM") != "dumb"
	}
	return o
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
