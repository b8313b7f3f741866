//go:build linux

// Prober measures the host it runs on: CPU, memory, disk, and the network
// together with another prober. It prints one wire.ProbeLine after the other
// and leaves nothing behind: its file on the measured disk has no name, and
// its own program file is removed as soon as it runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// verbs is the table of contents.
var verbs = map[string]func(context.Context, *printer, []string) error{
	"measure":    measure,
	"net-serve":  netServe,
	"net-client": netClient,
	"net-mirror": netMirror,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prober:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "--remove-me" {
		// Nothing can be left behind by a kill from here on.
		if self, err := os.Executable(); err == nil {
			_ = os.Remove(self)
		}
		args = args[1:]
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		return errors.New("no such verb")
	}
	return verbs[args[0]](ctx, &printer{to: os.Stdout}, args[1:])
}
