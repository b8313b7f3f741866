package report

import (
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Looked is what a dry run says of one step.
type Looked struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Outlook is holds, change, unknown, skipped or failed.
	Outlook Outlook `json:"outlook"`
	What    string  `json:"what"` // in words
	// After is an earlier step, phase/name, that would change something itself:
	// of an unknown step the one that has to be done before it can be known, of
	// others one that may still change this answer.
	After    string          `json:"after,omitempty"`
	Path     string          `json:"path,omitempty"`   // of the file that Diff or Hidden are about
	Diff     string          `json:"diff,omitempty"`   // unified
	Hidden   string          `json:"hidden,omitempty"` // why there is no diff: sensitive, size, binary
	Packages *LookedPackages `json:"packages,omitempty"`
	Then     []string        `json:"then,omitempty"` // what is done once the step has changed something
	Hint     string          `json:"hint,omitempty"`
}

// Outlook says what a step would come to.
type Outlook string

// The outlooks.
const (
	Holds      Outlook = "holds"
	WillChange Outlook = "change"
	Unknown    Outlook = "unknown"
	WillSkip   Outlook = "skipped"
	WillFail   Outlook = "failed"
)

// LookedPackages is what apt would do.
type LookedPackages struct {
	Install []LookedPackage `json:"install"`
	Upgrade []LookedPackage `json:"upgrade"`
	Remove  []LookedPackage `json:"remove"`
}

// LookedPackage is a package with its version, and the one it has now.
type LookedPackage struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Now     string `json:"now,omitempty"`
}

// LookedPhase is what a dry run says of a phase.
type LookedPhase struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	Steps []Looked `json:"steps"`
}

// Look says what a host's run of plan would come to. The record is of a run that
// looked at each of its steps, as things are before any of them is done; what
// earlier steps mean for later ones is judged here.
func Look(plan *wire.Plan, rec *HostRecord) []LookedPhase {
	l := &looking{coming: map[string]string{}, paths: map[string]string{}}
	phases := []LookedPhase{}
	for i := range plan.Phases {
		ph := &plan.Phases[i]
		out := LookedPhase{ID: ph.ID, Title: cleanLine(ph.Title), Steps: []Looked{}}
		for k := range ph.Steps {
			s := &ph.Steps[k]
			id := ph.ID + "/" + s.Name
			out.Steps = append(out.Steps, l.step(s, id, rec.stepOf(&wire.Event{Step: id})))
		}
		phases = append(phases, out)
	}
	return phases
}

// looking is what is known while the steps are gone through in their order.
type looking struct {
	pending []pending
	coming  map[string]string // packages that earlier steps bring, by the step
	paths   map[string]string // files that earlier steps write, by the step
}

// pending is a step that would, or may, change something.
type pending struct{ id, kind, name string }

func (l *looking) step(s *wire.Step, id string, was *StepRecord) Looked {
	out := Looked{Name: cleanLine(s.Name), Kind: s.Kind(), What: subject(s)}
	switch {
	case was == nil || !was.Ended:
		out.Outlook, out.What = WillFail, "was not looked at"
		return out
	case was.Status == wire.Skipped:
		out.Outlook, out.What = WillSkip, was.Reason
		if s.When != "" {
			out.After = l.last()
		}
		return out
	case was.Status == wire.Failed:
		l.failed(&out, s, was)
	case was.Status == wire.Changed:
		l.changes(&out, s, was)
	default:
		l.holds(&out, s, was)
	}
	if out.Outlook == WillChange || out.Outlook == Unknown {
		l.pending = append(l.pending, pending{id, s.Kind(), provides(s)})
	}
	if out.Outlook == WillChange {
		out.Then = then(s)
	}
	l.note(&out, s, id)
	return out
}

// note keeps what a step brings for later ones.
func (l *looking) note(out *Looked, s *wire.Step, id string) {
	if s.File != nil && (out.Outlook == WillChange || out.Outlook == Unknown) {
		l.paths[s.File.Path] = id
	}
	if out.Packages != nil {
		for _, p := range out.Packages.Install {
			l.coming[p.Name] = id
		}
	}
}

// last is the step that would change something just before.
func (l *looking) last() string {
	if len(l.pending) == 0 {
		return ""
	}
	return l.pending[len(l.pending)-1].id
}

// culprit is the earlier step that most probably decides about this one: the
// last of the named kinds, else the last at all.
func (l *looking) culprit(kinds ...string) string {
	for _, kind := range kinds {
		if id := l.latest(kind); id != "" {
			return id
		}
	}
	return l.last()
}

// latest is the last of a kind that would change something, or "".
func (l *looking) latest(kind string) string {
	for _, p := range slices.Backward(l.pending) {
		if p.kind == kind {
			return p.id
		}
	}
	return ""
}

// failed: a question that cannot be answered while earlier steps are not done is
// no failure.
func (l *looking) failed(out *Looked, s *wire.Step, was *StepRecord) {
	if l.last() == "" || strings.HasSuffix(was.Reason, " can only be changed by root") {
		out.Outlook, out.What, out.Hint = WillFail, was.Reason, was.Hint
		if s.Optional || s.Assert != nil && !s.Assert.Critical {
			out.Outlook, out.What = WillSkip, "would fail, and may: "+was.Reason
		}
		return
	}
	out.Outlook, out.After = Unknown, l.culprit("packages", "archive", "user")
	switch {
	case s.File != nil && l.paths[s.File.Path] != "":
		out.After = l.paths[s.File.Path]
	case s.Packages != nil:
		out.After = l.culprit("apt_repository", "file", "run")
	case l.brings("user", s.As) != "":
		out.After = l.brings("user", s.As)
	case s.File != nil && l.brings("user", owner(s.File)) != "":
		out.After = l.brings("user", owner(s.File))
	}
}

// brings is the step that brings a thing of that kind and name, or "".
func (l *looking) brings(kind, name string) string {
	for _, p := range l.pending {
		if name != "" && p.kind == kind && p.name == name {
			return p.id
		}
	}
	return ""
}

func (l *looking) changes(out *Looked, s *wire.Step, was *StepRecord) {
	out.Outlook = WillChange
	switch {
	case s.Packages != nil:
		l.packages(out, s.Packages, was)
	case s.File != nil && len(s.File.Keys) > 0 && l.paths[s.File.Path] != "":
		out.Outlook, out.After = Unknown, l.paths[s.File.Path]
	case s.Run != nil && s.Run.Check == "":
		out.What = "run: it has no check"
	case s.Run != nil:
		out.What, out.After = "run: "+was.Reason, l.last()
	default:
		out.What = deed(s, was.Reason)
	}
	if s.When != "" && out.After == "" {
		out.After = l.last()
	}
	if s.File != nil && was.Reason == "was not there" && out.After == "" {
		out.After = l.latest("packages") // which may bring that file
	}
	if f := was.Found; f != nil && f.Path != "" && out.Outlook == WillChange {
		out.Path, out.Hidden = f.Path, f.Hidden
		if f.Hidden == "" {
			out.Diff = unified(f, absent(f, was.Reason), s.File != nil && s.File.State == "absent")
		}
	}
}

// packages leaves out what earlier steps bring already.
func (l *looking) packages(out *Looked, want *wire.Packages, was *StepRecord) {
	p, missing := &LookedPackages{}, strings.Fields(firstPart(strings.TrimPrefix(was.Reason, "not installed: ")))
	if was.Found != nil {
		p = parseApt(was.Found.Apt)
	}
	rest := slices.DeleteFunc(slices.Clone(missing), func(n string) bool { return l.coming[n] != "" })
	if len(missing) > 0 && len(rest) == 0 {
		out.Outlook, out.After, out.What = Holds, l.coming[missing[0]], "comes with "+l.coming[missing[0]]
		return
	}
	known := func(n LookedPackage) bool { return l.coming[n.Name] != "" }
	p.Install = slices.DeleteFunc(p.Install, known)
	out.Packages, out.What = p, p.words(rest)
	if _, more, ok := strings.Cut(was.Reason, "; "); ok {
		out.What += "; " + more
	}
}

// holds: what is not there now may come with packages.
func (l *looking) holds(out *Looked, s *wire.Step, was *StepRecord) {
	out.Outlook = Holds
	asks := s.When != "" || s.Assert != nil || s.Run != nil
	gone := s.File != nil && s.File.State == "absent" || s.Service != nil && (s.Service.State == "stopped" || s.Service.Enabled != nil && !*s.Service.Enabled)
	switch {
	case gone && l.latest("packages") != "":
		out.Outlook, out.After = Unknown, l.latest("packages")
	case s.File != nil && l.paths[s.File.Path] != "":
		out.Outlook, out.After = Unknown, l.paths[s.File.Path]
	case asks:
		out.After = l.last()
	}
}

func firstPart(s string) string { a, _, _ := strings.Cut(s, ";"); return a }

// absent tells a file that is not there from one that is empty, by what the step
// said of it.
func absent(f *wire.Found, reason string) bool {
	return reason == "was not there" || strings.Contains(reason, "the source "+f.Path+": was not there")
}

// unified is the difference in the form that patch reads, which makes and removes
// a file where it says so.
func unified(f *wire.Found, made, removed bool) string {
	was, want := f.Path, f.Path
	if made {
		was = "/dev/null"
	}
	if removed {
		want = "/dev/null"
	}
	d := string(diff.Diff(was, []byte(f.Was), want, []byte(f.Want)))
	_, d, _ = strings.Cut(d, "\n") // diff OLD NEW
	return d
}

// cleanFound makes a host's texts safe to show.
func cleanFound(f *wire.Found) *wire.Found {
	if f == nil || len(f.Was) > 2*wire.MaxFound || len(f.Want) > 2*wire.MaxFound || len(f.Apt) > 2*wire.MaxFound {
		return nil
	}
	return &wire.Found{Path: cleanLine(f.Path), Was: Clean(f.Was), Want: Clean(f.Want), Hidden: cleanLine(f.Hidden), Apt: Clean(f.Apt)}
}
