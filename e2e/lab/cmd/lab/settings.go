//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// aptCacheVerb is how lab up starts the process that serves a lab's apt cache. People have no use for it.
const aptCacheVerb = "apt-cache"

// setting is a verb that takes one host and values.
type setting struct {
	usage     string
	least     int // values
	most      int
	configure func(ctx context.Context, h *lab.Host, values []string, out io.Writer) error
}

var settings = map[string]setting{
	"limit": {"HOST MB CPUS", 2, 2, limit},
	"rate": {"HOST MBIT", 1, 1, func(ctx context.Context, h *lab.Host, values []string, _ io.Writer) error {
		return number(values[0], func(mbit float64) error { return h.Rate(ctx, mbit) })
	}},
	"loss": {"HOST PERCENT", 1, 1, func(ctx context.Context, h *lab.Host, values []string, _ io.Writer) error {
		return number(values[0], func(percent float64) error { return h.Loss(ctx, percent) })
	}},
	"delay": {"HOST DURATION", 1, 1, func(ctx context.Context, h *lab.Host, values []string, _ io.Writer) error {
		d, err := time.ParseDuration(values[0])
		if err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		return h.Delay(ctx, d)
	}},
	"proxy": {"HOST DURATION [JITTER]", 1, 2, proxy},
}

func (s setting) do(ctx context.Context, l *lab.Lab, args []string, out io.Writer) error {
	if len(args)-1 < s.least || len(args)-1 > s.most {
		return fmt.Errorf("lab: want %s", s.usage)
	}
	h := l.Host(args[0])
	if h == nil {
		return fmt.Errorf("lab: unknown host %q", args[0])
	}
	return s.configure(ctx, h, args[1:], out)
}

func number(text string, use func(float64) error) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("lab: %q is not a number", text)
	}
	return use(n)
}

func limit(ctx context.Context, h *lab.Host, values []string, _ io.Writer) error {
	var limits lab.Limits
	for i, field := range []*int{&limits.MemoryMB, &limits.CPUs} {
		n, err := strconv.Atoi(values[i])
		if err != nil {
			return fmt.Errorf("lab: %q is not a whole number", values[i])
		}
		*field = n
	}
	return h.Limit(ctx, limits)
}

func proxy(ctx context.Context, h *lab.Host, values []string, out io.Writer) error {
	var times [2]time.Duration
	for i, v := range values {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 {
			return fmt.Errorf("lab: %q is not a duration such as 50ms", v)
		}
		times[i] = d
	}
	p := h.Proxy(times[0], times[1])
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Close()
	fmt.Fprintln(out, p.Addr())
	<-ctx.Done()
	return nil
}

// describe tells how the host differs from one with all of this machine and an undisturbed line.
func describe(h *lab.Host) (text string) {
	limits, _ := h.Limits()
	if limits.MemoryMB > 0 {
		text += fmt.Sprintf("  %d MB", limits.MemoryMB)
	}
	if limits.CPUs > 0 {
		text += fmt.Sprintf("  %d CPU", limits.CPUs)
	}
	line, _ := h.Line()
	if line.Mbit > 0 {
		text += fmt.Sprintf("  %g Mbit/s", line.Mbit)
	}
	if line.Loss > 0 {
		text += fmt.Sprintf("  %g %% loss", line.Loss)
	}
	if line.Delay > 0 {
		text += fmt.Sprintf("  %v delay", line.Delay)
	}
	return text
}
