//go:build linux

package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/e2e/bench/page"
	"github.com/vpsctl/vpsctl/e2e/lab"
)

// playbooks are what the other tools get to do.
//
//go:embed peers/*
var playbooks embed.FS

// peerBench measures vpsctl beside other tools, all of them run on a controller that is a lab host itself: its cgroup
// counts the CPU time of everything a tool leaves behind, too.
type peerBench struct {
	lab     *lab.Lab
	at, on  *lab.Host // the controller, the target
	proxies []*lab.Proxy
	got     map[string][]usage
}

// The round trips that are measured. The target has a name for each.
var roundTrips = []time.Duration{0, 50 * time.Millisecond}

const far = 100 * time.Millisecond

// peerTools is what the controller gets from Debian.
const peerTools = "ansible-core ansible-mitogen pdsh clustershell openssh-client"

func benchPeers(ctx context.Context, vpsctl string, rounds int, to string) (err error) {
	dir, err := os.MkdirTemp("", "vpsctl-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &peerBench{got: map[string][]usage{}}
	if p.lab, err = lab.Up(ctx, lab.Options{Dir: dir, N: 2, Ephemeral: true, AptCache: true, Log: os.Stderr}); err != nil {
		return err
	}
	defer func() {
		for _, proxy := range p.proxies {
			proxy.Close()
		}
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, p.lab.Down(down))
	}()
	p.at, p.on = p.lab.Hosts[0], p.lab.Hosts[1]
	versions, err := p.prepare(ctx, vpsctl)
	if err != nil {
		return err
	}
	for round := range rounds + 1 {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round, rounds)
		if err := p.round(ctx, round); err != nil {
			return err
		}
		if round == 0 { // caches are warm, and the typed steps hold
			p.got = map[string][]usage{}
		}
	}
	table := p.table(rounds, versions)
	fmt.Print(table)
	return page.Put(to, "peers", table)
}

// prepare installs the tools, and gives each of them the target under a name for every round trip.
func (p *peerBench) prepare(ctx context.Context, vpsctl string) (versions string, err error) {
	const quiet = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"
	for _, job := range []struct {
		host *lab.Host
		line string
	}{
		{p.at, quiet + " update && " + quiet + " install -y --no-install-recommends " + peerTools + " >/dev/null"},
		{p.on, quiet + " update && " + quiet + " install -y --no-install-recommends python3 python3-apt >/dev/null"},
	} {
		if _, err := job.host.Exec(ctx, job.line); err != nil {
			return "", err
		}
	}
	if err := p.bring(vpsctl); err != nil {
		return "", err
	}
	if err := p.names(); err != nil {
		return "", err
	}
	return p.at.Exec(ctx, `ansible --version | sed -n '1s/.*\[core \(.*\)\].*/ansible-core \1/p'
dpkg-query -W -f '${Package} ${Version}\n' ansible-mitogen pdsh clustershell`)
}

// bring puts programs, key and playbooks on the controller.
func (p *peerBench) bring(vpsctl string) error {
	root := filepath.Join(p.at.Root(), "root", "bench")
	if err := os.MkdirAll(filepath.Join(root, "phases"), 0o700); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(root, "floor"), "./e2e/bench/floor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the floor: %w: %s", err, out)
	}
	if err := errors.Join(copyFile(vpsctl, filepath.Join(root, "vpsctl"), 0o755),
		copyFile(p.lab.Identity(), filepath.Join(root, "key"), 0o600),
		writePhases(filepath.Join(root, "phases")), writeMany(filepath.Join(root, "phases"), 1, 50)); err != nil {
		return err
	}
	entries, err := playbooks.ReadDir("peers")
	for _, e := range entries {
		b, readErr := playbooks.ReadFile("peers/" + e.Name())
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(root, e.Name()), b, 0o644))
	}
	return err
}

func copyFile(from, to string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, mode)
}

// writeMany makes plans of so many scripts: what a run costs must not depend on that over a long line.
func writeMany(dir string, counts ...int) error {
	for _, n := range counts {
		id := "many" + strconv.Itoa(n)
		var body strings.Builder
		fmt.Fprintf(&body, "schema: 1\nid: %s\ntitle: Many steps\nsteps:\n", id)
		for i := range n {
			fmt.Fprintf(&body, "  - {name: step%d, run: \"echo step %d\"}\n", i+1, i+1)
		}
		if err := os.MkdirAll(filepath.Join(dir, id), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, id, "phase.yaml"), []byte(body.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func nameAt(rtt time.Duration) string { return fmt.Sprintf("rtt%d", rtt.Milliseconds()) }

// names writes the ssh_config, known_hosts and inventories of the controller.
func (p *peerBench) names() error {
	var config, known, ours, theirs strings.Builder
	theirs.WriteString("[all]\n")
	ours.WriteString("defaults: {user: root, identity_file: /root/bench/key}\nhosts:\n")
	file, err := os.ReadFile(p.lab.KnownHosts())
	if err != nil {
		return err
	}
	for _, rtt := range append(roundTrips, far) {
		host, port := p.on.Addr, 22
		if rtt > 0 {
			proxy := p.on.Proxy(rtt, 0)
			proxy.Listen = p.lab.Gateway() + ":0"
			if err := proxy.Start(); err != nil {
				return err
			}
			p.proxies = append(p.proxies, proxy)
			host = p.lab.Gateway()
			if port, err = strconv.Atoi(proxy.Addr()[strings.LastIndexByte(proxy.Addr(), ':')+1:]); err != nil {
				return err
			}
		}
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  Port %d\n  User root\n  IdentityFile /root/bench/key\n", nameAt(rtt), host, port)
		fmt.Fprintf(&ours, "  %s: {address: %s, port: %d}\n", nameAt(rtt), host, port)
		fmt.Fprintf(&theirs, "%s\n", nameAt(rtt))
		for line := range strings.Lines(string(file)) {
			if rest, ok := strings.CutPrefix(line, p.on.Addr+" "); ok {
				fmt.Fprintf(&known, "%s %s", cmp.Or(map[bool]string{true: fmt.Sprintf("[%s]:%d", host, port)}[port != 22], host), rest)
			}
		}
	}
	root := filepath.Join(p.at.Root(), "root")
	return errors.Join(os.MkdirAll(filepath.Join(root, ".ssh"), 0o700),
		os.WriteFile(filepath.Join(root, ".ssh", "config"), []byte(config.String()), 0o600),
		os.WriteFile(filepath.Join(root, ".ssh", "known_hosts"), []byte(known.String()), 0o600),
		os.WriteFile(filepath.Join(root, "bench", "inventory.yaml"), []byte(ours.String()), 0o600),
		os.WriteFile(filepath.Join(root, "bench", "hosts.ini"), []byte(theirs.String()), 0o600))
}
