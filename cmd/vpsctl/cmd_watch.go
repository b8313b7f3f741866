package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// watcher is `monitor watch`: what every host says, and a screen that shows it.
type watcher struct {
	*call
	every  time.Duration
	live   bool // a terminal that is drawn anew
	notify *notifier

	mu    sync.Mutex // of all below and of what is written
	hosts []*watched
	said  []string // the last lines about alerts
}

// watched is what is known of one host.
type watched struct {
	name   string
	limits report.Limits
	rec    *report.HostRecord // since its last Start
	alerts int                // of rec, that were said
	all    []report.PerfAlert
	last   *wire.Sample
	cpu    []float64 // the latest, in percent
	mem    []float64
	count  int
	state  string // what the connection does; empty: samples come
	err    error
}

// history is how many samples a curve can show.
const history = 40

func monitorWatch(k *call) error {
	every, err := k.interval()
	if err != nil {
		return err
	}
	if k.Int("count") < 0 {
		return usageError{"monitor watch: --count is at least 0", ""}
	}
	w := &watcher{call: k, every: every, live: k.ui.liveOut() && !k.json() && !k.Bool("events"), notify: k.notifier()}
	defer w.notify.close(k.ui)
	ctx, stop := k.interruptible()
	defer stop()
	screen := w.screen()
	hosts, outs, err := each(k, ctx, w.status, func(ctx context.Context, s *remote.Session, h inventory.Host, _ *struct{}) error {
		own := w.host(h)
		err := s.Watch(ctx, every, k.Int("count"), func(raw []byte, e *wire.Event) error { w.take(own, raw, e); return nil })
		if ctx.Err() == nil { // to be stopped is no failure of the host
			w.ended(own, err)
		}
		return err
	})
	screen()
	if err != nil {
		return err
	}
	codes := make([]int, len(hosts))
	for i := range hosts {
		if codes[i] = exitCode(outs[i].err); ctx.Err() == nil {
			k.ui.explain(outs[i].err)
		}
	}
	code := codeOr(ctx, fleetCode(codes))
	if k.json() {
		if err := k.ui.result(true, w.doc(code), nil); err != nil {
			return err
		}
	}
	return ended(ctx, code)
}

// screen draws until the returned function is called, where there is a terminal.
func (w *watcher) screen() (stop func()) {
	if !w.live {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	fmt.Fprint(w.ui.out, "\x1b[?1049h\x1b[?25l") // the terminal's other page, no cursor
	go func() {
		defer close(done)
		tick := time.NewTicker(max(200*time.Millisecond, min(w.every, time.Second)))
		defer tick.Stop()
		for {
			w.draw()
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		fmt.Fprint(w.ui.out, "\x1b[?25h\x1b[?1049l")
		w.mu.Lock()
		defer w.mu.Unlock()
		_, _ = io.WriteString(w.ui.out, w.page(time.Now(), w.ui.watchView()))
	}
}

func (w *watcher) draw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.ui.watchView()
	_, _ = io.WriteString(w.ui.out, "\x1b[H\x1b[2J"+w.page(time.Now(), v))
}

// host enters a host that is begun.
func (w *watcher) host(h inventory.Host) *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := &watched{name: h.Name, limits: limits(h), state: "connecting"}
	w.hosts = append(w.hosts, own)
	return own
}

func (w *watcher) status(host string, s remote.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hosts {
		if h.name == host {
			h.state = statusText(s)
		}
	}
}

func (w *watcher) ended(h *watched, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.err = err
}

// take folds an event into what is known of its host.
func (w *watcher) take(h *watched, raw []byte, e *wire.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Bool("events") {
		if line, err := json.Marshal(hostEvent{h.name, raw}); err == nil {
			fmt.Fprintf(w.ui.out, "%s\n", line)
		}
	}
	if e.Start != nil {
		h.rec, h.alerts = report.NewHostRecord("", h.name, h.limits), 0
	}
	if h.state = ""; h.rec == nil {
		return
	}
	h.rec.Apply(e)
	if e.Sample == nil {
		return
	}
	h.last, h.count = e.Sample, h.count+1
	h.cpu, h.mem = remember(h.cpu, e.Sample.CPUPct), remember(h.mem, memoryPct(e.Sample))
	if !w.live && !w.json() && !w.Bool("events") {
		fmt.Fprintln(w.ui.out, plainSample(h, h.rec.Wall(time.Duration(e.T))))
	}
	w.alerted(h)
}

// hostEvent is a line of --events.
type hostEvent struct {
	Host  string          `json:"host"`
	Event json.RawMessage `json:"event"`
}

// alerted says the alerts that are new.
func (w *watcher) alerted(h *watched) {
	for ; h.alerts < len(h.rec.Alerts); h.alerts++ {
		a := h.rec.Alerts[h.alerts]
		h.all = append(h.all, report.Performance(h.rec).Alerts.Items[h.alerts])
		w.notify.tell(alertNotice("", h.name, a))
		line := fmt.Sprintf("%s %s: %s", time.Now().Format(time.TimeOnly), h.name, strings.TrimPrefix(a.Message, "ALERT: "))
		if w.said = append(w.said, line); len(w.said) > 5 {
			w.said = w.said[1:]
		}
		if !w.live {
			w.ui.say("[WARN]", "%s: %s", h.name, a.Message)
		}
	}
}

func remember(list []float64, v float64) []float64 {
	if list = append(list, v); len(list) > history {
		list = list[1:]
	}
	return list
}

func memoryPct(s *wire.Sample) float64 {
	if all := s.MemUsedMB + s.MemAvailMB; all > 0 {
		return 100 * float64(s.MemUsedMB) / float64(all)
	}
	return 0
}

// doc is what -o json prints in the end.
func (w *watcher) doc(code int) map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*monitored, len(w.hosts))
	for i, h := range w.hosts {
		all[i] = &monitored{Host: h.name, ExitCode: exitCode(h.err), Samples: h.count, Sample: h.last, Alerts: h.all, Error: newHostError(h.err)}
	}
	return map[string]any{"schema": 1, "exit_code": code, "hosts": all}
}
