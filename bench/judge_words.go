package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// speed words a percentage of time.
func speed(pct float64) string {
	switch r := math.Round(pct); {
	case pct >= 50:
		return fmt.Sprintf("%.0f %% slower (%.2f times the time)", pct, 1+pct/100)
	case r > 0:
		return fmt.Sprintf("%.0f %% slower", r)
	case r < 0:
		return fmt.Sprintf("%.0f %% faster", -r)
	}
	return "neither slower nor faster"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// now words the newest session against the baseline.
func (f *Finding) now() string {
	return fmt.Sprintf("%.4g %s against %.4g, %s than %s", f.Now, f.Unit, f.Baseline.Median, speed(f.SlowerPct), f.Baseline.name())
}

func (b *Baseline) name() string {
	of := map[string]string{rolling: "the last ", frozen: "the first ", group: "its peers' last "}[b.Of]
	return "the median of " + of + count(b.Sessions, "session")
}

// moreText says which sessions would do something.
func (f *Finding) moreText(do string) string {
	if f.More < 0 {
		return "no number of sessions would " + do
	}
	return fmt.Sprintf("%s more, over at least %s, would %s", count(f.More, "session"), count(f.MoreDays, "day"), do)
}

func (f *Finding) seesText() string {
	if f.WouldSee <= 0 {
		return "so few sessions could not have seen any slowdown"
	}
	return fmt.Sprintf("this data would have seen a slowdown of %.0f %% or more", math.Ceil(f.WouldSee))
}

func date(t time.Time) string { return t.Format(time.DateOnly) }

func (f *Finding) scopeText() string {
	switch f.Scope {
	case HostOnly:
		return "; its peers did not become slower"
	case Peers:
		return "; its peers became slower too: the provider's change rather than this host's"
	case Everything:
		return "; hosts elsewhere became slower too: look at what measures before you look at hosts"
	}
	return ""
}

func screenedText(f *Finding, t *track) string {
	text := f.now()
	if n := len(t.episodes); t.ended && t.episodes[n-1].word == Regressed {
		return text + "; slower from " + date(t.episodes[n-1].first.session.Start) + " on, and back since some sessions"
	}
	return text
}

func calmedText(f *Finding, e *episode) string {
	return f.now() + fmt.Sprintf("; it was slow on %s, and is not now", date(e.first.session.Start))
}

func shortText(f *Finding, t *track, r *record) string {
	have := len(t.calm.points)
	if r.other != nil {
		what := r.good[0].Epoch.Differs(r.other.Epoch)
		return fmt.Sprintf("another machine than on %s, or measured in another way: %s; %s since, and a verdict needs %d earlier ones",
			date(r.other.Start), strings.Join(what, ", "), count(have, "session"), t.rule.least)
	}
	text := fmt.Sprintf("%s, and a verdict needs %d earlier ones (at most %d a day count): %d more over at least %s; %s", count(have, "session"),
		t.rule.least, basePerDay, f.More, count(f.MoreDays, "day"), f.seesText())
	if r.depths > 0 {
		text += fmt.Sprintf("; %s of another depth than %s do not count", count(r.depths, "session"), r.newest().Depth)
	}
	return text
}

func loudText(f *Finding, t *track) string {
	text := f.now() + fmt.Sprintf(", but sessions vary by %.0f %% of themselves", f.Baseline.CVPct)
	if f.More < 0 {
		return text + fmt.Sprintf(", and above %d %% there is no verdict on 20 %%, however many sessions there are; %s", loudestCV, f.seesText())
	}
	return text + fmt.Sprintf(": %d sessions make a baseline then, %d are there; %s; %s", t.asked.least, f.Baseline.Sessions, f.seesText(), f.moreText("make one"))
}

func waitsText(f *Finding, e *episode) string {
	text := f.now()
	if f.Verdict == SlowNow {
		text = "slow now: " + text
	} else {
		text += fmt.Sprintf(", slow since %s, %d of %d sessions that tell are there", date(f.Since), len(e.counted.points), e.wants())
	}
	return text + fmt.Sprintf("; %s, and %s", f.moreText("tell"), strings.Replace(f.seesText(), "this data would have seen", "see", 1)) + f.scopeText()
}

func clearedText(f *Finding) string {
	return fmt.Sprintf("slow on %s, but %s over %s say: %s, and less than 20 %% slower for sure (at most %.0f %%)",
		date(f.Since), count(f.Effect.Sessions, "session"), count(f.Effect.Days, "day"), speed(f.Effect.SlowerPct), f.Effect.HighPct)
}

func (f *Finding) effectText() string {
	return fmt.Sprintf("%s over %s say: %s (between %.0f and %.0f %%, p %.1g)", count(f.Effect.Sessions, "session"),
		count(f.Effect.Days, "day"), speed(f.Effect.SlowerPct), f.Effect.LowPct, f.Effect.HighPct, f.Effect.P)
}

func undecidedText(f *Finding) string {
	return fmt.Sprintf("%s than %s, which is neither more nor less than 20 %% for sure: %s; %s",
		f.effectText(), f.Baseline.name(), f.seesText(), f.moreText("settle it")) + f.scopeText()
}

func regressedText(f *Finding, e *episode) string {
	text := f.effectText() + " than " + f.Baseline.name() + ", since " + date(cmp.Or(f.Changed, f.Since)) + f.scopeText()
	if !e.base.slow(pointAt(e)) {
		text += "; the newest session is as before, some more of those end it"
	}
	return text
}

func pointAt(e *episode) point { return e.all[len(e.all)-1] }

// oldText marks a verdict that the host's newest session says nothing of.
func oldText(last, latest *Session) string {
	why := "does not have it"
	if latest.Depth != last.Depth {
		why = fmt.Sprintf("is of another depth (%s)", latest.Depth)
	}
	return fmt.Sprintf("; not in the newest session: that of %s %s, this one is of %s", date(latest.Start), why, date(last.Start))
}

func strangerText(f *Finding) string {
	return fmt.Sprintf("%s than its peers; it has no history of its own that it could have become slower than; %s; %s", f.effectText(),
		f.seesText(), f.moreText("give it one"))
}

func proberText(f *Finding) string {
	return fmt.Sprintf("%s, but so is everything else, and another probe program measures since: which of the two it is cannot be told; %s, but %s; "+
		"`vpsctl bench baseline pin` accepts the level", f.effectText(), f.seesText(), f.moreText("tell"))
}

// order puts what needs a person first.
var order = []Word{Regressed, SlowNow, Inconclusive, NotComparable, OK}

func (j *judgement) report(findings []Finding) Report {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		known := func(f Finding) int { // unranked last
			if f.Rank == 0 {
				return math.MaxInt
			}
			return f.Rank
		}
		return cmp.Or(cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict)), cmp.Compare(known(a), known(b)),
			cmp.Compare(a.Host, b.Host), cmp.Compare(a.Metric, b.Metric))
	})
	r := Report{Schema: SchemaVerdict, Rule: j.rule.name, Screened: len(findings), Findings: findings, Without: j.without}
	for _, f := range findings {
		if f.Judged {
			r.Judged++
		}
	}
	r.Text = j.paragraph(&r)
	return r
}

// mostNamed is how many findings of a word the paragraph tells in full.
const mostNamed = 5

// paragraph tells a person what was judged, and first of all how much of it.
func (j *judgement) paragraph(r *Report) string {
	if r.Screened == 0 {
		return "0 of 0 metrics were judged: there is no session that counts."
	}
	hosts, old := map[string]bool{}, 0
	for _, f := range r.Findings {
		hosts[f.Host] = true
		if f.Old {
			old++
		}
	}
	text := fmt.Sprintf("%d of %d metrics on %s were judged, by the rule for %s (%d sessions over %s or more against %d).", r.Judged,
		r.Screened, count(len(hosts), "host"), j.ruleName(), j.rule.confirm, count(j.rule.days(), "day"), j.rule.base)
	if old > 0 {
		text += fmt.Sprintf(" %d of %d are not in the newest session: the last ones that have them were taken.", old, r.Screened)
	}
	for _, w := range order {
		text += wordText(r.Findings, w)
	}
	if len(r.Without) > 0 {
		text += " Without a session that counts: " + strings.Join(r.Without, ", ") + "."
	}
	return text
}

func (j *judgement) ruleName() string {
	if j.rule.family == 1 {
		return j.rule.name
	}
	return fmt.Sprintf("a whole %s, which keeps the chance of any false alarm among %d below 1 %%",
		strings.TrimPrefix(j.rule.name, "one "), j.rule.family)
}

// wordText tells the findings of one word; those that are fine only by number.
func wordText(findings []Finding, w Word) string {
	var of []Finding
	for _, f := range findings {
		if f.Verdict == w {
			of = append(of, f)
		}
	}
	if len(of) == 0 {
		return ""
	}
	text := fmt.Sprintf(" %d %s", len(of), map[Word]string{Regressed: "REGRESSED", SlowNow: "slow now", Inconclusive: "INCONCLUSIVE",
		NotComparable: "not comparable", OK: "OK"}[w])
	if w == OK {
		return text + "."
	}
	sep := ": "
	for _, f := range of[:min(len(of), mostNamed)] {
		text += sep + f.Host + " " + f.Metric + ", " + strings.TrimPrefix(f.Text, "slow now: ")
		sep = "; "
	}
	if n := len(of) - mostNamed; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text + "."
}
