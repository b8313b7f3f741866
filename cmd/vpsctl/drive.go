package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// drive takes a run from its plans (or, for attach, from its record) to its
// report: one goroutine per host, one record, one screen.
type drive struct {
	*call
	dir     *report.RunDir
	inv     *inventory.Inventory
	catalog *phases.Catalog
	hosts   []inventory.Host
	plans   map[string]*wire.Plan
	attach  bool // follow what goes on instead of starting it
	screen  *screen
	notify  *notifier
	lines   lines
	dialer  *remote.Dialer
	events  sync.Mutex // of --events: one line at a time
	extra   extra

	mu       sync.Mutex
	sessions map[string]*remote.Session
	begun    map[string]bool
	stopping bool
}

func (k *call) drive(dir *report.RunDir, inv *inventory.Inventory, hosts []inventory.Host, plans []wire.Plan, cat *phases.Catalog) *drive {
	d := &drive{call: k, dir: dir, inv: inv, hosts: hosts, catalog: cat, plans: map[string]*wire.Plan{}, begun: map[string]bool{}, sessions: map[string]*remote.Session{}}
	for i := range plans {
		d.plans[plans[i].Host] = &plans[i]
	}
	d.screen, d.notify = newScreen(k.ui, plans), k.notifier()
	d.dialer = k.dialer(func(host string, s remote.Status) {
		d.lines.status(host, s.State)
		d.screen.status(host, statusText(s))
	})
	return d
}

// extra is what a verb does beyond what every run does. The functions may be
// nil; heard and beside are called from several goroutines.
type extra struct {
	hush   bool                                                                                   // output is heard and kept, not shown
	gate   func(inventory.Host) (leave func())                                                    // before a host is begun; leave when it has ended
	ready  func(context.Context, inventory.Host, *remote.Session, *wire.Plan) (*wire.Plan, error) // the plan as it is sent
	heard  func(host string, e *wire.Event)                                                       // each event
	beside func(context.Context, inventory.Host, *remote.Session)                                 // through the same line, once the host's run has ended
	result func(*report.Report) error                                                             // instead of what provision prints at the end
}

// statusText says what a connection is doing; a running one speaks for itself.
func statusText(s remote.Status) string {
	switch s.State {
	case remote.Running:
		return ""
	case remote.Silent:
		return fmt.Sprintf("silent for %s", wire.FormatDuration(s.For))
	case remote.Redialing:
		return "line lost, dialling again"
	case remote.Woke:
		return "this machine slept, testing the line"
	}
	return string(s.State)
}

// errLeft ends the following of a host whose run goes on by itself.
var errLeft = errors.New("left to itself")

// run does it all and returns what becomes the exit code.
func (d *drive) run(w width) error {
	ctx, hard := context.WithCancelCause(d.ctx)
	defer hard(nil)
	stops := listen(d.stop, hard)
	fleet(ctx, d.hosts, w, func(ctx context.Context, h inventory.Host) (struct{}, bool) {
		rec, err := d.host(ctx, h)
		return struct{}{}, d.keep(h, rec, err)
	})
	stops.close()
	d.dialer.Close()
	d.screen.close()
	return d.conclude(stops.err())
}

// stop is the first ^C: every host is asked to stop, and its end is waited for.
func (d *drive) stop() {
	d.screen.line("[WARN]", "stopping the hosts after what cannot be cut short; ^C again leaves them running")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
	for name, s := range d.sessions {
		go func() {
			if err := s.Cancel(d.ctx, d.dir.ID(), false); err != nil && !errors.Is(err, remote.ErrNoRun) {
				d.screen.line("[WARN]", "%s: could not be asked to stop: %v", name, err)
			}
		}()
	}
}

// session opens a host's session, unless the run is being stopped.
func (d *drive) session(h inventory.Host) (*remote.Session, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return nil, false
	}
	s := d.dialer.Session(h)
	d.sessions[h.Name], d.begun[h.Name] = s, true
	return s, true
}

func (d *drive) closeSession(h inventory.Host, s *remote.Session) {
	d.mu.Lock()
	delete(d.sessions, h.Name)
	d.mu.Unlock()
	s.Close()
}

// errStopped says that a host was not begun because the run is being stopped.
var errStopped = errors.New("stopped before this host was begun")

// host does one host: plan, connection, events into the record, report.
func (d *drive) host(ctx context.Context, h inventory.Host) (rec *report.HostRecord, err error) {
	if p := d.plans[h.Name]; !d.attach && len(p.Phases) == 0 {
		return nil, d.dir.Update(func(r *report.Run) { r.HostNamed(h.Name).Status = wire.Skipped })
	}
	writer, err := d.dir.Host(h.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, writer.Finish()) }()
	if d.extra.gate != nil {
		defer d.extra.gate(h)()
	}
	s, ok := d.session(h)
	if !ok {
		return nil, errStopped
	}
	defer d.closeSession(h, s)
	if t := d.Duration("timeout"); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, timeoutError{t})
		defer cancel()
	}
	rec = writer.Record()
	err = d.follow(ctx, h, s, writer)
	if err == nil && d.extra.beside != nil {
		d.extra.beside(ctx, h, s)
	}
	if errors.Is(err, errLeft) {
		return rec, nil
	}
	if err != nil && ctx.Err() != nil {
		return rec, context.Cause(ctx)
	}
	return rec, err
}

// timeoutError is the end of --timeout on a host.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string { return fmt.Sprintf("not done within --timeout %s", e.after) }

// follow sends the plan, or asks for a run that goes on, and keeps every event.
func (d *drive) follow(ctx context.Context, h inventory.Host, s *remote.Session, w *report.HostWriter) (err error) {
	var plan *wire.Plan
	if !d.attach {
		if plan, err = d.finalPlan(ctx, h); err != nil {
			return err
		}
		if d.extra.ready != nil {
			if plan, err = d.extra.ready(ctx, h, s, plan); err != nil {
				return err
			}
		}
	}
	k := keeper{d: d, host: h.Name, w: w, mask: d.masker(ctx, h, plan)}
	s.Report = k.report
	wctx, quit := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { k.watch(wctx) })
	defer watching.Wait()
	defer quit()
	if d.attach {
		err = s.Follow(ctx, d.dir.ID(), w.Cursor(), k.take)
	} else {
		err = s.Run(ctx, plan, k.take)
	}
	d.settle(h, w.Record(), err)
	return errors.Join(err, k.full)
}

// lines knows since when each host's line has been good.
type lines struct {
	mu    sync.Mutex
	since map[string]time.Time
}

func (l *lines) status(host string, s remote.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since == nil {
		l.since = map[string]time.Time{}
	}
	if s != remote.Running {
		delete(l.since, host)
	} else if l.since[host].IsZero() {
		l.since[host] = time.Now()
	}
}

// good tells whether silence of a host means that it has nothing to say.
func (l *lines) good(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := l.since[host]
	return !since.IsZero() && time.Since(since) > 3*time.Second
}

// keeper takes a host's events: into the record, then to the screen.
type keeper struct {
	d      *drive
	host   string
	w      *report.HostWriter
	mask   *wire.Masker
	mu     sync.Mutex // of the record: watch looks at it too
	heard  time.Time  // the last event
	alerts int
	full   error // the disk here is full: the host goes on and is followed, its events are not kept
}

// alerted says the alerts that are new.
func (k *keeper) alerted() {
	alerts := k.w.Record().Alerts
	for k.alerts = min(k.alerts, len(alerts)); k.alerts < len(alerts); k.alerts++ { // one may have been withdrawn
		k.d.screen.line("[WARN]", "%s%s", k.d.screen.who(k.host), alerts[k.alerts].Message)
		k.d.notify.tell(alertNotice(k.d.dir.ID(), k.host, alerts[k.alerts]))
	}
}

// watch warns of a phase that takes long although its host says nothing, until
// ctx ends.
func (k *keeper) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.mu.Lock()
			if rec := k.w.Record(); !k.heard.IsZero() && rec.End == nil && k.d.lines.good(k.host) {
				rec.Overdue(rec.LastAt + time.Since(k.heard))
				k.alerted()
			}
			k.mu.Unlock()
		}
	}
}

// report is what is left on the host, where the guide looks for it: the same
// bytes as here. A script's is not about the phases the guide looks for.
func (k *keeper) report() []byte {
	if s := k.w.Record().Start; s != nil && (s.Verb == "run" || s.Verb == "verify") {
		return nil
	}
	doc, err := k.w.Report().JSON()
	if err != nil {
		return nil
	}
	return doc
}

func (k *keeper) take(raw []byte, e *wire.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if hidden := k.mask.String(string(raw)); hidden != string(raw) {
		raw = []byte(hidden)
		clean, err := wire.Decode(raw)
		if err != nil {
			return err
		}
		e = &clean
	}
	if err := k.w.Append(raw, e); err != nil {
		var here *report.Error
		if !errors.As(err, &here) {
			return err
		}
		if k.full == nil {
			k.d.screen.line("[ERR]", "%s: %v", k.host, err)
		}
		k.full = err
	}
	k.alerted()
	k.heard = time.Now()
	if k.d.extra.heard != nil {
		k.d.extra.heard(k.host, e)
	}
	k.d.tell(k.host, raw, e)
	if k.d.Bool("detach") && e.Kind == wire.KindStart {
		return errLeft
	}
	return nil
}

// tell shows an event: on the screen, and with --events as a line of JSON.
func (d *drive) tell(host string, raw []byte, e *wire.Event) {
	if d.Bool("events") {
		line, err := json.Marshal(struct {
			Host  string          `json:"host"`
			Event json.RawMessage `json:"event"`
		}{host, raw})
		if err == nil {
			d.events.Lock()
			fmt.Fprintf(d.ui.out, "%s\n", line)
			d.events.Unlock()
		}
	}
	if !d.extra.hush || e.Kind != wire.KindOutput {
		d.screen.event(host, *e)
	}
}

// keep writes what this machine saw of a host into run.json and tells whether
// all is well there.
func (d *drive) keep(h inventory.Host, rec *report.HostRecord, err error) bool {
	var verdict report.HostVerdict
	uerr := d.dir.Update(func(r *report.Run) {
		hr := r.HostNamed(h.Name)
		switch {
		case d.attach && errors.Is(err, remote.ErrNoRun):
			hr.Status = wire.Skipped // the run never was on this host
		case err != nil:
			hr.Error = d.recordError(err)
		case d.attach:
			hr.Error = nil
		}
		verdict = report.JudgeHost(r, hr, rec)
	})
	if uerr != nil {
		d.screen.line("[ERR]", "%v", uerr)
	}
	return uerr == nil && (verdict.Outcome == report.Done || verdict.Outcome == report.Running)
}

// recordError is an error as run.json and the report have it: the host goes on
// by itself where this machine has only stopped to follow.
func (d *drive) recordError(err error) *report.HostError {
	attach := "vpsctl runs attach " + d.dir.ID()
	e := seenError(err)
	var late timeoutError
	switch {
	case errors.Is(err, errStopped):
	case e.Kind == report.Cancelled:
		e.Message, e.Hint = "left before the host had ended ("+err.Error()+"); it goes on by itself", attach
	case errors.As(err, &late):
		e.Message, e.Hint = e.Message+"; the host goes on by itself", attach
	}
	return e
}

// emptyPlans stand for hosts that are followed: their journals say the phases.
func emptyPlans(hosts []inventory.Host) []wire.Plan {
	plans := make([]wire.Plan, len(hosts))
	for i, h := range hosts {
		plans[i].Host = h.Name
	}
	return plans
}
