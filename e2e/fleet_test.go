//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// Fleet is what one test has of the lab that all tests of this process share: hosts that no other test uses meanwhile,
// and an inventory of just these.
type Fleet struct {
	Lab        *lab.Lab
	Hosts      []*lab.Host
	Inventory  string
	KnownHosts string
	Identity   string
}

// NewLab returns n running hosts with their lines whole. They may carry what earlier tests left on their disks.
func NewLab(t *testing.T, n int) *Fleet {
	t.Helper()
	return fleet(t, n, shared.clean)
}

// FreshLab is NewLab with fresh disks, as a provider would hand the hosts over.
func FreshLab(t *testing.T, n int) *Fleet {
	t.Helper()
	return fleet(t, n, func(t *testing.T, h *lab.Host) {
		shared.spoil(h) // whatever the test does to it, nobody else will see it
		try(t, h.Reset(t.Context()))
	})
}

func fleet(t *testing.T, n int, ready func(*testing.T, *lab.Host)) *Fleet {
	t.Helper()
	hosts := shared.take(t, n)
	t.Cleanup(func() {
		for _, h := range hosts {
			if t.Failed() {
				shared.spoil(h)
			}
			// sshd remembers who broke off or failed to log in, and would make the next test pay; systemd counts restarts.
			_, _ = h.Exec(context.Background(), "systemctl reset-failed ssh; systemctl restart ssh")
		}
		shared.giveBack(hosts)
	})
	for _, h := range hosts {
		ready(t, h)
	}
	dir := t.TempDir()
	try(t, shared.lab.Describe(dir, hosts))
	return &Fleet{
		Lab: shared.lab, Hosts: hosts, Identity: shared.lab.Identity(),
		Inventory: filepath.Join(dir, "inventory.yaml"), KnownHosts: filepath.Join(dir, "known_hosts"),
	}
}

// FreshHost is a single host with a fresh disk.
func FreshHost(t *testing.T) *lab.Host {
	t.Helper()
	return FreshLab(t, 1).Hosts[0]
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shared is the lab of this process; it grows with what tests ask for.
var shared pool

type pool struct {
	mu   sync.Mutex
	lab  *lab.Lab
	dir  string
	busy map[string]bool
	foul map[string]bool // hosts that must not be used again as they are
}

func (p *pool) spoil(h *lab.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.foul[h.Name] = true
}

// clean makes a host ready for a test that does not mind what other such tests have left.
func (p *pool) clean(t *testing.T, h *lab.Host) {
	t.Helper()
	p.mu.Lock()
	foul := p.foul[h.Name]
	delete(p.foul, h.Name)
	p.mu.Unlock()
	if foul {
		try(t, h.Reset(t.Context()))
	}
	try(t, h.Restore(t.Context()))
	try(t, h.Start(t.Context()))
}

func (p *pool) take(t *testing.T, n int) []*lab.Host {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "vpsctl-e2e-")
		try(t, err)
		p.dir, p.busy, p.foul = dir, make(map[string]bool), make(map[string]bool)
	}
	try(t, p.grow(t.Context(), n-len(p.free())))
	hosts := p.free()[:n]
	for _, h := range hosts {
		p.busy[h.Name] = true
	}
	return hosts
}

// grow adds n hosts and never touches the ones that tests are using.
func (p *pool) grow(ctx context.Context, n int) error {
	if n <= 0 {
		return nil
	}
	var err error
	if p.lab == nil {
		p.lab, err = lab.Up(ctx, lab.Options{Dir: p.dir, N: n, Ephemeral: true, AptCache: true, Log: os.Stderr})
	} else {
		p.lab, err = p.lab.Grow(ctx, n)
	}
	return err
}

func (p *pool) free() (hosts []*lab.Host) {
	if p.lab == nil {
		return nil
	}
	for _, h := range p.lab.Hosts {
		if !p.busy[h.Name] {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (p *pool) giveBack(hosts []*lab.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range hosts {
		delete(p.busy, h.Name)
	}
}

func (p *pool) close() error {
	if p.dir == "" {
		return nil
	}
	defer os.RemoveAll(p.dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := lab.Open(p.dir, nil)
	if err != nil {
		return err
	}
	return l.Down(ctx)
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(programDir)
	closeWorkstation()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
