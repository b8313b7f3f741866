//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

const (
	fileMB = 1024
	each   = 2500 * time.Millisecond // of one side of a pair; a fifth of it does not count
	turns  = 2                       // in a session: one is begun by the prober, one by the other
)

// alone is one session of the prober, which has fio measure its own file, and openssl its hashes, right before or after
// itself.
func (t *truth) alone(ctx context.Context, round int) error {
	rows := slices.DeleteFunc(slices.Clone(t.rows), func(r row) bool { return r.kind == "net" })
	if len(rows) == 0 {
		return nil
	}
	var kinds, metrics []string
	for _, r := range rows {
		kinds, metrics = append(kinds, r.kind), append(metrics, r.metric, r.other)
	}
	out, err := t.host.Exec(ctx, fmt.Sprintf("/var/lib/prober measure --only %s --metrics %s --against --repeats %d --each %s --seed %d --file-mb %d --dir /var/lib --quiet 0s",
		strings.Join(slices.Compact(kinds), ","), strings.Join(metrics, ","), turns, each, round+1, fileMB))
	if err != nil {
		return fmt.Errorf("prober: %w: %s", err, out)
	}
	got, err := samples(out)
	if err != nil {
		return err
	}
	for _, r := range rows {
		ours, other := got[r.metric], got[r.other]
		if len(ours) != turns || len(other) != turns {
			return fmt.Errorf("%s: %d and %d figures of %d: %s", r.metric, len(ours), len(other), turns, out)
		}
		for i := range ours {
			t.add(r.metric, pair{ours[i], other[i]})
		}
	}
	return nil
}

func (t *truth) add(metric string, p pair) {
	fmt.Fprintf(os.Stderr, "%s: %.5g, %.5g: %.3f\n", metric, p.ours, p.other, p.ours/p.other)
	t.pairs[metric] = append(t.pairs[metric], p)
}

// samples are a session's values by metric.
func samples(out string) (map[string][]float64, error) {
	got := map[string][]float64{}
	for line := range strings.Lines(out) {
		var l wire.ProbeLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return nil, fmt.Errorf("prober said %q: %w", line, err)
		}
		if l.Got != nil {
			got[l.Got.Metric] = append(got[l.Got.Metric], l.Got.Value)
		}
	}
	return got, nil
}
