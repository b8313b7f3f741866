package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts turns signals into the two stops of a run: the first asks the
// hosts to stop and waits for their ends, the second leaves them running.
type interrupts struct {
	ch   chan os.Signal
	done chan struct{}

	mu    sync.Mutex
	first error // what the first signal was
}

// listen calls gentle at the first signal and hard at the second.
func listen(gentle func(), hard context.CancelCauseFunc) *interrupts {
	in := &interrupts{ch: make(chan os.Signal, 2), done: make(chan struct{})}
	signal.Notify(in.ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		for {
			select {
			case sig := <-in.ch:
				if in.signalled(signalError(sig)) {
					gentle()
				} else {
					hard(signalError(sig))
				}
			case <-in.done:
				return
			}
		}
	}()
	return in
}

// signalled keeps the first signal and tells whether this was it.
func (in *interrupts) signalled(err error) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.first != nil {
		return false
	}
	in.first = err
	return true
}

// err is the first signal as an error, nil when there was none.
func (in *interrupts) err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.first
}

func (in *interrupts) close() {
	signal.Stop(in.ch)
	close(in.done)
}
