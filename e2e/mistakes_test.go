//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestNothingIsDialledForAMistake: with a mistake in inventory, plan or usage no connection is tried at all.
func TestNothingIsDialledForAMistake(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer l.Close()
	host := fmt.Sprintf("hosts:\n  one: {address: 127.0.0.1, port: %d, user: root, host_key: \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}\n", l.Addr().(*net.TCPAddr).Port)
	steps := "steps:\n  - {name: mark, run: 'true'}\n"
	for what, c := range map[string]struct {
		inventory string
		phases    map[string]string
		args      []string
		says      []string
	}{
		"unknown phase":     {host, nil, []string{"--only-phase", "sytem-prep"}, []string{"sytem-prep", "system-prep"}},
		"unknown skip":      {host, nil, []string{"--skip-phase", "nope"}, []string{"nope"}},
		"missing variable":  {host, map[string]string{"v": "steps:\n  - {name: f, file: {path: /root/f, content: \"{{ .absent }}\\n\"}}\n"}, []string{"--only-phase", "v"}, []string{"phase.yaml:5", "absent"}},
		"cyclic needs":      {host, map[string]string{"a": "needs: [b]\n" + steps, "b": "needs: [a]\n" + steps}, nil, []string{"a", "b", "needs"}},
		"unknown need":      {host, map[string]string{"a": "needs: [nowhere]\n" + steps}, []string{"--only-phase", "a"}, []string{"phase.yaml:4", "nowhere"}},
		"bad script":        {host, map[string]string{"a": "steps:\n  - name: s\n    run: |\n      if true; then\n        echo\n"}, []string{"--only-phase", "a"}, []string{"phase.yaml:"}},
		"template in run":   {host, map[string]string{"a": "steps:\n  - {name: s, run: 'echo {{ .host }}'}\n"}, []string{"--only-phase", "a"}, []string{"phase.yaml:5", "{{"}},
		"unknown step kind": {host, map[string]string{"a": "steps:\n  - {name: s, pacman: [vim]}\n"}, []string{"--only-phase", "a"}, []string{"phase.yaml:5", "pacman"}},
		"unknown host key":  {host + "    usr: x\n", nil, nil, []string{"inventory.yaml:"}},
		"two mistakes":      {"hosts:\n  a: {usr: x}\n  b: {prot: 2}\n", nil, nil, []string{"inventory.yaml:2:", "usr", "inventory.yaml:3:", "prot"}},
		"unknown flag":      {host, nil, []string{"--forcs", "3"}, []string{"--forcs"}},
		"empty limit":       {host, nil, []string{"-l", "nobody"}, []string{"nobody"}},
		"bad sample":        {host, nil, []string{"--sample-interval", "soon"}, []string{"soon"}},
		"only and skip":     {host, nil, []string{"--only-phase", "system-prep", "--skip-phase", "verification"}, []string{"only", "skip"}},
	} {
		t.Run(strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
			v := bareTool(t)
			v.inventory(c.inventory)
			for id, body := range c.phases {
				v.phase(id, body)
			}
			r := v.run(5, append([]string{"provision"}, c.args...)...)
			wants(t, "provision", r.err, c.says...)
			if v.file("state/vpsctl/runs/latest") != "" {
				t.Error("a run was recorded")
			}
		})
	}
	try(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(50*time.Millisecond)))
	if c, err := l.Accept(); err == nil {
		c.Close()
		t.Error("the host was dialled")
	}
}

// TestUnsupportedSystem: the host's os-release names another system; the phase says so before anything runs.
func TestUnsupportedSystem(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	for id, requires := range map[string]string{"os": "os: [debian-13]", "arch": "arch: [arm64]", "memory": "memory: 900GiB", "disk": "disk: 900TiB"} {
		if id == "arch" && on(t, h, "uname -m") == "aarch64" {
			continue
		}
		v.phase("needs-"+id, "requires: {"+requires+"}\n"+onePhase)
	}
	on(t, h, `sed -i 's/^VERSION_ID=.*/VERSION_ID="12"/' /usr/lib/os-release; grep VERSION_ID /etc/os-release >&2`)
	for id, says := range map[string]string{"os": "debian-12", "arch": "arm64", "memory": "memory", "disk": "disk"} {
		r := v.provision(1, "needs-"+id)
		wants(t, "provision", r.out+r.err, h.Name, says)
		v.record(h.Name).whole(h)
		if e := v.record(h.Name).end(); e.Stage != "requires" {
			t.Errorf("%s: end %+v", id, e)
		}
	}
	if on(t, h, "ls /root/mark 2>/dev/null || true") != "" {
		t.Error("a step has run")
	}
	v.provision(0, "needs-os", "--skip-validation")
}
