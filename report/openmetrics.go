package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// family is one metric with its samples.
type family struct {
	name, unit, help string
	lines            []string
}

// metrics collects samples by family, in the order the families first came.
type metrics struct {
	list []*family
}

// add a sample; labels are name and value in turn.
func (m *metrics) add(name, unit, help string, value float64, labels ...string) {
	at := slices.IndexFunc(m.list, func(f *family) bool { return f.name == name })
	if at < 0 {
		at, m.list = len(m.list), append(m.list, &family{name: name, unit: unit, help: help})
	}
	var b strings.Builder
	for i := 0; i+1 < len(labels); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s="%s"`, labels[i], metricLabel(labels[i+1]))
	}
	m.list[at].lines = append(m.list[at].lines, fmt.Sprintf("%s{%s} %s", name, b.String(), strconv.FormatFloat(value, 'g', -1, 64)))
}

// metricLabel escapes a label's value; what a host said stays on its line.
func metricLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(cleanLine(s))
}

// OpenMetrics writes a run as metrics, all of them gauges without timestamps,
// as a pushgateway or a textfile collector takes them. The run's id is a label
// of vpsctl_run_info alone, so that runs continue the same series.
func OpenMetrics(w io.Writer, r *Report) error {
	m := &metrics{}
	m.add("vpsctl_run_info", "", "The run all of this is of.", 1, "run", r.Run.ID, "verb", r.Run.Verb, "version", r.Run.Version, "status", word(r.Verdict.Status))
	m.add("vpsctl_run_duration_seconds", "seconds", "How long the run took, as this machine saw it.", secs(r.Duration()))
	m.add("vpsctl_run_start_timestamp_seconds", "seconds", "When the run began.", float64(r.Run.Started.UnixMilli())/1000)
	docs := make([]PerformanceReport, len(r.Hosts))
	for i := range r.Hosts {
		h := &r.Hosts[i]
		docs[i] = h.Performance()
		d := &docs[i].Hardware
		m.add("vpsctl_host_info", "", "What the host is and how it came out.", 1, "host", h.Host.Host, "status", word(h.Verdict.Status), "outcome", string(h.Verdict.Outcome),
			"tier", d.Tier, "arch", d.Arch, "os", d.OS, "kernel", d.Kernel)
	}
	for i := range docs {
		if r.Hosts[i].Record.Start != nil {
			m.host(&docs[i])
		}
	}
	for i := range docs {
		for j := range docs[i].Phases {
			m.phase(docs[i].Host, &docs[i].Phases[j])
		}
	}
	return m.write(w)
}

const mebi = 1 << 20

func (m *metrics) host(d *PerformanceReport) {
	host := []string{"host", d.Host}
	with := func(more ...string) []string { return append(slices.Clone(host), more...) }
	s := &d.Summary
	m.add("vpsctl_host_duration_seconds", "seconds", "First phase's begin to last phase's end.", s.TotalDurationSec, host...)
	m.add("vpsctl_host_target_seconds", "seconds", "What it is measured against.", s.TargetDurationSec, host...)
	if s.PerformanceScore != nil {
		m.add("vpsctl_host_score_ratio", "ratio", "Target by duration, at most 1.", round3(*s.PerformanceScore/100), host...)
	}
	for _, c := range []struct {
		result string
		n      int
	}{{"ok", s.OK}, {"changed", s.Changed}, {"failed", s.Failed}, {"skipped", s.Skipped}} {
		m.add("vpsctl_host_steps", "", "Steps by what became of them.", float64(c.n), with("result", c.result)...)
	}
	for _, kind := range []string{AlertMemory, AlertDisk, AlertCPU, AlertPhase} {
		m.add("vpsctl_host_alerts", "", "Alerts that were raised.", float64(d.Alerts.ByType[kind]), with("type", kind)...)
	}
	u := d.ResourceUsage
	if u == nil {
		return
	}
	m.add("vpsctl_host_cpu_ratio", "ratio", "CPU use of all CPUs.", u.CPUAvg/100, with("stat", "avg")...)
	m.add("vpsctl_host_cpu_ratio", "ratio", "", u.CPUP95/100, with("stat", "p95")...)
	m.add("vpsctl_host_cpu_ratio", "ratio", "", u.CPUPeak/100, with("stat", "peak")...)
	m.add("vpsctl_host_memory_used_bytes", "bytes", "Memory used.", u.MemoryAvgMB*mebi, with("stat", "avg")...)
	m.add("vpsctl_host_memory_used_bytes", "bytes", "", float64(u.MemoryPeakMB)*mebi, with("stat", "peak")...)
	m.add("vpsctl_host_disk_available_bytes", "bytes", "The least that was available on the root file system.", float64(u.DiskMinAvailMB)*mebi, host...)
	m.add("vpsctl_host_load1", "", "The highest load average over one minute.", u.LoadPeak, host...)
}

func (m *metrics) phase(host string, p *PerfPhase) {
	labels := []string{"host", host, "phase", p.Name}
	with := func(more ...string) []string { return append(slices.Clone(labels), more...) }
	m.add("vpsctl_phase_info", "", "How the phase came out.", 1, with("status", p.Status)...)
	if p.Start == "" || p.End == "" {
		return
	}
	m.add("vpsctl_phase_duration_seconds", "seconds", "How long the phase took.", p.DurationSec, labels...)
	if p.VariancePct != nil {
		m.add("vpsctl_phase_target_seconds", "seconds", "How long it may take on this host.", p.TargetSec, labels...)
		m.add("vpsctl_phase_variance_ratio", "ratio", "How far it is from its target, positive is slower.", round3(*p.VariancePct/100), labels...)
	}
	m.add("vpsctl_phase_changed_steps", "", "Steps that changed something.", float64(p.Changed), labels...)
	c := p.Cost
	if c == nil {
		return
	}
	m.add("vpsctl_phase_cpu_seconds", "seconds", "CPU time used.", c.CPUSec, labels...)
	m.add("vpsctl_phase_memory_peak_bytes", "bytes", "Most memory in use at once.", c.PeakMemoryMB*mebi, labels...)
	m.add("vpsctl_phase_disk_bytes", "bytes", "Bytes read from and written to disks.", c.DiskReadMB*mebi, with("direction", "read")...)
	m.add("vpsctl_phase_disk_bytes", "bytes", "", c.DiskWriteMB*mebi, with("direction", "write")...)
	m.add("vpsctl_phase_network_bytes", "bytes", "Bytes received and sent by the host meanwhile.", c.NetRxMB*mebi, with("direction", "receive")...)
	m.add("vpsctl_phase_network_bytes", "bytes", "", c.NetTxMB*mebi, with("direction", "transmit")...)
	m.add("vpsctl_phase_wait_seconds", "seconds", "Time waited for locks.", c.WaitSec, labels...)
}

func (m *metrics) write(w io.Writer) error {
	for _, f := range m.list {
		head := fmt.Sprintf("# HELP %s %s\n# TYPE %s gauge\n", f.name, f.help, f.name)
		if f.unit != "" {
			head += fmt.Sprintf("# UNIT %s %s\n", f.name, f.unit)
		}
		if _, err := io.WriteString(w, head+strings.ReplaceAll(strings.Join(f.lines, "\n"), "{} ", " ")+"\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "# EOF\n")
	return err
}
