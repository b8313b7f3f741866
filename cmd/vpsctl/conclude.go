package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/term"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// conclude judges the run, writes its last facts, prints the result and returns
// the run's exit code as an error.
func (d *drive) conclude(signal error) error {
	err := d.dir.Update(func(r *report.Run) {
		if !d.Bool("detach") {
			r.Finished, r.Detached = time.Now(), false
		}
		if signal != nil {
			r.Interrupted = signalName(signal)
		}
		for i := range r.Hosts {
			if h := &r.Hosts[i]; !d.begun[h.Host] && h.Error == nil && h.Status == "" && d.selected(h.Host) {
				h.Status = wire.NotReached
			}
		}
	})
	rep := d.dir.Load()
	code := outcomes[rep.Verdict.Outcome]
	if signal != nil && code != exitDone {
		code = exitCode(signal)
	}
	err = errors.Join(err, d.dir.Update(func(r *report.Run) { note(r, rep, code) }))
	rep = d.dir.Rejudge(rep)
	if rep.Run.Verb != "run" { // a script is quicker than its page would be
		err = errors.Join(err, d.dir.WriteHTML(rep))
	}
	d.notify.tell(notice{Kind: "end", RunID: d.dir.ID(), Status: string(rep.Verdict.Status), ExitCode: &code, Text: rep.Verdict.Text})
	d.notify.close(d.ui)
	d.slower(rep)
	result := func(rep *report.Report) error { return errors.Join(d.result(rep), d.passwords()) }
	if d.extra.result != nil {
		result = d.extra.result
	}
	if err := errors.Join(err, result(rep)); err != nil {
		return err
	}
	if code == exitDone {
		return nil
	}
	return exitError{code: code}
}

func signalName(signal error) string {
	if exitCode(signal) == exitTerminated {
		return "SIGTERM"
	}
	return "SIGINT"
}

func (d *drive) selected(host string) bool {
	return slices.ContainsFunc(d.hosts, func(h inventory.Host) bool { return h.Name == host })
}

// note keeps a verdict in run.json, for lists.
func note(r *report.Run, rep *report.Report, code int) {
	r.Status, r.Outcome = rep.Verdict.Status, rep.Verdict.Outcome
	if r.Outcome != report.Running {
		r.ExitCode = &code
	}
	for _, v := range rep.Verdict.Hosts {
		h := r.HostNamed(v.Host)
		h.Status, h.Outcome = v.Status, v.Outcome
		if c := outcomes[v.Outcome]; v.Outcome != report.Running {
			h.ExitCode = &c
		}
	}
}

// result prints what came of the run.
func (d *drive) result(rep *report.Report) error {
	if d.Bool("events") {
		return nil
	}
	doc := report.Provision(rep, func(o report.Outcome) int { return outcomes[o] })
	return d.ui.result(d.json(), doc, func(w io.Writer) error {
		if d.Bool("detach") {
			_, err := fmt.Fprintf(w, "[OK] run %s goes on on the hosts; to follow it: vpsctl runs attach %s\n", d.dir.ID(), d.dir.ID())
			return err
		}
		return report.Text(w, rep, d.ui.textOptions())
	})
}

// passwords shows the generated ones on a terminal, once, and says where they
// wait otherwise.
func (d *drive) passwords() error {
	store := d.credentials()
	all, err := store.waiting()
	all = slices.DeleteFunc(all, func(c credential) bool { return !d.selected(c.Host) })
	if err != nil || len(all) == 0 {
		return err
	}
	out, ok := d.ui.out.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) || d.json() || d.Bool("events") {
		d.ui.say("[INFO]", "a password was generated for %d hosts", len(all))
		d.ui.hint("vpsctl credentials show   (prints and forgets it)")
		return nil
	}
	for _, c := range all { // once: what was shown is forgotten
		i := slices.IndexFunc(d.hosts, func(h inventory.Host) bool { return h.Name == c.Host })
		if err := banner(d.ui.out, c, d.hosts[i], d.plans[c.Host]); err != nil {
			return err
		}
		if err := store.remove(c.Host); err != nil {
			return err
		}
	}
	return nil
}
