package phases

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// reader reads one phase. While loading it checks all that can be known;
// while a plan is made it reads the same nodes again and renders them, so that
// a rendered text goes through the same checks as a literal one.
type reader struct {
	walker
	folder  *folder
	known   []string // ids of phases
	vars    []Var
	values  *values         // nil while loading
	sources map[string]bool // files that are the content of a file step
}

// phase is a loaded phase: what is shown of it, and what plans are made from.
type phase struct {
	Phase
	folder  *folder
	lines   []string
	needsAt *yaml.Node            // nil without needs
	varsAt  map[string]*yaml.Node // where each variable is declared
	steps   *yaml.Node
	files   bool // its scripts use $PHASE_DIR
}

var osName = regexp.MustCompile(`^[a-z0-9._]+(-[A-Za-z0-9._]+)?$`)

var phaseKeys = []string{"schema", "id", "title", "needs", "requires", "target", "budget", "parallel", "vars", "steps", "override"}

// readPhase reads phase.yaml of f; every mistake goes to problems. It is nil
// when there is too little to go on with.
func readPhase(f *folder, known []string, problems *Problems) *phase {
	file := f.label + "/" + phaseFile
	r := &reader{walker: walker{file: file, problems: problems}, folder: f, known: known, sources: map[string]bool{}}
	root := r.parse(f.files[phaseFile])
	if root == nil {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		r.wrong(root, "phase", "a mapping (key: value)")
		return nil
	}
	m := r.mapping(root, "phase", phaseKeys, nil)
	p := &phase{folder: f, lines: r.lines, varsAt: map[string]*yaml.Node{}, steps: m["steps"]}
	p.ID, p.Origin = f.id, f.origin
	r.head(root, m, p)
	r.limits(m, p)
	if n := m["vars"]; n != nil {
		p.Vars = r.declared(n, p.varsAt)
	}
	r.vars = p.Vars
	if p.steps == nil {
		r.fail(root, "", "phase: no steps")
		return p
	}
	for _, s := range r.steps(p.steps) {
		p.Steps = append(p.Steps, StepHead{s.Name, s.Kind()})
		if s.Reboot && p.Parallel {
			r.fail(p.steps, "drop parallel: true", "step %q: a phase that runs beside others cannot ask for a reboot", s.Name)
		}
	}
	p.files = strings.Contains(string(f.files[phaseFile]), "PHASE_DIR") || f.mentionsPhaseDir()
	return p
}

// mentionsPhaseDir: only then its scripts can want the phase's files.
func (f *folder) mentionsPhaseDir() bool {
	for _, body := range f.files {
		if strings.Contains(string(body), "PHASE_DIR") {
			return true
		}
	}
	return false
}

// head reads what names and orders a phase.
func (r *reader) head(root *yaml.Node, m map[string]*yaml.Node, p *phase) {
	switch n := m["schema"]; {
	case n == nil:
		r.fail(root, "add schema: 1", "phase: no schema")
	case n.Value != "1" || n.ShortTag() != "!!int":
		r.fail(n, "schema: 1", "schema %q is not known", n.Value)
	}
	if n := m["id"]; n == nil {
		r.fail(root, fmt.Sprintf("add id: %s", p.ID), "phase: no id")
	} else if id, ok := r.word(n, "id"); ok && id != p.ID {
		r.fail(n, fmt.Sprintf("write id: %s, or rename the folder", p.ID), "id %q is not the folder's name", id)
	}
	if n := m["title"]; n == nil {
		r.fail(root, "", "phase: no title")
	} else {
		p.Title, _ = r.word(n, "title")
	}
	override := m["override"] != nil && r.boolean(m["override"], "override")
	if own := slices.Contains(IDs(), p.ID); own && !override && p.folder.origin != "built in" {
		r.fail(root, "add override: true if it shall replace vpsctl's own", "%q is one of vpsctl's own phases", p.ID)
	} else if !own && override {
		r.fail(m["override"], "", "override: %q is not one of vpsctl's own phases", p.ID)
	}
	p.needsAt, p.Needs = m["needs"], []string{}
	if p.needsAt != nil {
		p.Needs = append(p.Needs, r.phaseIDs(p.needsAt, "needs")...)
	}
}

// phaseIDs reads names of phases, all of which must be known.
func (r *reader) phaseIDs(n *yaml.Node, what string) []string {
	var ids []string
	for _, item := range r.list(n, what) {
		if id, ok := r.phaseID(item, what); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *reader) phaseID(n *yaml.Node, what string) (string, bool) {
	id, ok := r.word(n, what)
	if ok && !slices.Contains(r.known, id) {
		r.fail(n, didYouMean(id, r.known), "%s: there is no phase %q", what, id)
		return "", false
	}
	return id, ok
}

// limits reads what a phase needs and may take.
func (r *reader) limits(m map[string]*yaml.Node, p *phase) {
	if n := m["requires"]; n != nil {
		p.Requires = r.requires(n)
	}
	if n := m["target"]; n != nil {
		t := r.mapping(n, "target", []string{"standard", "small", "rerun"}, nil)
		for key, d := range map[string]*time.Duration{"standard": &p.Target.Standard, "small": &p.Target.Small, "rerun": &p.Target.Rerun} {
			if t[key] != nil {
				*d = r.duration(t[key], "target."+key)
			}
		}
	}
	if n := m["budget"]; n != nil {
		p.Budget = r.duration(n, "budget")
	}
	if n := m["parallel"]; n != nil {
		p.Parallel = r.boolean(n, "parallel")
	}
}

func (r *reader) requires(n *yaml.Node) *wire.Requires {
	m := r.mapping(n, "requires", []string{"os", "arch", "memory", "disk", "ports"}, nil)
	req := &wire.Requires{}
	if n := m["os"]; n != nil {
		for _, item := range r.list(n, "requires.os") {
			if s, ok := r.word(item, "requires.os"); ok && osName.MatchString(s) {
				req.OS = append(req.OS, s)
			} else if ok {
				r.fail(item, "ID and VERSION_ID of /etc/os-release, such as debian-13", "requires.os: %q names no system", s)
			}
		}
	}
	if n := m["arch"]; n != nil {
		for _, item := range r.list(n, "requires.arch") {
			if s, ok := r.word(item, "requires.arch"); ok && (s == "amd64" || s == "arm64") {
				req.Arch = append(req.Arch, s)
			} else if ok {
				r.fail(item, "amd64 or arm64", "requires.arch: %q is no architecture vpsctl knows", s)
			}
		}
	}
	if n := m["memory"]; n != nil {
		req.MemoryMB = r.mebibytes(n, "requires.memory")
	}
	if n := m["disk"]; n != nil {
		req.DiskMB = r.mebibytes(n, "requires.disk")
	}
	if n := m["ports"]; n != nil {
		req.Ports = r.ports(n)
	}
	return req
}

// ports reads a mapping of TCP ports to the programs that may have them.
func (r *reader) ports(n *yaml.Node) map[int]string {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "requires.ports", "a mapping (port: program)")
		return nil
	}
	ports := map[int]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		port, err := strconv.Atoi(key.Value)
		if err != nil || key.ShortTag() != "!!int" || port < 1 || port > 65535 || ports[port] != "" {
			r.fail(key, "1 to 65535 and who may have it, each once, such as {3389: xrdp}", "requires.ports: %q is no port", key.Value)
			continue
		}
		ports[port], _ = r.word(n.Content[i+1], "requires.ports")
	}
	return ports
}

// declared reads vars: a scalar is a default, nothing means that vpsctl's own
// default holds or that the variable must be set, a mapping says it in full.
func (r *reader) declared(n *yaml.Node, at map[string]*yaml.Node) []Var {
	list, _ := r.entries(n, "vars")
	vars := []Var{}
	for _, e := range list {
		if text, hint := checkVarName(e.key); text != "" {
			r.fail(e.at, hint, "vars: %s", text)
			continue
		}
		at[e.key] = e.at
		vars = append(vars, r.declare(e))
	}
	return vars
}

func (r *reader) declare(e entry) Var {
	v := Var{Name: e.key, Type: "string"}
	what := "vars." + e.key
	own, isOwn := tuning(e.key)
	if e.value.Kind == yaml.ScalarNode && e.value.ShortTag() == "!!null" {
		if isOwn {
			return own
		}
		return v
	}
	if isOwn {
		r.fail(e.value, fmt.Sprintf("write %q alone; its value comes from the inventory", e.key+":"), "%s is one of vpsctl's own variables", e.key)
		return own
	}
	value := e.value
	if value.Kind == yaml.MappingNode {
		value = r.declareInFull(value, what, &v)
	} else if x, ok := r.scalar(value, what); ok {
		v.Type = typeOf(x)
	}
	if value == nil {
		return v
	}
	if x, ok := r.scalar(value, what); ok {
		fit, err := v.fits(x)
		if err != nil {
			r.fail(value, "", "%s: %v", what, err)
		}
		v.Default = fit
	}
	return v
}

// declareInFull reads {type, default, doc, one_of} and gives the default's node.
func (r *reader) declareInFull(n *yaml.Node, what string, v *Var) *yaml.Node {
	m := r.mapping(n, what, []string{"type", "default", "doc", "one_of"}, nil)
	if t := m["type"]; t != nil {
		if s, ok := r.word(t, what+".type"); ok && slices.Contains([]string{"string", "int", "float", "bool"}, s) {
			v.Type = s
		} else if ok {
			r.fail(t, "string, int, float or bool", "%s: %q is no type", what, s)
		}
	} else if d := m["default"]; d != nil {
		if x, ok := r.scalar(d, what+".default"); ok {
			v.Type = typeOf(x)
		}
	}
	if d := m["doc"]; d != nil {
		v.Doc, _ = r.word(d, what+".doc")
	}
	if o := m["one_of"]; o != nil {
		v.OneOf = r.words(o, what+".one_of")
	}
	return m["default"]
}

// scalar reads a string, int, float or bool.
func (r *reader) scalar(n *yaml.Node, what string) (any, bool) {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool":
			var x any
			if err := n.Decode(&x); err == nil && typeOf(x) != "" {
				return x, true
			}
		}
	}
	r.wrong(n, what, "a text, a number, true or false")
	return nil, false
}
