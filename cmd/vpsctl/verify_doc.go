package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// The words for a check.
const (
	checkPass = "PASS"
	checkWarn = "WARN"
	checkFail = "FAIL"
	checkSkip = "SKIP"
)

// verifyDoc is what `verify -o json` prints.
type verifyDoc struct {
	Schema   int          `json:"schema"`
	RunID    string       `json:"run_id"`
	Time     time.Time    `json:"verification_time"`
	Status   string       `json:"overall_status"` // PASS, WARNING, FAIL
	ExitCode int          `json:"exit_code"`
	Hosts    []verifyHost `json:"hosts"`
}

type verifyHost struct {
	Host     string                 `json:"host"`
	Address  string                 `json:"address"`
	Status   string                 `json:"overall_status"`
	ExitCode int                    `json:"exit_code"`
	Checks   []verifyCheck          `json:"checks"`
	Summary  verifySummary          `json:"summary"`
	Error    *report.ProvisionError `json:"error,omitempty"`
}

// verifyCheck is one question and its answer. WARN is for what works, but took
// longer than its target.
type verifyCheck struct {
	ID          string  `json:"check_id"`
	Description string  `json:"description"`
	Critical    bool    `json:"critical"`
	Status      string  `json:"status"` // PASS, WARN, FAIL, SKIP
	Message     string  `json:"message"`
	Hint        string  `json:"fix_suggestion,omitempty"`
	Seconds     float64 `json:"duration_sec"`
	Target      float64 `json:"target_sec,omitempty"`
}

type verifySummary struct {
	Total    int `json:"total_checks"`
	Passed   int `json:"passed"`
	Warned   int `json:"warned"`
	Failed   int `json:"failed"`
	Critical int `json:"critical_failed"`
	Skipped  int `json:"skipped"`
}

// checkTexts say in words what the checks ask.
var checkTexts = map[string]string{
	"os-version": "Debian 13", "resources": "enough memory and disk", "git-installed": "git works",
	"desktop-installed": "the desktop is there", "rdp-service": "the RDP server runs, also after a boot",
	"rdp-port": "port 3389 speaks RDP over TLS only", "user-exists": "the developer user exists",
	"user-groups": "the developer is in its groups", "sudo-access": "the developer's sudo works",
	"vscode-installed": "VS Code starts", "cursor-installed": "Cursor starts", "antigravity-installed": "Antigravity starts",
	"firewall-rules": "the firewall lets in what it shall", "ssh-hardening": "sshd goes by the hardened settings",
	"terminal-config": "aliases and prompt of the developer",
}

// document makes what is told of a run.
func (v *verifier) document(rep *report.Report) verifyDoc {
	doc := verifyDoc{Schema: 1, RunID: rep.Run.ID, Time: rep.Run.Started.UTC().Truncate(time.Second), Status: "PASS", Hosts: []verifyHost{}}
	provision := report.Provision(rep, func(o report.Outcome) int { return outcomes[o] })
	doc.ExitCode = provision.ExitCode
	for i := range rep.Hosts {
		h := verifyHost{Host: rep.Hosts[i].Host.Host, Address: rep.Hosts[i].Host.Address, ExitCode: provision.Hosts[i].ExitCode, Checks: []verifyCheck{}}
		for _, p := range rep.Hosts[i].Record.Phases {
			if p.ID == verifyPhase {
				h.Checks = append(h.Checks, stepChecks(p.Steps)...)
			}
		}
		if d := v.deep[h.Host]; d != nil {
			h.Checks = append(h.Checks, d.checks...)
		}
		if e := provision.Hosts[i].Error; h.count() == 0 && e != nil {
			h.Error, h.Status = e, "FAIL"
		}
		doc.Hosts = append(doc.Hosts, h)
		doc.Status = worse(doc.Status, h.Status)
	}
	return doc
}

func stepChecks(steps []report.StepRecord) []verifyCheck {
	var all []verifyCheck
	for _, s := range steps {
		c := verifyCheck{ID: s.Name, Description: checkTexts[s.Name], Critical: s.Critical, Status: checkSkip, Message: s.Reason, Seconds: s.Duration().Seconds()}
		switch s.Status {
		case wire.OK:
			c.Status = checkPass
		case wire.Failed:
			c.Status, c.Hint = checkFail, s.Hint
			c.Message = strings.TrimPrefix(s.Reason, "does not hold: the check exited 1: ")
		}
		all = append(all, c)
	}
	return all
}

// count fills the summary and gives how many checks failed.
func (h *verifyHost) count() int {
	h.Status = "PASS"
	h.Summary = verifySummary{Total: len(h.Checks)}
	for _, c := range h.Checks {
		switch c.Status {
		case checkPass:
			h.Summary.Passed++
		case checkSkip:
			h.Summary.Skipped++
		case checkWarn:
			h.Summary.Warned++
			h.Status = worse(h.Status, "WARNING")
		case checkFail:
			h.Summary.Failed++
			h.Status = worse(h.Status, "WARNING")
			if c.Critical {
				h.Summary.Critical++
				h.Status = "FAIL"
			}
		}
	}
	return h.Summary.Failed
}

func worse(a, b string) string {
	rank := map[string]int{"PASS": 0, "WARNING": 1, "FAIL": 2}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// result prints what came of it.
func (v *verifier) result(rep *report.Report) error {
	if v.Bool("events") {
		return nil
	}
	doc := v.document(rep)
	if v.String("output") == "junit" {
		return doc.junit(v.ui.out)
	}
	return v.ui.result(v.json(), doc, doc.text)
}

func (doc verifyDoc) text(w io.Writer) error {
	marks := map[string]string{checkPass: "[OK]", checkWarn: "[WARN]", checkFail: "[ERR]", checkSkip: "[SKIP]"}
	for _, h := range doc.Hosts {
		fmt.Fprintf(w, "%s (%s)\n", h.Host, h.Address)
		for _, c := range h.Checks {
			mark := marks[c.Status]
			if c.Status == checkFail && !c.Critical {
				mark = "[WARN]"
			}
			words := cmp.Or(c.Message, c.Description)
			if c.Target > 0 {
				words = fmt.Sprintf("%5.2f s of %2g s  %s", c.Seconds, c.Target, words)
			}
			fmt.Fprintf(w, "%-6s %-22s %s\n", mark, c.ID, words)
			if c.Hint != "" {
				fmt.Fprintf(w, "        > %s\n", report.Clean(c.Hint))
			}
		}
		h.last(w)
	}
	return nil
}

// last is the line that says how it came out.
func (h *verifyHost) last(w io.Writer) {
	s := h.Summary
	if h.Error != nil {
		fmt.Fprintf(w, "[ERR] %s: %s: %s\n", h.Host, h.Error.Stage, h.Error.Message)
		return
	}
	mark := "[OK]"
	if s.Failed > 0 {
		mark = "[ERR]"
	}
	fmt.Fprintf(w, "%s %s: %d of %d checks hold, %d failed (%d critical), %d slow, %d skipped\n", mark, h.Host, s.Passed+s.Warned, s.Total, s.Failed, s.Critical, s.Warned, s.Skipped)
}

// junit is the document for pipelines: a suite for each host, a case for each
// check.
func (doc verifyDoc) junit(w io.Writer) error {
	all := report.TestSuites{Name: "vpsctl verify"}
	var total time.Duration
	for _, h := range doc.Hosts {
		class := "vpsctl.verify." + h.Host
		s := report.TestSuite{Name: h.Host, Hostname: h.Host}
		var took time.Duration
		for _, c := range h.Checks {
			d := time.Duration(c.Seconds * float64(time.Second))
			took += d
			t := report.TestCase{Name: c.ID, Class: class, Time: report.JUnitTime(d)}
			switch c.Status {
			case checkFail:
				t.Failure = &report.TestReason{Message: c.Message, Text: c.Hint}
			case checkSkip:
				t.Skipped = &report.TestReason{Message: c.Message}
			}
			s.Add(t)
		}
		if h.Error != nil {
			s.Add(report.TestCase{Name: h.Error.Stage, Class: class, Time: report.JUnitTime(0), Error: &report.TestReason{Message: h.Error.Message, Text: h.Error.Hint}})
		}
		s.Time, total = report.JUnitTime(took), total+took
		all.Add(s)
	}
	all.Time = report.JUnitTime(total)
	return all.Write(w)
}
