package inventory

import (
	"errors"
	"strings"
	"testing"
)

const selectable = `groups:
  eu: {hosts: [alpha, beta]}
  us: {hosts: [gamma]}
  world: {groups: [eu, us], hosts: [delta]}
  web: {hosts: ["*a"]}
  empty: {}
hosts: {delta: {}, alpha: {}, beta: {}, gamma: {}, solo.x: {}}
`

func TestSelect(t *testing.T) {
	inv := mustLoad(t, selectable, Options{SSHConfig: "none"})
	for limit, want := range map[string]string{
		"":                        "delta alpha beta gamma solo.x",
		"all":                     "delta alpha beta gamma solo.x",
		"alpha":                   "alpha",
		"gamma,alpha":             "alpha gamma",
		" gamma , alpha ":         "alpha gamma",
		"alpha,alpha":             "alpha",
		"eu":                      "alpha beta",
		"world":                   "delta alpha beta gamma",
		"*a":                      "delta alpha beta gamma",
		"[ab]*":                   "alpha beta",
		"solo.?":                  "solo.x",
		"e*":                      "alpha beta",
		"!eu":                     "delta gamma solo.x",
		"! eu":                    "delta gamma solo.x",
		"&eu":                     "alpha beta",
		"world,&web,!gamma":       "delta alpha beta",
		"!gamma,&web,world":       "delta alpha beta",
		"world,&web,&eu":          "alpha beta",
		"all,!w*,solo.x":          "",
		"all,!empty":              "delta alpha beta gamma solo.x",
		"eu,us,!alpha,!g*":        "beta",
		"alpha,&alpha,!beta,beta": "alpha",
	} {
		hosts, err := inv.Select(limit)
		var names []string
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		if limit == "all,!w*,solo.x" {
			want = "solo.x"
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", limit, got, err, want)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	inv := mustLoad(t, selectable, Options{SSHConfig: "none"})
	const list = "see what there is with `vpsctl inventory list`"
	for limit, want := range map[string][2]string{
		"alhpa":        {`--limit alhpa: there is no host and no group "alhpa"`, `did you mean "alpha"?`},
		"Alpha":        {`--limit Alpha: there is no host and no group "Alpha"`, `did you mean "alpha"?`},
		"eu,nowhere":   {`--limit eu,nowhere: there is no host and no group "nowhere"`, list},
		"x*":           {`--limit x*: "x*" matches no host and no group`, list},
		"[a":           {`--limit [a: "[a" is not a pattern`, "* is any text, ? one character, [ab] one of these"},
		"eu,":          {`--limit eu,: a name is missing`, "names stand between the commas"},
		"!":            {`--limit !: a name is missing`, "names stand between the commas"},
		"!!eu":         {`--limit !!eu: "!!eu" is not a pattern`, "one ! or & stands before a name"},
		"!&eu":         {`--limit !&eu: "!&eu" is not a pattern`, "one ! or & stands before a name"},
		"@failed":      {`--limit @failed: "@failed" is not in this release`, "name the hosts"},
		"eu,!eu":       {`--limit eu,!eu: it selects no host`, list},
		"empty":        {`--limit empty: it selects no host`, list},
		"eu,&us":       {`--limit eu,&us: it selects no host`, list},
		"-oProxy=$(x)": {`--limit -oProxy=$(x): there is no host and no group "-oProxy=$(x)"`, list},
	} {
		_, err := inv.Select(limit)
		var l *LimitError
		if !errors.As(err, &l) || l.Error() != want[0] || l.Hint() != want[1] {
			t.Errorf("%q: %v (%s)\nwant %s (%s)", limit, err, l.Hint(), want[0], want[1])
		}
	}
}
