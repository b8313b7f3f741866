//go:build linux

package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHead: what a program prints is bounded, also as os/exec copies it.
func TestHead(t *testing.T) {
	var h head
	n, err := io.Copy(&h, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 2*mostSaid))})
	if err != nil || n != 2*mostSaid || len(h.String()) != mostSaid {
		t.Errorf("%d bytes of %d are kept, %v", len(h.String()), n, err)
	}
}

func TestOthersWords(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func(string) (float64, error)
		text  string
		want  float64 // 0: refused
	}{
		{"openssl", parseOpenSSL, "+H:64\n+F:25:sha256:492603520.00\n", 7696930},
		{"openssl on two threads", parseOpenSSL, "Got: +F:25:sha256:188357440.00 from 0\n+F:25:sha256:401715584.00\n", 6276806},
		{"openssl that fails", parseOpenSSL, "speed: Error\n+F:\n+F:25:sha256:0.0\n", 0},
		{"sysbench", parseSysbench, "CPU speed:\n    events per second:  1277.20\n\nGeneral", 1277.20},
		{"sysbench that fails", parseSysbench, "FATAL: no\n events per second: -\n", 0},
		{"nothing", parseSysbench, "", 0},
	} {
		got, err := c.parse(c.text)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %g, %v", c.name, got, err)
		}
	}
}

func TestFioWords(t *testing.T) {
	const said = `note: something
{"fio version":"fio-3.39","jobs":[{"error":0,"read":{"iops":100,"io_bytes":5,"runtime":801,"clat_ns":{"percentile":{"50.000000":62208,"99.000000":160768}}},
"write":{"iops":200,"io_bytes":7,"runtime":800,"clat_ns":{}}}]}`
	read, err := parseFio(said, pattern{block: mib})
	if err != nil || read.value != 100*1.048576 || read.seconds != 0.801 || read.bytes != 5 || read.percentiles["p50_us"] != 62.208 || len(read.percentiles) != 2 {
		t.Errorf("%+v, %v", read, err)
	}
	write, err := parseFio(said, pattern{block: small, write: true, inBlocks: true, sync: true})
	if err != nil || write.value != 200 || write.percentiles != nil {
		t.Errorf("%+v, %v", write, err)
	}
	for _, bad := range []string{"", "{", "no", `{"jobs":[]}`, `{"jobs":[{"error":5,"read":{"iops":1}}]}`, `{"jobs":[{"read":{"iops":0}}]}`} {
		if _, err := parseFio(bad, pattern{}); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// TestInTurns: another program measures right before or after us, half of the times each; all else is shuffled.
func TestInTurns(t *testing.T) {
	const repeats = 6
	probes := []probe{{metric: "cpu/sort/1"}, {metric: "disk/read-1m/qd8"}, {metric: "against/fio/read-1m/qd8"},
		{metric: "against/openssl/sha256/1"}, {metric: "against/sysbench/cpu/1"}}
	order := inTurns(probes, repeats, rand.New(rand.NewPCG(1, 1)))
	count, before := map[int]int{}, 0
	for n, i := range order {
		count[i]++
		if i != 1 {
			continue
		}
		// A pair's other half may be next to another pair, too.
		isBefore, isAfter := n > 0 && order[n-1] == 2, n+1 < len(order) && order[n+1] == 2
		if !isBefore && !isAfter {
			t.Errorf("the %d-th of %v stands alone", n, order)
		}
		if isBefore && !isAfter {
			before++
		}
	}
	for i := range probes { // openssl's has none of ours here
		if count[i] != repeats {
			t.Errorf("%s: %d times", probes[i].metric, count[i])
		}
	}
	if before == 0 || before == repeats {
		t.Errorf("fio was first %d times of %d", before, repeats)
	}
	if again := inTurns(probes, repeats, rand.New(rand.NewPCG(2, 1))); slices.Equal(order, again) {
		t.Error("two seeds, one order")
	}
}

// TestAgainstTheMissing: programs that are not there are named, and nothing of them is measured.
func TestAgainstTheMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	var out bytes.Buffer
	p := &printer{to: &out}
	if probes, err := againstCPU(p); err != nil || len(probes) != 0 || strings.Count(out.String(), "the host has no ") != 2 {
		t.Errorf("%d probes, %v: %s", len(probes), err, out.String())
	}
	script := "#!/bin/sh\necho \"+F:1:sha256:6400\"; [ \"$LC_ALL\" = C ]\n"
	if err := os.WriteFile(filepath.Join(dir, "openssl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	probes, err := againstCPU(p)
	if err != nil || len(probes) != 2 {
		t.Fatalf("%d probes, %v", len(probes), err)
	}
	if r, err := probes[0].measure(t.Context(), 0, time.Second); err != nil || r.value != 100 {
		t.Errorf("%+v, %v", r, err)
	}
}
