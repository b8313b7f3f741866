package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// summary of the run: totals, target and score.
func (r *HostRecord) summary() PerfSummary {
	s := PerfSummary{PhasesTotal: len(r.Phases)}
	s.OK, s.Changed, s.Failed, s.Skipped = r.Counts()
	var spans []span
	for i := range r.Phases {
		p := &r.Phases[i]
		if p.complete() {
			s.PhasesCompleted++
		}
		if p.Begun {
			end := p.End
			if !p.Ended {
				end = max(p.Begin, r.Duration())
			}
			spans = append(spans, span{p.Begin, end})
			s.PhasesDurationSec += (end - p.Begin).Seconds()
		}
	}
	total, busy := extent(spans)
	s.ParallelSavedSec = round3(max(0, s.PhasesDurationSec-busy.Seconds()))
	s.TotalDurationSec, s.PhasesDurationSec = secs(total), round3(s.PhasesDurationSec)
	target, rule := runTarget(r.Facts(), r.ran())
	s.TargetDurationSec, s.TargetRule = secs(target), rule
	s.grade(target, total, r.ungraded())
	return s
}

func (s *PerfSummary) grade(target, total time.Duration, reason string) {
	score, ok := NewScore(target, total)
	switch {
	case reason != "":
	case total <= 0:
		reason = "nothing ran"
	case !ok:
		reason = "no phase that ran has a target"
	default:
		shown, raw := floor1(score.Capped), floor1(score.Raw)
		s.PerformanceScore, s.PerformanceScoreRaw, s.ScoreClass = &shown, &raw, score.Class
		return
	}
	s.ScoreReason = reason
}

// ran are the phases that began, as far as they got.
func (r *HostRecord) ran() []ran {
	var list []ran
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Begun && p.Ended {
			list = append(list, ran{begin: p.Begin, end: p.End, target: p.Targets, changed: p.Changed})
		}
	}
	return list
}

// ungraded says why the run's duration is no measure of its speed; empty when
// it is. A verification that failed took its time all the same.
func (r *HostRecord) ungraded() string {
	switch {
	case r.Start == nil:
		return "nothing ran"
	case r.End == nil:
		return "the run has not ended"
	case r.End.Status == wire.Failed && r.End.Stage != "verification", r.End.Status == wire.Cancelled:
		return fmt.Sprintf("the run did not do all it was to do (%s)", r.End.Status)
	}
	return ""
}

type span struct{ begin, end time.Duration }

// extent is the time from the first begin to the last end, and the part of it
// that any span covers.
func extent(spans []span) (total, busy time.Duration) {
	if len(spans) == 0 {
		return 0, 0
	}
	slices.SortFunc(spans, func(a, b span) int { return int(max(-1, min(1, a.begin-b.begin))) })
	first, upTo := spans[0].begin, spans[0].begin
	for _, s := range spans {
		if s.end > upTo {
			busy += s.end - max(upTo, s.begin)
			upTo = s.end
		}
	}
	return upTo - first, busy
}
