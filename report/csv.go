package report

import (
	"encoding/csv"
	"io"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// csvRow writes one row. The columns in text hold words that came from a host;
// spreadsheets would run those that begin like a formula.
func csvRow(w io.Writer, row []string, text ...int) error {
	row = slices.Clone(row)
	for _, i := range text {
		row[i] = textCell(row[i])
	}
	var b strings.Builder
	c := csv.NewWriter(&b)
	_ = c.Write(row) // into memory: cannot fail
	c.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

// textCell makes a cell that no spreadsheet takes for a formula.
func textCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		s = "'" + s
	}
	return cleanLine(s)
}

func (r *HostRecord) timingRow(p *PhaseRecord) []string {
	return wire.TimingRow(p.ID, p.Status, r.Wall(p.Begin), r.Wall(p.End), p.Target)
}

// csvColumns of CSV: those of timing.csv, then who and what it cost.
var csvColumns = append(slices.Clone(wire.TimingHeader), "Host", "Title", "Result", "Class", "OK", "Changed", "Failed", "Skipped",
	"CPUSec", "PeakMemoryMB", "DiskReadMB", "DiskWriteMB", "NetRxMB", "NetTxMB", "WaitSec")

// CSV writes one row per finished phase of every host.
func CSV(w io.Writer, r *Report) error {
	if err := csvRow(w, csvColumns); err != nil {
		return err
	}
	for _, h := range r.Hosts {
		if h.Record == nil || h.Record.Start == nil {
			continue
		}
		for i := range h.Record.Phases {
			p := &h.Record.Phases[i]
			if !p.Ended {
				continue
			}
			if err := csvRow(w, append(h.Record.timingRow(p), csvCosts(h.Host.Host, p)...), 1, 8, 9); err != nil {
				return err
			}
		}
	}
	return nil
}

func csvCosts(host string, p *PhaseRecord) []string {
	row := []string{host, p.Title, string(p.Status), p.class(), itoa(p.OK), itoa(p.Changed), itoa(p.Failed), itoa(p.Skipped)}
	if p.Cost == nil {
		return append(row, "", "", "", "", "", "", "")
	}
	for _, v := range []float64{p.Cost.CPUSec, p.Cost.PeakMemoryMB, p.Cost.DiskReadMB, p.Cost.DiskWriteMB, p.Cost.NetRxMB, p.Cost.NetTxMB, p.Cost.WaitSec} {
		row = append(row, number(v))
	}
	return row
}
