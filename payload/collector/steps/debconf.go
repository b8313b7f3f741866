//go:build linux

package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// answer is a question of debconf with its old value, for the way back.
type answer struct {
	Owner    string `json:"owner"`
	Question string `json:"question"`
	Known    bool   `json:"known"` // the question was there before
	Value    string `json:"value,omitempty"`
}

// preseed answers the questions of packages that are about to be installed.
// Values go in on standard input, old ones are kept with the undo content: both
// may be secret.
func (e *Env) preseed(ctx context.Context, answers []wire.Debconf) error {
	if len(answers) == 0 {
		return nil
	}
	lines, err := e.selections(answers)
	if err != nil {
		return err
	}
	var was []answer
	for _, a := range answers {
		old := answer{Owner: a.Owner, Question: a.Question}
		if old.Value, old.Known, err = e.debconf(ctx, a.Owner, "GET "+a.Question); err != nil {
			return err
		}
		was = append(was, old)
	}
	content, err := json.Marshal(was)
	if err != nil {
		return err
	}
	u := wire.Undo{Kind: "debconf", What: fmt.Sprintf("take back %d answers to debconf", len(was))}
	if err := e.Undo(u, content); err != nil {
		return fmt.Errorf("nothing was changed: the way back could not be kept: %w", err)
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

// debconf says one line of debconf's protocol. known is false when it knows no
// such question.
func (e *Env) debconf(ctx context.Context, owner, line string) (value string, known bool, err error) {
	out, err := e.call(ctx, call{name: "debconf-communicate", args: []string{owner}, stdin: strings.NewReader(line + "\n"), env: aptEnv()})
	// It ends with the code that it answers.
	if f := (*failure)(nil); err != nil && !(errors.As(err, &f) && f.rc != nil && len(out) > 0) {
		return "", false, err
	}
	code, value, _ := strings.Cut(strings.TrimRight(string(out), "\n"), " ")
	switch code {
	case "0":
		return value, true, nil
	case "10": // no such question
		return "", false, nil
	}
	verb, _, _ := strings.Cut(line, " ")
	return "", false, fmt.Errorf("debconf-communicate %s: it answered %s", verb, code)
}

func revertDebconf(ctx context.Context, env *Env, u wire.Undo) error {
	content, err := env.saved(u)
	if err != nil {
		return err
	}
	var was []answer
	if err := json.Unmarshal(content, &was); err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	for _, a := range was {
		line := "UNREGISTER " + a.Question
		if a.Known {
			line = "SET " + a.Question + " " + a.Value
		}
		if _, _, err := env.debconf(ctx, a.Owner, line); err != nil {
			return err
		}
	}
	return nil
}
