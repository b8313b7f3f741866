package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

func watching(name string, cpu float64, used, avail int) *watched {
	return &watched{name: name, last: &wire.Sample{CPUPct: cpu, MemUsedMB: used, MemAvailMB: avail, DiskAvailMB: 20480, Load1: 1.5},
		cpu: []float64{0, 50, cpu}, mem: []float64{10, 20}}
}

// The screen fits its terminal; what hurts most comes first.
func TestWatchPage(t *testing.T) {
	gone := watching("gone", 1, 100, 4000)
	gone.err = errors.New("gone: no route to host")
	w := &watcher{every: time.Second, said: []string{"10:00:00 small: Available memory below threshold: 450MB < 500MB"}, hosts: []*watched{
		watching("idle", 1, 100, 4000), watching("busy", 94, 100, 4000), watching("small", 20, 1500, 450), {name: "new", state: "connecting"},
		watching("a-name-that-is-far-too-long-for-a-table", 99, 100, 4000), gone}}
	w.hosts[3].limits = report.Limits{}
	for _, width := range []int{40, 80, 100, 140, 300} {
		v := watchView{width: width, height: 24, bars: unicodeBars}
		page := w.page(time.Now(), v)
		for _, line := range strings.Split(page, "\n") {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("width %d: %d columns: %s", width, utf8.RuneCountInString(line), line)
			}
		}
		if strings.Contains(page, "\x1b") {
			t.Errorf("colour though there shall be none: %q", page)
		}
		order := regexp.MustCompile(`(?m)^(gone|a-name|busy|small|idle|new)`).FindAllString(page, -1)
		if got := strings.Join(order, " "); got != "gone a-name small busy idle new" {
			t.Errorf("width %d: order %s\n%s", width, got, page)
		}
	}
	page := w.page(time.Now(), watchView{width: 80, height: 24, bars: asciiBars})
	for _, want := range []string{"[ERR] gone: no route", "[WARN] memory", "20.0G", "[WARN] 10:00:00 small", "_+", "connecting"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if n := strings.Count(w.page(time.Now(), watchView{width: 80, height: 9, bars: asciiBars}), "\n"); n > 9 {
		t.Errorf("%d lines on a terminal of 9", n)
	}
}

func TestSpark(t *testing.T) {
	v := watchView{bars: unicodeBars}
	for _, c := range []struct {
		values []float64
		width  int
		want   string
	}{{nil, 3, "   "}, {[]float64{0, 50, 100}, 4, " ▁▅█"}, {[]float64{-5, 12.4, 12.5, 200}, 3, "▁▂█"}, {[]float64{1, 2}, 0, ""}} {
		if got := v.spark(c.values, c.width); got != c.want {
			t.Errorf("%v, %d: %q, want %q", c.values, c.width, got, c.want)
		}
	}
}
