package report

import (
	"fmt"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Fetched is what was downloaded for one step, other than by apt itself.
type Fetched struct {
	Step  string
	Files int
	Bytes int64
	Begin time.Duration
	End   time.Duration
	Ahead bool // before the step began
}

// Downloads sums up what the run downloaded, other than by apt itself.
type Downloads struct {
	Files  int
	Bytes  int64
	Ahead  int           // of Files: before the step that wanted them had begun
	Took   time.Duration // in which something was being downloaded
	Waited time.Duration // of Took: a step did nothing but wait for its own
	Beside time.Duration // of Took: while other work went on; a run without it would have taken so much longer at most
}

func (r *HostRecord) fetched(e *wire.Event, at time.Duration) {
	f := Fetched{Step: r.place(e), Files: max(0, e.Fetched.Files), Bytes: max(0, min(e.Fetched.Bytes, 1<<50)), End: at, Ahead: e.Fetched.Ahead}
	f.Begin = max(0, at-max(0, e.Fetched.Elapsed))
	add(r, &r.Fetched, f)
}

// Downloads is nil when there were none.
func (r *HostRecord) Downloads() *Downloads {
	if len(r.Fetched) == 0 {
		return nil
	}
	var d Downloads
	var coming, waits []span
	for _, f := range r.Fetched {
		d.Files, d.Bytes = min(d.Files+f.Files, 1<<40), min(d.Bytes+f.Bytes, 1<<50)
		if f.Ahead {
			d.Ahead = min(d.Ahead+f.Files, 1<<40)
		}
		coming = append(coming, span{f.Begin, f.End})
	}
	for _, w := range r.Waits {
		if w.For == wire.WaitDownloads {
			waits = append(waits, span{w.Begin, w.End})
		}
	}
	_, d.Took = extent(coming)
	_, waited := extent(waits)
	_, either := extent(append(coming, waits...))
	d.Waited = max(0, d.Took+waited-either) // what is in both
	d.Beside = d.Took - d.Waited
	return &d
}

// Text says it in one or two sentences.
func (d *Downloads) Text() string {
	text := fmt.Sprintf("%s, %.1f MB, in %s of downloading (%d of them before their step had begun)", plural(d.Files, "package"), float64(d.Bytes)/1e6, took(d.Took), d.Ahead)
	if d.Beside > 0 {
		text += fmt.Sprintf("; %s of that ran beside other work, which is the most that fetching ahead can have saved", took(d.Beside))
	}
	if d.Waited > 0 {
		text += fmt.Sprintf("; steps waited %s for it", took(d.Waited))
	}
	return text
}

func (p *page) downloads(rec *HostRecord) {
	if d := rec.Downloads(); d != nil {
		p.head("Downloads")
		p.wrapped("  ", d.Text())
	}
}
