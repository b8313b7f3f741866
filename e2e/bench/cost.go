//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// collectorCost runs the collector's own benchmark on this machine and puts its lines into words that fit the page.
func collectorCost(ctx context.Context, window time.Duration) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "CollectorCost", "-benchtime", "1x", "-timeout", (window + 3*time.Minute).String(), "./payload/collector")
	cmd.Env = append(os.Environ(), "VPSCTL_BENCH_WINDOW="+window.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the collector's cost: %w: %s", err, out)
	}
	var b strings.Builder
	b.WriteString("\nThe collector while it samples once a second on the machine itself, runner and follower together (goals: under 0.15 % of a core,\n" +
		"under 12 MiB, under 1.5 MB compressed), and sadc in the same minute:\n\n```\n")
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "collector ") || strings.HasPrefix(line, "sadc ") {
			b.WriteString(line)
		}
	}
	b.WriteString("```\n")
	return b.String(), nil
}
