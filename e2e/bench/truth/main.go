//go:build linux

// Command truth holds the prober's figures against fio's and openssl's, on one host of the lab, and prints a table. It
// needs root.
//
//	truth -rounds 7 -page docs/benchmarks.md
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vpsctl/vpsctl/bench/stat"
	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// Both sides use a file of so many MiB for so long, behind so long that does not count.
const (
	fileMB  = 1024
	seconds = 4
	ramp    = 1
)

func main() {
	rounds := flag.Int("rounds", 7, "interleaved `PAIRS`")
	to := flag.String("page", "", "put the table into this `FILE`, between its marks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rounds, *to); err != nil {
		fmt.Fprintln(os.Stderr, "truth:", err)
		os.Exit(1)
	}
}

// A pair is one thing that both measure.
type pair struct {
	metric string
	fio    string // its arguments; empty: openssl
	write  bool
}

var pairs = []pair{
	{"disk/read-1m/qd8", "--rw=read --bs=1m --iodepth=8 --ioengine=libaio", false},
	{"disk/write-1m/qd8", "--rw=write --bs=1m --iodepth=8 --ioengine=libaio", true},
	{"disk/randread-4k/qd1", "--rw=randread --bs=4k --iodepth=1 --ioengine=psync", false},
	{"disk/randread-4k/qd32", "--rw=randread --bs=4k --iodepth=32 --ioengine=libaio", false},
	{"disk/randwrite-4k/qd1", "--rw=randwrite --bs=4k --iodepth=1 --ioengine=psync", true},
	{"disk/randwrite-4k/qd32", "--rw=randwrite --bs=4k --iodepth=32 --ioengine=libaio", true},
	{"disk/fdatasync-4k/qd1", "--rw=randwrite --bs=4k --iodepth=1 --ioengine=psync --fdatasync=1", true},
	{"cpu/sha256/1", "", false},
}

type truth struct {
	host  *lab.Host
	ours  map[string][]float64
	other map[string][]float64
}

func run(ctx context.Context, rounds int, to string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-truth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := lab.Up(ctx, lab.Options{Dir: filepath.Join(dir, "lab"), N: 1, Ephemeral: true, AptCache: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, l.Down(down))
	}()
	t := &truth{l.Hosts[0], map[string][]float64{}, map[string][]float64{}}
	versions, err := t.prepare(ctx)
	if err != nil {
		return err
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		for i := range pairs {
			// Each round begins with another pair, and each pair with the other side.
			if err := t.both(ctx, pairs[(i+round)%len(pairs)], (i+round)%2 == 0); err != nil {
				return err
			}
		}
	}
	table := t.table(rounds, versions)
	fmt.Print(table)
	return page.Put(to, "truth", table)
}

// prepare brings both sides to the host.
func (t *truth) prepare(ctx context.Context) (versions string, err error) {
	if out, err := t.host.Exec(ctx, "apt-get -q update && apt-get -q -y install --no-install-recommends fio openssl"); err != nil {
		return "", fmt.Errorf("install fio and openssl: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(t.host.Root(), "var/lib/prober"), "./payload/prober")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the prober: %w: %s", err, out)
	}
	out, err := t.host.Exec(ctx, "fio --version; openssl version | cut -d' ' -f1,2")
	return strings.ReplaceAll(strings.TrimSpace(out), "\n", ", "), err
}

func (t *truth) both(ctx context.Context, p pair, oursFirst bool) error {
	sides := []func(context.Context, pair) error{t.prober, t.reference}
	if !oursFirst {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.metric, err)
		}
	}
	return nil
}

func (t *truth) prober(ctx context.Context, p pair) error {
	kind, _, _ := strings.Cut(p.metric, "/")
	// A fifth of a repeat is its ramp.
	out, err := t.host.Exec(ctx, fmt.Sprintf("/var/lib/prober measure --only %s --metrics %s --repeats 1 --each %ds --file-mb %d --dir /var/lib --quiet 0s", kind, p.metric, seconds+ramp, fileMB))
	if err != nil {
		return fmt.Errorf("prober: %w: %s", err, out)
	}
	for line := range strings.Lines(out) {
		var l wire.ProbeLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Got != nil {
			t.ours[p.metric] = append(t.ours[p.metric], l.Got.Value)
			return nil
		}
	}
	return fmt.Errorf("the prober has measured nothing: %s", out)
}

func (t *truth) reference(ctx context.Context, p pair) error {
	if p.fio == "" {
		return t.openssl(ctx, p)
	}
	// overwrite: a file whose blocks were only reserved would have every write change the filesystem, too.
	out, err := t.host.Exec(ctx, fmt.Sprintf("fio --name=x --filename=/var/lib/fio.tmp --size=%dm --direct=1 --overwrite=1 --refill_buffers --time_based --runtime=%d --ramp_time=%d --randrepeat=0 --output-format=json %s 2>/dev/null; rm -f /var/lib/fio.tmp",
		fileMB, seconds, ramp, p.fio))
	if err != nil {
		return fmt.Errorf("fio: %w: %s", err, out)
	}
	type side struct {
		IOPS  float64 `json:"iops"`
		Bytes float64 `json:"bw_bytes"`
	}
	var doc struct {
		Jobs []struct{ Read, Write side }
	}
	if err := json.Unmarshal([]byte(out[max(0, strings.IndexByte(out, '{')):]), &doc); err != nil || len(doc.Jobs) != 1 {
		return fmt.Errorf("fio said %.200q: %w", out, err)
	}
	got := doc.Jobs[0].Read
	if p.write {
		got = doc.Jobs[0].Write
	}
	v := got.IOPS
	if strings.Contains(p.metric, "-1m") {
		v = got.Bytes / 1e6
	}
	t.other[p.metric] = append(t.other[p.metric], v)
	return nil
}

// openssl counts SHA-256 of 64 bytes: "+F:22:sha256:bytes per second" with -mr.
func (t *truth) openssl(ctx context.Context, p pair) error {
	out, err := t.host.Exec(ctx, fmt.Sprintf("openssl speed -mr -seconds %d -bytes 64 -evp sha256 2>/dev/null", seconds))
	if err != nil {
		return fmt.Errorf("openssl: %w: %s", err, out)
	}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 4 && f[0] == "+F" {
			v, err := strconv.ParseFloat(f[len(f)-1], 64)
			if err != nil || v <= 0 {
				return fmt.Errorf("openssl said %q", line)
			}
			t.other[p.metric] = append(t.other[p.metric], v/64)
			return nil
		}
	}
	return fmt.Errorf("openssl said %q", out)
}

func (t *truth) table(rounds int, versions string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Taken on %s on one lab host, %s; medians of %d interleaved pairs of %d s, behind %d s that do not count; a file of %d MiB past the page cache.\n\n",
		time.Now().Format("2 January 2006"), versions, rounds, seconds, ramp, fileMB)
	b.WriteString("| metric | prober | reference | prober / reference | least to most of the pairs | goal | reached |\n|---|---|---|---|---|---|---|\n")
	for _, p := range pairs {
		ours, other := t.ours[p.metric], t.other[p.metric]
		ratio := stat.Median(ours) / stat.Median(other)
		var each []float64
		for i := range ours {
			each = append(each, ours[i]/other[i])
		}
		goal, reached := "within 10 %", "yes"
		switch {
		case p.fio == "":
			goal, reached = "stated", ""
		case math.Abs(ratio-1) > 0.10:
			reached = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %.4g | %.4g | %.3f | %.2f to %.2f | %s | %s |\n", p.metric, stat.Median(ours), stat.Median(other), ratio, slices.Min(each), slices.Max(each), goal, reached)
	}
	return b.String()
}
