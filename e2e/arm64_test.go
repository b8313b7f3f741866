//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/remote/sshtest"
)

// armShell is a login shell for which arm64 programs run by qemu, and uname says so: in a user namespace with formats of
// its own, so that this machine's stay as they are. What runs there is nobody, in a home that goes with the test.
const armShell = `#!/bin/sh
exec unshare -Urm /bin/sh -c '
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
printf %s ":arm:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:QEMU:F" >/proc/sys/fs/binfmt_misc/register || exit 99
exec unshare -U --map-user=65534 --map-group=65534 env PATH="TOOLS:$PATH" /bin/sh "$@"' sh "$@"
`

const armUname = `#!/bin/sh
case $1 in -m) echo aarch64 ;; *) exec /usr/bin/uname "$@" ;; esac
`

// TestArm64Collector: the arm64 collector is picked, pushed, started, detached, followed and cleaned, as on such a host.
func TestArm64Collector(t *testing.T) {
	t.Parallel()
	qemu, err := exec.LookPath("qemu-aarch64")
	if err != nil {
		t.Skip("qemu-user is not installed")
	}
	tools, err := os.MkdirTemp("", "e2e-arm-")
	try(t, err)
	t.Cleanup(func() { os.RemoveAll(tools) })
	try(t, os.Chmod(tools, 0o755))
	shell := filepath.Join(tools, "shell")
	try(t, os.WriteFile(shell, []byte(strings.NewReplacer("QEMU", qemu, "TOOLS", tools).Replace(armShell)), 0o755))
	try(t, os.WriteFile(filepath.Join(tools, "uname"), []byte(armUname), 0o755))

	v := bareTool(t)
	key := strangersKey(t, v.dir)
	text, err := os.ReadFile(key)
	try(t, err)
	signer, err := ssh.ParsePrivateKey(text)
	try(t, err)
	s, err := sshtest.New(sshtest.Options{Keys: []ssh.PublicKey{signer.PublicKey()}, Shell: shell})
	try(t, err)
	t.Cleanup(s.Close)
	try(t, os.WriteFile(filepath.Join(v.dir, "known"), []byte(s.KnownHosts()), 0o600))
	v.env = append(v.env, "VPSCTL_KNOWN_HOSTS="+filepath.Join(v.dir, "known"))
	v.inventory("hosts:\n  arm: {address: 127.0.0.1, port: " + strconv.Itoa(s.Port) + ", user: dev, identity_file: " + key + "}\n")

	if s := v.run(0, "exec", "--", "uname -m; id -u").out; s != "arm | aarch64\narm | 65534\n" {
		t.Skipf("this machine lets nobody run another architecture's programs: %s", s)
	}
	wants(t, "facts", v.run(0, "facts", "-o", "json").out, `"arch": "arm64"`)
	everyday(v, "arm")
	v.phase("mine", "requires: {arch: [arm64]}\nsteps:\n  - name: count\n    run: for i in 1 2 3; do echo $i; sleep 0.2; done; touch "+s.Home+"/counted\n    check: test -e "+s.Home+"/counted\n  - {name: conf, file: {path: "+s.Home+"/conf, content: \"of {{ .host }}\\n\"}}\n")
	p := v.run(0, "provision", "--only-phase", "mine", "--sample-interval", "200ms", "-o", "json").doc(t).Hosts[0]
	if p.Changed != 2 || p.Failed != 0 {
		t.Errorf("first run: %+v", p)
	}
	if got := v.record("arm").output("mine/count", "stdout"); got != "1\n2\n3\n" {
		t.Errorf("output: %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(s.Home, "conf")); err != nil || string(b) != "of arm\n" {
		t.Errorf("conf: %q, %v", b, err)
	}
	if p := v.run(0, "provision", "--only-phase", "mine", "-o", "json").doc(t).Hosts[0]; p.Changed != 0 || p.OK != 2 {
		t.Errorf("second run: %+v", p)
	}
	if s := sessionOf(t, v.run(0, quickBench("cpu", "--repeats", "1", "-o", "json")...)); len(s.Metrics) != 8 {
		t.Errorf("the arm64 prober measured %+v", s.Metrics)
	}
	v.run(0, "clean", "-y")
	if left, _ := filepath.Glob(filepath.Join(s.Home, ".local/state/vpsctl/bin/*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
