//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// againstCPU are what other programs of the host find, if it has them: openssl
// the same hashes, sysbench its primes.
func againstCPU(p *printer) (out []probe, err error) {
	for _, w := range []struct {
		name    string
		threads int
	}{{"1", 1}, {"all", runtime.NumCPU()}} {
		out = append(out,
			probe{"against/openssl/sha256/" + w.name, "ops/s", "higher", func(ctx context.Context, ramp, d time.Duration) (reading, error) {
				args := []string{"speed", "-mr", "-elapsed", "-seconds", wholeSeconds(d), "-bytes", strconv.Itoa(hashed)}
				if w.threads > 1 {
					args = append(args, "-multi", strconv.Itoa(w.threads))
				}
				text, err := ask(ctx, d, "openssl", append(args, "-evp", "sha256")...)
				return foreign(parseOpenSSL, text, err, d)
			}},
			probe{"against/sysbench/cpu/" + w.name, "ops/s", "higher", func(ctx context.Context, ramp, d time.Duration) (reading, error) {
				text, err := ask(ctx, d, "sysbench", "cpu", "--cpu-max-prime=20000", "--time="+wholeSeconds(d), "--threads="+strconv.Itoa(w.threads), "run")
				return foreign(parseSysbench, text, err, d)
			}})
	}
	return present(p, out, "openssl", "sysbench")
}

// against is what fio finds with the same patterns, on the same file, which it
// reaches through our descriptor.
func (d *disk) against(p *printer) (out []probe, err error) {
	for _, pt := range patterns {
		out = append(out, probe{"against/fio" + strings.TrimPrefix(pt.name, "disk"), pt.unit(), "higher", func(ctx context.Context, ramp, t time.Duration) (reading, error) {
			if err := d.room(); err != nil {
				return reading{}, err
			}
			text, err := ask(ctx, t, "fio", d.fioArgs(pt, ramp, t)...)
			if err != nil {
				return reading{}, err
			}
			return parseFio(text, pt)
		}})
	}
	return present(p, out, "fio")
}

// heldAgainst is the metric of ours that another program's probe finds, too.
func (pr probe) heldAgainst() string {
	for _, names := range [][2]string{{"against/fio/", "disk/"}, {"against/openssl/", "cpu/"}} {
		if same, ok := strings.CutPrefix(pr.metric, names[0]); ok {
			return names[1] + same
		}
	}
	return ""
}

// present drops the probes of programs that the host does not have, and says so.
func present(p *printer, all []probe, programs ...string) (out []probe, err error) {
	for _, name := range programs {
		if _, missing := exec.LookPath(name); missing != nil {
			err = errors.Join(err, p.skip("against/"+name, "the host has no "+name))
			continue
		}
		for _, pr := range all {
			if strings.HasPrefix(pr.metric, "against/"+name+"/") {
				out = append(out, pr)
			}
		}
	}
	return out, err
}

// fioArgs are a pattern in fio's words.
func (d *disk) fioArgs(p pattern, ramp, t time.Duration) []string {
	rw := map[bool]string{false: "read", true: "write"}[p.write]
	if !p.inOrder {
		rw = "rand" + rw
	}
	engine := "psync"
	if p.depth > 1 {
		engine = "libaio"
	}
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }
	args := []string{"--name=against", fmt.Sprintf("--filename=/proc/%d/fd/%d", os.Getpid(), d.fd), fmt.Sprintf("--size=%d", d.size),
		"--allow_file_create=0", "--fallocate=none", "--thread", "--direct=1", "--ioengine=" + engine, "--rw=" + rw,
		fmt.Sprintf("--bs=%d", p.block), fmt.Sprintf("--iodepth=%d", p.depth), "--norandommap", "--randrepeat=0",
		"--time_based", "--ramp_time=" + ms(ramp), "--runtime=" + ms(t-ramp), "--output-format=json"}
	if p.sync {
		args = append(args, "--fdatasync=1")
	}
	return args
}

// mostSaid bounds what another program prints.
const mostSaid = 1 << 20

// ask runs a program of the host for about d. It ends with this one.
func ask(ctx context.Context, d time.Duration, name string, args ...string) (string, error) {
	// The kernel sends the signal when the thread that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(ctx, 2*d+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs head
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %.200s", name, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// head keeps the beginning of what is written.
type head struct{ kept bytes.Buffer } // no more of its methods: ReadFrom would keep all

func (h *head) Write(b []byte) (int, error) {
	h.kept.Write(b[:min(len(b), max(0, mostSaid-h.kept.Len()))])
	return len(b), nil
}

func (h *head) String() string { return h.kept.String() }

// wholeSeconds is for programs that count in nothing smaller.
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Round(d.Seconds()))))
}

func foreign(parse func(string) (float64, error), text string, err error, d time.Duration) (reading, error) {
	if err != nil {
		return reading{}, err
	}
	v, err := parse(text)
	return reading{value: v, seconds: max(1, math.Round(d.Seconds()))}, err
}

// hashed is the size of the blocks that openssl hashes, as ours are.
const hashed = 64

// parseOpenSSL reads "+F:22:sha256:17059737.60": bytes per second, the last
// field, of whatever number of them this version prints (openssl-speed(1), -mr).
func parseOpenSSL(text string) (float64, error) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if v, err := strconv.ParseFloat(f[len(f)-1], 64); f[0] == "+F" && err == nil && v > 0 {
			return v / hashed, nil
		}
	}
	return 0, fmt.Errorf("openssl said no rate: %.100q", text)
}

// parseSysbench reads "    events per second:   421.13".
func parseSysbench(text string) (float64, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "events per second:")
		if v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64); ok && err == nil && v > 0 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("sysbench said no rate: %.100q", text)
}

// parseFio reads fio's JSON, before which it may print notes.
func parseFio(text string, p pattern) (reading, error) {
	type side struct {
		IOPS    float64 `json:"iops"`
		Bytes   int64   `json:"io_bytes"`
		Runtime float64 `json:"runtime"` // ms
		Latency struct {
			Percentile map[string]float64 `json:"percentile"` // ns
		} `json:"clat_ns"`
	}
	var doc struct {
		Version string `json:"fio version"`
		Jobs    []struct {
			Error int  `json:"error"`
			Read  side `json:"read"`
			Write side `json:"write"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(text[max(0, strings.IndexByte(text, '{')):]), &doc); err != nil || len(doc.Jobs) != 1 {
		return reading{}, fmt.Errorf("fio said %.100q: %w", text, err)
	}
	got := doc.Jobs[0].Read
	if p.write {
		got = doc.Jobs[0].Write
	}
	if doc.Jobs[0].Error != 0 || got.IOPS <= 0 {
		return reading{}, fmt.Errorf("fio: error %d, %g IOPS", doc.Jobs[0].Error, got.IOPS)
	}
	r := reading{value: p.rate(got.IOPS), seconds: got.Runtime / 1e3, bytes: got.Bytes, note: doc.Version}
	if !p.sync { // fio counts the sync apart from the write
		r.percentiles = map[string]float64{}
		for ours, theirs := range map[string]string{"p50_us": "50.000000", "p95_us": "95.000000", "p99_us": "99.000000"} {
			if ns, ok := got.Latency.Percentile[theirs]; ok {
				r.percentiles[ours] = ns / 1e3
			}
		}
	}
	return r, nil
}
