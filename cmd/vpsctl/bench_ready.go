package main

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

//go:embed hostside/bench/prober.sh
var proberScript string

//go:embed hostside/bench/provisioned.sh
var provisionedScript string

// disturbed says that a host was provisioned within the hour, if it was: caches,
// credits and background work are those of the provision then, not of the host's
// every day. The host is asked: of a run that was left to itself nobody here
// knows when it ended, and of another laptop's that there was one.
func disturbed(ctx context.Context, s *remote.Session, logs string) (string, error) {
	text, err := said(ctx, s, set(provisionedScript, map[string]string{"logs": logs}))
	if err != nil || text == "" {
		return "", err
	}
	ago, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("%w: asked for its last provision, it said %.40q", wire.ErrHostile, report.Clean(text))
	}
	return fmt.Sprintf("%d min after a provision", max(0, ago)/60), nil
}

// gate has hosts of a group take turns: they may share a disk or a wire. No
// other host is measured with this one while it measures itself.
func (m *measuring) gate(h inventory.Host) (leave func()) {
	turned := func() {}
	if turn := m.turns[peerGroup(h)]; turn != nil {
		m.screen.status(h.Name, "waits for its peers' turn")
		turn.Lock()
		turned = turn.Unlock
	}
	if m.ring == nil {
		return turned
	}
	alone := m.ring.alone(h.Name)
	return func() { alone(); turned() }
}

// ready adds the prober for the host's processor to its plan.
func (m *measuring) ready(ctx context.Context, h inventory.Host, s *remote.Session, p *wire.Plan) (*wire.Plan, error) {
	m.mu.Lock()
	m.began[h.Name] = time.Now()
	m.mu.Unlock()
	bin, err := proberFor(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("%s: bench: %w", h.Name, err)
	}
	why, err := disturbed(ctx, s, hostLogs)
	if err != nil {
		return nil, fmt.Errorf("%s: bench: %w", h.Name, err)
	}
	m.folds[h.Name].Exclude(why)
	m.mu.Lock()
	m.sent[h.Name] = bin.SHA256
	m.mu.Unlock()
	sent := *p
	sent.Phases = slices.Clone(p.Phases)
	ph := &sent.Phases[0]
	ph.Files = map[string][]byte{"prober.gz": bin.Gzip}
	ph.Steps = slices.Clone(ph.Steps)
	run := *ph.Steps[0].Run
	run.Script = set(proberScript, map[string]string{"sum": bin.SHA256, "len": ""})
	ph.Steps[0].Run = &run
	return &sent, nil
}

// proberFor is the prober for a host's processor.
func proberFor(ctx context.Context, s *remote.Session) (payload.Binary, error) {
	arch, err := said(ctx, s, "uname -m")
	if err != nil {
		return payload.Binary{}, err
	}
	return payload.Prober(map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch])
}
