package bench

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

func TestProbeLines(t *testing.T) {
	for _, good := range []string{
		`{"host":{"method":1,"cpu_model":"A","cores":2,"memory_mb":4096,"disk":"ext4","virt":"kvm","kernel":"6.12","hostname":"a","load1":0.1,"psi_cpu_avg10":-1}}`,
		`{"at":{"metric":"cpu/sha256/1","n":1,"of":57}}`,
		`{"got":{"metric":"disk/randread-4k/qd32","unit":"IOPS","better":"higher","value":51234.5,"seconds":0.8,"bytes":4096,"steal_pct":0,"percentiles":{"p99_us":80.5}}}`,
		`{"got":{"metric":"rtt","unit":"us","better":"lower","value":80}}`,
		`{"skip":{"what":"disk","why":"a tmpfs is no disk"}}`,
		`{"end":{"seconds":57.2,"steal_pct":0.1}}`,
	} {
		p, err := ParseProbe([]byte(good))
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParseProbe(again); err != nil || cmp.Diff(p, q) != "" {
			t.Errorf("%s became %s (%v)", good, again, err)
		}
	}
	for name, bad := range map[string]string{
		"no body":        `{}`,
		"two bodies":     `{"at":{"metric":"a","n":1,"of":1},"end":{"seconds":1}}`,
		"no JSON":        `hello`,
		"a long line":    `{"skip":{"why":"` + strings.Repeat("x", wire.MaxProbeLine) + `"}}`,
		"a zero":         `{"got":{"metric":"a","unit":"s","better":"lower","value":0}}`,
		"a negative":     `{"got":{"metric":"a","unit":"s","better":"lower","value":-1}}`,
		"an endless one": `{"got":{"metric":"a","unit":"s","better":"lower","value":1e300}}`,
		"much stolen":    `{"got":{"metric":"a","unit":"s","better":"lower","value":1,"steal_pct":101}}`,
		"a strange name": `{"got":{"metric":"../a","unit":"s","better":"lower","value":1}}`,
		"a strange unit": `{"got":{"metric":"a","unit":"\u001b[2J","better":"lower","value":1}}`,
		"no direction":   `{"got":{"metric":"a","unit":"s","better":"","value":1}}`,
		"no cores":       `{"host":{"method":1,"memory_mb":1}}`,
		"beyond the end": `{"at":{"metric":"a","n":2,"of":1}}`,
	} {
		if _, err := ParseProbe([]byte(bad)); !errors.Is(err, wire.ErrHostile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := ParseProbe([]byte(`{"skip":{"what":"disk","why":"a\u001b[31mb\nc\u202e"}}`))
	if err != nil || p.Skip.Why != "a[31mbc" {
		t.Errorf("words for a terminal: %+v, %v", p.Skip, err)
	}
}

func FuzzParseProbe(f *testing.F) {
	f.Add([]byte(`{"got":{"metric":"a/b","unit":"MB/s","better":"higher","value":1.5,"percentiles":{"p50_us":3}}}`))
	f.Add([]byte(`{"host":{"method":1,"cores":2,"memory_mb":10,"busy":"x"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p, err := ParseProbe(line)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if q, err := ParseProbe(again); err != nil || cmp.Diff(p, q) != "" {
			t.Fatalf("read %q, wrote %q: %v", line, again, err)
		}
	})
}
