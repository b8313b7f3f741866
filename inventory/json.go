package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxJSON is the largest JSON inventory, in bytes: programs print far more
	// about a host than anybody writes.
	maxJSON = 32 << 20
	// maxJSONNodes bounds the memory its values take.
	maxJSONNodes = 2_000_000
	// maxJSONDepth: deeper ones are noted, but not kept. Variables lie at 4, and
	// hold single values.
	maxJSONDepth = 6
	// maxNesting bounds the recursion.
	maxNesting = 1000
)

// jsonReader makes YAML nodes of JSON: one walker then reads both, and knows
// the place of every value.
type jsonReader struct {
	data  []byte
	dec   *json.Decoder
	here  pos // of data[off]
	off   int
	nodes int
}

// jsonError is a mistake of the text, and where it is.
type jsonError struct {
	at  pos
	why string
}

func (e *jsonError) Error() string { return e.why }

// readJSON is the one value in data. The error is a *jsonError.
func readJSON(data []byte) (*yaml.Node, error) {
	j := &jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), here: pos{1, 1}}
	j.dec.UseNumber()
	n, err := j.value(0)
	if err != nil {
		return nil, j.mistake(err)
	}
	if j.place(); j.off < len(data) {
		return nil, &jsonError{j.here, "something follows after its end"}
	}
	return n, nil
}

// place moves to where the next token begins.
func (j *jsonReader) place() pos {
	j.advance(int(j.dec.InputOffset()))
	end := j.off
	for end < len(j.data) && strings.IndexByte(" \t\r\n,:", j.data[end]) >= 0 {
		end++
	}
	j.advance(end)
	return j.here
}

func (j *jsonReader) advance(to int) {
	for ; j.off < min(to, len(j.data)); j.off++ {
		switch b := j.data[j.off]; {
		case b == '\n':
			j.here = pos{j.here.line + 1, 1}
		case b&0xC0 != 0x80: // not inside a character
			j.here.col++
		}
	}
}

func (j *jsonReader) value(depth int) (*yaml.Node, error) {
	p := j.place()
	if j.nodes++; j.nodes > maxJSONNodes {
		return nil, &jsonError{p, fmt.Sprintf("more than %d values", maxJSONNodes)}
	}
	if depth > maxNesting {
		return nil, &jsonError{p, "values lie too deep in each other"}
	}
	t, err := j.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line, Column: p.col}
	switch t := t.(type) {
	case json.Delim:
		return n, j.inside(n, t, depth)
	case string:
		n.Tag, n.Value = "!!str", t
	case json.Number:
		n.Tag, n.Value = "!!int", t.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

// inside reads what an object or a list holds, up to its end.
func (j *jsonReader) inside(n *yaml.Node, open json.Delim, depth int) error {
	n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	if open == '{' {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	for j.dec.More() {
		m, err := j.value(depth + 1)
		if err != nil {
			return err
		}
		if depth < maxJSONDepth {
			n.Content = append(n.Content, m)
		} else {
			j.nodes--
		}
	}
	_, err := j.dec.Token()
	return err
}

func (j *jsonReader) mistake(err error) error {
	var own *jsonError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &syntax):
		j.advance(int(syntax.Offset) - 1)
		return &jsonError{j.here, syntax.Error()}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		j.advance(len(j.data))
		return &jsonError{j.here, "it ends before its last bracket"}
	}
	j.place()
	return &jsonError{j.here, err.Error()}
}
