package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// prompt asks for a secret on the terminal, which shows nothing of the answer
// and is as it was afterwards, interrupted or not.
func prompt(ctx context.Context, question string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer tty.Close()
	// Both before the question: some type at once.
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stopped)
	restore, err := silence(int(tty.Fd()))
	if err != nil {
		return nil, err
	}
	defer restore()
	fmt.Fprint(tty, question)
	defer fmt.Fprintln(tty)

	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() { // ends with the line, or with the command
		text, err := readSilent(tty)
		typed <- answer{text, err}
	}()
	select {
	case a := <-typed:
		return a.text, a.err
	case sig := <-stopped:
		return nil, signalError(sig)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
