//go:build linux

package steps

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// debconfScript writes down what debconf knows of some questions, and makes it so
// again. debconf's own protocol cannot: it tells an unset value from an empty one
// as little as a default from an answer, and neither takes an owner away from a
// question nor brings a lost template back. What is done are the calls that
// debconf-set-selections makes itself.
//
// With "record" it reads lines of asked and gone, and prints those of asked and
// the record: all questions that are asked for, and those of packages that go.
// With "restore", or "check", which changes nothing, it reads lines of gone and
// what record has printed, and prints the names of questions that were not as
// recorded. Owners that came later, and are no part of what is undone, stay.
//
// Fields are parted by tabs: asked QUESTION OWNER; gone PACKAGE; then per item
// question|template NAME TYPE, owner NAME, field NAME VALUE, flag NAME, variable
// NAME VALUE.
//
//go:embed debconf.pl
var debconfScript string

// rememberAnswers writes down what debconf knows of the questions that are about
// to be answered, and of those that packages will find which somebody answered
// before they were there: purging them takes these answers along. It has to be
// undone after the packages, so it is recorded before them. Old answers may be
// secret: they are undo content.
func (e *Env) rememberAnswers(ctx context.Context, answers []wire.Debconf, fresh []string) error {
	if len(answers) == 0 && !e.hasQuestions(fresh) {
		return nil
	}
	var asked strings.Builder
	for _, a := range answers {
		fmt.Fprintf(&asked, "asked\t%s\t%s\n", a.Question, a.Owner)
	}
	content, err := e.debconf(ctx, "record", asked.String()+gone(fresh))
	if err != nil || len(content) == 0 {
		return err
	}
	u := wire.Undo{Kind: "debconf", What: "take back answers to debconf", Data: map[string]string{"installed": strings.Join(fresh, " ")}}
	if n := len(answers); n > 0 {
		u.What = fmt.Sprintf("take back %d answers to debconf", n)
	}
	if err := e.Undo(u, content); err != nil {
		return fmt.Errorf("nothing was changed: the way back could not be kept: %w", err)
	}
	return nil
}

// gone names packages as owners of questions. Those of libraries have their
// architecture behind them.
func gone(packages []string) string {
	var s strings.Builder
	for _, name := range owners(packages) {
		s.WriteString("gone\t" + name + "\n")
	}
	return s.String()
}

func owners(packages []string) (all []string) {
	for _, name := range packages {
		if all = append(all, name); !strings.Contains(name, ":") {
			all = append(all, name+":"+runtime.GOARCH) // Debian has the same names for these
		}
	}
	return all
}

// hasQuestions says that debconf's files, where they are the usual ones, know a
// question of these packages. Asking debconf itself takes a quarter of a second.
func (e *Env) hasQuestions(packages []string) bool {
	all := owners(packages)
	for _, file := range []string{"config.dat", "passwords.dat"} {
		b, err := os.ReadFile(e.at("/var/cache/debconf/" + file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			names, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "Owners: ")
			if ok && slices.ContainsFunc(strings.Split(names, ", "), func(o string) bool { return slices.Contains(all, o) }) {
				return true
			}
		}
	}
	return false
}

// preseed answers the questions of packages that are about to be installed.
// Values go in on standard input: they may be secret.
func (e *Env) preseed(ctx context.Context, answers []wire.Debconf) error {
	if len(answers) == 0 {
		return nil
	}
	lines, err := e.selections(answers)
	if err != nil {
		return err
	}
	_, err = e.call(ctx, call{name: "debconf-set-selections", stdin: strings.NewReader(lines), env: aptEnv()})
	return err
}

// selections is what debconf-set-selections reads.
func (e *Env) selections(answers []wire.Debconf) (string, error) {
	var s strings.Builder
	for _, a := range answers {
		value := a.Value
		if a.Secret != "" {
			var ok bool
			if e.Secret != nil {
				value, ok = e.Secret(a.Secret)
			}
			if !ok {
				return "", failf("", "the plan has no secret %q", a.Secret)
			}
		}
		if strings.ContainsAny(value, "\r\n\x00") || strings.ContainsAny(a.Owner+a.Question+a.Type, " \t\r\n\x00") {
			return "", failf("", "the answer to %s is not one line", a.Question)
		}
		fmt.Fprintf(&s, "%s %s %s %s\n", a.Owner, a.Question, a.Type, value)
	}
	return s.String(), nil
}

// debconf runs the script.
func (e *Env) debconf(ctx context.Context, verb, input string) ([]byte, error) {
	return e.call(ctx, call{name: "perl", args: []string{"-e", debconfScript, "--", verb}, stdin: strings.NewReader(input), env: aptEnv()})
}

func revertDebconf(ctx context.Context, env *Env, u wire.Undo) error {
	_, err := env.backToRecord(ctx, "restore", u)
	return err
}

func (e *Env) debconfResidue(ctx context.Context, u wire.Undo) (string, error) {
	names, err := e.backToRecord(ctx, "check", u)
	if err != nil || names == "" {
		return "", err
	}
	return "debconf knows otherwise than before: " + someOf(strings.Fields(names)), nil
}

// backToRecord has the script make, or only look at, what it has recorded. What
// packages that are there still know is theirs.
func (e *Env) backToRecord(ctx context.Context, verb string, u wire.Undo) (differing string, err error) {
	content, err := e.saved(u)
	if err != nil {
		return "", err
	}
	now, err := e.debs(ctx)
	if err != nil {
		return "", err
	}
	left := slices.DeleteFunc(strings.Fields(u.Data["installed"]), func(n string) bool { return !isPackage(n) || now[n].present() })
	out, err := e.debconf(ctx, verb, gone(left)+string(content))
	return string(out), err
}

// disown has debconf forget what packages have left there that are purged: most
// do it themselves.
func (e *Env) disown(ctx context.Context, purged []string) error {
	if len(purged) == 0 || !e.hasQuestions(purged) {
		return nil
	}
	_, err := e.debconf(ctx, "restore", gone(purged))
	return err
}
