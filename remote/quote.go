package remote

import "strings"

// quote makes one word that sh, bash, zsh, fish and csh all read as s. In
// single quotes fish knows backslashes and csh knows "!", so these stand
// outside of them, as single quotes do. No shell but csh is troubled by a
// newline, but csh cannot be given one: s must not have any.
func quote(s string) string {
	if s == "" {
		return "''"
	}
	var b strings.Builder
	open := false
	toggle := func(want bool) {
		if open != want {
			b.WriteByte('\'')
			open = want
		}
	}
	for i := range len(s) {
		switch c := s[i]; c {
		case '\'', '\\', '!':
			toggle(false)
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			toggle(true)
			b.WriteByte(c)
		}
	}
	toggle(false)
	return b.String()
}

// command is the line that makes any login shell run script by /bin/sh, through
// the words in front of it. None of all may have newlines.
func command(through []string, script string, args ...string) string {
	return commandAs("vpsctl", through, script, args...)
}

// commandAs is command with the name that the shell gives itself in messages.
func commandAs(name string, through []string, script string, args ...string) string {
	var b strings.Builder
	b.WriteString("exec ")
	for _, w := range through {
		b.WriteString(quote(w) + " ")
	}
	b.WriteString("/bin/sh -c " + quote(script) + " " + quote(name))
	for _, a := range args {
		b.WriteString(" " + quote(a))
	}
	return b.String()
}

// oneLine joins the lines of a script of ours, which are written for that.
func oneLine(script string) string {
	var words []string
	for l := range strings.Lines(script) {
		if l = strings.TrimSpace(l); l != "" {
			words = append(words, l)
		}
	}
	return strings.Join(words, " ")
}
