package bench

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// FuzzJudge holds that no history, however made up, brings the verdict down or
// into a form that is no JSON, and that its order in the file says nothing.
func FuzzJudge(f *testing.F) {
	f.Add([]byte("a slow host, and a fast one"), uint16(70), uint8(3))
	f.Add([]byte{0, 255, 17, 3, 99, 1}, uint16(200), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, n uint16, perDay uint8) {
		l := life{host: "web1", group: "ams", metrics: []string{"a", "b"}, perDay: 1 + int(perDay)%9, edit: func(i int, s *Session) { invent(data, i, s) }}
		all := map[string][]Session{"web1": l.sessions(seeded(1), int(n)%60), "web2": l.sessions(seeded(2), 20)}
		r := Judge(all, Question{})
		checkReport(t, r)
		slices.Reverse(all["web2"])
		again, _ := json.Marshal(Judge(all, Question{}))
		if first, _ := json.Marshal(r); string(first) != string(again) {
			t.Errorf("%s\n%s", first, again)
		}
	})
}

// invent makes a session what the data say.
func invent(data []byte, i int, s *Session) {
	if len(data) == 0 {
		return
	}
	for k := range s.Metrics {
		d := data[(i*2+k)%len(data)]
		m := &s.Metrics[k]
		switch m.Median = float64(d); d {
		case 1:
			m.Values = []float64{math.NaN()}
		case 2:
			m.Values = []float64{math.Inf(1)}
		case 3:
			m.Values, m.Median = nil, 1e99
		case 4:
			m.Values, m.Median = nil, 1e-99
		case 5:
			m.Name = "other"
		case 6:
			m.Better = Lower
		case 7:
			s.Epoch.Cores++
		case 8:
			s.Excluded = "busy"
		case 9:
			s.Notes.PeerGroup, s.Notes.Prober = "", "b2"
		default:
			m.Values = []float64{float64(d), float64(d) * 1.1}
		}
	}
}
