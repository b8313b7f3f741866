package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// answer is what one host said to a question asked of all.
type answer struct {
	Host        string      `json:"host"`
	ExitCode    int         `json:"exit_code"`
	Address     string      `json:"address"`
	User        string      `json:"user,omitempty"`
	RTTMs       float64     `json:"rtt_ms,omitempty"`
	ConnectMs   float64     `json:"connect_ms,omitempty"`
	Fingerprint string      `json:"fingerprint,omitempty"`
	WaitedSec   float64     `json:"waited_sec,omitempty"`
	CloudInit   string      `json:"cloud_init,omitempty"` // of ping --wait: none, done, error, running
	Facts       *wire.Facts `json:"facts,omitempty"`
	Runs        []remoteRun `json:"runs,omitempty"`
	Error       *hostError  `json:"error,omitempty"`
	err         error
}

// hostError is how a host's error looks in JSON.
type hostError struct {
	Stage   string `json:"stage,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func newHostError(err error) *hostError {
	if err == nil {
		return nil
	}
	e := &hostError{Message: report.Clean(err.Error()), Hint: hintOf(err)}
	var r *remote.Error
	if errors.As(err, &r) {
		e.Stage = r.Stage
	}
	return e
}

// ask puts a question to every selected host, says the errors as letters and
// the answers as a table or JSON.
func ask(k *call, question func(context.Context, *remote.Session, *answer) error, table func(io.Writer, []*answer)) error {
	inv, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	return askHosts(k, inv, hosts, question, table)
}

func askHosts(k *call, inv *inventory.Inventory, hosts []inventory.Host, question func(context.Context, *remote.Session, *answer) error, table func(io.Writer, []*answer)) error {
	if err := k.trusted(inv); err != nil {
		return err
	}
	w, err := k.width(len(hosts))
	if err != nil {
		return err
	}
	ctx, stop := k.interruptible()
	defer stop()
	d := k.dialer(nil)
	answers := fleet(ctx, hosts, w, func(ctx context.Context, h inventory.Host) (answer, bool) {
		a := answer{Host: h.Name, Address: h.Address}
		a.err = k.oneHost(ctx, d, h, func(ctx context.Context, s *remote.Session) error { return question(ctx, s, &a) })
		a.Error, a.ExitCode = newHostError(a.err), exitCode(a.err)
		return a, a.err == nil
	})
	return k.answered(ctx, answers, table)
}

// oneHost runs f with a session that is closed afterwards, within --timeout.
func (k *call) oneHost(ctx context.Context, d *remote.Dialer, h inventory.Host, f func(context.Context, *remote.Session) error) error {
	if t := k.Duration("timeout"); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, exitError{exitFailed, fmt.Errorf("%s: %w", h.Name, timeoutError{t})})
		defer cancel()
	}
	s := d.Session(h)
	defer s.Close()
	err := f(ctx, s)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (k *call) answered(ctx context.Context, answers []*answer, table func(io.Writer, []*answer)) error {
	codes := make([]int, len(answers))
	for i, a := range answers {
		codes[i] = a.ExitCode
		k.ui.explain(a.err)
	}
	code := fleetCode(codes)
	err := k.ui.result(k.json(), map[string]any{"schema": 1, "exit_code": code, "hosts": answers}, func(w io.Writer) error {
		table(w, answers)
		return nil
	})
	if err != nil || code == exitDone {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return exitError{code: code}
}

func ping(k *call) error {
	wait := k.Duration("wait")
	return ask(k, func(ctx context.Context, s *remote.Session, a *answer) error {
		var pong remote.Pong
		var err error
		if wait > 0 {
			w := newWaiter(k.ui, a.Host, wait)
			pong, err = w.ping(ctx, s)
			a.WaitedSec, a.CloudInit = time.Since(w.began).Round(time.Millisecond).Seconds(), w.cloudInit
		} else {
			pong, err = s.Ping(ctx)
		}
		if err != nil {
			return err
		}
		a.User, a.Fingerprint = pong.User, pong.Fingerprint
		a.RTTMs, a.ConnectMs = ms(pong.RTT), ms(pong.Dial+pong.Auth)
		return nil
	}, func(w io.Writer, answers []*answer) {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, a := range answers {
			if a.err == nil {
				fmt.Fprintf(t, "[OK]\t%s\t%s@%s\tlogin %.0f ms\tround trip %.1f ms\n", a.Host, a.User, a.Address, a.ConnectMs, a.RTTMs)
			} else {
				fmt.Fprintf(t, "[ERR]\t%s\t%s\t%s\t\n", a.Host, a.Address, a.Error.Stage)
			}
		}
		t.Flush()
	})
}

func ms(d time.Duration) float64 { return float64(d.Round(10*time.Microsecond)) / 1e6 }

func facts(k *call) error {
	return ask(k, func(ctx context.Context, s *remote.Session, a *answer) error {
		f, err := s.Facts(ctx)
		if err == nil {
			a.User, a.Facts = f.User, &f
		}
		return err
	}, func(w io.Writer, answers []*answer) {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "HOST\tOS\tARCH\tCPUS\tMEMORY\tFREE DISK\tVIRT\tKERNEL")
		for _, a := range answers {
			if f := a.Facts; f != nil {
				fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d MiB\t%d MiB\t%s\t%s\n", a.Host, report.Clean(f.OS), report.Clean(f.Arch), f.Cores, f.MemoryMB, f.DiskAvailMB, report.Clean(f.Virt), report.Clean(f.Kernel))
			}
		}
		t.Flush()
	})
}
