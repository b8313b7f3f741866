package bench

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
)

// An outlier is at least this far from the median of its peers, both as a ratio
// and in standard deviations of theirs.
const (
	outlierRatio = regression
	OutlierSD    = 3.5
	outlierPeers = 3                // others, that there is a middle
	LeastPeers   = outlierPeers + 1 // hosts of a group, that any is compared with the others
)

// PeerGroup is hosts that should be alike, metric by metric.
type PeerGroup struct {
	Name    string       `json:"name"`
	From    string       `json:"from"` // what says that they are alike: vars.peer_group, cloud metadata
	Hosts   []string     `json:"hosts"`
	Apart   []string     `json:"apart"` // hosts of the group that cannot be compared with it, each with its why
	Metrics []PeerMetric `json:"metrics"`

	size int // hosts that are compared, whichever are shown
}

// Size is how many hosts are compared with each other, whichever are shown.
func (g PeerGroup) Size() int { return g.size }

// Compared counts the values shown that have peers enough, and all of them.
func (g PeerGroup) Compared() (n, of int) {
	for _, m := range g.Metrics {
		for _, v := range m.Values {
			if of++; v.Peers != nil {
				n++
			}
		}
	}
	return n, of
}

// Only is what there is to show of some hosts, compared with all.
func (g PeerGroup) Only(hosts []string) PeerGroup {
	other := func(host string) bool { return !slices.Contains(hosts, host) }
	g.Hosts = slices.DeleteFunc(slices.Clone(g.Hosts), other)
	g.Apart = slices.DeleteFunc(slices.Clone(g.Apart), func(why string) bool {
		host, _, _ := strings.Cut(why, ": ")
		return other(host)
	})
	metrics := []PeerMetric{}
	for _, m := range g.Metrics {
		m.Values = slices.DeleteFunc(slices.Clone(m.Values), func(v PeerValue) bool { return other(v.Host) })
		if len(m.Values) > 0 {
			metrics = append(metrics, m)
		}
	}
	g.Metrics = metrics
	return g
}

// PeerMetric is a metric of every host of a group.
type PeerMetric struct {
	Metric string      `json:"metric"`
	Unit   string      `json:"unit"`
	Better Direction   `json:"better"`
	Values []PeerValue `json:"values"`
}

// PeerValue is one host's. Against the leave-one-out median of its peers a
// positive percentage is slower.
type PeerValue struct {
	Host      string   `json:"host"`
	Median    float64  `json:"median"` // of its sessions
	Sessions  int      `json:"sessions"`
	Peers     *float64 `json:"peers_median"` // of the others; null: too few
	SlowerPct *float64 `json:"slower_pct"`
	Outlier   string   `json:"outlier,omitempty"` // slower, faster
}

// Outlier is a value that is none of its peers'.
type Outlier struct {
	Group, Host, Metric, Text string
}

// PeerGroups sorts hosts into those that say they are alike (vars.peer_group, or
// what their cloud calls provider, plan and region) and the rest, which gets a
// table and no words: nothing says that they should be equal.
func PeerGroups(histories map[string][]Session) (groups []PeerGroup, others []Side) {
	by := map[Group][]*record{}
	for _, host := range slices.Sorted(maps.Keys(histories)) {
		r := recordOf(host, histories[host], time.Time{})
		switch {
		case r.newest() == nil:
		case r.newest().Notes.Group().Name == "":
			others = append(others, HostSide(host, histories[host]))
		default:
			g := r.newest().Notes.Group()
			by[g] = append(by[g], r)
		}
	}
	for _, g := range slices.SortedFunc(maps.Keys(by), func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From))
	}) {
		groups = append(groups, peerGroup(g, by[g]))
	}
	return groups, others
}

// peerGroup compares the hosts of a group that measured in the same way; who
// did not is named.
func peerGroup(of Group, records []*record) PeerGroup {
	g := PeerGroup{Name: of.Name, From: of.From, Hosts: []string{}, Apart: []string{}, Metrics: []PeerMetric{}}
	way := commonWay(records)
	var alike []*record
	for _, r := range records {
		if w := wayOf(r); w != way {
			g.Apart = append(g.Apart, fmt.Sprintf("%s: measured in another way (%s, method %d)", r.host, w.depth, w.method))
			continue
		}
		alike = append(alike, r)
		g.Hosts = append(g.Hosts, r.host)
	}
	g.size = len(alike)
	seen := map[string]bool{}
	for _, r := range alike {
		for _, metric := range r.newest().metrics() {
			if !seen[metric] {
				seen[metric] = true
				g.Metrics = append(g.Metrics, peerMetric(metric, *r.newest().metric(metric), alike))
			}
		}
	}
	return g
}

// A way of measuring that hosts must share. Machines may differ: that one got a
// slower processor for the same money is what is looked for.
type way struct {
	depth  Depth
	method int
}

func wayOf(r *record) way { return way{r.newest().Depth, r.newest().Epoch.Method} }

func commonWay(records []*record) way {
	count := map[way]int{}
	for _, r := range records {
		count[wayOf(r)]++
	}
	ways := slices.SortedFunc(maps.Keys(count), func(a, b way) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.depth, b.depth), cmp.Compare(b.method, a.method))
	})
	return ways[0]
}

func peerMetric(name string, like Metric, records []*record) PeerMetric {
	m := PeerMetric{Metric: name, Unit: like.Unit, Better: like.Better, Values: []PeerValue{}}
	var mirrors []string
	for _, r := range records {
		points := last(r.points(name), sideSessions)
		if len(points) == 0 || r.newest().metric(name) == nil || r.newest().metric(name).Unit != like.Unit {
			continue
		}
		v := make([]float64, len(points))
		for i, p := range points {
			v[i] = p.value
		}
		m.Values = append(m.Values, PeerValue{Host: r.host, Median: stat.Median(v), Sessions: len(v)})
		mirrors = append(mirrors, r.newest().Notes.Mirror)
	}
	for i := range m.Values {
		var peers []float64
		for j, o := range m.Values {
			if i != j && (mirrors[i] == mirrors[j] || !strings.HasPrefix(name, "net")) {
				peers = append(peers, math.Log(o.Median))
			}
		}
		m.Values[i].against(peers, m.Better)
	}
	return m
}

// against sets a value against the logarithms of its peers'.
func (v *PeerValue) against(peers []float64, better Direction) {
	if len(peers) < outlierPeers {
		return
	}
	middle := stat.Median(peers)
	slower := math.Log(v.Median) - middle
	if better == Higher {
		slower = -slower
	}
	median, percent := math.Exp(middle), pct(slower)
	v.Peers, v.SlowerPct = &median, &percent
	// Few peers that happen to agree would make anything an outlier.
	spread := max(stat.MAD(peers), 0.02)
	if math.Abs(slower) < math.Log(outlierRatio) || math.Abs(slower) < OutlierSD*spread {
		return
	}
	v.Outlier = "slower"
	if slower < 0 {
		v.Outlier = "faster"
	}
}

// Outliers are those of all groups, the farthest slower first.
func Outliers(groups []PeerGroup) []Outlier {
	type far struct {
		Outlier
		by float64
	}
	var all []far
	for _, g := range groups {
		for _, m := range g.Metrics {
			for _, v := range m.Values {
				if v.Outlier == "" {
					continue
				}
				all = append(all, far{Outlier{g.Name, v.Host, m.Metric, fmt.Sprintf("%s %s: %s %s against %s of its peers in %s, %s (%s)", v.Host, m.Metric,
					Figure(v.Median), m.Unit, Figure(*v.Peers), g.Name, speed(*v.SlowerPct), count(v.Sessions, "session"))}, *v.SlowerPct})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b far) int { return cmp.Compare(b.by, a.by) })
	out := make([]Outlier, len(all))
	for i, f := range all {
		out[i] = f.Outlier
	}
	return out
}
