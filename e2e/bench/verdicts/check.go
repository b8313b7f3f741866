//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vpsctl/vpsctl/bench"
)

const regressed = 8 // what `vpsctl check` exits with

// check has vpsctl judge a history, as a pipeline would.
func (b *bencher) check(ctx context.Context, history []bench.Session) (r bench.Report, err error) {
	home, err := os.MkdirTemp(b.dir, "judged-")
	if err != nil {
		return r, err
	}
	store := bench.Store{Dir: filepath.Join(home, "vpsctl", "bench")}
	for _, s := range history {
		if err := store.Append(s); err != nil {
			return r, err
		}
	}
	out, err := b.run(ctx, home, "check", "-o", "json")
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == regressed {
		err = nil
	}
	if err != nil {
		return r, err
	}
	doc := struct {
		Bench *bench.Report `json:"bench"`
	}{&r}
	return r, json.Unmarshal(out, &doc)
}
