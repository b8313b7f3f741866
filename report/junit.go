package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// verificationID is the phase whose steps are checks, each a case of its own.
const verificationID = "verification"

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Hostname  string      `xml:"hostname,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Time    string       `xml:"time,attr"`
	Failure *junitReason `xml:"failure"`
	Error   *junitReason `xml:"error"`
	Skipped *junitReason `xml:"skipped"`
	Out     string       `xml:"system-out,omitempty"`
}

type junitReason struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes a run as test results: a suite per host, a case per phase and
// per check of the verification. A host that said nothing has one case, reach.
func JUnit(w io.Writer, r *Report) error {
	all := junitSuites{Name: xmlText("vpsctl " + cleanLine(r.Run.Verb) + " " + r.Run.ID), Time: junitTime(r.Duration())}
	for i := range r.Hosts {
		s := junitHost(&r.Hosts[i])
		all.Tests, all.Failures, all.Errors, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Skipped+s.Skipped
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitHost(h *HostReport) junitSuite {
	rec, host := h.Record, h.Host.Host
	s := junitSuite{Name: host, Hostname: host, Time: junitTime(rec.Duration()), Timestamp: strings.TrimSuffix(rec.stamp(0), "Z")}
	for i := range rec.Phases {
		p := &rec.Phases[i]
		s.add(junitPhase(host, p))
		if p.ID == verificationID && p.Begun {
			for j := range p.Steps {
				s.add(junitCheck(host, &p.Steps[j]))
			}
		}
	}
	if len(rec.Phases) == 0 || h.Verdict.Error != nil && h.Verdict.Status == wire.Failed && s.Failures == 0 {
		s.add(junitReach(h))
	}
	return s
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func junitPhase(host string, p *PhaseRecord) junitCase {
	c := junitCase{Class: host, Name: xmlText(p.ID), Time: junitTime(p.Duration())}
	switch p.Status {
	case wire.OK, wire.Changed:
		c.Out = fmt.Sprintf("%d changed, %d as they should be, %d skipped", p.Changed, p.OK, p.Skipped)
	case wire.Failed:
		c.Failure = &junitReason{Message: xmlText(cmp.Or(p.Reason, "failed")), Type: "phase", Text: xmlText(failures(p))}
	default:
		c.Skipped = &junitReason{Message: xmlText(cmp.Or(p.Reason, strings.ReplaceAll(p.word(), "_", " ")))}
	}
	return c
}

// failures of a phase's steps, with the last lines they wrote.
func failures(p *PhaseRecord) string {
	var b strings.Builder
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Status == wire.Failed {
			fmt.Fprintf(&b, "%s %s%s\n%s%s", s.ID, failedWords(s), prefixed(": ", s.Reason), lineEnd(s.Stderr), lineEnd(prefixed("> ", s.Hint)))
		}
	}
	return b.String()
}

func lineEnd(s string) string {
	if s == "" || strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

func junitCheck(host string, s *StepRecord) junitCase {
	c := junitCase{Class: host + "." + verificationID, Name: xmlText(s.Name), Time: junitTime(s.Duration())}
	text := xmlText(lineEnd(s.Stderr) + lineEnd(prefixed("> ", s.Hint)))
	switch {
	case s.Status == wire.OK, s.Status == wire.Changed:
	case s.Status == wire.Failed:
		c.Failure = &junitReason{Message: xmlText(cmp.Or(s.Reason, "does not hold")), Type: "check", Text: text}
	default:
		c.Skipped = &junitReason{Message: xmlText(cmp.Or(s.Reason, strings.ReplaceAll(s.word(), "_", " ")))}
	}
	return c
}

func junitReach(h *HostReport) junitCase {
	c := junitCase{Class: h.Host.Host, Name: "reach", Time: junitTime(0)}
	switch e := h.Verdict.Error; {
	case e != nil:
		c.Error = &junitReason{Message: xmlText(e.Message), Type: string(e.Kind), Text: xmlText(prefixed("> ", e.Hint))}
	case h.Verdict.Outcome != Done || h.Verdict.Status == wire.Skipped:
		c.Skipped = &junitReason{Message: xmlText(h.Verdict.Text)}
	}
	return c
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// xmlText drops what XML cannot hold, however it is escaped.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r', r >= 0x20 && r <= 0xd7ff, r >= 0xe000 && r <= 0xfffd, r >= 0x10000:
			return r
		}
		return -1
	}, Clean(s))
}
