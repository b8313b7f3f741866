package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// needs is what a plan asks of a host before any of its steps: what preflight
// asks for, and what it judges the answers by.
type needs struct {
	requires []phaseRequires
	ports    map[int]string // TCP, and the program that may have it already
	root     string         // why root is needed, "" when it is not
	apt      bool           // packages will be installed
	mirror   string         // replaces the host's own package mirror, ""
	indexes  []string       // "URI SUITE"
	links    []string
}

type phaseRequires struct {
	phase string
	wire.Requires
}

// needsOf reads a plan.
func needsOf(p *wire.Plan) needs {
	n := needs{ports: map[int]string{}}
	for i := range p.Phases {
		ph := &p.Phases[i]
		if q := ph.Requires; q != nil {
			n.requires = append(n.requires, phaseRequires{ph.ID, *q})
			maps.Copy(n.ports, q.Ports)
		}
		if m := ph.Env["apt_mirror"]; m != "" && n.mirror == "" {
			n.mirror = m
			n.indexes = append(n.indexes, m+" trixie")
		}
		for j := range ph.Steps {
			n.step(ph.ID, &ph.Steps[j])
		}
	}
	return n
}

// step adds what one step needs.
func (n *needs) step(phase string, s *wire.Step) {
	if s.Skip != "" {
		return
	}
	if s.Packages != nil || s.Run != nil && s.Run.Apt || s.Repository != nil {
		n.apt = true
	}
	owned := s.File != nil && s.File.Owner != "" || s.Archive != nil && s.Archive.Owner != ""
	if n.root == "" && (s.Packages != nil || s.Run != nil && s.Run.Apt || s.Repository != nil || s.Service != nil || s.User != nil || s.As != "" || owned) {
		n.root = fmt.Sprintf("%s/%s", phase, s.Name)
	}
	if r := s.Repository; r != nil {
		for _, uri := range r.URIs {
			for _, suite := range r.Suites {
				n.add(&n.indexes, uri+" "+suite)
			}
		}
		if r.KeyURL != "" {
			n.add(&n.links, r.KeyURL)
		}
	}
	if a := s.Archive; a != nil && a.URL != "" {
		n.add(&n.links, a.URL)
	}
}

// add keeps a text that is one line and new.
func (n *needs) add(list *[]string, text string) {
	if !strings.ContainsAny(text, "\r\n\t") && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// questions is the input of preflight.sh.
func (n *needs) questions() *bytes.Buffer {
	var b bytes.Buffer
	if n.apt {
		b.WriteString("apt\n")
	}
	for _, x := range n.indexes {
		fmt.Fprintf(&b, "index %s\n", x)
	}
	for _, x := range n.links {
		fmt.Fprintf(&b, "url %s\n", x)
	}
	for _, port := range slices.Sorted(maps.Keys(n.ports)) {
		fmt.Fprintf(&b, "port %d\n", port)
	}
	return &b
}

// answers is what preflight.sh printed: its lines by their first word.
type answers map[string][][]string

// maxAnswers bounds what a host may say, in bytes.
const maxAnswers = 256 << 10

// parseAnswers reads the lines of preflight.sh. Lines that it does not know are
// kept; an answer without its end is an error.
func parseAnswers(b []byte) (answers, error) {
	a := answers{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, maxAnswers)
	for sc.Scan() {
		words := strings.Split(sc.Text(), "\t")
		if words[0] == "end" {
			return a, nil
		}
		a[words[0]] = append(a[words[0]], words[1:])
	}
	return nil, fmt.Errorf("its answer breaks off after %d bytes", len(b))
}

// word is the i-th word of a line, "" when there is none.
func word(line []string, i int) string {
	if i < len(line) {
		return line[i]
	}
	return ""
}

// one is the only line of a kind, or nil.
func (a answers) one(kind string) []string {
	if len(a[kind]) == 0 {
		return nil
	}
	return a[kind][0]
}
