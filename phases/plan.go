package phases

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Request is what a plan is made for: one host and one run.
type Request struct {
	RunID   string
	Verb    string // "" = provision; verify: the phase verification alone, asking about the phases that the others are
	Host    string
	Address string
	Groups  []string
	// Vars are the host's variables: string, int, float64, bool.
	Vars map[string]any
	// Secrets are values that scripts read as files and that only the content of
	// files may contain. Only those that the plan uses are put into it.
	Secrets map[string]string
	// Only names the phases of the plan; nil means all, empty none. Skip takes
	// phases out, also of Only.
	Only, Skip  []string
	Sequential  bool
	Interval    time.Duration
	ConnectUser string // who the connection logs in as
}

// minSecret is the shortest secret, in bytes: a shorter one cannot be masked
// without masking innocent text.
const minSecret = 6

// Plan makes the plan of a host. It is pure. The error is of type *Problems:
// unknown phases, variables without a value or of a wrong type, templates that
// fail, missing secrets.
func (c *Catalog) Plan(q Request) (wire.Plan, []Warning, error) {
	b := &builder{catalog: c, request: q, problems: &Problems{}, needed: map[string]bool{}}
	chosen := b.choose()
	b.checkVars()
	plan := wire.Plan{Wire: wire.Version, RunID: q.RunID, Host: q.Host, Verb: q.Verb, Sequential: q.Sequential, Interval: q.Interval, Phases: []wire.Phase{}}
	if plan.Verb == "" {
		plan.Verb = "provision"
	}
	plan.Exclusive = plan.Verb == "provision"
	plan.HostLogs = plan.Exclusive
	b.checkDoor()
	for _, p := range b.order(chosen) {
		if plan.Verb == "verify" && p.ID != verification { // they are asked about, not run
			continue
		}
		plan.Phases = append(plan.Phases, b.phase(p))
	}
	plan.Fetch = b.fetch(plan.Phases)
	plan.Secrets = b.secrets()
	if err := b.problems.err(); err != nil {
		return wire.Plan{}, nil, err
	}
	return plan, b.warnings, nil
}

// builder makes one plan.
type builder struct {
	catalog  *Catalog
	request  Request
	problems *Problems
	warnings []Warning
	inPlan   map[string]bool
	needed   map[string]bool // secrets that the plan uses
}

func (b *builder) warn(hint, format string, args ...any) {
	b.warnings = append(b.warnings, Warning{fmt.Sprintf(format, args...), hint})
}

// choose applies only and skip.
func (b *builder) choose() []*phase {
	known := b.catalog.known()
	for _, id := range slices.Concat(b.request.Only, b.request.Skip) {
		if !slices.Contains(known, id) {
			b.problems.add(b.catalog.unknown(id))
		}
	}
	var chosen []*phase
	b.inPlan = map[string]bool{}
	for _, p := range b.catalog.phases {
		if b.request.Only != nil && !slices.Contains(b.request.Only, p.ID) || slices.Contains(b.request.Skip, p.ID) {
			continue
		}
		chosen = append(chosen, p)
		b.inPlan[p.ID] = true
	}
	return chosen
}

func (b *builder) ids() []string {
	var ids []string
	for _, p := range b.catalog.phases {
		ids = append(ids, p.ID)
	}
	return ids
}

// order puts phases behind their needs and keeps the catalog's order otherwise.
// There are no cycles: Load has refused them.
func (b *builder) order(chosen []*phase) []*phase {
	var list []*phase
	placed := map[string]bool{}
	for len(list) < len(chosen) {
		for _, p := range chosen {
			ready := !placed[p.ID] && (p.ID != verification || len(list) == len(chosen)-1)
			for _, need := range p.Needs {
				ready = ready && (placed[need] || !b.inPlan[need])
			}
			if ready {
				list = append(list, p)
				placed[p.ID] = true
				break
			}
		}
	}
	for _, p := range list {
		for _, need := range p.Needs {
			if !b.inPlan[need] {
				b.warn("", "phase %q needs %q, which is not in the plan: taken as done", p.ID, need)
			}
		}
	}
	return list
}

// checkVars warns of variables that no phase knows, and judges the values of
// vpsctl's own, which need no phase.
func (b *builder) checkVars() {
	var known []string
	for _, v := range Vars() {
		known = append(known, v.Name)
	}
	for _, p := range b.catalog.phases {
		for _, v := range p.Vars {
			known = append(known, v.Name)
		}
	}
	for _, name := range sortedKeys(b.request.Vars) {
		if text, hint := checkVarName(name); text != "" {
			b.problems.addf(hint, "%s", forHost(b.request.Host, "variable: %s", text))
		} else if !slices.Contains(known, name) {
			b.warn(didYouMean(name, known), "variable %q is set, but no phase declares it", name)
		} else if own, ok := tuning(name); ok {
			if _, err := own.fits(b.request.Vars[name]); err != nil {
				b.problems.addf("", "%s", forHost(b.request.Host, "variable %q: %v", name, err))
			}
		}
	}
}

// checkDoor refuses to close root's login to a vpsctl that comes as root: the
// change could not be confirmed, and every run would try it again.
func (b *builder) checkDoor() {
	if b.request.ConnectUser == "root" && b.inPlan["user-creation"] && b.request.Vars["root_login"] == "no" {
		b.problems.addf("log in as another user with become: true, or set root_login: prohibit-password", "%s",
			forHost(b.request.Host, "root_login: no would close the door that vpsctl comes through: it logs in as root"))
	}
}

// phase makes one phase of the plan: its variables are settled, then its steps
// are read once more and rendered.
func (b *builder) phase(p *phase) wire.Phase {
	out := wire.Phase{ID: p.ID, Title: p.Title, Parallel: p.Parallel, Requires: p.Requires, Target: p.Target, Budget: p.Budget}
	for _, need := range p.Needs {
		if b.inPlan[need] {
			out.Needs = append(out.Needs, need)
		}
	}
	if p.ID == verification && b.request.Verb == "verify" {
		out.Needs = nil
	} else if p.ID == verification {
		out.Needs = slices.DeleteFunc(b.ids(), func(id string) bool { return !b.inPlan[id] || id == verification })
	}
	data, env, ok := b.values(p)
	if !ok {
		return out
	}
	out.Env = env
	r := &reader{walker: walker{file: p.folder.label + "/" + phaseFile, lines: p.lines, problems: b.problems},
		folder: p.folder, known: b.catalog.known(), vars: p.Vars, sources: map[string]bool{}}
	r.values = &values{data: data, plan: b.inPlan, secrets: b.request.Secrets, needed: b.needed}
	out.Steps = r.steps(p.steps)
	if p.files {
		out.Files = r.siblings()
	}
	return out
}

// values settles the variables of a phase: data for templates, env for scripts.
// A secret is in data alone.
func (b *builder) values(p *phase) (data map[string]any, env map[string]string, ok bool) {
	q := &b.request
	data = map[string]any{"host": q.Host, "address": q.Address, "groups": q.Groups, "run_id": q.RunID, "connect_user": q.ConnectUser}
	env = map[string]string{"host": q.Host, "address": q.Address, "groups": strings.Join(q.Groups, " "), "run_id": q.RunID, "connect_user": q.ConnectUser}
	printed := map[string]bool{}
	ok = true
	for _, v := range p.Vars {
		if s, is := q.Secrets[v.Name]; is {
			data[v.Name] = secretText{v.Name, s, printed}
			continue
		}
		value, is := q.Vars[v.Name]
		if !is {
			value = v.Default
		}
		if value == nil {
			ok = false
			b.problems.add(Problem{File: p.folder.label + "/" + phaseFile, Line: p.varsAt[v.Name].Line, Col: p.varsAt[v.Name].Column,
				Text: forHost(q.Host, "the variable %q has no value", v.Name), Hint: fmt.Sprintf("set it in the inventory under vars:, or with -e %s=VALUE", v.Name)})
			continue
		}
		fit, err := v.fits(value)
		if err != nil {
			ok = false
			b.problems.addf("", "%s", forHost(q.Host, "variable %q: %v", v.Name, err))
			continue
		}
		data[v.Name], env[v.Name] = fit, envText(fit)
	}
	return data, env, ok
}

// envText is how a script sees a value.
func envText(value any) string {
	if f, ok := value.(float64); ok {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return fmt.Sprint(value)
}

// secrets gives those that the plan uses.
func (b *builder) secrets() map[string]string {
	var used map[string]string
	for _, name := range slices.Sorted(maps.Keys(b.needed)) {
		value := b.request.Secrets[name]
		if len(value) < minSecret {
			b.problems.addf("use a longer one", "%s", forHost(b.request.Host, "the secret %q has %d bytes: under %d it cannot be kept out of the output", name, len(value), minSecret))
			continue
		}
		if used == nil {
			used = map[string]string{}
		}
		used[name] = value
	}
	return used
}
