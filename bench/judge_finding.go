package bench

import (
	"fmt"
	"math"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// mostDated is how many sessions a change is looked for in.
const mostDated = 200

// current is the episode the newest session belongs to, nil if there is none.
func (t *track) current() *episode {
	if t.open != nil {
		return t.open
	}
	if n := len(t.episodes); t.ended && t.episodes[n-1].word != Regressed {
		return &t.episodes[n-1]
	}
	return nil
}

// finding is the verdict on a track, by the last sessions that have its metric.
func (j *judgement) finding(t *track, to held) Finding {
	f := Finding{Host: t.host, Metric: t.metric, Verdict: Inconclusive}
	if len(t.points) == 0 {
		f.More = t.rule.least + 1
		f.MoreDays = upTo(f.More, basePerDay)
		f.Text = fmt.Sprintf("not measured in any session that counts; %s, and %s", f.moreText("give a verdict"), f.seesText())
		return f
	}
	latest, last := j.records[t.host].latest, t.points[len(t.points)-1].session
	f.Old = last != latest
	j.judged(&f, t, to)
	if f.Old {
		f.Text += oldText(last, latest)
	}
	return f
}

// judged is the verdict on a track that has values. to is for one that was looked at.
func (j *judgement) judged(f *Finding, t *track, to held) {
	newest := t.points[len(t.points)-1]
	m := newest.session.metric(t.metric)
	f.Unit, f.Better, f.Now, f.At = m.Unit, m.Better, newest.value, newest.session.Start
	e := t.current()
	if t.against == nil {
		j.short(f, t)
		return
	}
	against := t.against
	if e != nil {
		against = e.base
	}
	f.Baseline, f.SlowerPct = against.described(m.Better), pct(against.slower(newest))
	switch {
	case e == nil && !t.fits:
		j.loud(f, t)
	case e == nil:
		f.Verdict, f.Judged = OK, true
		f.Text = screenedText(f, t)
	case e.looks > 0:
		j.looked(f, t, to)
	case !e.base.slow(newest):
		f.Verdict, f.Judged, f.Since = OK, true, e.first.session.Start
		f.Text = calmedText(f, e)
	default:
		j.waits(f, t)
	}
}

func (b *base) described(better Direction) *Baseline {
	median := math.Exp(b.middle)
	if better == Higher {
		median = math.Exp(-b.middle)
	}
	n := len(b.points)
	return &Baseline{Of: b.of, Median: median, CVPct: cvPct(b.y), Sessions: n, Days: days(b.points),
		From: b.points[0].session.Start, To: b.points[n-1].session.Start}
}

// short is a history too short for a baseline: because the machine is another
// one now, or because it is new.
func (j *judgement) short(f *Finding, t *track) {
	r := j.records[t.host]
	f.More = max(1, t.rule.least+1-len(t.calm.points))
	f.MoreDays = upTo(f.More, basePerDay)
	if r.other != nil {
		f.Verdict = NotComparable
	}
	f.Text = shortText(f, t, r)
}

// loud is a metric that varies too much for its history, or for any.
func (j *judgement) loud(f *Finding, t *track) {
	b := t.against
	f.WouldSee = t.wouldSee(b.y, len(b.points), t.asked.confirm, t.asked.level())
	f.More = -1
	if f.Baseline.CVPct <= loudestCV {
		f.More = max(1, t.asked.least-len(b.points))
		f.MoreDays = upTo(f.More, basePerDay)
	}
	f.Text = loudText(f, t)
}

// waits is a slow session whose further sessions are not there yet. Slow now is
// said of the newest session only: an older one's day has passed.
func (j *judgement) waits(f *Finding, t *track) {
	e := t.open
	f.Since = e.first.session.Start
	f.Scope = j.scope(t, f.Since)
	if !f.Old && days(append([]point{e.first}, e.all...)) == 1 {
		f.Verdict = SlowNow
	}
	f.More = max(1, e.wants()-len(e.counted.points))
	f.MoreDays = upTo(f.More, e.rule.perDay)
	f.WouldSee = t.wouldSee(e.base.y, len(e.base.points), e.rule.confirm, e.rule.level())
	f.Text = waitsText(f, e)
}

// looked is an episode with enough sessions for a verdict.
func (j *judgement) looked(f *Finding, t *track, to held) {
	e := t.current()
	f.Judged, f.Since = true, e.first.session.Start
	f.Verdict = e.found.word(to.level, t.certain)
	f.Effect = &Effect{Sessions: len(e.looked), Days: days(e.looked), SlowerPct: pct(e.found.hl),
		LowPct: pct(e.found.shift.Lower(to.level)), HighPct: pct(e.found.shift.Upper(upperLevel)), P: e.found.p, PHolm: to.holm}
	if f.Verdict == OK {
		f.Text = clearedText(f)
		return
	}
	f.Scope = j.scope(t, f.Since)
	f.WouldSee = t.wouldSee(e.base.y, len(e.base.points), len(e.looked), to.level)
	if f.Verdict == Regressed {
		f.Changed = t.changed()
		f.Verdict, f.Text = j.regressed(f, t, e)
		return
	}
	f.More = t.further(e.base.y, e.found.hl, len(e.looked), to.level)
	if f.More > 0 {
		f.More = max(f.More, e.wants()-len(e.counted.points))
		f.MoreDays = upTo(f.More, e.rule.perDay)
	}
	f.Text = undecidedText(f)
}

// regressed words a regression, or says why this one is none of the host.
func (j *judgement) regressed(f *Finding, t *track, e *episode) (Word, string) {
	switch {
	case e.base.of == group:
		f.Judged = false
		f.More = max(1, t.rule.young()+1-len(t.points)) // then it is compared with itself
		f.MoreDays = upTo(f.More, basePerDay)
		return Inconclusive, strangerText(f)
	case f.Scope == Everything && t.otherProber(f.Since):
		f.More = -1
		return Inconclusive, proberText(f)
	}
	return Regressed, regressedText(f, e)
}

// changed dates the change in the whole history.
func (t *track) changed() time.Time {
	points := last(t.points, mostDated)
	if at := stat.Change(ys(points)); at >= 0 {
		return points[at].session.Start
	}
	return time.Time{}
}

// upTo is how many days n sessions take, so many a day.
func upTo(n, perDay int) int { return (n + perDay - 1) / perDay }
