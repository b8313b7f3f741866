package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// maxMetrics bounds what a host may say it has measured.
const maxMetrics = 500

// Fold makes a session of what a prober prints. It is for one goroutine.
type Fold struct {
	session Session
	rest    string
	by      map[string]*Metric
	heard   bool // the host has described itself
	ended   bool
}

// NewFold begins a session; what it needs of the laptop is set.
func NewFold(s Session) *Fold {
	s.Schema = SchemaSession
	return &Fold{session: s, by: map[string]*Metric{}}
}

// Take takes output as it comes, in pieces of any size, and gives what is
// measured next, if that was said. A line that is not the prober's is an error;
// the lines behind it still count.
func (f *Fold) Take(text string) (at *wire.ProbeAt, err error) {
	f.rest += text
	for {
		line, rest, whole := strings.Cut(f.rest, "\n")
		if !whole {
			break
		}
		f.rest = rest
		p, e := ParseProbe([]byte(line))
		if e == nil {
			e = f.line(&p)
		}
		if e != nil && err == nil {
			err = e
		}
		if p.At != nil {
			at = p.At
		}
	}
	if len(f.rest) > wire.MaxProbeLine {
		f.rest, err = "", fmt.Errorf("%w: a probe's line without an end", wire.ErrHostile)
	}
	return at, err
}

func (f *Fold) line(p *wire.ProbeLine) error {
	s := &f.session
	switch {
	case p.Host != nil && !f.heard:
		f.heard = true
		h := p.Host
		s.Epoch = Epoch{CPUModel: h.CPUModel, Cores: h.Cores, MemoryMB: (h.MemoryMB + 32) / 64 * 64, Disk: h.Disk, Virt: h.Virt, Method: h.Method}
		s.Notes.Kernel, s.Notes.Microcode, s.Notes.DiskGB, s.Notes.Hostname = h.Kernel, h.Microcode, h.DiskGB, h.Hostname
		s.Notes.Mirror, s.Notes.Provider, s.Notes.Plan, s.Notes.Region = h.Mirror, h.Provider, h.Plan, h.Region
		s.Around = Conditions{Load1: h.Load1, PSICPU: h.PSICPU, QuotaCPU: h.QuotaCPU, Busy: h.Busy}
	case p.Got != nil:
		return f.Add(*p.Got)
	case p.Skip != nil && len(s.Skipped) < maxMetrics:
		s.Skipped = append(s.Skipped, p.Skip.What+": "+p.Skip.Why)
	case p.End != nil && !f.ended:
		f.ended = true
		s.Around.StealPct = p.End.StealPct
		if s.Around.Busy == "" {
			s.Around.Busy = p.End.Busy
		}
	}
	return nil
}

// Add adds a repeat that came another way, as the network's do.
func (f *Fold) Add(g wire.ProbeSample) error {
	m := f.by[g.Metric]
	if m == nil {
		if len(f.by) == maxMetrics {
			return fmt.Errorf("%w: over %d metrics", wire.ErrHostile, maxMetrics)
		}
		m = &Metric{Name: g.Metric, Unit: g.Unit, Better: Direction(g.Better), Note: g.Note}
		f.by[g.Metric] = m
	}
	if m.Unit != g.Unit || string(m.Better) != g.Better || len(m.Values) == 1000 {
		return fmt.Errorf("%w: %s in %s, then in %s", wire.ErrHostile, g.Metric, m.Unit, g.Unit)
	}
	m.Values = append(m.Values, g.Value)
	if g.StealPct != nil {
		m.Steal = append(m.Steal, *g.StealPct)
	}
	if g.MHz > 0 {
		m.MHz = append(m.MHz, g.MHz)
	}
	m.Bytes += g.Bytes
	m.Seconds += g.Seconds
	for name, v := range g.Percentiles {
		if m.latency == nil {
			m.latency = map[string][]float64{}
		}
		m.latency[name] = append(m.latency[name], v)
	}
	return nil
}

// Exclude says why no baseline may count the session, if there is a reason;
// there may be several.
func (f *Fold) Exclude(why string) { f.session.exclude(why) }

func (s *Session) exclude(why string) {
	if s.Excluded != "" && why != "" {
		why = "; " + why
	}
	s.Excluded += why
}

// Skip notes what was not measured.
func (f *Fold) Skip(what string) { f.session.Skipped = append(f.session.Skipped, what) }

// Whole tells whether the prober came to its end.
func (f *Fold) Whole() bool { return f.heard && f.ended }

// Session is what came of it. A session that did not come to its end is none:
// whoever was cut off may have been measured in any state.
func (f *Fold) Session(now time.Time) (Session, error) {
	if !f.Whole() {
		return Session{}, fmt.Errorf("bench: %s: the prober did not come to its end", f.session.Host)
	}
	s := f.session
	s.Took = now.Sub(s.Start)
	var mhz []float64
	for _, name := range slices.Sorted(maps.Keys(f.by)) {
		m := f.by[name]
		m.Median = stat.Median(m.Values)
		for p, values := range m.latency { // the median of the repeats' percentiles
			if m.Percentiles == nil {
				m.Percentiles = map[string]float64{}
			}
			m.Percentiles[p] = stat.Median(values)
		}
		mhz = append(mhz, m.MHz...)
		m.Steal, m.MHz = ofAll(m.Steal, m.Values), ofAll(m.MHz, m.Values)
		s.Metrics = append(s.Metrics, *m)
	}
	s.Around.MHz = mean(mhz)
	if !s.Depth.Sustains() {
		s.Skipped = append(s.Skipped, "sustained: only --thorough lasts long enough to see credits end")
	}
	if s.Around.Busy != "" {
		s.exclude("busy: " + s.Around.Busy)
	}
	return s, nil
}

// ofAll is what was found beside values, where it was found beside each of them:
// else nobody could tell whose it is.
func ofAll(beside, values []float64) []float64 {
	if len(beside) != len(values) {
		return nil
	}
	return beside
}

// mean is 0 of nothing.
func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(max(1, len(x)))
}
