//go:build linux

// Collector is what vpsctl pushes to a host: it runs a plan there, detached,
// keeps a journal of what happens, and prints that journal to whoever follows.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// Exit codes of the collector.
const (
	exitDone    = 0
	exitUsage   = 2
	exitRefused = 3
	exitNoRun   = 4
	exitLocked  = 9
)

// exitError is an error with the code the program ends with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func fail(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

func main() {
	// A collector that is one among many programs of a small host trades a few
	// more garbage collections for a small heap.
	debug.SetGCPercent(50)
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err == nil {
		os.Exit(exitDone)
	}
	fmt.Fprintln(os.Stderr, "collector:", err)
	var e *exitError
	if errors.As(err, &e) {
		os.Exit(e.code)
	}
	os.Exit(exitRefused)
}

const usageText = `usage: collector start | follow RUN STATUS OUTPUT [--once] | cancel RUN [--now] | confirm RUN TOKEN | revert RUN TOKEN | sample NANOSECONDS COUNT | facts | runs | report RUN | clean [-n] | version`

func run(args []string, stdin io.Reader, stdout *os.File) error {
	if len(args) == 0 {
		return fail(exitUsage, "%s", usageText)
	}
	verb, args := args[0], args[1:]
	if verb == "version" {
		_, err := fmt.Fprintf(stdout, "%d %s\n", wire.Version, ownHash())
		return err
	}
	// A closed pipe shall be an error of the write, not the end of the program.
	// Caught and not ignored: the programs of steps would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	p, err := findPlace()
	if err != nil {
		return err
	}
	want := map[string][2]int{"start": {0, 1}, "follow": {3, 4}, "cancel": {1, 2}, "confirm": {2, 2}, "revert": {2, 2},
		"facts": {0, 0}, "sample": {2, 2}, "runs": {0, 0}, "report": {1, 1}, "clean": {0, 1}, runnerVerb: {1, 1}}
	if n, known := want[verb]; !known || len(args) < n[0] || len(args) > n[1] {
		return fail(exitUsage, "%s", usageText)
	}
	switch verb {
	case "start":
		return start(p, append(args, "")[0], stdin, stdout)
	case "follow":
		return followVerb(p, args, stdin, stdout)
	case "cancel":
		return cancelVerb(p, args)
	case "confirm":
		return confirmVerb(p, args[0], args[1])
	case "revert":
		return revertVerb(p, args[0], args[1])
	case "facts":
		return json.NewEncoder(stdout).Encode(host.Facts("/"))
	case "sample":
		return sampleVerb(args, stdout)
	case "runs":
		return runsVerb(p, stdout)
	case "report":
		return reportVerb(p, args[0], stdin)
	case "clean":
		return cleanVerb(p, args, stdout)
	default:
		return runnerMain(p, args[0])
	}
}
