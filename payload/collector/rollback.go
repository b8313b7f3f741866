//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vpsctl/vpsctl/payload/collector/steps"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// takeBack undoes what one step of an earlier run did on this host, newest act
// first, has its handlers run, and looks whether all is as it was.
func (p *phaseRun) takeBack(ctx context.Context, want *wire.Revert, env *steps.Env) steps.Result {
	d, err := p.place.run(want.Run)
	if err != nil {
		return steps.Result{Status: wire.Failed, Reason: err.Error(), Hint: "hosts keep the last runs only: what it did cannot be undone any more"}
	}
	records, err := readUndo(d, want.Step)
	if err != nil {
		return steps.Result{Status: wire.Failed, Reason: err.Error()}
	}
	if len(records) == 0 {
		return steps.Result{Status: wire.OK, Reason: "it changed nothing"}
	}
	old := *env
	old.UndoDir, old.RunDir = d.undo(), string(d)
	var errs []error
	for _, r := range slices.Backward(records) {
		errs = append(errs, steps.Revert(ctx, &old, r.Undo))
	}
	for _, h := range records[len(records)-1].Handlers {
		errs = append(errs, steps.Handle(ctx, env, h))
	}
	errs = append(errs, residues(ctx, &old, records)...)
	if err := errors.Join(errs...); err != nil {
		return steps.Result{Status: wire.Failed, Reason: oneLine(err), Hint: hintOf(err)}
	}
	return steps.Result{Status: wire.Changed, Reason: "undone: " + records[len(records)-1].Undo.What}
}

// residues proves an undo. Of acts on the same thing the first record says how
// it was.
func residues(ctx context.Context, env *steps.Env, records []undoRecord) (errs []error) {
	seen := map[string]bool{}
	for _, r := range records {
		key := r.Undo.Kind + " " + r.Undo.Data["path"] + r.Undo.Data["dest"]
		if r.Undo.Kind == "file" && seen[key] {
			continue
		}
		seen[key] = true
		switch left, err := steps.Residue(ctx, env, r.Undo); {
		case err != nil:
			errs = append(errs, fmt.Errorf("looking whether it is undone: %w", err))
		case left != "":
			errs = append(errs, errors.New("not undone: "+left))
		}
	}
	return errs
}

// oneLine joins the lines of joined errors.
func oneLine(err error) string {
	var out []byte
	for _, c := range []byte(err.Error()) {
		if c == '\n' {
			out = append(out, "; "...)
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// readUndo reads what a run recorded of one step, in the order of the acts.
func readUndo(d runDir, step string) ([]undoRecord, error) {
	f, err := os.Open(filepath.Join(d.undo(), "records.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how to undo run %s: %w", d.id(), err)
	}
	defer f.Close()
	var all []undoRecord
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r undoRecord
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // cut off by a crash: the act did not happen
		}
		if r.Step == step {
			all = append(all, r)
		}
	}
	return all, lines.Err()
}
