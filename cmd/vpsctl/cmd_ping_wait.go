package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

//go:embed hostside/waitinit.sh
var waitInitScript string

// How long to stay away before the next try. A refused login counts against
// us in newer servers: five seconds each, which are forgiven in this time.
const (
	afterNoSSH   = 2 * time.Second
	afterRefused = 15 * time.Second
	remindAfter  = 30 * time.Second
)

// waiter waits for one host that still boots: for SSH, then for the login,
// then for cloud-init, and says for which.
type waiter struct {
	ui        *ui
	host      string
	began     time.Time
	until     time.Time
	what      string    // is waited for
	said      time.Time // when that was said
	cloudInit string    // none, done, error
}

func newWaiter(u *ui, host string, wait time.Duration) *waiter {
	now := time.Now()
	return &waiter{ui: u, host: host, began: now, until: now.Add(wait)}
}

// ping tries until the host is ready or the time is over; the error is then
// the last try's. What no waiting mends (a changed key) is said at once.
func (w *waiter) ping(ctx context.Context, s *remote.Session) (remote.Pong, error) {
	for {
		pong, err := s.Ping(ctx)
		if err == nil {
			err = w.cloud(ctx, s)
		}
		what, pause := passing(err)
		if what == "" {
			return pong, err
		}
		w.waits(what)
		if left := time.Until(w.until); left <= 0 || pause >= afterRefused && left < pause {
			return pong, err
		}
		select {
		case <-ctx.Done():
			return pong, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// passing says what an error makes us wait for and how long to stay away, ""
// when it is none that passes. An image's keys and users come while it boots,
// so a refused login may be good later.
func passing(err error) (what string, pause time.Duration) {
	var e *remote.Error
	if !errors.As(err, &e) {
		return "", 0
	}
	switch {
	case e.Kind == remote.AuthRefused:
		return "the login: " + e.Err.Error(), time.Duration(float64(afterRefused) * (1 + rand.Float64()/2))
	case e.Kind != remote.Unreachable:
		return "", 0
	case strings.HasPrefix(e.Stage, "authentication"):
		return "the login: " + e.Err.Error(), afterNoSSH
	}
	return "SSH: " + e.Stage + ": " + e.Err.Error(), afterNoSSH
}

// waits says what is waited for when that is new, and now and then again.
func (w *waiter) waits(what string) {
	what = report.Clean(what)
	now := time.Now()
	kind, _, _ := strings.Cut(what, ":")
	was, _, _ := strings.Cut(w.what, ":")
	switch {
	case kind != was:
		w.ui.say("[INFO]", "%s: waiting for %s", w.host, what)
	case now.Sub(w.said) < remindAfter:
		return
	default:
		w.ui.say("[INFO]", "%s: still waiting for %s, after %s", w.host, what, wire.FormatDuration(now.Sub(w.began)))
	}
	w.what, w.said = what, now
}

// cloud waits on the host for the end of cloud-init, over one channel.
func (w *waiter) cloud(ctx context.Context, s *remote.Session) error {
	left := max(0, int(time.Until(w.until).Seconds()))
	state := ""
	lines := &eachLine{each: func(line string) {
		state = line
		if stage, running := strings.CutPrefix(line, "running"); running {
			w.waits(strings.TrimSuffix("cloud-init: stage "+cmp.Or(strings.TrimSpace(stage), "unknown"), ": "))
		}
	}}
	rc, err := s.Exec(ctx, cloudInitScript+waitInitScript, strings.NewReader(fmt.Sprintln(left)), lines, io.Discard)
	if err != nil {
		return err
	}
	w.cloudInit, _, _ = strings.Cut(state, " ")
	switch {
	case rc == 0 && state == "error":
		w.ui.warn(w.host+": cloud-init has ended with errors", "on the host: cloud-init status --long")
	case rc == 1 && w.cloudInit == "running":
		return &remote.Error{Host: w.host, Stage: "cloud-init", Kind: remote.TimedOut,
			Err: fmt.Errorf("still sets the host up after %s; give it more time with --wait, or look there: cloud-init status --long", wire.FormatDuration(time.Since(w.began)))}
	case rc != 0:
		return &remote.Error{Host: w.host, Stage: "cloud-init", Kind: remote.Refused, RC: rc, Err: fmt.Errorf("could not be asked: exit status %d", rc)}
	}
	return nil
}

// eachLine hands on whole lines, of which no more than 4 KiB are kept.
type eachLine struct {
	each func(line string)
	part []byte
}

func (l *eachLine) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, more, whole := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), 4<<10-min(len(l.part), 4<<10))]...)
		if whole {
			l.each(string(l.part))
			l.part = l.part[:0]
		}
		rest = more
	}
	return len(p), nil
}
