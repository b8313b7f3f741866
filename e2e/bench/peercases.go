//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peerCase is one tool at one job over one line.
type peerCase struct {
	job, tool string
	rtt       time.Duration
	line      string // of the shell, run in /root/bench on the controller
}

// farFloor is the least that one call over SSH takes; farTrips are the line's round trips that it is compared over.
const farFloor = "floor: `true`"

var farTrips = []time.Duration{0, far}

func (c peerCase) key() string { return c.job + "|" + c.tool + "|" + c.rtt.String() }

const (
	jobTen   = "ten shell steps"
	jobTyped = "ten typed steps that hold"
	jobFar   = "a run over a long line" // measured without the delay, too: the difference is the line's
)

// mitogenEnv makes Ansible use mitogen, where Debian's package puts it.
const mitogenEnv = `ANSIBLE_STRATEGY=mitogen_linear ANSIBLE_STRATEGY_PLUGINS="$(dirname "$(find /usr/lib/python3 -path '*ansible_mitogen/plugins/strategy/mitogen_linear.py' | head -n 1)")" `

func peerCases() (cases []peerCase) {
	provision := func(phase, host string) string {
		return "./vpsctl provision -i inventory.yaml --phases phases --only-phase " + phase + " -l " + host + " --plain -q"
	}
	for _, rtt := range roundTrips {
		at := nameAt(rtt)
		// A ControlMaster from the round before would save Ansible a handshake that the others pay: it is ended first.
		play := "ansible-playbook -i hosts.ini -l " + at + " "
		tenTimes := func(line string) string {
			var all []string
			for i := range steps {
				all = append(all, strings.ReplaceAll(line, "@", strconv.Itoa(i+1)))
			}
			return strings.Join(all, " && ")
		}
		cases = append(cases,
			peerCase{jobTen, "vpsctl", rtt, provision("ten", at)},
			peerCase{jobTen, "ansible-core", rtt, play + "ten.yml"},
			peerCase{jobTen, "ansible-core with mitogen", rtt, mitogenEnv + play + "ten.yml"},
			peerCase{jobTen, "pdsh, ten times", rtt, tenTimes("PDSH_RCMD_TYPE=ssh pdsh -w " + at + " 'echo step @'")},
			peerCase{jobTen, "clush, ten times", rtt, tenTimes("clush -w " + at + " 'echo step @'")},
			peerCase{jobTyped, "vpsctl", rtt, provision("typed", at)},
			peerCase{jobTyped, "ansible-core", rtt, play + "typed.yml"},
			peerCase{jobTyped, "ansible-core with mitogen", rtt, mitogenEnv + play + "typed.yml"})
	}
	for _, rtt := range farTrips {
		at := nameAt(rtt)
		cases = append(cases, peerCase{jobFar, farFloor, rtt, "./floor -key key -known /root/.ssh/known_hosts true $(ssh -G " + at + " | awk '/^hostname /{h=$2} /^port /{p=$2} END{print h \":\" p}')"})
		for _, n := range []string{"many1", "ten", "many50"} {
			cases = append(cases, peerCase{jobFar, "vpsctl, " + map[string]string{"many1": "1 step", "ten": "10 steps", "many50": "50 steps"}[n], rtt, provision(n, at)})
		}
	}
	return cases
}

// round measures every case once, each round beginning with another one.
func (p *peerBench) round(ctx context.Context, turn int) error {
	cases := peerCases()
	turn = turn * 5 % len(cases)
	for _, c := range append(cases[turn:], cases[:turn]...) {
		u, err := p.measure(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.key(), err)
		}
		p.got[c.key()] = append(p.got[c.key()], u)
	}
	return ctx.Err()
}

// measure runs a case on the controller. What a tool leaves running is ended before the next one and counts for it.
func (p *peerBench) measure(ctx context.Context, c peerCase) (u usage, err error) {
	const closeMasters = "for s in /root/.ansible/cp/*; do [ -S \"$s\" ] && ssh -o ControlPath=\"$s\" -O exit x 2>/dev/null; done; true"
	if _, err := p.at.Exec(ctx, closeMasters); err != nil {
		return u, err
	}
	time.Sleep(time.Second)
	here, err := p.at.CPU()
	if err != nil {
		return u, err
	}
	there, err := p.on.CPU()
	if err != nil {
		return u, err
	}
	script := "cd /root/bench && export ANSIBLE_CONFIG=/root/bench/ansible.cfg ANSIBLE_NOCOWS=1; b=$(date +%s%N); { " + c.line +
		"; } >/tmp/talk 2>&1 || { tail -n 20 /tmp/talk >&2; exit 1; }; e=$(date +%s%N); echo $((e-b))\n"
	if err := os.WriteFile(filepath.Join(p.at.Root(), "root", "bench", "case.sh"), []byte(script), 0o600); err != nil {
		return u, err
	}
	// As a unit of the controller's systemd: what runs beside that would not be in its cgroup.
	out, err := p.at.Exec(ctx, "systemd-run -q --pipe --wait --collect -E HOME=/root -E LANG=C.UTF-8 /bin/sh /root/bench/case.sh")
	if err != nil {
		return u, err
	}
	nanos, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return u, err
	}
	if _, err := p.at.Exec(ctx, closeMasters); err != nil {
		return u, err
	}
	time.Sleep(time.Second)
	hereAfter, err := p.at.CPU()
	if err != nil {
		return u, err
	}
	thereAfter, err := p.on.CPU()
	cpu := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	return usage{Wall: time.Duration(nanos), CPU: cpu(hereAfter - here), Hosts: cpu(thereAfter - there)}, err
}

// table is the page's part about other tools.
func (p *peerBench) table(rounds int, versions string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n\nVersions: vpsctl beside %s.\n\n", where(2, rounds), strings.Join(strings.Split(strings.TrimSpace(versions), "\n"), ", "))
	s.WriteString("| job | tool | round trip | wall, median | least to most | CPU of the controller | CPU of the host | wall, times vpsctl's | host CPU, times vpsctl's |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range peerCases() {
		if c.job == jobFar {
			continue
		}
		got, ours := p.got[c.key()], p.got[peerCase{job: c.job, tool: "vpsctl", rtt: c.rtt}.key()]
		of := func(us []usage, f func(usage) time.Duration) time.Duration { return median(pick(us, f)) }
		wall, host := func(u usage) time.Duration { return u.Wall }, func(u usage) time.Duration { return u.Hosts }
		fmt.Fprintf(&s, "| %s | %s | %d ms | %s | %s | %s | %s | %.1f | %.1f |\n", c.job, c.tool, c.rtt.Milliseconds(), seconds(of(got, wall)), span(pick(got, wall)),
			seconds(of(got, func(u usage) time.Duration { return u.CPU })), seconds(of(got, host)),
			float64(of(got, wall))/float64(of(ours, wall)), float64(of(got, host))/float64(of(ours, host)))
	}
	s.WriteString(p.farTable())
	return s.String()
}

// farTable says how often a run goes through the line: what a delay adds to it, by the delay. A run's own work is in
// both times and so in neither figure.
func (p *peerBench) farTable() string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n| over a long line | wall without delay | least to most | wall at %d ms | least to most | round trips | beyond the floor's | CPU of the host |\n|---|---|---|---|---|---|---|---|\n", far.Milliseconds())
	walls := func(tool string, rtt time.Duration) []time.Duration {
		return pick(p.got[peerCase{job: jobFar, tool: tool, rtt: rtt}.key()], func(u usage) time.Duration { return u.Wall })
	}
	trips := func(tool string) float64 {
		return float64(median(walls(tool, far))-median(walls(tool, 0))) / float64(far)
	}
	for _, c := range peerCases() {
		if c.job != jobFar || c.rtt != far {
			continue
		}
		near, away := walls(c.tool, 0), walls(c.tool, far)
		cpu := median(pick(p.got[peerCase{job: jobFar, tool: c.tool}.key()], func(u usage) time.Duration { return u.Hosts }))
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %.1f | %.1f | %d ms |\n", c.tool, seconds(median(near)), span(near), seconds(median(away)), span(away),
			trips(c.tool), trips(c.tool)-trips(farFloor), cpu.Milliseconds())
	}
	return s.String()
}
