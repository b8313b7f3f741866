package inventory

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValue is the longest value of a variable, in bytes: the kernel takes no
// more than 128 KiB for one variable of the environment.
const maxValue = 64 << 10

// maxVars bounds the variables of one place; each of its hosts gets them all.
const maxVars = 500

var envRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (w *walker) vars(l layer, n *yaml.Node, who, source string) {
	ps := w.pairs(n, who+": vars")
	if len(ps) > maxVars {
		w.add(ps[maxVars].at, "many values belong into a file of a phase", "%s: more than %d variables", who, maxVars)
		ps = ps[:maxVars]
	}
	for _, p := range ps {
		if why, hint := badVarName(p.key); why != "" {
			w.add(p.at, hint, "%s: %s", who, why)
			continue
		}
		w.set(l, varPrefix+p.key, p.value, who, source, readVar)
	}
}

func readVar(w *walker, n *yaml.Node, who string) (any, bool) {
	n, ok := w.visit(n, who)
	switch {
	case !ok:
		return nil, false
	case n.Kind == yaml.MappingNode:
		ref, ok := w.ref(n, who)
		return Var{Secret: ref}, ok
	case n.Kind != yaml.ScalarNode:
		w.add(at(n), `write it as one text: "a b c"`, "%s must be a single value, not %s", who, describe(n))
		return nil, false
	}
	v, why, hint := scalar(n)
	if why != "" {
		w.add(at(n), hint, "%s: %s", who, why)
	}
	return Var{Value: v}, why == ""
}

// scalar is the value of a YAML scalar: string, int, float64 or bool. A number
// that would not come out as it was typed (1.10, 0644, 0x1F, 1_000) is refused:
// most of them are versions, modes and telephone numbers.
func scalar(n *yaml.Node) (value any, why, hint string) {
	text := n.Value
	read := ""
	switch n.Tag {
	case "!!null":
		return nil, "it has no value", `write "" for an empty text`
	case "!!bool":
		return strings.EqualFold(text, "true"), "", ""
	case "!!int":
		i, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, strconv.IntSize)
		if err != nil {
			return nil, fmt.Sprintf("the number %s is too large", clip(text)), "quote it"
		}
		value, read = int(i), strconv.FormatInt(i, 10)
	case "!!float":
		f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if err != nil {
			return nil, fmt.Sprintf("%s is not a number here", clip(text)), fmt.Sprintf("quote it: %q", clip(text))
		}
		value, read = f, strconv.FormatFloat(f, 'f', -1, 64)
	default:
		return stringValue(text)
	}
	if read != text {
		return nil, fmt.Sprintf("the number %s would be read as %s", clip(text), clip(read)), fmt.Sprintf("quote it: %q", clip(text))
	}
	return value, "", ""
}

func stringValue(s string) (value any, why, hint string) {
	switch {
	case len(s) > maxValue:
		return nil, fmt.Sprintf("the text is longer than %d KiB", maxValue>>10), "put it into a file of a phase"
	case strings.ContainsRune(s, 0):
		return nil, "the text has a zero byte in it", ""
	}
	return s, "", ""
}

// ref reads a reference to a secret.
func (w *walker) ref(n *yaml.Node, who string) (*Ref, bool) {
	const hint = "{env: NAME}, {file: PATH} or {command: [program, argument, …]}"
	var ref Ref
	ps := w.pairs(n, who)
	if len(ps) != 1 {
		w.add(at(n), hint, "%s: a secret is named by one of env, file and command", who)
		return nil, false
	}
	p, ok := ps[0], false
	switch p.key {
	case "env":
		if ref.Env, ok = w.text(p.value, who+".env"); ok && !envRule.MatchString(ref.Env) {
			w.add(at(p.value), "the bare name, without $", "%s.env: %s is not a name of the environment", who, quote(ref.Env))
			return nil, false
		}
	case "file":
		ref.File, ok = w.text(p.value, who+".file")
	case "command":
		before := w.count()
		for _, arg := range w.texts(p.value, who+".command", false) {
			ref.Command = append(ref.Command, arg.key)
		}
		if ok = len(ref.Command) > 0; !ok && w.count() == before {
			w.add(at(p.value), "{command: [pass, show, vps/beta]}", "%s.command: there is no command", who)
		}
	default:
		w.add(p.at, w.meant(p.key, []string{"env", "file", "command"}, hint), "%s: unknown key %s", who, quote(p.key))
	}
	return &ref, ok
}

// extra reads the variables of the command line, each value as YAML reads it.
func (w *walker) extra(vars map[string]string) layer {
	l := layer{}
	for name, text := range vars {
		if why, hint := badVarName(name); why != "" {
			w.addFor("-e "+name, pos{}, hint, why)
			continue
		}
		value, why, hint := extraValue(text)
		if why != "" {
			w.addFor("-e "+name, pos{}, hint, why)
			continue
		}
		origin := "-e " + name
		l[varPrefix+name] = entry{Var{Value: value}, pos{}, origin, origin}
	}
	return l
}

// extraValue reads text as a YAML scalar. What YAML would take for plain text is
// taken as it was typed: YAML would fold its lines and drop " # comments".
func extraValue(text string) (value any, why, hint string) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return stringValue(text)
	}
	n := doc.Content[0]
	decorated := n.Anchor != "" || n.HeadComment+n.LineComment+n.FootComment+doc.HeadComment+doc.FootComment != ""
	switch {
	case n.Kind != yaml.ScalarNode || n.Style&yaml.TaggedStyle != 0:
		return nil, fmt.Sprintf("the value must be a single one, not %s", describe(n)), `for a text in brackets: -e 'NAME="[text]"'`
	case n.Style == 0 && (isText(n) || decorated):
		return stringValue(text)
	}
	return scalar(n)
}
