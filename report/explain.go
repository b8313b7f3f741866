package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// squeezed is a sample in which something was so scarce that work waited for
// it: of its time the part, in percent, in which some task did.
type squeezed struct {
	begin, end time.Duration
	pct        [3]float64
}

// scarce are the resources of squeezed, and from where on they explain a delay.
var scarce = [3]string{"cpu", "memory", "disk"}

const scarceFrom = 40 // percent

// squeeze keeps a sample that can explain something.
func (r *HostRecord) squeeze(s *wire.Sample, at time.Duration) {
	q := squeezed{begin: max(0, at-clampTarget(s.Elapsed)), end: at}
	for i, v := range []*float64{s.PSICPU, s.PSIMem, s.PSIIO} {
		if v != nil {
			q.pct[i] = min(100, clampNumber(*v))
		}
	}
	if slices.Max(q.pct[:]) >= scarceFrom {
		add(r, &r.squeezes, q)
	}
}

// overBudget is how the collector begins to say that time ran out.
const overBudget = " is over its budget of "

// explainBudget says where the time of something went that was stopped because
// of its budget; "" when the reason is another one, or nothing is known.
func (r *HostRecord) explainBudget(reason string) string {
	what, _, over := strings.Cut(reason, overBudget)
	if !over {
		return ""
	}
	from, to := r.window(what)
	var parts []string
	for _, list := range [][]string{r.waitsIn(from, to), r.pressureIn(from, to)} {
		parts = append(parts, list...)
	}
	slow := r.slowestIn(from, to)
	if len(parts) == 0 && slow != "" {
		return "no pressure seen: the time went into " + slow
	}
	if slow != "" {
		parts = append(parts, "of steps, most went into "+slow)
	}
	return strings.Join(parts, "; ")
}

// window is the time of what ran over: the run, or the phase or step that was
// stopped last.
func (r *HostRecord) window(what string) (from, to time.Duration) {
	to = r.Duration()
	for i := range r.Phases {
		p := &r.Phases[i]
		if strings.HasSuffix(what, "the phase") && strings.Contains(p.Reason, overBudget) {
			return p.Begin, p.End
		}
		for k := range p.Steps {
			s := &p.Steps[k]
			if strings.HasSuffix(what, "the step") && strings.Contains(s.Reason, overBudget) {
				return s.Begin, s.End
			}
		}
	}
	return 0, to
}

// within is the part of a time that lies in a window.
func within(begin, end, from, to time.Duration) time.Duration {
	return max(0, min(end, to)-max(begin, from))
}

// waitsIn sums what was waited for, by whom it was held, longest first.
func (r *HostRecord) waitsIn(from, to time.Duration) []string {
	sum := map[string]time.Duration{}
	for _, w := range r.Waits {
		end := w.End
		if !w.Done { // until it was stopped
			end = to
		}
		what := "waiting for " + w.For
		if w.Holder != "" {
			what += ", held by " + w.Holder
		}
		sum[what] += within(w.Begin, end, from, to)
	}
	return told(sum, func(what string, d time.Duration) string { return inSec(d) + " " + what })
}

// pressureIn sums how long what was scarce, and how scarce it was on average.
func (r *HostRecord) pressureIn(from, to time.Duration) []string {
	sum, weight := map[string]time.Duration{}, map[string]float64{}
	for _, q := range r.squeezes {
		d := within(q.begin, q.end, from, to)
		for i, pct := range q.pct {
			if pct >= scarceFrom {
				sum[scarce[i]] += d
				weight[scarce[i]] += pct * d.Seconds()
			}
		}
	}
	return told(sum, func(what string, d time.Duration) string {
		return fmt.Sprintf("%s pressure %.0f %% for %s", what, weight[what]/d.Seconds(), inSec(d))
	})
}

// told says what took at least a second, longest first.
func told(sum map[string]time.Duration, say func(string, time.Duration) string) []string {
	var keys, out []string
	for what, d := range sum {
		if d >= time.Second {
			keys = append(keys, what)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(sum[b], sum[a]), cmp.Compare(a, b)) })
	for _, what := range keys[:min(3, len(keys))] {
		out = append(out, say(what, sum[what]))
	}
	return out
}

// slowestIn is the step that had most of the window.
func (r *HostRecord) slowestIn(from, to time.Duration) string {
	best, most := "", time.Duration(0)
	for i := range r.Phases {
		for k := range r.Phases[i].Steps {
			s := &r.Phases[i].Steps[k]
			if d := within(s.Begin, s.End, from, to); s.Begun && s.Ended && d > most {
				best, most = s.ID, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return best + " " + inSec(most)
}

func inSec(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
