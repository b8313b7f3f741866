//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// say runs a command by ssh as that user and returns its trimmed stdout.
func say(t *testing.T, h *lab.Host, user, command string) (string, error) {
	t.Helper()
	client, err := h.Dial(t.Context(), user)
	try(t, err)
	defer client.Close()
	defer time.AfterFunc(patience, func() { client.Close() }).Stop()
	session, err := client.NewSession()
	try(t, err)
	out, err := session.Output(command)
	return strings.TrimSpace(string(out)), err
}

func bootID(t *testing.T, h *lab.Host) string {
	t.Helper()
	id, err := h.BootID()
	try(t, err)
	return id
}

func TestLabTwoHostsBoot(t *testing.T) {
	beside := NewLab(t, 1).Hosts[0] // also has the base built, which is not what is timed here
	began := time.Now()
	l, err := lab.Up(t.Context(), lab.Options{Dir: t.TempDir(), N: 2, Prefix: "vps", Ephemeral: true})
	try(t, err)
	took := time.Since(began)
	t.Cleanup(func() { try(t, l.Down(context.Background())) })
	if took > 10*time.Second {
		t.Errorf("two hosts took %v, want under 10 s", took)
	}
	ids := []string{bootID(t, beside)}
	machine, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	try(t, err)
	ids = append(ids, strings.TrimSpace(string(machine)))
	for i, h := range l.Hosts {
		ids = append(ids, bootID(t, h))
		out, err := say(t, h, "root", ". /etc/os-release; echo $ID-$VERSION_ID $(hostname) $(ps -p 1 -o comm=)")
		if want := "debian-13 vps" + strconv.Itoa(i+1) + " systemd"; err != nil || out != want {
			t.Errorf("%s: got %q, %v, want %q", h.Name, out, err, want)
		}
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 4 {
		t.Errorf("boot ids of three hosts and the machine are not four: %v", ids)
	}
	if beside.Addr[:strings.LastIndex(beside.Addr, ".")] == l.Hosts[0].Addr[:strings.LastIndex(l.Hosts[0].Addr, ".")] {
		t.Errorf("two labs share a subnet: %s and %s", beside.Addr, l.Hosts[0].Addr)
	}
}

func TestLabUsers(t *testing.T) {
	h := FreshHost(t)
	for user, want := range map[string]string{"root": "0", "admin": "0", "plain": ""} {
		if out, _ := say(t, h, user, "sudo -n id -u"); out != want {
			t.Errorf("sudo as %s: got %q, want %q", user, out, want)
		}
	}
}

func TestLabReachesMirror(t *testing.T) {
	out, err := FreshHost(t).Exec(t.Context(), "apt-get update -q && apt-get install -s -q jq")
	if err != nil || !strings.Contains(out, "Inst jq") {
		t.Errorf("apt in a host: %v\n%s", err, out)
	}
}

// ticker starts a command on the host that prints without end, and hands over each line as it comes; the channel is
// closed with the connection.
func ticker(t *testing.T, h *lab.Host) <-chan string {
	t.Helper()
	client, err := h.Dial(t.Context(), "root")
	try(t, err)
	t.Cleanup(func() { client.Close() })
	session, err := client.NewSession()
	try(t, err)
	out, err := session.StdoutPipe()
	try(t, err)
	try(t, session.Start("n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"))
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			select {
			case lines <- scan.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	return lines
}

// next returns the next line, or why there was none in time: "closed" or "silence".
func next(lines <-chan string, wait time.Duration) string {
	select {
	case line, ok := <-lines:
		if !ok {
			return "closed"
		}
		return line
	case <-time.After(wait):
		return "silence"
	}
}

// silent wants the line to stay open and, once what was on its way has arrived, to bring nothing.
func silent(t *testing.T, lines <-chan string) {
	t.Helper()
	for range 20 {
		switch next(lines, time.Second) {
		case "silence":
			return
		case "closed":
			t.Fatal("the connection was closed, want silence")
		}
	}
	t.Fatal("lines keep coming over a dead line")
}

// unreachable wants an attempt to connect to get no answer at all, as from a dead machine on a real network.
func unreachable(t *testing.T, h *lab.Host) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", h.Addr+":22", 4*time.Second)
	if err == nil {
		conn.Close()
		t.Fatalf("%s answers", h.Name)
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial got %v, want a time-out", err)
	}
}

func TestLabCutAndRestore(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	lines := ticker(t, h)
	if got := next(lines, 5*time.Second); got != "1" {
		t.Fatalf("first line: %q", got)
	}
	try(t, h.Cut(t.Context()))
	silent(t, lines)
	unreachable(t, h)
	if out, err := h.Exec(t.Context(), "echo inside"); out != "inside\n" {
		t.Errorf("exec with the line cut: %q, %v", out, err)
	}
	try(t, h.Restore(t.Context()))
	if got := next(lines, 30*time.Second); got == "closed" || got == "silence" {
		t.Errorf("after restoring: %s, want the same connection to go on", got)
	}
	route, err := h.Exec(t.Context(), "ip -4 route show default")
	if err != nil || !strings.Contains(route, "via") {
		t.Errorf("default route after restoring: %q, %v", route, err)
	}
}

func TestLabKillAndStart(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	before := bootID(t, h)
	_, err := h.Exec(t.Context(), "echo kept >/root/kept; touch /run/lost")
	try(t, err)
	lines := ticker(t, h)
	next(lines, 5*time.Second)
	try(t, h.Kill(t.Context()))
	if h.Running() {
		t.Error("it runs after Kill")
	}
	silent(t, lines)
	unreachable(t, h)
	try(t, h.Start(t.Context()))
	if after := bootID(t, h); after == before {
		t.Errorf("boot id is %s as before", after)
	}
	if out, err := say(t, h, "root", "cat /root/kept; ls /run/lost 2>/dev/null"); out != "kept" {
		t.Errorf("after the start: %q, %v, want the disk kept and /run new", out, err)
	}
}

func TestLabReboot(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	before := bootID(t, h)
	_, err := h.Exec(t.Context(), "echo kept >/root/kept")
	try(t, err)
	lines := ticker(t, h)
	next(lines, 5*time.Second)
	busy := make(chan error, 1)
	go func() {
		_, err := h.Exec(t.Context(), "sleep 600")
		busy <- err
	}()
	try(t, h.Reboot(t.Context()))
	if err := <-busy; err == nil {
		t.Error("a command inside survives the reboot")
	}
	for next(lines, 5*time.Second) != "closed" {
		if t.Context().Err() != nil {
			t.Fatal("the old connection stays open")
		}
	}
	if after := bootID(t, h); after == before {
		t.Errorf("boot id is %s as before", after)
	}
	if out, err := say(t, h, "root", "cat /root/kept"); out != "kept" {
		t.Errorf("disk after the reboot: %q, %v", out, err)
	}
}

func TestLabRebootByTheHost(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	before := bootID(t, h)
	_, _ = say(t, h, "root", "systemctl reboot") // the connection may end before the answer
	try(t, h.WaitReboot(t.Context(), before))
}

func TestLabReset(t *testing.T) {
	h := FreshHost(t)
	_, err := h.Exec(t.Context(), "touch /root/trace")
	try(t, err)
	if _, err := os.Stat(h.Root() + "/root/trace"); err != nil {
		t.Errorf("what the host wrote is not seen from outside: %v", err)
	}
	try(t, h.Reset(t.Context()))
	if out, err := h.Exec(t.Context(), "ls /root"); err != nil || out != "" {
		t.Errorf("/root after the reset: %q, %v", out, err)
	}
}

func TestLabHostsCannotSetTheClock(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	out, err := say(t, h, "root", "grep CapBnd /proc/1/status /proc/self/status | cut -f2")
	try(t, err)
	for _, set := range strings.Fields(out) {
		const capSysTime = 25
		if bits, err := strconv.ParseUint(set, 16, 64); err != nil || bits&(1<<capSysTime) != 0 {
			t.Fatalf("capabilities of a host %s: %v, want none to set the clock", set, err)
		}
	}
	// The present second: should the capability be there after all, the clock moves by less than one.
	if out, err := say(t, h, "root", `date -s "@$(date +%s)"`); err == nil {
		t.Errorf("a host has set the clock: %s", out)
	}
}

func TestLabCPU(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	before, err := h.CPU()
	try(t, err)
	out, err := say(t, h, "root", "i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; cut -d' ' -f14,15 /proc/$$/stat")
	try(t, err)
	after, err := h.CPU()
	try(t, err)
	var ticks float64
	for _, f := range strings.Fields(out) {
		n, _ := strconv.ParseFloat(f, 64)
		ticks += n
	}
	if used := after - before; used < ticks/100*0.9 || used > ticks/100+5 {
		t.Errorf("the host's CPU time grew by %.2f s around a command of %.2f s", used, ticks/100)
	}
}

func TestLabExecTellsWhatFailed(t *testing.T) {
	h := NewLab(t, 1).Hosts[0]
	out, err := h.Exec(t.Context(), "echo out; echo why >&2; exit 7")
	var status interface{ ExitCode() int }
	if out != "out\n" || !errors.As(err, &status) || status.ExitCode() != 7 || !strings.HasSuffix(err.Error(), "why") {
		t.Errorf("got %q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := h.Exec(ctx, "exec sleep 4321"); err == nil {
		t.Error("no error after the deadline")
	}
	if out, _ := h.Exec(t.Context(), "pgrep -x sleep -a"); strings.Contains(out, "4321") {
		t.Errorf("the command outlives its context: %s", out)
	}
}
