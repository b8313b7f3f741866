package bench

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// plainGrade is the guide's classes without rounding.
func plainGrade(worse float64) (float64, string, bool) {
	switch {
	case worse < 0:
		return worse, "improved", false
	case worse <= 20:
		return worse, "acceptable", false
	case worse <= 50:
		return worse, "warning", true
	}
	return worse, "critical", true
}

func results(cpu, read, write, network float64) Results {
	v := func(x float64) *float64 {
		if math.IsNaN(x) {
			return nil
		}
		return &x
	}
	return Results{CPU: ResultsCPU{Ops: v(cpu)}, Disk: ResultsDisk{Read: v(read), Write: v(write)}, Network: ResultsNetwork{Download: v(network)}}
}

// TestGuideLines: the guide's own sample, its edges, and what cannot be compared.
func TestGuideLines(t *testing.T) {
	none := math.NaN()
	for _, c := range []struct {
		name      string
		now, base Results
		want      [3]string // beginnings: CPU, disk, network
		regressed bool
	}{
		{"the guide's sample", results(850, 105, 105, 100), results(1000, 100, 100, 100), [3]string{
			"CPU Performance: -15% variance (acceptable)", "Disk I/O: read +5%, write +5% variance (improved)", "Network: +0% variance (acceptable)"}, false},
		{"exactly 20", results(800, 80, 100, 80), results(1000, 100, 100, 100), [3]string{
			"CPU Performance: -20% variance (acceptable)", "Disk I/O: read -20%, write +0% variance (acceptable)", "Network: -20% variance (acceptable)"}, false},
		{"the worse of the two", results(1000, 110, 40, 79), results(1000, 100, 100, 100), [3]string{
			"CPU Performance: +0% variance (acceptable)", "Disk I/O: read +10%, write -60% variance (REGRESSION DETECTED!)", "Network: -21% variance (REGRESSION DETECTED!)"}, true},
		{"nothing to divide by", results(1000, none, 50, 100), results(0, 100, none, none), [3]string{
			"CPU Performance: not comparable: the baseline has none", "Disk I/O: read not comparable: not measured now; write not comparable: the baseline has none", "Network: not comparable: the baseline has none"}, false},
		{"nothing measured", results(none, none, none, none), results(none, none, none, none), [3]string{
			"CPU Performance: not measured", "Disk I/O: not measured", "Network: not measured"}, false},
		{"no such value", results(-5, 0, 1, 1), results(5, 5, 1, 1), [3]string{
			"CPU Performance: not comparable: no such value can be measured", "Disk I/O: write +0% variance (acceptable)", "Network: +0%"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			regressed := false
			for i, l := range GuideLines(c.now, c.base, plainGrade) {
				if !strings.HasPrefix(l.Text(), c.want[i]) {
					t.Errorf("%q, want %q …", l.Text(), c.want[i])
				}
				regressed = regressed || l.Regressed
			}
			if regressed != c.regressed {
				t.Errorf("regressed: %v, want %v", regressed, c.regressed)
			}
		})
	}
}

// TestWithinSpread: a difference that the repeats have among themselves is none,
// but a headline that others wrote has no repeats.
func TestWithinSpread(t *testing.T) {
	with := func(headline float64, values ...float64) Results {
		r := results(1000, headline, 100, 100)
		r.Metrics = []Metric{{Name: "disk/read-1m/qd8", Values: values, Median: values[1]}}
		return r
	}
	for _, c := range []struct {
		name      string
		now, base Results
		regressed bool
	}{
		{"apart", with(70, 69, 70, 71), with(100, 99, 100, 101), true},
		{"they overlap", with(70, 60, 70, 100), with(100, 90, 100, 110), false},
		{"by hand", with(60, 60, 70, 100), with(100, 90, 100, 110), true},
	} {
		if l := GuideLines(c.now, c.base, plainGrade)[1]; l.Regressed != c.regressed {
			t.Errorf("%s: %s", c.name, l.Text())
		}
	}
}

func TestNetworkPaths(t *testing.T) {
	now, base := results(1, 1, 1, 10), results(1, 1, 1, 100)
	now.Network.Path, base.Network.Path = "path to mirror B", "path to mirror A"
	if l := GuideLines(now, base, plainGrade)[2]; l.Regressed || !strings.Contains(l.Text(), "mirror B") {
		t.Errorf("two paths are compared: %s", l.Text())
	}
	base.Network.Path = now.Network.Path
	now.Metrics, base.Metrics = []Metric{{Name: "net/mirror/b/8", Unit: "Mbit/s"}}, []Metric{{Name: "net/mirror/b/4", Unit: "Mbit/s"}}
	if l := GuideLines(now, base, plainGrade)[2]; l.Regressed || !strings.Contains(l.Text(), `"net/mirror/b/8", before on "net/mirror/b/4"`) {
		t.Errorf("eight streams are compared with four: %s", l.Text())
	}
	now.Metrics = base.Metrics
	if l := GuideLines(now, base, plainGrade)[2]; !l.Regressed {
		t.Errorf("one path is not compared: %s", l.Text())
	}
}

// TestPeerGroups: an outlier is named, a group of two has none, and hosts that
// measured in another way are set apart.
func TestPeerGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	all := map[string][]Session{}
	add := func(host, group string, level float64, edit func(int, *Session)) {
		all[host] = life{host: host, group: group, noise: 0.03, metrics: []string{"cpu/x", "net/mirror/down/8"}, level: from(0, level), edit: edit}.sessions(r, 9)
	}
	for _, h := range []string{"a1", "a2", "a3", "a4"} {
		add(h, "ams", 1, nil)
	}
	add("a5", "ams", 1.6, nil)
	add("a6", "ams", 1, func(_ int, s *Session) { s.Depth = Quick })
	add("b1", "fra", 1, nil)
	add("b2", "fra", 3, nil)
	add("lone", "", 9, nil)
	add("gone", "ams", 1, func(_ int, s *Session) { s.Excluded = "busy" })
	groups, others := PeerGroups(all)
	if len(groups) != 2 || len(others) != 1 || others[0].Name != "lone" {
		t.Fatalf("groups %+v, others %+v", groups, others)
	}
	if a := groups[0].Apart; len(a) != 1 || !strings.HasPrefix(a[0], "a6: ") {
		t.Errorf("apart: %q", a)
	}
	out := Outliers(groups)
	if len(out) != 2 {
		t.Fatalf("outliers: %+v", out)
	}
	for _, o := range out {
		if o.Host != "a5" || !strings.Contains(o.Text, "slower") {
			t.Errorf("%+v", o)
		}
	}
	for _, h := range []string{"a1", "a2", "a3"} { // another mirror is another path, and two peers are no group
		for i := range all[h] {
			all[h][i].Notes.Mirror = "other"
		}
	}
	groups, _ = PeerGroups(all)
	for _, o := range Outliers(groups) {
		if strings.HasPrefix(o.Metric, "net") {
			t.Errorf("%s is compared over different mirrors", o.Host)
		}
	}
}

// TestQuietGroups: hosts that are alike have hardly any outliers.
func TestQuietGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	wrong, tried := 0, 0
	for range 200 {
		all := map[string][]Session{}
		for _, h := range []string{"a1", "a2", "a3", "a4", "a5"} {
			all[h] = life{host: h, group: "ams", noise: 0.1, metrics: []string{"cpu/x"}}.sessions(r, 5)
		}
		groups, _ := PeerGroups(all)
		wrong += len(Outliers(groups))
		tried += 5
	}
	if wrong > tried/100 {
		t.Errorf("%d of %d hosts of groups that are alike are called outliers", wrong, tried)
	}
}

func TestChanges(t *testing.T) {
	list := life{host: "web1", edit: func(n int, s *Session) {
		s.Notes.Kernel = []string{"6.12.1", "6.12.1", "6.12.9", "6.12.9"}[n]
		s.Epoch.Cores = []int{2, 2, 2, 4}[n]
	}}.sessions(rand.New(rand.NewPCG(1, 1)), 4)
	c := Changes(list)
	if len(c) != 2 || c[0].Machine || !strings.Contains(c[0].Text, `kernel was "6.12.1", is "6.12.9"`) || !c[1].Machine || c[1].Text != "cores was 2, is 4" || c[1].Session != list[3].ID {
		t.Errorf("%+v", c)
	}
}

// TestHeadlines: the guide's keys and their twins are filled from the metrics
// that the guide means, and are null where there was none.
func TestHeadlines(t *testing.T) {
	metric := func(name, unit string, v float64) Metric {
		return Metric{Name: name, Unit: unit, Better: Higher, Values: []float64{v, v * 1.1, v * 0.9}, Median: v}
	}
	s := Session{Host: "web1", Notes: Notes{Hostname: "vm7", Kernel: "6.12", Mirror: "mirror.example.net", DiskGB: 40}, Epoch: Epoch{Cores: 2, MemoryMB: 4096}, Metrics: []Metric{
		metric("cpu/sha256/1", "ops/s", 8e6), metric("cpu/sha256/all", "ops/s", 16e6), metric("disk/read-1m/qd8", "MB/s", 600)}}
	r := ResultsOf(s)
	if *r.CPU.Ops != 8e6 || math.Abs(*r.CPU.Spread-10) > 1e-9 || *r.Disk.Read != 600 || *r.Disk.ReadMBs != 600 || r.Disk.Write != nil || r.Disk.WriteMBs != nil ||
		r.Network != (ResultsNetwork{}) || r.System.Hostname != "vm7" || r.System.RAMMB != 4096 || r.Method.Repeats != 3 {
		t.Errorf("%+v", r)
	}
}

// TestNetworkHeadline: the download is the mirror's over the most streams, of new
// histories and old ones; no other path is, whatever its host is called.
func TestNetworkHeadline(t *testing.T) {
	type rate struct {
		name, unit string
		v          float64
	}
	peer, through := rate{"net/peer/mirror1/down/8", "Mbit/s", 5000}, rate{"net/ssh/down", "Mbit/s", 700}
	for _, c := range []struct {
		name  string
		rates []rate
		want  float64 // 0: none
	}{
		{"one and eight", []rate{{"net/mirror/mirror.example.net/1", "Mbit/s", 300}, {"net/mirror/mirror.example.net/8", "Mbit/s", 900}, {"net/mirror/mirror.example.net/rtt", "ms", 9}, peer, through}, 900},
		{"eight were slower", []rate{{"net/mirror/mirror.example.net/8", "Mbit/s", 80}, {"net/mirror/mirror.example.net/1", "Mbit/s", 90}}, 80},
		{"by https through a proxy", []rate{{"net/mirror/mirror.example.net/https-curl/via-cache.example/1", "Mbit/s", 300}, {"net/mirror/mirror.example.net/https-curl/via-cache.example/8", "Mbit/s", 700}}, 700},
		{"an old history", []rate{peer, {"net/mirror/mirror.example.net/4", "Mbit/s", 400}}, 400},
		{"up in its name", []rate{{"net/mirror/mirrors.upcloud.example.net/8", "Mbit/s", 800}}, 800},
		{"a peer called mirror1", []rate{peer, through, {"net/peer/mirror1/rtt", "ms", 1}}, 0},
	} {
		s := Session{Notes: Notes{Mirror: "mirror.example.net"}}
		for _, r := range c.rates {
			s.Metrics = append(s.Metrics, Metric{Name: r.name, Unit: r.unit, Better: Higher, Values: []float64{r.v}, Median: r.v, Note: "path to mirror X through the proxy P"})
		}
		switch n := ResultsOf(s).Network; {
		case c.want == 0 && n != (ResultsNetwork{}):
			t.Errorf("%s: %v by %q", c.name, *n.Download, n.Path)
		case c.want > 0 && (n.Download == nil || *n.Download != c.want || *n.Mbps != c.want || n.Path != "path to mirror X through the proxy P"):
			t.Errorf("%s: %+v", c.name, n)
		}
	}
}
