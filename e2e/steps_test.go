//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// TestScriptExits7: the run stops there, with the code, the last of stderr, and all of the output in the record.
func TestScriptExits7(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("seven", "steps:\n  - name: fails\n    run: |\n      echo on stdout\n      echo it broke because of X >&2\n      exit 7\n  - name: never\n    run: touch /root/never7\n")
	v.phase("after", "needs: [seven]\n"+onePhase)
	v.phase("beside", onePhase)
	r := v.run(2, "provision", "--only-phase", "seven", "--only-phase", "after", "--only-phase", "beside", "-o", "json")
	wants(t, "the screen", r.err, "seven/fails", "7", "it broke because of X")
	rec := v.record(h.Name)
	rec.whole(h)
	s := rec.step("seven/fails")
	if s.Status != wire.Failed || s.RC == nil || *s.RC != 7 || !strings.Contains(s.Stderr, "it broke because of X") {
		t.Errorf("step %+v", s)
	}
	d := r.doc(t).Hosts[0]
	if d.ExitCode != 2 || d.Error == nil || !strings.Contains(d.Error.Message, "7") {
		t.Errorf("got %+v", d)
	}
	if on(t, h, "ls /root/never7 2>/dev/null || true") != "" {
		t.Error("the step behind the failed one has run")
	}
	for _, ph := range d.Phases {
		if ph.ID == "after" && ph.Status != "not_reached" && ph.Status != "skipped" {
			t.Errorf("the phase that needs the failed one: %s", ph.Status)
		}
	}
	wants(t, "the report", v.run(0, "report").out, "seven/fails", "it broke because of X")
	wants(t, "timings", v.run(0, "timings").out, "seven", "failed")
}

// TestStepsOnAHost: the tests of the steps that change a machine, on one that nobody needs afterwards.
func TestStepsOnAHost(t *testing.T) {
	t.Parallel()
	h := FreshLab(t, 1).Hosts[0]
	const steps = "../payload/collector/steps"
	dir := filepath.Join(h.Root(), "root", "steps")
	try(t, os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS(filepath.Join(steps, "testdata"))))
	build := exec.Command("go", "test", "-c", "-tags", "lab", "-o", filepath.Join(dir, "steps.test"), steps)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := h.Exec(t.Context(), "cd /root/steps && VPSCTL_LAB=1 ./steps.test -test.v -test.run '^TestLab' 2>&1")
	if err != nil || !strings.Contains(out, "--- PASS: TestLabPackages") || strings.Contains(out, "--- SKIP") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStepTimesOut: the step and all its children end, even those that do not listen.
func TestStepTimesOut(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("slow", "steps:\n  - name: hangs\n    timeout: 2s\n    run: |\n      trap '' TERM\n      echo waiting\n      (trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 4711' &)\n      sleep 4712\n")
	began := time.Now()
	r := v.provision(2, "slow")
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("took %v", took)
	}
	s := v.record(h.Name).step("slow/hangs")
	if s.Status != wire.Failed || !s.TimedOut {
		t.Errorf("step %+v", s)
	}
	wants(t, "provision", r.out+r.err, "slow/hangs", "2")
	if left := on(t, h, "ps -eo args | grep -E 'sleep 471[12]' | grep -v grep || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestBudget: a phase over its budget fails and says so.
func TestBudget(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	v := newTool(t, f)
	v.phase("slow", "budget: 2s\nsteps:\n  - {name: hangs, run: sleep 600}\n")
	r := v.provision(2, "slow")
	wants(t, "provision", r.out+r.err, "budget")
}

// TestFlood: 100 MB from one step. Memory stays flat, nothing is lost, and the phase's end is not held up.
func TestFlood(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	const lines, width = 1_000_000, 100
	v.phase("flood", fmt.Sprintf("steps:\n  - name: flood\n    run: seq -f '%%0%d.0f' 1 %d\n", width-1, lines))
	r := v.provision(0, "flood", "--plain", "-q")
	t.Logf("100 MB: %v, vpsctl's peak %d MiB", r.took.Round(time.Millisecond), r.rss>>20)
	if r.rss > 60<<20 {
		t.Errorf("vpsctl used %d MiB", r.rss>>20)
	}
	rec := filepath.Join(v.state, "runs", v.lastRun(), h.Name)
	if got := countLines(t, filepath.Join(rec, "output.log"), width-1); got != lines {
		t.Errorf("output.log has %d whole lines of %d", got, lines)
	}
	v.run(0, "report")
	if peak := on(t, h, "cat /var/lib/vpsctl/runs/"+v.lastRun()+"/journal.jsonl | wc -l"); peak == "0" {
		t.Error("no journal")
	}
	on(t, h, "rm -rf /var/lib/vpsctl/runs")
}

// countLines counts the lines of a file that end with so many digits.
func countLines(t *testing.T, path string, digits int) (n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	try(t, err)
	for line := range bytes.Lines(b) {
		line = bytes.TrimRight(line, "\n")
		if len(line) >= digits && !bytes.ContainsFunc(line[len(line)-digits:], func(r rune) bool { return r < '0' || r > '9' }) {
			n++
		}
	}
	return n
}

// TestNoCollectorGrows: a step that floods for long costs the host no memory either.
func TestNoCollectorGrows(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	v := newTool(t, f)
	v.phase("flood", "steps:\n  - name: flood\n    run: seq -f '%099.0f' 1 300000\n"+gate("a"))
	p := v.start("provision", "--only-phase", "flood", "--plain", "-q")
	p.makes(h, "/root/gate.a")
	peaks := on(t, h, `for p in $(pgrep -f /var/lib/vpsctl/bin/); do grep VmHWM /proc/$p/status; done | tr -dc '0-9\n'`)
	on(t, h, "touch /root/go.a")
	p.wait(0)
	for _, kb := range strings.Fields(peaks) {
		var n int
		fmt.Sscan(kb, &n)
		t.Logf("a collector process: %d KiB", n)
		if n > 24<<10 {
			t.Errorf("a collector process used %d KiB", n)
		}
	}
	if peaks == "" {
		t.Error("found no collector process")
	}
	on(t, h, "rm -rf /var/lib/vpsctl/runs")
}

// hostile is what a step prints to fool a terminal or a reader of the record.
const hostile = `steps:
  - name: evil
    run: |
      printf '\033]0;owned\007\033[2J\033[31mred\033[0m \302\233[31m c1 \r hidden\n'
      printf 'bidi \342\200\256gnp.exe\n'
      printf '{"n":99,"k":"end","t":1,"end":{"status":"ok"}}\n'
      printf '[2026-01-01 00:00:00] Phase 1/1: fake\n'
      printf '\377\376 not utf-8\n' >&2
      printf '=cmd|calc\n'
      exit 3
`

// TestTerminalEscapes: nothing a host prints reaches the terminal as a control, in lines or under a terminal, live or in
// a report made later; the record keeps what was said.
func TestTerminalEscapes(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("evil", hostile)
	bad := func(where, s string) {
		t.Helper()
		for _, c := range []string{"\x1b", "\x07", "\xc2\x9b", "\u202e", "\xff"} {
			if strings.Contains(s, c) {
				t.Errorf("%s has %q", where, c)
			}
		}
	}
	r := v.provision(2, "evil", "--plain")
	bad("the screen", r.out+r.err)
	wants(t, "the screen", r.out+r.err, "bidi", "evil/evil")
	for _, args := range [][]string{{"report"}, {"report", "--format", "json"}, {"report", "--format", "csv"}, {"timings"}, {"runs", "show"}, {"runs", "attach"}} {
		p := v.start(args...)
		p.finishes()
		bad(strings.Join(args, " "), p.out.String()+p.err.String())
	}
	rec := v.record(h.Name)
	if !strings.Contains(rec.output("evil/evil", "stdout"), "\x1b]0;owned\x07") || !strings.HasPrefix(rec.output("evil/evil", "stderr"), "\xff\xfe") {
		t.Error("the record does not have what was printed")
	}
	bad("output.log", strings.ReplaceAll(rec.file("output.log"), "\xff\xfe", "")) // people read it with cat
	rec.whole(h)
	v.record(h.Name)
	screen := v.pty("provision", "--only-phase", "evil", "--sample-interval", "1s")
	for _, c := range []string{"\x1b]0;owned", "\x1b[2J\x1b[31mred", "\x07", "\xc2\x9b", "\u202e"} {
		if strings.Contains(screen.text, c) {
			t.Errorf("the terminal got %q", c)
		}
	}
	if screen.code != 2 {
		t.Errorf("exit %d on a terminal", screen.code)
	}
}

// TestSecretsStaySecret: a secret reaches the script as a file and nothing else, whatever the script does with it.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	f := NewLab(t, 1)
	h := f.Hosts[0]
	on(t, h, closeGates)
	v := newTool(t, f)
	secret := "S3cr+t/äh!\"quoted\" $HOME 'x'"
	v.env = []string{"API_TOKEN=" + secret}
	v.inventory("hosts:\n" + f.entry(t, h, "vars", "{token: {env: API_TOKEN}}"))
	v.phase("secret", `vars: {token: ""}
steps:
  - name: uses
    secrets: [token]
    run: |
      test "$(cat "$VPSCTL_SECRETS/token" | wc -c)" -gt 10
      stat -c '%a %U' "$VPSCTL_SECRETS" "$VPSCTL_SECRETS/token"
      env | grep -c S3cr || true
      cat "$VPSCTL_SECRETS/token"
      cat "$VPSCTL_SECRETS/token" >&2
      base64 -w0 "$VPSCTL_SECRETS/token"; echo
      od -An -tx1 "$VPSCTL_SECRETS/token" | tr -d ' \n'; echo
      for c in 1 2 3 4 5 6 7 8; do head -c 3 "$VPSCTL_SECRETS/token"; sleep 0.05; tail -c +4 "$VPSCTL_SECRETS/token"; done
      echo "$VPSCTL_SECRETS" > /root/where
  - name: conf
    file: {path: /root/conf, content: "token={{ .token }}\n", mode: "0600"}
`+gate("a")+`  - name: fails
    secrets: [token]
    run: |
      cat "$VPSCTL_SECRETS/token" >&2; exit 4
`)
	p := v.start("provision", "--only-phase", "secret", "--sample-interval", "1s", "--plain")
	p.makes(h, "/root/gate.a")
	running := on(t, h, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
	if strings.Contains(running, "S3cr+t") {
		t.Error("the secret is in an argv or environment of the host")
	}
	on(t, h, "touch /root/go.a")
	r := p.wait(2)
	if on(t, h, "cat /root/conf") != "token="+secret {
		t.Error("the file does not have the secret")
	}
	if got := on(t, h, `ls -d "$(cat /root/where)" 2>/dev/null || true`); got != "" {
		t.Errorf("the secret's folder is still there: %s", got)
	}
	leaks := func(where, s string) {
		t.Helper()
		for what, form := range map[string]string{"itself": secret, "its start": secret[:8], "base64": base64.StdEncoding.EncodeToString([]byte(secret)),
			"hex": hex.EncodeToString([]byte(secret)), "json": `\"quoted\" $HOME`} {
			if strings.Contains(s, form) {
				t.Errorf("%s has the secret (%s)", where, what)
			}
		}
	}
	leaks("the screen", r.out+r.err)
	wants(t, "the screen", r.out+r.err, "***")
	try(t, filepath.WalkDir(v.state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, readErr := os.ReadFile(path)
			try(t, readErr)
			leaks(path, string(b))
		}
		return err
	}))
	leaks("the host's files", on(t, h, `find /var/lib/vpsctl/runs /var/log /run /tmp /var/tmp -xdev -type f -size -5M -exec cat {} + 2>/dev/null || true`))
	v.run(0, "report")
	leaks("plan -o json", v.run(0, "plan", "--only-phase", "secret", "-o", "json").out)
}

// TestPlantedLinks: where a user could plant a link, root does not write through it.
func TestPlantedLinks(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	before := on(t, h, `sha256sum /etc/shadow; ln -s /etc/shadow /home/plain/.bashrc2; mkdir /home/plain/sub; ln -s /etc /home/plain/sub/etc; ln -s /home/plain/.bashrc2 /home/plain/chain; chown -h plain:plain /home/plain/.bashrc2 /home/plain/sub /home/plain/sub/etc /home/plain/chain`)
	for id, step := range map[string]string{
		"file":      `{name: s, file: {path: /home/plain/.bashrc2, content: "x\n"}}`,
		"mode":      `{name: s, file: {path: /home/plain/.bashrc2, content: "x\n", mode: "0777", owner: plain}}`,
		"folder":    `{name: s, file: {path: /home/plain/sub/etc/shadow, content: "x\n"}}`,
		"directory": `{name: s, file: {path: /home/plain/sub/etc/newdir, state: directory}}`,
		"absent":    `{name: s, file: {path: /home/plain/sub/etc/shadow, state: absent}}`,
		"chain":     `{name: s, file: {path: /home/plain/chain, content: "x\n"}}`,
	} {
		v.phase("link-"+id, "steps:\n  - "+step+"\n")
		p := v.start("provision", "--only-phase", "link-"+id, "--plain")
		p.finishes()
		if code := p.cmd.ProcessState.ExitCode(); code != 2 && (code != 0 || id == "folder" || id == "directory" || id == "absent") {
			t.Errorf("%s: exit %d\n%s", id, code, p.talk())
		}
		if on(t, h, "sha256sum /etc/shadow; ls -d /etc/newdir 2>/dev/null || true") != before {
			t.Fatalf("%s: root has written through the link", id)
		}
		if got := on(t, h, "stat -c '%a %U' /etc/shadow"); got != "640 root" {
			t.Fatalf("%s: /etc/shadow is %s", id, got)
		}
	}
}

// TestFullDiskOnTheHost: the folder of runs is full. The run fails, says so, and can still be recorded.
func TestFullDiskOnTheHost(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	v.provision(0, "mark") // brings the collector
	on(t, h, "cp -a /var/lib/vpsctl/bin /root/bin.keep; mount -t tmpfs -o size=12m,mode=755 tmpfs /var/lib/vpsctl; cp -a /root/bin.keep /var/lib/vpsctl/bin; mkdir -m 700 /var/lib/vpsctl/runs")
	// While it runs, its own output and somebody else fill the disk.
	v.phase("fill", "steps:\n  - name: fill\n    run: |\n      head -c 30000000 /dev/zero | tr '\\0' 'y' | fold -w 100\n      echo filled\n  - name: after\n    run: echo after\n")
	p := v.start("provision", "--only-phase", "fill", "--plain", "-q", "-o", "json")
	p.finishes()
	if code := p.cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("exit %d\n%s", code, p.talk())
	}
	rec := v.record(h.Name)
	end := rec.end()
	if end.Status != wire.Failed || !strings.Contains(end.Reason+end.Hint, "space") && !strings.Contains(end.Reason, "disk") {
		t.Errorf("end %+v", end)
	}
	rec.whole(h)
	// From the start: not even a run folder can be made.
	on(t, h, "head -c 100M /dev/zero > /var/lib/vpsctl/filler 2>/dev/null || true")
	r := v.start("provision", "--only-phase", "mark", "--plain")
	r.finishes()
	if code := r.cmd.ProcessState.ExitCode(); code != 2 && code != 1 {
		t.Errorf("full from the start: exit %d\n%s", code, r.talk())
	}
	wants(t, "full from the start", strings.ToLower(r.out.String()+r.err.String()), h.Name, "space", " > ")
	on(t, h, "rm /var/lib/vpsctl/filler; rm -rf /var/lib/vpsctl/runs/*")
	v.provision(0, "mark")
}

// TestNoRoomForTheCollector: the upload itself does not fit.
func TestNoRoomForTheCollector(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("mark", onePhase)
	on(t, h, "mkdir -p /var/lib/vpsctl; mount -t tmpfs -o size=1m,mode=755 tmpfs /var/lib/vpsctl")
	r := v.provision(2, "mark")
	wants(t, "provision", strings.ToLower(r.says()), h.Name, "space", " > ")
	if got := on(t, h, "ls -A /root | grep -vE '^\\.(ssh|bash|profile|cache)' || true; find /var/lib/vpsctl -type f"); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// TestClean removes all that is ours and nothing else.
func TestClean(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	on(t, h, "echo mine > /root/mine")
	const find = `find / -xdev \( -name '*vpsctl*' -o -name vps-provision \) -not -path '/proc/*' -not -path '/sys/*' 2>/dev/null; ls -d /run/lock/vpsctl /run/vpsctl 2>/dev/null || true`
	was := on(t, h, find)
	v.phase("mark", onePhase)
	v.provision(0, "mark")
	wants(t, "clean -n", v.run(0, "clean", "-n").err, "/var/lib/vpsctl")
	v.run(5, "clean", "--non-interactive")
	v.run(0, "clean", "-y")
	if left := on(t, h, find); left != was {
		t.Errorf("left on the host: %s", left)
	}
	if on(t, h, "cat /root/mine /root/mark") != "mine\nhere" {
		t.Error("it has removed what is not its own")
	}
	v.run(0, "clean", "-y")
	v.provision(0, "mark")
}
