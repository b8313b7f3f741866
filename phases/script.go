package phases

import (
	"bytes"
	"errors"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// checkScript reports what a shell would not accept. Scripts of other
// interpreters are not read.
func checkScript(at place, text string) bool {
	lang, ok := shellOf(text)
	if !ok {
		return true
	}
	_, err := syntax.NewParser(syntax.Variant(lang)).Parse(strings.NewReader(text), "")
	if err == nil {
		return true
	}
	var parse syntax.ParseError
	var feature syntax.LangError
	switch {
	case errors.As(err, &parse):
		at.fail(int(parse.Pos.Line()), int(parse.Pos.Col()), "", "script: %s", parse.Text)
	case errors.As(err, &feature):
		at.fail(int(feature.Pos.Line()), int(feature.Pos.Col()), "begin the script with #!/bin/bash", "script: a POSIX sh does not have %s", feature.Feature)
	default:
		at.fail(1, 1, "", "script: %v", err)
	}
	return false
}

// shellOf tells a script's language by its #! line: POSIX sh without one. ok is
// false for what is no shell this program can read.
func shellOf(text string) (lang syntax.LangVariant, ok bool) {
	first, _, _ := strings.Cut(text, "\n")
	if !strings.HasPrefix(first, "#!") {
		return syntax.LangPOSIX, true
	}
	words := strings.Fields(first[2:])
	for len(words) > 1 && (path.Base(words[0]) == "env" || strings.HasPrefix(words[0], "-")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return syntax.LangPOSIX, true
	}
	switch path.Base(words[0]) {
	case "sh", "dash", "ash":
		return syntax.LangPOSIX, true
	case "bash":
		return syntax.LangBash, true
	}
	return 0, false
}

// checkTextScript refuses what cannot be a script at all.
func checkTextScript(at place, body []byte) bool {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		at.fail(1, 1, "", "the script is empty")
	case bytes.IndexByte(body, 0) >= 0:
		at.fail(1, 1, "programs are pushed, then run", "this is no script: it has NUL bytes")
	default:
		return true
	}
	return false
}
