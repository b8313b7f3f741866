package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// subject is what a step is about, in words.
func subject(s *wire.Step) string {
	text := ""
	switch {
	case s.Packages != nil:
		text = strings.Join(s.Packages.Names, " ")
	case s.File != nil:
		text = s.File.Path
	case s.Service != nil:
		text = s.Service.Name
	case s.User != nil:
		text = "user " + s.User.Name
	case s.Repository != nil:
		text = "package source " + s.Repository.Name
	case s.Archive != nil:
		text = s.Archive.Dest
	case s.Run != nil:
		text = "its script"
	case s.Assert != nil:
		text = "its question"
	}
	return cleanLine(text)
}

// provides names what a step brings that others may need.
func provides(s *wire.Step) string {
	if s.User != nil {
		return s.User.Name
	}
	return ""
}

// owner is the user that a file shall belong to.
func owner(f *wire.File) string {
	user, _, _ := strings.Cut(f.Owner, ":")
	return user
}

// deed says what would be done about a difference.
func deed(s *wire.Step, reason string) string {
	verb := "change"
	switch {
	case s.File != nil && s.File.State == "absent":
		verb, reason = "remove", ""
	case reason == "was not there" && s.File != nil:
		verb, reason = map[string]string{"directory": "make folder", "link": "make link"}[s.File.State], ""
		if verb == "" {
			verb, reason = "create", size(len(s.File.Content))
		} else if s.File.Target != "" {
			reason = "to " + cleanLine(s.File.Target)
		}
	case s.User != nil && strings.HasSuffix(reason, "no user "+s.User.Name):
		verb, reason = "make", ""
	case s.Repository != nil:
		verb = "write"
	case s.Archive != nil:
		verb = "unpack " + cmp.Or(s.Archive.URL, "an archive") + " into"
	case s.Service != nil:
		verb = serviceVerb(s.Service, reason)
	}
	if s.File != nil {
		reason = strings.ReplaceAll(reason, ", now ", " -> ") // said of what was done
	}
	text := cleanLine(verb) + " " + subject(s)
	if reason != "" {
		text += " (" + reason + ")"
	}
	return text
}

func serviceVerb(s *wire.Service, reason string) string {
	var verbs []string
	switch {
	case strings.Contains(reason, ", not enabled"):
		verbs = append(verbs, "enable")
	case strings.Contains(reason, "is enabled"):
		verbs = append(verbs, "disable")
	}
	switch {
	case s.State == "running" && strings.Contains(reason, ", not running"):
		verbs = append(verbs, "start")
	case s.State == "stopped" && strings.Contains(reason, ", not stopped"):
		verbs = append(verbs, "stop")
	}
	return cmp.Or(strings.Join(verbs, " and "), "change")
}

func size(n int) string { return plural(n, "byte") }

// then says what follows a change of the step.
func then(s *wire.Step) []string {
	var out []string
	for _, h := range s.OnChange {
		switch {
		case h.Reload != "":
			out = append(out, "reload "+cleanLine(h.Reload))
		case h.Restart != "":
			out = append(out, "restart "+cleanLine(h.Restart))
		default:
			out = append(out, "run a script")
		}
	}
	if s.Reboot {
		out = append(out, "reboot")
	}
	return out
}

// parseApt reads the lines "Inst NAME [OLD] (NEW …)" and "Remv NAME [OLD]" of
// apt-get -s.
func parseApt(text string) *LookedPackages {
	p := &LookedPackages{Install: []LookedPackage{}, Upgrade: []LookedPackage{}, Remove: []LookedPackage{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		one, rest := LookedPackage{Name: f[1]}, f[2:]
		if len(rest) > 0 && strings.HasPrefix(rest[0], "[") {
			one.Now, rest = strings.Trim(rest[0], "[]"), rest[1:]
		}
		if len(rest) > 0 {
			one.Version = strings.Trim(rest[0], "()")
		}
		switch {
		case f[0] == "Inst" && one.Now == "":
			one.Name, _, _ = strings.Cut(one.Name, ":")
			p.Install = append(p.Install, one)
		case f[0] == "Inst":
			p.Upgrade = append(p.Upgrade, one)
		case f[0] == "Remv" || f[0] == "Purg":
			one.Version = ""
			p.Remove = append(p.Remove, one)
		}
	}
	return p
}

// words says it for people; missing are the packages that were asked for.
func (p *LookedPackages) words(missing []string) string {
	var parts []string
	if len(p.Install) == 0 {
		parts = append(parts, "install "+strings.Join(missing, " "))
	}
	for _, part := range []struct {
		verb string
		list []LookedPackage
	}{{"install", p.Install}, {"upgrade", p.Upgrade}, {"remove", p.Remove}} {
		var names []string
		for _, one := range part.list {
			name := one.Name
			if v := cmp.Or(one.Version, one.Now); v != "" {
				name += " " + v
			}
			if one.Version != "" && one.Now != "" {
				name += " (now " + one.Now + ")"
			}
			names = append(names, name)
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s %d: %s", part.verb, len(names), some(names, 40)))
		}
	}
	return strings.Join(parts, "; ")
}

// some joins the first of many.
func some(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
