package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// LookDoc is what `provision --dry-run -o json` prints.
type LookDoc struct {
	Schema   int          `json:"schema"`
	DryRun   bool         `json:"dry_run"` // always true
	Status   string       `json:"status"`  // ok: nothing would change
	ExitCode int          `json:"exit_code"`
	Hosts    []LookedHost `json:"hosts"`
}

// LookedHost is one host of it. The counts are of steps.
type LookedHost struct {
	Host        string          `json:"host"`
	Status      wire.Status     `json:"status"`
	Outcome     Outcome         `json:"-"`
	ExitCode    int             `json:"exit_code"`
	DurationSec float64         `json:"duration_sec"`
	Change      int             `json:"change"`
	Unknown     int             `json:"unknown"`
	Holds       int             `json:"holds"`
	Skipped     int             `json:"skipped"`
	Failed      int             `json:"failed"`
	Phases      []LookedPhase   `json:"phases"`
	Error       *ProvisionError `json:"error"`
}

// LookHost judges a look at one host; seen is what this machine saw go wrong.
func LookHost(plan *wire.Plan, rec *HostRecord, seen *HostError) LookedHost {
	v := JudgeHost(&Run{}, &HostRun{Host: plan.Host, Error: seen}, rec)
	out := LookedHost{Host: plan.Host, Status: v.Status, Outcome: v.Outcome, DurationSec: secs(rec.Duration()), Phases: []LookedPhase{}}
	if v.Error != nil {
		out.Error = &ProvisionError{Stage: v.Error.Stage, Message: v.Error.Message, Hint: v.Error.Hint}
	}
	if rec.End == nil || rec.End.Status != wire.OK && rec.End.Status != wire.Changed {
		return out
	}
	out.Error = nil // a question answered with no is judged here, step by step
	out.Phases = Look(plan, rec)
	asserts := 0
	for _, ph := range out.Phases {
		for _, s := range ph.Steps {
			*out.count(s.Outlook)++
			if s.Outlook == WillFail && s.Kind == "assert" {
				asserts++
			}
		}
	}
	switch {
	case out.Failed > asserts:
		out.Status, out.Outcome = wire.Failed, PhaseFailed
	case out.Failed > 0:
		out.Status, out.Outcome = wire.Failed, VerificationFailed
	case out.Change+out.Unknown > 0:
		out.Status, out.Outcome = wire.Changed, Drift
	default:
		out.Status, out.Outcome = wire.OK, Done
	}
	return out
}

func (h *LookedHost) count(o Outlook) *int {
	switch o {
	case Holds:
		return &h.Holds
	case WillChange:
		return &h.Change
	case WillSkip:
		return &h.Skipped
	case WillFail:
		return &h.Failed
	}
	return &h.Unknown
}

// LookText writes it for people. Hosts that would come to the same are told
// once. All shows also the steps that hold.
func LookText(w io.Writer, doc *LookDoc, all bool, o TextOptions) error {
	p := o.page(w)
	var order []string
	same := map[string][]*LookedHost{}
	for i := range doc.Hosts {
		h := doc.Hosts[i]
		h.Host, h.DurationSec = "", 0
		key, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if same[string(key)] == nil {
			order = append(order, string(key))
		}
		same[string(key)] = append(same[string(key)], &doc.Hosts[i])
	}
	for i, key := range order {
		if i > 0 {
			p.line("")
		}
		p.looked(same[key], all)
	}
	return p.err
}

func (p *page) looked(hosts []*LookedHost, all bool) {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Host)
	}
	h := hosts[0]
	mark, color, text := h.headline()
	p.wrapped(p.paint(color, mark)+" ", some(names, 20)+": "+text)
	if h.Error != nil && h.Error.Hint != "" {
		p.wrapped(" > ", h.Error.Hint)
	}
	assumed := 0
	for i := range h.Phases {
		assumed += p.lookedPhase(&h.Phases[i], all)
	}
	if assumed > 0 {
		p.wrapped("  ~ ", fmt.Sprintf("%s as things are now. Earlier steps that would change something may still change them", plural(assumed, "answer")))
	}
}

func (h *LookedHost) headline() (mark, color, text string) {
	if h.Error != nil {
		return "[ERR]", red, h.Error.Stage + ": " + h.Error.Message
	}
	text = fmt.Sprintf("%s would change, %d hold", plural(h.Change, "step"), h.Holds)
	if h.Unknown > 0 {
		text += fmt.Sprintf(", %d cannot be known yet", h.Unknown)
	}
	if h.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", h.Skipped)
	}
	switch {
	case h.Status == wire.NotReached:
		return "[WARN]", yellow, "was not looked at"
	case h.Status == wire.Skipped:
		return "[OK]", green, "nothing to do here"
	case h.Failed > 0:
		return "[ERR]", red, fmt.Sprintf("%s, %d would fail", text, h.Failed)
	case h.Change+h.Unknown > 0:
		return "[INFO]", yellow, text
	}
	return "[OK]", green, "nothing would change: " + text
}

// lookedPhase writes what is worth telling of a phase, and counts the answers
// that hold as things are now, before earlier steps have changed them.
func (p *page) lookedPhase(ph *LookedPhase, all bool) (assumed int) {
	headed := false
	for i := range ph.Steps {
		s := &ph.Steps[i]
		if s.After != "" && s.Outlook != Unknown && !strings.HasPrefix(s.What, "comes with ") {
			assumed++
		}
		if !all && (s.Outlook == Holds || s.Outlook == WillSkip) {
			continue
		}
		if !headed {
			p.line("  %s", p.paint(bold, fit(ph.ID+": "+ph.Title, p.width-2)))
			headed = true
		}
		p.lookedStep(s)
	}
	return assumed
}

var lookMarks = map[Outlook][2]string{Holds: {"=", green}, WillChange: {"+", yellow}, Unknown: {"?", ""}, WillSkip: {"-", ""}, WillFail: {"!", red}}

func (p *page) lookedStep(s *Looked) {
	text := s.What
	switch s.Outlook {
	case Unknown:
		text += ": cannot know yet (after " + s.After + ")"
	case Holds:
		text += ": holds"
	case WillSkip:
		text = "skipped: " + text
	case WillFail:
		text = "would fail: " + text
	case WillChange:
		text = "would " + text
	}
	if s.After != "" && s.Outlook == WillChange {
		text += " ~"
	}
	if len(s.Then) > 0 {
		text += ", then " + strings.Join(s.Then, ", ")
	}
	if s.Hidden == "sensitive" {
		text += "; content differs (hidden)"
	} else if s.Hidden != "" {
		text += "; content differs (not shown: " + map[string]string{"size": "it is big", "binary": "it is no text"}[s.Hidden] + ")"
	}
	mark := lookMarks[s.Outlook]
	p.wrapped("  "+p.paint(mark[1], mark[0])+" ", s.Name+" ("+s.Kind+"): "+text)
	if s.Hint != "" {
		p.wrapped("     > ", s.Hint)
	}
	p.diff(s.Diff)
}

// mostDiff is how many lines of a difference are shown for one file.
const mostDiff = 60

func (p *page) diff(text string) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		return
	}
	for i, line := range lines {
		if i == mostDiff {
			p.line("      (%d more lines: -o json has them)", len(lines)-i)
			return
		}
		color := ""
		switch {
		case strings.HasPrefix(line, "+"):
			color = green
		case strings.HasPrefix(line, "-"):
			color = red
		}
		p.line("      %s", p.paint(color, fit(strings.ReplaceAll(line, "\t", "    "), p.width-6)))
	}
}
