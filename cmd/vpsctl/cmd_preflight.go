package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// The scripts that run on hosts. They go through one exec channel and not
// through the collector: what is asked includes whether that could be put there.
var (
	//go:embed hostside/cloudinit.sh
	cloudInitScript string
	//go:embed hostside/preflight.sh
	preflightScript string
)

// preflightTime is how long a host may take to answer: each fetch is given up
// after 20 s, and an archive without InRelease is asked twice.
const preflightTime = 90 * time.Second

const rightsCheck = "rights"

// runWord is what the id of a run looks like before it stands in a hint.
var runWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func preflightCommand() *cli.Command {
	return &cli.Command{Name: "preflight", Usage: "whether the plan's phases can run on the hosts", Flags: flags(hostFlags, planFlags), Action: with(preflight),
		Description: "Read-only: rights, memory, disk, ports, locks, clock, DNS, every mirror and download.",
		CustomHelpTemplate: help(
			"vpsctl preflight", "vpsctl preflight -l eu --only-phase dev-tools", "vpsctl preflight -o json | jq '.hosts[].checks[] | select(.status != \"ok\")'")}
}

// readiness is what preflight found out about a host.
type readiness struct {
	Host     string     `json:"host"`
	Address  string     `json:"address"`
	Status   string     `json:"status"` // ok, failed, skipped
	ExitCode int        `json:"exit_code"`
	Checks   []finding  `json:"checks"`
	Error    *hostError `json:"error,omitempty"`
	phases   int
	err      error
}

// preflight asks every host what its plan wants to know of it.
func preflight(k *call) error {
	inv, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	cat, err := k.catalog()
	if err != nil {
		return err
	}
	plans, err := k.plans(cat, "preflight", hosts)
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	w, err := k.width(len(hosts))
	if err != nil {
		return err
	}
	byHost := map[string]*wire.Plan{}
	for i := range plans {
		if k.Bool("skip-validation") {
			withoutRequires(&plans[i])
		}
		byHost[plans[i].Host] = &plans[i]
	}
	ctx, stop := k.interruptible()
	defer stop()
	d := k.dialer(nil)
	defer d.Close()
	all := fleet(ctx, hosts, w, func(ctx context.Context, h inventory.Host) (readiness, bool) {
		r := k.readiness(ctx, d, h, byHost[h.Name])
		return r, r.ExitCode == exitDone
	})
	return k.ready(ctx, all)
}

func withoutRequires(p *wire.Plan) {
	for i := range p.Phases {
		p.Phases[i].Requires = nil
	}
}

// readiness judges one host. A host without phases is not asked.
func (k *call) readiness(ctx context.Context, d *remote.Dialer, h inventory.Host, p *wire.Plan) readiness {
	r := readiness{Host: h.Name, Address: h.Address, Status: "ok", Checks: []finding{}, phases: len(p.Phases)}
	if r.phases == 0 {
		r.Status = string(wire.Skipped)
		return r
	}
	n := needsOf(p)
	r.err = k.oneHost(ctx, d, h, func(ctx context.Context, s *remote.Session) error {
		heard, err := question(ctx, s, h.Name, &n)
		if err == nil {
			r.Checks = judge(&n, heard)
		}
		return err
	})
	r.Error, r.ExitCode = newHostError(r.err), exitCode(r.err)
	for _, c := range r.Checks {
		switch {
		case c.Status != "err":
		case c.ID == rightsCheck:
			r.ExitCode = exitRights
		case r.ExitCode == exitDone:
			r.ExitCode = exitPreflight
		}
	}
	if r.ExitCode != exitDone {
		r.Status = string(wire.Failed)
	}
	return r
}

// question runs the script on a host and reads what it says.
func question(ctx context.Context, s *remote.Session, host string, n *needs) (*heard, error) {
	if _, err := s.Ping(ctx); err != nil { // so that the clock's question does not wait for a login
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, preflightTime)
	defer cancel()
	out := &firstBytes{most: maxAnswers}
	var words firstBytes
	begin := time.Now()
	rc, err := s.Exec(ctx, cloudInitScript+preflightScript, n.questions(), out, &words)
	if err != nil {
		return nil, err
	}
	a, err := parseAnswers(out.b)
	if err != nil {
		return nil, &remote.Error{Host: host, Stage: "preflight", Kind: remote.Refused, RC: rc, Err: fmt.Errorf("%w (exit status %d): %s", err, rc, report.Clean(tailOf(words.b)))}
	}
	h := &heard{host: host, answer: a, within: out.at.Sub(begin) / 2}
	h.ahead, err = clockAhead(word(a.one("time"), 0), begin.Add(h.within))
	if err != nil {
		return nil, &remote.Error{Host: host, Stage: "preflight", Kind: remote.Hostile, Err: err}
	}
	return h, nil
}

// clockAhead reads the seconds a host's clock shows. Without nanoseconds
// (busybox prints the letters) whole seconds have to do.
func clockAhead(said string, here time.Time) (time.Duration, error) {
	secs, nanos, _ := strings.Cut(said, ".")
	s, err := strconv.ParseInt(secs, 10, 64)
	if err != nil || s < 0 || s > 1<<36 {
		return 0, errors.New("its clock does not show a time")
	}
	ns, err := strconv.ParseInt(nanos, 10, 64)
	if err != nil || ns < 0 || ns > 999_999_999 {
		ns = 0
	}
	return time.Unix(s, ns).Sub(here), nil
}

// firstBytes keeps the beginning of a stream and when it began. With no most
// that is 4 KiB.
type firstBytes struct {
	b    []byte
	most int
	at   time.Time
}

func (f *firstBytes) Write(p []byte) (int, error) {
	if f.at.IsZero() {
		f.at = time.Now()
	}
	most := max(f.most, 4<<10)
	f.b = append(f.b, p[:min(len(p), most-len(f.b))]...)
	return len(p), nil
}

// tailOf is the last line of what was printed.
func tailOf(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// ready says what was found and returns the exit code of all.
func (k *call) ready(ctx context.Context, all []*readiness) error {
	codes := make([]int, len(all))
	for i, r := range all {
		codes[i] = r.ExitCode
		k.ui.explain(r.err)
	}
	code := fleetCode(codes)
	err := k.ui.result(k.json(), map[string]any{"schema": 1, "exit_code": code, "hosts": all}, func(w io.Writer) error {
		for _, r := range all {
			k.writeReadiness(w, r)
		}
		return nil
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil || code == exitDone {
		return err
	}
	return exitError{code: code}
}

// writeReadiness is a host as text: a line for each check, and what to type.
func (k *call) writeReadiness(w io.Writer, r *readiness) {
	fmt.Fprintf(w, "%s (%s), %d phases\n", r.Host, r.Address, r.phases)
	marks := map[string]string{"ok": "[OK]", "warn": "[WARN]", "err": "[ERR]"}
	warned, failed := 0, 0
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%-6s %-11s %s\n", marks[c.Status], c.ID, c.Text)
		if c.Hint != "" {
			fmt.Fprintf(w, "        > %s\n", c.Hint)
		}
		switch c.Status {
		case "warn":
			warned++
		case "err":
			failed++
		}
	}
	switch {
	case r.Status == string(wire.Skipped):
		fmt.Fprintf(w, "[OK] %s: its inventory gives it no phases\n", r.Host)
	case r.err != nil:
		fmt.Fprintf(w, "[ERR] %s\n", r.Error.Message)
	case failed > 0:
		fmt.Fprintf(w, "[ERR] %s: not ready, %d of %d checks failed\n", r.Host, failed, len(r.Checks))
	case warned > 0:
		fmt.Fprintf(w, "[OK] %s: ready, with %d warnings\n", r.Host, warned)
	default:
		fmt.Fprintf(w, "[OK] %s: ready\n", r.Host)
	}
}
