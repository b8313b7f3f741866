package wire

import (
	"encoding/base64"
	"strconv"
)

// EarlyPlan is a variable of the environment in which a small plan may come
// together with the command that reads it. OpenSSH takes nothing for a command's
// stdin before the command has begun, which is a round trip later. It drops
// variables that it is not told to accept; LC_* it accepts on Debian and Ubuntu.
// The plan comes on stdin all the same.
const EarlyPlan = "LC_VPSCTL_PLAN"

// maxEarly bounds such a plan in bytes: programs that are started on the way get
// it too, and what nobody has read yet must leave room in a pipe of 64 KiB.
const maxEarly = 24 << 10

// Early is the variable's value for a plan whose JSON is doc, and its hash, which
// goes with the command; both are "" for one that has to come on stdin alone. An
// environment is seen by nobody but root and the user himself, as stdin is, but
// more is inclined to note it down (a crash's record, a debug log): nothing secret
// goes into it.
func (p *Plan) Early(doc []byte) (value, sum string) {
	if len(doc) > maxEarly || p.confides() {
		return "", ""
	}
	return base64.RawURLEncoding.EncodeToString(doc), sumOf(doc)
}

// FromEarly is the plan's JSON in a variable's value; nil when it is not the one
// of that hash: a user's own files can set variables, also for what sudo starts.
func FromEarly(value, sum string) []byte {
	doc, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || sumOf(doc) != sum {
		return nil
	}
	return doc
}

// confides says that something in the plan is not for everybody on the host.
func (p *Plan) confides() bool {
	if len(p.Secrets) > 0 {
		return true
	}
	for _, ph := range p.Phases {
		for i := range ph.Steps {
			if ph.Steps[i].confides() {
				return true
			}
		}
	}
	return false
}

func (s *Step) confides() bool {
	switch {
	case s.Look != nil:
		return s.Look.confides()
	case s.Archive != nil:
		return len(s.Archive.Content) > 0 // with what rights its files come is in it
	case s.Packages != nil:
		for _, d := range s.Packages.Debconf {
			if d.Type == "password" {
				return true
			}
		}
	case s.File != nil:
		mode, err := strconv.ParseUint(s.File.Mode, 8, 32)
		return s.File.Sensitive || s.File.Mode != "" && (err != nil || mode&0o004 == 0)
	}
	return len(s.Secrets) > 0
}
