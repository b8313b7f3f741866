//go:build linux

package main

import (
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/payload/collector/host"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// startSampling takes a sample every interval until the returned function is
// called. A run shorter than the interval gets its one sample then.
func (r *runner) startSampling() (stop func()) {
	if r.plan.Interval <= 0 {
		return func() {}
	}
	s := host.NewSampler("/", boottime())
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer s.Close()
		tick := time.NewTicker(r.plan.Interval)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				r.sample(s)
			case <-quit:
				if n == 0 {
					r.sample(s)
				}
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

func (r *runner) sample(s *host.Sampler) {
	var sample wire.Sample
	active := r.active()
	for _, p := range active {
		p.usage.sample()
		sample.Running = append(sample.Running, p.ph.ID)
	}
	if len(active) > 0 && active[0].usage.cgroup.v2 == nil {
		reapOrphans(r.births, r.allUsage())
	}
	s.Sample(boottime(), &sample)
	r.event(&wire.Event{Kind: wire.KindSample, Sample: &sample})
}
