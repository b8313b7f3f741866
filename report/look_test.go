package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// looked folds a look at a plan: for each step its status, reason and findings.
func looked(plan *wire.Plan, ends map[string]wire.StepEnd) *HostRecord {
	rec := NewHostRecord("dry-x", plan.Host, Limits{})
	start := &wire.Start{Wire: wire.Version, Verb: "dry-run", Wall: time.Unix(1, 0)}
	for _, ph := range plan.Phases {
		head := wire.PhaseHead{ID: ph.ID, Title: ph.Title}
		for _, s := range ph.Steps {
			head.Steps = append(head.Steps, s.Name)
		}
		start.Phases = append(start.Phases, head)
	}
	rec.Apply(&wire.Event{N: 1, Kind: wire.KindStart, Start: start})
	for _, ph := range plan.Phases {
		for _, s := range ph.Steps {
			end, ok := ends[s.Name]
			if !ok {
				end.Status = wire.OK
			}
			rec.Apply(&wire.Event{N: 2, Kind: wire.KindStepEnd, Phase: ph.ID, Step: ph.ID + "/" + s.Name, StepEnd: &end})
		}
	}
	rec.Apply(&wire.Event{N: 3, Kind: wire.KindEnd, End: &wire.End{Status: wire.Changed}})
	return rec
}

func planOf(steps ...wire.Step) *wire.Plan {
	return &wire.Plan{Host: "a", Phases: []wire.Phase{{ID: "p", Title: "P", Steps: steps}}}
}

// What earlier steps mean for later ones.
func TestLookJudges(t *testing.T) {
	off := false
	tool := wire.Step{Name: "tool", Packages: &wire.Packages{Names: []string{"tool"}}}
	file := func(name, path string) wire.Step {
		return wire.Step{Name: name, File: &wire.File{Path: path, Content: []byte("x")}}
	}
	keys := wire.Step{Name: "keys", File: &wire.File{Path: "/etc/tool.ini", Keys: []wire.Key{{Name: "a", Value: "b"}}}}
	unit := wire.Step{Name: "unit", Service: &wire.Service{Name: "tool", State: "running"}}
	stopped := wire.Step{Name: "stopped", Service: &wire.Service{Name: "tool", Enabled: &off}}
	asks := wire.Step{Name: "asks", Assert: &wire.Assert{Check: "tool", Critical: true}}
	may := wire.Step{Name: "may", Assert: &wire.Assert{Check: "tool"}}
	dev := wire.Step{Name: "dev", User: &wire.User{Name: "dev"}}
	owned := wire.Step{Name: "owned", File: &wire.File{Path: "/home/dev/x", Owner: "dev:dev"}}
	comes := wire.StepEnd{Status: wire.Changed, Reason: "not installed: tool", Found: &wire.Found{Apt: "Inst tool (2:1.0 Debian:13 [amd64])\nInst libtool:amd64 (3 x)\nInst old [1] (2 x)\nRemv gone [7]\n"}}
	fails := func(why string) wire.StepEnd { return wire.StepEnd{Status: wire.Failed, Reason: why} }
	differs := func(why string) wire.StepEnd { return wire.StepEnd{Status: wire.Changed, Reason: why} }
	for name, c := range map[string]struct {
		steps []wire.Step
		ends  map[string]wire.StepEnd
		of    string
		want  Looked
	}{
		"a package":                   {[]wire.Step{tool}, map[string]wire.StepEnd{"tool": comes}, "tool", Looked{Outlook: WillChange, What: "install 2: tool 2:1.0, libtool 3; upgrade 1: old 2 (now 1); remove 1: gone 7"}},
		"its unit":                    {[]wire.Step{tool, unit}, map[string]wire.StepEnd{"tool": comes, "unit": fails("there is no unit tool")}, "unit", Looked{Outlook: Unknown, After: "p/tool", What: "tool"}},
		"the unit of nobody":          {[]wire.Step{unit}, map[string]wire.StepEnd{"unit": fails("there is no unit tool")}, "unit", Looked{Outlook: WillFail, What: "there is no unit tool"}},
		"a unit that is not there":    {[]wire.Step{tool, stopped}, map[string]wire.StepEnd{"tool": comes}, "stopped", Looked{Outlook: Unknown, After: "p/tool", What: "tool"}},
		"its file's keys":             {[]wire.Step{tool, keys}, map[string]wire.StepEnd{"tool": comes, "keys": fails("no file is there")}, "keys", Looked{Outlook: Unknown, After: "p/tool", What: "/etc/tool.ini"}},
		"keys of a file of ours":      {[]wire.Step{file("ini", "/etc/tool.ini"), tool, keys}, map[string]wire.StepEnd{"ini": differs("was not there"), "tool": comes, "keys": fails("no file is there")}, "keys", Looked{Outlook: Unknown, After: "p/ini", What: "/etc/tool.ini"}},
		"a file it may bring":         {[]wire.Step{tool, file("conf", "/etc/t")}, map[string]wire.StepEnd{"tool": comes, "conf": differs("was not there")}, "conf", Looked{Outlook: WillChange, After: "p/tool", What: "create /etc/t (1 byte)"}},
		"a package that comes anyway": {[]wire.Step{tool, {Name: "lib", Packages: &wire.Packages{Names: []string{"libtool"}}}}, map[string]wire.StepEnd{"tool": comes, "lib": differs("not installed: libtool")}, "lib", Looked{Outlook: Holds, After: "p/tool", What: "comes with p/tool"}},
		"a question after it":         {[]wire.Step{tool, asks}, map[string]wire.StepEnd{"tool": comes, "asks": fails("no")}, "asks", Looked{Outlook: Unknown, After: "p/tool", What: "its question"}},
		"a question alone":            {[]wire.Step{asks}, map[string]wire.StepEnd{"asks": fails("no")}, "asks", Looked{Outlook: WillFail, What: "no"}},
		"a question that may":         {[]wire.Step{may}, map[string]wire.StepEnd{"may": fails("no")}, "may", Looked{Outlook: WillSkip, What: "would fail, and may: no"}},
		"a file of a user to come":    {[]wire.Step{dev, tool, owned}, map[string]wire.StepEnd{"dev": differs("no user dev"), "tool": comes, "owned": fails("owner: no user \"dev\" on this host")}, "owned", Looked{Outlook: Unknown, After: "p/dev", What: "/home/dev/x"}},
		"what root alone can do":      {[]wire.Step{file("f", "/a"), tool}, map[string]wire.StepEnd{"f": differs("was not there"), "tool": fails("packages can only be changed by root")}, "tool", Looked{Outlook: WillFail, What: "packages can only be changed by root"}},
	} {
		plan := planOf(c.steps...)
		for _, ph := range Look(plan, looked(plan, c.ends)) {
			for _, got := range ph.Steps {
				if got.Name == c.of && (got.Outlook != c.want.Outlook || got.After != c.want.After || got.What != c.want.What) {
					t.Errorf("%s: %s after %q: %s", name, got.Outlook, got.After, got.What)
				}
			}
		}
	}
}

// A diff says that a file is made or removed only where it is, not where it is
// empty.
func TestLookTellsEmptyFromAbsent(t *testing.T) {
	const path = "/etc/a"
	file := wire.Step{Name: "s", File: &wire.File{Path: path}}
	gone := wire.Step{Name: "s", File: &wire.File{Path: path, State: "absent"}}
	source := wire.Step{Name: "s", Repository: &wire.AptRepository{Name: "v", Path: path, Keyring: "/etc/k"}}
	for name, c := range map[string]struct {
		step        wire.Step
		reason      string
		was, want   string
		minus, plus string
	}{
		"made":                   {file, "was not there", "", "x\n", "/dev/null", path},
		"made of a source":       {source, "the key /etc/k: was not there, the source /etc/a: was not there", "", "x\n", "/dev/null", path},
		"a source, only its key": {source, "the key /etc/k: was not there, the source says something else", "", "x\n", path, path},
		"filled":                 {file, "content (2 bytes, now 0)", "", "x\n", path, path},
		"emptied":                {file, "content (0 bytes, now 2)", "x\n", "", path, path},
		"removed":                {gone, "is there (file)", "x\n", "", path, "/dev/null"},
	} {
		plan := planOf(c.step)
		got := Look(plan, looked(plan, map[string]wire.StepEnd{"s": {Status: wire.Changed, Reason: c.reason, Found: &wire.Found{Path: path, Was: c.was, Want: c.want}}}))
		if head := "--- " + c.minus + "\n+++ " + c.plus + "\n@@ "; !strings.HasPrefix(got[0].Steps[0].Diff, head) {
			t.Errorf("%s: %s", name, got[0].Steps[0].Diff)
		}
	}
}

// Half of a look, and a hostile one, are told as what they are.
func TestLookTellsWhatItHas(t *testing.T) {
	plan := planOf(wire.Step{Name: "f", File: &wire.File{Path: "/a"}}, wire.Step{Name: "g", File: &wire.File{Path: "/b"}})
	rec := looked(plan, map[string]wire.StepEnd{"f": {Status: wire.Changed, Reason: "content (1 bytes, now 2)", Found: &wire.Found{Path: "/a", Was: "x\x1b[31m\n", Want: "y\n"}}})
	host := LookHost(plan, rec, nil)
	if host.Change != 1 || host.Holds != 1 || host.Outcome != Drift || !strings.Contains(host.Phases[0].Steps[0].Diff, "-x\n+y\n") {
		t.Errorf("%+v", host)
	}
	var b bytes.Buffer
	doc := &LookDoc{Schema: Schema, DryRun: true, Status: "changed", Hosts: []LookedHost{host, host}}
	doc.Hosts[1].Host = "b"
	validate(t, "dry-run", doc)
	if err := LookText(&b, doc, true, TextOptions{}); err != nil || !strings.HasPrefix(b.String(), "[INFO] a, b: 1 step would change, 1 hold\n") {
		t.Errorf("%v %s", err, &b)
	}
	rec.End = nil
	if host = LookHost(plan, rec, &HostError{Kind: Unreachable, Stage: "dial", Message: "no route"}); host.Outcome != Unreachable || len(host.Phases) > 0 {
		t.Errorf("%+v", host)
	}
	validate(t, "dry-run", &LookDoc{Schema: Schema, DryRun: true, Status: "failed", Hosts: []LookedHost{host}})
}
