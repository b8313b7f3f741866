package remote

import (
	"sync"
	"time"
)

// watch measures limits in time this machine was awake: what passed while it
// slept is charged to nobody. One goroutine serves all limits of a connection.
type watch struct {
	every  time.Duration
	onTick func(spent time.Duration, slept bool) // set before start

	mu     sync.Mutex
	limits map[*limit]struct{}
	kick   chan struct{}
	quit   chan struct{}
	ended  chan struct{}
	once   sync.Once
}

// limit is time that may still pass before fire is called, once.
type limit struct {
	left time.Duration
	fire func()
}

func newWatch(every time.Duration) *watch {
	return &watch{every: every, limits: map[*limit]struct{}{}, kick: make(chan struct{}, 1),
		quit: make(chan struct{}), ended: make(chan struct{})}
}

// start begins watching; stop ends it and waits for it, and may be called
// again. It must not be called from fire or onTick.
func (w *watch) start() { go w.run() }
func (w *watch) stop() {
	w.once.Do(func() { close(w.quit) })
	<-w.ended
}

// arm calls fire after d of awake time unless the returned function is called
// before.
func (w *watch) arm(d time.Duration, fire func()) (disarm func()) {
	l := &limit{d, fire}
	w.mu.Lock()
	w.limits[l] = struct{}{}
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
	return func() {
		w.mu.Lock()
		delete(w.limits, l)
		w.mu.Unlock()
	}
}

func (w *watch) run() {
	defer close(w.ended)
	prev := time.Now()
	timer := time.NewTimer(w.every)
	defer timer.Stop()
	for {
		asked := w.next()
		timer.Reset(asked)
		select {
		case <-w.quit:
			return
		case <-w.kick:
		case <-timer.C:
		}
		now := time.Now()
		spent, slept := awake(asked, now.Sub(prev), now.Round(0).Sub(prev.Round(0)))
		prev = now
		for _, fire := range w.charge(spent) {
			fire()
		}
		if w.onTick != nil {
			w.onTick(spent, slept)
		}
	}
}

// next is how long nothing can be due.
func (w *watch) next() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.every
	for l := range w.limits {
		d = min(d, l.left)
	}
	return max(d, time.Millisecond)
}

func (w *watch) charge(spent time.Duration) (due []func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.limits {
		if l.left -= spent; l.left <= 0 {
			due = append(due, l.fire)
			delete(w.limits, l)
		}
	}
	return due
}

// awake judges a wait that was meant to take asked and took mono by the
// monotonic and wall by the wall clock: how much of it counts, and whether the
// machine slept. The monotonic clock stops in sleep on most systems, and runs
// on in some; then the wait is much longer than asked.
func awake(asked, mono, wall time.Duration) (spent time.Duration, slept bool) {
	const jump = 5 * time.Second
	if mono > asked+jump || wall > mono+jump {
		return min(mono, asked), true
	}
	return mono, false
}
