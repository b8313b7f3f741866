package inventory

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	nameRule   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	deviceRule = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)
	varRule    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// taken are names that mean something else: to --limit and jump, or as files
// in the folder of a run, where each host has a folder of its own name.
var taken = map[string]string{
	"all":         "--limit uses it for every host",
	"none":        "jump uses it for no jump host",
	"run.json":    "a run keeps a file of that name beside the hosts' folders",
	"report.html": "a run keeps a file of that name beside the hosts' folders",
}

// reservedVars are set by vpsctl itself for every template and script.
var reservedVars = []string{"host", "address", "groups", "run_id", "connect_user"}

// badName says what is wrong with the name of a host or a group, or nothing.
// Names become folders on any laptop, hence more than one rule.
func badName(name string) (why, hint string) {
	const rule = "letters, digits, '.', '_' and '-', at most 63, the first a letter or digit"
	low := strings.ToLower(name)
	switch {
	case name == "":
		return "a name is missing", rule
	case !nameRule.MatchString(name):
		return fmt.Sprintf("%s is not a name", quote(name)), rule
	case deviceRule.MatchString(name):
		return fmt.Sprintf("%s is a device on Windows", quote(name)), "no file can have that name there; take another"
	case strings.HasSuffix(name, "."):
		return fmt.Sprintf("%s ends with a dot", quote(name)), "Windows drops it from file names; take another"
	case taken[low] != "":
		return fmt.Sprintf("the name %s is taken", quote(name)), taken[low]
	}
	return "", ""
}

func badVarName(name string) (why, hint string) {
	if slices.Contains(reservedVars, name) {
		return fmt.Sprintf("the variable %s is set by vpsctl itself", quote(name)), "take another name"
	}
	if varRule.MatchString(name) && len(name) <= 63 {
		return "", ""
	}
	hint = "small letters, digits and '_', the first a letter, at most 63"
	if low := strings.ToLower(strings.ReplaceAll(name, "-", "_")); low != name && varRule.MatchString(low) {
		hint = fmt.Sprintf("did you mean %q?", low)
	}
	return fmt.Sprintf("%s is not a name for a variable", quote(name)), hint
}

// quote shows text that may be hostile or long.
func quote(s string) string {
	if c := clip(s); c != s {
		return strconv.Quote(strings.TrimSuffix(c, "…")) + "…"
	}
	return strconv.Quote(s)
}

func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// didYouMean is a hint naming what was probably meant, else other.
func didYouMean(name string, known []string, other string) string {
	best, least := "", len(name)/3+1
	for _, k := range known {
		if abs(len(k)-len(name)) > least {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least || d == least && best == "" && d < len(name) {
			best, least = k, d
		}
	}
	if best == "" {
		return other
	}
	return fmt.Sprintf("did you mean %q?", best)
}

func abs(n int) int { return max(n, -n) }

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between a and b, by bytes.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
