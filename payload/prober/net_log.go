//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// netTick is how often bytes are counted: of a fast line's share of the bytes
// not much is left to count after 20 ms.
const netTick = 5 * time.Millisecond

// A netLog is how many bytes had been moved at which time.
type netLog []netMark

type netMark struct {
	at    time.Duration
	bytes int64
}

// sample counts until ctx ends.
func sample(ctx context.Context, count func() int64) netLog {
	began := time.Now()
	log := netLog{{0, count()}}
	tick := time.NewTicker(netTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return append(log, netMark{time.Since(began), count()})
		case <-tick.C:
			log = append(log, netMark{time.Since(began), count()})
		}
	}
}

// netOmit is what counts for nothing at the start, while TCP finds its pace:
// three seconds, or three tenths where bytes end a transfer sooner.
func netOmit(took time.Duration) time.Duration { return min(3*time.Second, took*3/10) }

// rate is the mean behind the start, with the slowest and the fastest second.
func (l netLog) rate() (*wire.ProbeSample, error) {
	last := l[len(l)-1]
	omit := netOmit(last.at)
	from := 0
	for from < len(l)-1 && l[from].at < omit {
		from++
	}
	took, moved := last.at-l[from].at, last.bytes-l[from].bytes
	if moved <= 0 || took < 2*netTick {
		return nil, errors.New("over before a rate could be seen")
	}
	slow, fast := math.Inf(1), 0.0
	for i := from; i < len(l); {
		j := i + 1
		for j < len(l) && l[j].at-l[i].at < time.Second {
			j++
		}
		if j == len(l) {
			break
		}
		mbit := float64(l[j].bytes-l[i].bytes) * 8e-6 / (l[j].at - l[i].at).Seconds()
		slow, fast, i = min(slow, mbit), max(fast, mbit), j
	}
	note := fmt.Sprintf("the first %.1f s omitted", omit.Seconds())
	if fast > 0 {
		note += fmt.Sprintf("; single seconds %.0f to %.0f Mbit/s", slow, fast)
	}
	return &wire.ProbeSample{Unit: "Mbit/s", Better: "higher", Value: float64(moved) * 8e-6 / took.Seconds(),
		Seconds: took.Seconds(), Note: note}, nil
}
