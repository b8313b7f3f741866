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

// TestSuites is a JUnit document. Add fills its counts.
type TestSuites struct {
	XMLName  xml.Name    `xml:"testsuites"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Suites   []TestSuite `xml:"testsuite"`
}

// TestSuite has the cases of one host.
type TestSuite struct {
	Name      string     `xml:"name,attr"`
	Tests     int        `xml:"tests,attr"`
	Failures  int        `xml:"failures,attr"`
	Errors    int        `xml:"errors,attr"`
	Skipped   int        `xml:"skipped,attr"`
	Time      string     `xml:"time,attr"`
	Timestamp string     `xml:"timestamp,attr,omitempty"`
	Hostname  string     `xml:"hostname,attr"`
	Cases     []TestCase `xml:"testcase"`
}

// TestCase passed unless it has one of Failure, Error and Skipped.
type TestCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Time    string      `xml:"time,attr"`
	Failure *TestReason `xml:"failure"`
	Error   *TestReason `xml:"error"`
	Skipped *TestReason `xml:"skipped"`
	Out     string      `xml:"system-out,omitempty"`
}

// TestReason says why a case did not pass.
type TestReason struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes a run as test results: a suite per host, a case per phase and
// per check of the verification. A host that said nothing has one case, reach.
func JUnit(w io.Writer, r *Report) error {
	all := TestSuites{Name: xmlText("vpsctl " + cleanLine(r.Run.Verb) + " " + r.Run.ID), Time: JUnitTime(r.Duration())}
	for i := range r.Hosts {
		all.Add(junitHost(&r.Hosts[i]))
	}
	return all.Write(w)
}

// Add takes a suite in.
func (all *TestSuites) Add(s TestSuite) {
	all.Tests, all.Failures, all.Errors, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Skipped+s.Skipped
	all.Suites = append(all.Suites, s)
}

// Write writes the document.
func (all *TestSuites) Write(w io.Writer) error {
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

func junitHost(h *HostReport) TestSuite {
	rec, host := h.Record, h.Host.Host
	s := TestSuite{Name: host, Hostname: host, Time: JUnitTime(rec.Duration()), Timestamp: strings.TrimSuffix(rec.stamp(0), "Z")}
	for i := range rec.Phases {
		p := &rec.Phases[i]
		s.Add(junitPhase(host, p))
		if p.ID == verificationID && p.Begun {
			for j := range p.Steps {
				s.Add(junitCheck(host, &p.Steps[j]))
			}
		}
	}
	if len(rec.Phases) == 0 || h.Verdict.Error != nil && h.Verdict.Status == wire.Failed && s.Failures == 0 {
		s.Add(junitReach(h))
	}
	return s
}

// Add takes a case in; what XML cannot hold is dropped from its texts.
func (s *TestSuite) Add(c TestCase) {
	c.Name, c.Out = xmlText(c.Name), xmlText(c.Out)
	for _, r := range []*TestReason{c.Failure, c.Error, c.Skipped} {
		if r != nil {
			r.Message, r.Text = xmlText(r.Message), xmlText(r.Text)
		}
	}
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

func junitPhase(host string, p *PhaseRecord) TestCase {
	c := TestCase{Class: host, Name: p.ID, Time: JUnitTime(p.Duration())}
	switch p.Status {
	case wire.OK, wire.Changed:
		c.Out = fmt.Sprintf("%d changed, %d as they should be, %d skipped", p.Changed, p.OK, p.Skipped)
	case wire.Failed:
		c.Failure = &TestReason{Message: cmp.Or(p.Reason, "failed"), Type: "phase", Text: failures(p)}
	default:
		c.Skipped = &TestReason{Message: cmp.Or(p.Reason, strings.ReplaceAll(p.word(), "_", " "))}
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

func junitCheck(host string, s *StepRecord) TestCase {
	c := TestCase{Class: host + "." + verificationID, Name: s.Name, Time: JUnitTime(s.Duration())}
	text := lineEnd(s.Stderr) + lineEnd(prefixed("> ", s.Hint))
	switch {
	case s.Status == wire.OK, s.Status == wire.Changed:
	case s.Status == wire.Failed:
		c.Failure = &TestReason{Message: cmp.Or(s.Reason, "does not hold"), Type: "check", Text: text}
	default:
		c.Skipped = &TestReason{Message: cmp.Or(s.Reason, strings.ReplaceAll(s.word(), "_", " "))}
	}
	return c
}

func junitReach(h *HostReport) TestCase {
	c := TestCase{Class: h.Host.Host, Name: "reach", Time: JUnitTime(0)}
	switch e := h.Verdict.Error; {
	case e != nil:
		c.Error = &TestReason{Message: e.Message, Type: string(e.Kind), Text: prefixed("> ", e.Hint)}
	case h.Verdict.Outcome != Done || h.Verdict.Status == wire.Skipped:
		c.Skipped = &TestReason{Message: h.Verdict.Text}
	}
	return c
}

// JUnitTime is how JUnit writes a duration: in seconds.
func JUnitTime(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

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
