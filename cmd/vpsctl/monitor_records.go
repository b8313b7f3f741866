package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// records are the records of the monitoring runs of a call's hosts.
type records struct {
	k  *call
	mu sync.Mutex
	by map[string]*report.RunDir
}

func (k *call) records() *records { return &records{k: k, by: map[string]*report.RunDir{}} }

func (r *records) close() {
	for id, d := range r.by {
		if err := errors.Join(r.settle(d), d.Close()); err != nil {
			r.k.ui.warn(fmt.Sprintf("record of run %s: %v", id, err), "")
		}
	}
}

// settle notes what is known of a run by now.
func (r *records) settle(d *report.RunDir) error {
	rep := d.Load()
	return d.Update(func(run *report.Run) {
		if rep.Verdict.Outcome != report.Running && run.Finished.IsZero() {
			run.Finished, run.Detached = time.Now(), false
		}
		note(run, rep, outcomes[rep.Verdict.Outcome])
	})
}

// open opens the record of a run, or begins it: another laptop may have started
// the monitoring.
func (r *records) open(id string, h inventory.Host) (*report.RunDir, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.by[id], error(nil)
	if d == nil {
		if d, err = r.k.store().Attach(id); errors.Is(err, report.ErrNoRun) {
			var path string
			if path, err = filepath.Abs(r.k.String("inventory")); err == nil {
				run := r.k.newRun(id, path, nil)
				run.Verb, run.Detached = "monitor", true
				d, err = r.k.store().Create(run)
			}
		}
		if err != nil {
			return nil, err
		}
		r.by[id] = d
	}
	return d, d.Update(func(run *report.Run) {
		hr := run.HostNamed(h.Name)
		hr.Address, hr.User, hr.Limits = h.Address, h.User, limits(h)
	})
}

// host opens a host's part of a run's record, which lies in dir.
func (r *records) host(id string, h inventory.Host) (w *report.HostWriter, dir string, done func(), err error) {
	d, err := r.open(id, h)
	if err != nil {
		return nil, "", nil, err
	}
	if w, err = d.Host(h.Name); err != nil {
		return nil, "", nil, err
	}
	return w, d.HostDir(h.Name), func() {
		if err := w.Finish(); err != nil {
			r.k.ui.warn(fmt.Sprintf("%s: %v", h.Name, err), "")
		}
	}, nil
}

// stopTime is how long a monitor that was told to end may take.
const stopTime = 30 * time.Second

// fetch brings what the host has and the record has not; with all, up to the
// run's end, which is waited for.
func (r *records) fetch(ctx context.Context, s *remote.Session, h inventory.Host, m *monitored, all bool) error {
	w, dir, done, err := r.host(m.RunID, h)
	if err != nil {
		return err
	}
	defer done()
	rec := w.Record()
	for late := time.Now().Add(stopTime); ; {
		err = s.Fetch(ctx, m.RunID, w.Cursor(), func(raw []byte, e *wire.Event) error {
			m.Lost += max(0, e.N-w.Cursor().Status-1)
			if e.Sample != nil {
				m.Sample = e.Sample
			}
			return w.Append(raw, e)
		})
		if err != nil || !all || rec.End != nil || time.Now().After(late) {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	doc := report.Performance(rec)
	m.Samples, m.Alerts = rec.Samples.Count, doc.Alerts.Items
	m.File = filepath.Join(dir, doc.DataFiles.Resources)
	if rec.End != nil && rec.End.Status == wire.Failed {
		m.State, m.Reason = "ended", rec.End.Reason
	}
	return err
}
