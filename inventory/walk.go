package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// This file is the one place that looks at YAML. The decoder of the library
// forgets unknown keys, takes 1.5 for an int and stops after one document, so
// its nodes are walked by hand instead.

// maxNodes bounds what is looked at after aliases have been followed.
const maxNodes = 1_000_000

type walker struct {
	*problems
	nodes int
}

// pair is an entry of a mapping.
type pair struct {
	key   string
	at    pos
	value *yaml.Node
}

func at(n *yaml.Node) pos { return pos{n.Line, n.Column} }

// document is the root of the only document in data, or nil.
func (w *walker) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		w.add(pos{}, "an inventory has at least `hosts:` with one name under it", "the file is empty")
		return nil
	}
	if err != nil {
		w.syntax(data, err)
		return nil
	}
	switch err = dec.Decode(&second); {
	case err == nil:
		w.add(at(&second), "put all hosts into one document; remove the line `---`", "a second YAML document begins here")
	case !errors.Is(err, io.EOF):
		w.syntax(data, err)
	}
	return doc.Content[0]
}

// visit follows an alias and refuses tags. False: do not look at n.
func (w *walker) visit(n *yaml.Node, who string) (*yaml.Node, bool) {
	if w.nodes++; w.nodes > maxNodes {
		if w.nodes == maxNodes+1 {
			w.add(at(n), "put shared values into `defaults` or a group", "the inventory has more than %d values", maxNodes)
		}
		return n, false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		w.add(at(n), "remove the tag", "%s: the tag %s is not read here", who, quote(n.Tag))
		return n, false
	}
	return n, true
}

// pairs are the entries of a mapping; nothing at all counts as an empty one.
func (w *walker) pairs(n *yaml.Node, who string) []pair {
	n, ok := w.visit(n, who)
	if !ok || isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		w.add(at(n), "write `key: value` lines under it", "%s must be a mapping, not %s", who, describe(n))
		return nil
	}
	first := make(map[string]int, len(n.Content)/2)
	list := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch line, twice := first[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			w.add(at(k), "a key is a word", "%s: a key must not be %s", who, describe(k))
		case k.Tag == "!!merge":
			w.add(at(k), "put what several hosts share into `defaults` or a group", "%s: merge keys (<<) are not read here", who)
		case twice:
			w.add(at(k), "remove one of the two", "%s: the key %s is there twice, first in line %d", who, quote(k.Value), line)
		default:
			first[k.Value] = k.Line
			list = append(list, pair{k.Value, at(k), v})
		}
	}
	return list
}

// items are the elements of a list.
func (w *walker) items(n *yaml.Node, who string) []*yaml.Node {
	n, ok := w.visit(n, who)
	if !ok || isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		w.add(at(n), "write it in brackets: [a, b]", "%s must be a list, not %s", who, describe(n))
		return nil
	}
	return n.Content
}

// texts are a list of strings. Where one is also allowed to stand alone, it
// counts as a list of one.
func (w *walker) texts(n *yaml.Node, who string, alone bool) []pair {
	if real, ok := w.visit(n, who); ok && alone && real.Kind == yaml.ScalarNode {
		if s, ok := w.text(real, who); ok {
			return []pair{{s, at(n), real}}
		}
		return nil
	}
	var list []pair
	for _, item := range w.items(n, who) {
		if s, ok := w.text(item, who); ok {
			list = append(list, pair{s, at(item), item})
		}
	}
	return list
}

func (w *walker) text(n *yaml.Node, who string) (string, bool) {
	n, ok := w.visit(n, who)
	if !ok {
		return "", false
	}
	switch {
	case isNull(n) || isText(n) && n.Value == "":
		w.add(at(n), "leave it out, or give it a value", "%s is empty", who)
		return "", false
	case !isText(n):
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf("quote it: %q", clip(n.Value))
		}
		w.add(at(n), hint, "%s must be text, not %s", who, describe(n))
		return "", false
	}
	return n.Value, true
}

func (w *walker) truth(n *yaml.Node, who string) (value, ok bool) {
	n, ok = w.visit(n, who)
	if !ok {
		return false, false
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		w.add(at(n), "write true or false, without quotes", "%s must be true or false, not %s", who, describe(n))
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

// whole reads a whole number from least to most.
func (w *walker) whole(n *yaml.Node, who string, least, most int) (int, bool) {
	n, ok := w.visit(n, who)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(n.Value)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" && err == nil && strconv.Itoa(i) == n.Value && least <= i && i <= most {
		return i, true
	}
	hint := ""
	if isText(n) && err == nil {
		hint = "without quotes: " + n.Value
	}
	w.add(at(n), hint, "%s must be a whole number from %d to %d, not %s", who, least, most, describe(n))
	return 0, false
}

// isText holds for strings, and for dates, which are nothing but text here.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!timestamp")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe names what stands where something else was expected.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return n.Value
	}
	return "the text " + quote(n.Value)
}
