package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

//go:embed hostside/bench/iperf.sh
var iperfScript string

const iperfSays = 4 << 20 // eight streams every tenth of a second

// iperf3 has the hosts' own iperf3 move over the same path as many bytes as ours
// did, where both have it. Ours has ended: it is the same port, which the
// peer's firewall may have been opened for.
func (n *networking) iperf3(ctx context.Context, peer string, other *remote.Session, theirs []string, door *netDoor, ours []byte) {
	what := "against/iperf3/" + strings.ToLower(peer)
	for _, end := range []struct {
		host string
		s    *remote.Session
	}{{n.h.Name, n.s}, {peer, other}} {
		if path, err := said(ctx, end.s, "command -v iperf3 || :"); err != nil || path == "" {
			n.fold.Skip(fmt.Sprintf("%s: the host %s has no iperf3", what, end.host))
			return
		}
	}
	for _, as := range together(ours) {
		if err := n.asIperf3(ctx, what, other, theirs, door.port, as); err != nil {
			n.fold.Skip(report.Clean(fmt.Sprintf("%s/%s: %v", what, as.Metric, err)))
		}
	}
}

// together are our rates, each with the bytes of all its repeats: a tenth of a
// second is the least that iperf3 tells of, and a repeat alone may not take many.
func together(ours []byte) (rates []*wire.ProbeSample) {
	for line := range bytes.Lines(ours) {
		p, err := bench.ParseProbe(bytes.TrimSpace(line))
		if err != nil || p.Got == nil || p.Got.Bytes == 0 || p.Got.Unit != "Mbit/s" {
			continue
		}
		if i := slices.IndexFunc(rates, func(r *wire.ProbeSample) bool { return r.Metric == p.Got.Metric }); i >= 0 {
			rates[i].Bytes += p.Got.Bytes
		} else {
			rates = append(rates, p.Got)
		}
	}
	return rates
}

// asIperf3 does all repeats of one of our rates again, at once.
func (n *networking) asIperf3(ctx context.Context, what string, other *remote.Session, theirs []string, port int, as *wire.ProbeSample) error {
	way, streams, _ := strings.Cut(as.Metric, "/")
	long := strconv.Itoa(int((2*time.Duration(n.m.netRepeats())*n.each + 10*time.Second).Seconds()))
	vars := map[string]string{"port": strconv.Itoa(port), "long": long}
	open, last := io.Pipe()
	over := make(chan struct{})
	go func() { // the server answers one client, and ends with its input
		defer close(over)
		_, _ = other.Exec(ctx, set(iperfScript, vars, "serve"), open, io.Discard, io.Discard)
	}()
	defer func() { _ = last.Close(); <-over }()
	vars["bytes"], vars["streams"], vars["reverse"] = strconv.FormatInt(as.Bytes, 10), streams, map[string]string{"down": "-R"}[way]
	var out, errs bytes.Buffer
	rc, err := n.s.Exec(ctx, set(iperfScript, vars, append([]string{"ask"}, theirs...)...), nil, &limited{&out, iperfSays}, &limited{&errs, 300})
	if err != nil {
		return err
	}
	got, err := parseIperf3(out.Bytes(), way)
	if rc != 0 {
		err = whyIperf3(rc, err, errs.String())
	}
	if err != nil {
		return err
	}
	got.Metric = what + "/" + as.Metric
	line, err := json.Marshal(wire.ProbeLine{Got: got})
	if err != nil {
		return err
	}
	p, err := bench.ParseProbe(line) // as whatever else a host says
	if err != nil {
		return err
	}
	return n.fold.Add(*p.Got)
}

// whyIperf3 is why it failed: with --json it says so where its figures would be.
func whyIperf3(rc int, said error, errs string) error {
	why := fmt.Sprintf("iperf3 ended with %d", rc)
	if said != nil {
		why += "; " + said.Error()
	}
	if errs = strings.TrimSpace(errs); errs != "" {
		why += "; " + errs
	}
	return errors.New(why)
}

// iperfParts are what iperf3 says of every tenth of a second.
type iperfParts struct {
	Intervals []struct {
		Sum struct {
			Seconds float64 `json:"seconds"`
			Bytes   float64 `json:"bytes"`
		} `json:"sum"`
	} `json:"intervals"`
}

// parseIperf3 reads what `iperf3 --json --get-server-output` says at the end that
// receives: what a sender's buffers took has not arrived. As with ours, the first
// three tenths of the time count for nothing; neither does the last part, which
// lasts until iperf3 looks whether it has moved enough.
func parseIperf3(text []byte, way string) (*wire.ProbeSample, error) {
	var doc struct {
		iperfParts
		Error string `json:"error"`
		Start struct {
			Version string `json:"version"`
		} `json:"start"`
		Server iperfParts `json:"server_output_json"`
		End    struct {
			Sent struct {
				Again int64 `json:"retransmits"`
			} `json:"sum_sent"`
		} `json:"end"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("iperf3 said %.100q: %w", text, err)
	}
	if doc.Error != "" {
		return nil, fmt.Errorf("iperf3: %.200s", doc.Error)
	}
	parts := doc.Intervals
	if way == "up" {
		parts = doc.Server.Intervals
	}
	from, to := len(parts)*3/10, len(parts)-1
	if to-from < 3 {
		return nil, errors.New("over before a rate could be seen; --net-bytes allows more")
	}
	var seconds, moved float64
	for _, i := range parts[from:to] {
		if !(i.Sum.Seconds > 0 && i.Sum.Seconds < 3600 && i.Sum.Bytes >= 0 && i.Sum.Bytes < 1<<40) {
			return nil, fmt.Errorf("%w: iperf3 moved %g bytes in %g s", wire.ErrHostile, i.Sum.Bytes, i.Sum.Seconds)
		}
		seconds, moved = seconds+i.Sum.Seconds, moved+i.Sum.Bytes
	}
	return &wire.ProbeSample{Unit: "Mbit/s", Better: "higher", Value: 8e-6 * moved / seconds, Seconds: seconds, Bytes: int64(moved),
		Note: fmt.Sprintf("%.40s, as many bytes as our own, %d segments sent again", doc.Start.Version, doc.End.Sent.Again)}, nil
}
