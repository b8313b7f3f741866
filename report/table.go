package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// The colours of marks and classes. They only repeat what a word says.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
	bold   = "1"
)

// page writes lines for people, within a width.
type page struct {
	w     io.Writer
	width int
	color bool
	err   error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
}

func (p *page) paint(color, text string) string {
	if !p.color || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (p *page) head(format string, args ...any) {
	p.line("")
	p.line("%s", p.paint(bold, fit(fmt.Sprintf(format, args...), p.width)))
}

// wrapped writes text behind lead, broken at blanks, and within words that are
// longer than a line; further lines stand below the first one's text.
func (p *page) wrapped(lead, text string) {
	indent := uniseg.StringWidth(Clean(lead)) // without its colours
	room := max(20, p.width-indent)
	line := ""
	flush := func() {
		if line != "" {
			p.line("%s%s", lead, line)
		}
		lead = strings.Repeat(" ", indent)
	}
	for _, word := range strings.Fields(text) {
		if line != "" && uniseg.StringWidth(line)+1+uniseg.StringWidth(word) > room {
			flush()
			line = ""
		}
		if line != "" {
			line += " "
		}
		for line += word; uniseg.StringWidth(line) > room; {
			rest := line[cut(line, room):]
			line = line[:len(line)-len(rest)]
			flush()
			line = rest
		}
	}
	flush()
}

// cell is one field of a table.
type cell struct{ text, color string }

// column of a table. Where the table is too wide, extra columns go first, the
// last one before the others; then columns shrink to their least width, first
// to last; then those with the highest drop go.
type column struct {
	head  string
	right bool
	extra bool
	least int // 0: it does not shrink
	drop  int // 0: it stays
}

// table writes rows under a heading.
func (p *page) table(columns []column, rows [][]cell) {
	width := make([]int, len(columns))
	for i, c := range columns {
		width[i] = len(c.head)
		for _, row := range rows {
			width[i] = max(width[i], uniseg.StringWidth(row[i].text))
		}
	}
	squeeze(columns, width, p.width)
	heads := make([]cell, len(columns))
	for i, c := range columns {
		heads[i] = cell{c.head, bold}
	}
	for _, row := range append([][]cell{heads}, rows...) {
		p.row(columns, width, row)
	}
}

// squeeze makes the widths fit into most; -1 is a column that is left out.
func squeeze(columns []column, width []int, most int) {
	over := func() int {
		sum := -1 - most
		for _, w := range width {
			sum += w + 1
		}
		return sum
	}
	for i := len(columns) - 1; i >= 0 && over() > 0; i-- {
		if columns[i].extra {
			width[i] = -1
		}
	}
	for i, c := range columns {
		if more := over(); more > 0 && c.least > 0 && width[i] > c.least {
			width[i] = max(c.least, width[i]-more)
		}
	}
	for over() > 0 {
		last := -1
		for i, c := range columns {
			if width[i] >= 0 && c.drop > 0 && (last < 0 || c.drop > columns[last].drop) {
				last = i
			}
		}
		if last < 0 {
			return
		}
		width[last] = -1
	}
}

func (p *page) row(columns []column, width []int, row []cell) {
	var b strings.Builder
	for i, c := range columns {
		if width[i] < 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		text := fit(row[i].text, width[i])
		pad := strings.Repeat(" ", max(0, width[i]-uniseg.StringWidth(text)))
		if c.right {
			b.WriteString(pad)
			pad = ""
		}
		b.WriteString(p.paint(row[i].color, text) + pad)
	}
	p.line("%s", b.String())
}

// fit cuts text to a width; two dots say that something is missing.
func fit(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	if width >= 3 {
		if short := text[:cut(text, width-2)] + ".."; uniseg.StringWidth(short) <= width {
			return short
		}
	}
	return strings.Repeat(".", max(0, min(2, width)))
}

// cut is how many bytes of text fit into a width; at least one character.
func cut(text string, width int) int {
	used, n, state := 0, 0, -1
	for rest := text; rest != ""; {
		var cluster string
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+w > width && n > 0 {
			break
		}
		used, n = used+w, n+len(cluster)
	}
	return n
}
