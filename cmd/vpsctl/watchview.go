package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/vpsctl/vpsctl/report"
)

// watchView is how much room `monitor watch` has, and what its terminal can show.
type watchView struct {
	width, height int
	color         bool
	bars          []rune // of a curve, low to high
}

var (
	unicodeBars = []rune("▁▂▃▄▅▆▇█")
	asciiBars   = []rune("_.-=+*%#")
)

// liveOut tells whether results go to a terminal that can be drawn anew.
func (u *ui) liveOut() bool {
	f, ok := u.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && !u.plain && os.Getenv("TERM") != "dumb"
}

func (u *ui) watchView() watchView {
	v := watchView{width: 80, height: 24, color: !u.noColor && !u.plain, bars: asciiBars}
	if f, ok := u.out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			v.width, v.height = w, h
		}
	}
	locale := cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG"))
	if l := strings.ToLower(locale); strings.Contains(l, "utf-8") || strings.Contains(l, "utf8") {
		v.bars = unicodeBars
	}
	return v
}

func (v watchView) paint(code, s string) string {
	if !v.color || code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// spark draws the last values, of 0 to 100, so many columns wide.
func (v watchView) spark(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	out := []rune(strings.Repeat(" ", width-len(values)))
	for _, x := range values {
		i := int(max(0, min(x, 100)) / 100 * float64(len(v.bars)))
		out = append(out, v.bars[min(i, len(v.bars)-1)])
	}
	return string(out)
}

// wide is a column that only wide terminals have.
func (v watchView) wide(s string) string {
	if v.width < 100 {
		return ""
	}
	return s
}

// curve is how wide each of the two curves can be: beside the names, the other
// columns and 22 characters for what is wrong.
func (v watchView) curve(name int) int {
	return max(0, min((v.width-name-29-22-len(v.wide(" STEAL")))/2, history))
}

// page is the whole screen: the hosts, what hurts first, and the last alerts.
func (w *watcher) page(now time.Time, v watchView) string {
	hosts := slices.Clone(w.hosts)
	slices.SortStableFunc(hosts, func(a, b *watched) int { return cmp.Or(cmp.Compare(b.hurt(), a.hurt()), cmp.Compare(a.name, b.name)) })
	name := 4
	for _, h := range hosts {
		name = max(name, min(len(h.name), 20))
	}
	curve := v.curve(name)
	var b strings.Builder
	b.WriteString(fit(fmt.Sprintf("%d hosts, every %s, %s, ^C ends", len(hosts), w.every, now.Format(time.TimeOnly)), v.width) + "\n\n")
	b.WriteString(v.paint(bold, fit(fmt.Sprintf("%-*s %5s %-*s %5s %-*s %7s %6s%s  %s", name, "HOST", "CPU", curve, "", "MEM", curve, "", "DISK", "LOAD", v.wide(" STEAL"), "ALERTS"), v.width)) + "\n")
	room := max(1, v.height-4)
	if len(w.said) > 0 {
		room = max(1, room-len(w.said)-1)
	}
	for i, h := range hosts {
		if i == room-1 && len(hosts) > room {
			fmt.Fprintf(&b, "… and %d hosts that hurt less\n", len(hosts)-i)
			break
		}
		b.WriteString(h.line(v, name, curve) + "\n")
	}
	if len(w.said) > 0 {
		b.WriteString("\n")
	}
	for _, line := range w.said {
		b.WriteString(v.paint(yellow, fit("[WARN] "+line, v.width)) + "\n")
	}
	return b.String()
}

func (h *watched) line(v watchView, name, curve int) string {
	s := h.last
	switch {
	case h.err != nil:
		return v.paint(red, fit(fmt.Sprintf("%-*s [ERR] %s", name, clipName(h.name), report.Clean(h.err.Error())), v.width))
	case s == nil:
		return fit(fmt.Sprintf("%-*s %s", name, clipName(h.name), cmp.Or(h.state, "first sample to come")), v.width)
	}
	broken := h.limits.Broken(s)
	tail, color := "", ""
	if len(broken) > 0 {
		tail, color = "[WARN] "+strings.Join(broken, " "), yellow
	}
	if h.state != "" {
		tail, color = h.state, red
	}
	return v.paint(color, fit(fmt.Sprintf("%-*s %4.0f%% %s %4.0f%% %s %7s %6.2f%s  %s", name, clipName(h.name), s.CPUPct, v.spark(h.cpu, curve),
		memoryPct(s), v.spark(h.mem, curve), gigabytes(s.DiskAvailMB), s.Load1, v.wide(fmt.Sprintf(" %4.0f%%", s.StealPct)), tail), v.width))
}

func clipName(s string) string {
	if len(s) > 20 {
		return s[:19] + "+"
	}
	return s
}

func gigabytes(mb int) string { return fmt.Sprintf("%.1fG", float64(mb)/1024) }

// fit cuts a line at a width in characters.
func fit(s string, width int) string {
	r := []rune(s)
	return strings.TrimRight(string(r[:min(len(r), width)]), " ")
}

// hurt is how much a host needs looking at: one that is gone before one over a
// limit before one that is busy.
func (h *watched) hurt() float64 {
	switch {
	case h.err != nil:
		return 1000
	case h.last == nil:
		return -1
	}
	worst := max(h.last.CPUPct, memoryPct(h.last))
	if h.last.PSIMem != nil {
		worst = max(worst, *h.last.PSIMem)
	}
	if h.last.PSIIO != nil {
		worst = max(worst, *h.last.PSIIO)
	}
	if h.state != "" {
		worst += 500
	}
	return worst + 200*float64(len(h.limits.Broken(h.last)))
}

// plainSample is a sample as a line of plain output.
func plainSample(h *watched, at time.Time) string {
	s := h.last
	line := fmt.Sprintf("[%s] %s: cpu %.0f%%, memory %d of %d MB, disk %s free, load %.2f, %d processes", at.Local().Format("2006-01-02 15:04:05"), h.name,
		s.CPUPct, s.MemUsedMB, s.MemUsedMB+s.MemAvailMB, gigabytes(s.DiskAvailMB), s.Load1, s.Procs)
	if s.StealPct >= 0.5 {
		line += fmt.Sprintf(", steal %.0f%%", s.StealPct)
	}
	return line
}
