//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/e2e/lab"
)

// frameBuffer is an X server without a screen, and what is on it.
type frameBuffer struct {
	display string
	dir     string
}

func newFrameBuffer(t *testing.T) *frameBuffer {
	t.Helper()
	s := &frameBuffer{dir: t.TempDir()}
	said, says, err := os.Pipe()
	try(t, err)
	defer said.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1280x800x24", "-noreset", "-nolisten", "tcp", "-fbdir", s.dir)
	cmd.ExtraFiles = []*os.File{says}
	try(t, cmd.Start())
	says.Close()
	t.Cleanup(func() { end(cmd) })
	line, err := bufio.NewReader(said).ReadString('\n')
	try(t, err)
	s.display = ":" + strings.TrimSpace(line)
	until(t, "the frame buffer of "+s.display, func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "Xvfb_screen0"))
		return err == nil
	})
	return s
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

// picture reads the frame buffer, which Xvfb keeps as a window dump: a header of big-endian words, colours, then pixels
// of blue, green, red and nothing.
func (s *frameBuffer) picture(t *testing.T) *image.NRGBA {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "Xvfb_screen0"))
	try(t, err)
	word := func(i int) int { return int(binary.BigEndian.Uint32(b[4*i:])) }
	width, height, stride, from := word(4), word(5), word(12), word(0)+12*word(19)
	if word(1) != 7 || word(11) != 32 || from+height*stride > len(b) {
		t.Fatalf("no window dump of 32 bits: version %d, %d bits, %d bytes", word(1), word(11), len(b))
	}
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p := b[from+y*stride+4*x:]
			copy(img.Pix[img.PixOffset(x, y):], []byte{p[2], p[1], p[0], 255})
		}
	}
	return img
}

// colours counts the colours of a part of a picture. A blank screen has one, a login box some, a desktop with a
// wallpaper many.
func colours(img *image.NRGBA, part image.Rectangle) int {
	seen := map[[3]byte]bool{}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			i := img.PixOffset(x, y)
			seen[[3]byte(img.Pix[i:i+3])] = true
		}
	}
	return len(seen)
}

func savePicture(t *testing.T, img image.Image, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(artifacts(t), name))
	try(t, err)
	defer f.Close()
	try(t, png.Encode(f, img))
}

// throughSSH gives a local address that leads to the host's RDP server through an SSH line, as vpsctl rdp does.
func throughSSH(t *testing.T, h *lab.Host) string {
	t.Helper()
	client, err := h.Dial(t.Context(), "root")
	try(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	t.Cleanup(func() { l.Close(); client.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go forward(nc, client)
		}
	}()
	return l.Addr().String()
}

func forward(nc net.Conn, client *ssh.Client) {
	defer nc.Close()
	far, err := client.Dial("tcp", "127.0.0.1:3389")
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, nc)
		far.Close()
	}()
	_, _ = io.Copy(nc, far)
}

// rdpClient is FreeRDP, whichever Debian has.
func rdpClient(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"xfreerdp3", "xfreerdp"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no RDP client: apt-get install freerdp2-x11 (or freerdp3-x11) and xvfb")
	return ""
}

// viewer is somebody who sits before a desktop.
type viewer struct {
	user   string
	screen *frameBuffer
	cmd    *exec.Cmd
	log    string

	wide, high int // of the desktop that is shown
}

const rdpPassword = "Workstation-Proof-4711" // of accounts that live as long as the test

func (v *viewer) connect(t *testing.T, addr string) {
	t.Helper()
	v.cmd = exec.Command(rdpClient(t), "/v:"+addr, "/u:"+v.user, "/p:"+rdpPassword, "/cert:ignore", "/sec:tls", "/bpp:32", "/size:1280x800", "/log-level:ERROR")
	home := t.TempDir()
	v.cmd.Env = []string{"DISPLAY=" + v.screen.display, "HOME=" + home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	v.log = filepath.Join(home, "log")
	log, err := os.Create(v.log)
	try(t, err)
	defer log.Close()
	v.cmd.Stdout, v.cmd.Stderr = log, log
	try(t, v.cmd.Start())
}

// session is what a user's desktop consists of on the host: display, X server, session manager.
func session(t *testing.T, h *lab.Host, user string) (display, pids string) {
	t.Helper()
	out, _ := h.Exec(context.Background(), fmt.Sprintf("pgrep -u %[1]s -ax Xorg | grep -o ' :[0-9]*'; pgrep -u %[1]s -x Xorg; pgrep -u %[1]s -x xfce4-session; pgrep -u %[1]s -x xfwm4; pgrep -u %[1]s -x xfce4-panel", user))
	display, pids, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return strings.TrimSpace(display), pids
}

// person makes an account that lives as long as the test, and that nothing is left of.
func person(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	on(t, h, fmt.Sprintf("useradd -m -s /bin/bash %[1]s && echo %[1]s:%[2]s | chpasswd", name, rdpPassword))
	t.Cleanup(func() {
		_, _ = h.Exec(context.Background(), fmt.Sprintf(`uid=$(id -u %[1]s); loginctl terminate-user %[1]s
n=0; while { pgrep -u $uid || [ -e /run/user/$uid ]; } >/dev/null && [ $n -lt 100 ]; do n=$((n + 1)); [ $n -lt 20 ] || pkill -KILL -u $uid; sleep 0.1; done
find /tmp -xdev -user %[1]s -delete; userdel -r %[1]s`, name))
	})
}

// TestRDPSessionsOfThree: three people log in at the same moment with a real client and see their desktops; the sessions
// stay apart, go on without anybody connected, and are what everybody comes back to, again at the same moment.
func TestRDPSessionsOfThree(t *testing.T) {
	w := theWorkstation(t)
	addr := throughSSH(t, w.h)
	var viewers []*viewer
	for _, user := range []string{"ann", "bob", "cleo"} {
		person(t, w.h, user)
		viewers = append(viewers, &viewer{user: user, screen: newFrameBuffer(t), wide: 1280, high: 800})
	}
	leave := func(v *viewer) { end(v.cmd) }
	displays, before := map[string]string{}, map[string]string{}
	for _, v := range viewers {
		v.connect(t, addr)
		t.Cleanup(func() { leave(v) })
	}
	for _, v := range viewers {
		v.seesDesktop(t, w.h)
		displays[v.user], before[v.user] = session(t, w.h, v.user)
		if strings.Count(before[v.user], "\n") != 3 {
			t.Errorf("%s has not one desktop: %q", v.user, before[v.user])
		}
	}
	savePicture(t, viewers[0].screen.picture(t), "desktop.png")
	if displays["ann"] == displays["bob"] || displays["bob"] == displays["cleo"] || displays["ann"] == displays["cleo"] {
		t.Errorf("displays are shared: %v", displays)
	}
	apart(t, w.h, "ann", "bob", displays["bob"])
	trashAndIcons(t, w.h, "ann")

	for _, v := range viewers {
		leave(v)
	}
	until(t, "all connections to be closed", func() bool {
		return on(t, w.h, "ss -Htn state established sport = :3389 | wc -l") == "0"
	})
	for _, v := range viewers {
		if _, now := session(t, w.h, v.user); now != before[v.user] {
			t.Errorf("without a connection %s's session is %q, was %q", v.user, now, before[v.user])
		}
	}
	for _, v := range viewers {
		v.connect(t, addr)
	}
	for _, v := range viewers {
		v.seesDesktop(t, w.h)
		if display, now := session(t, w.h, v.user); now != before[v.user] || display != displays[v.user] {
			t.Errorf("%s comes back to %s %q, was %s %q", v.user, display, now, displays[v.user], before[v.user])
		}
	}
	savePicture(t, viewers[0].screen.picture(t), "desktop-again.png")
}

// seesDesktop waits until there is a panel and a wallpaper on the viewer's own screen.
func (v *viewer) seesDesktop(t *testing.T, h *lab.Host) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := os.ReadFile(v.log)
			_, pids := session(t, h, v.user)
			log, _ := h.Exec(context.Background(), "tail -n 60 /var/log/xrdp-sesman.log; grep -E 'ERROR|WARN' /var/log/xrdp.log | tail -n 20; tail -n 5 /home/"+v.user+"/.xsession-errors")
			t.Logf("%s's client said: %s\non the host: %q\n%s", v.user, tail(string(said)), pids, log)
			savePicture(t, v.screen.picture(t), "failed-"+v.user+".png")
		}
	})
	until(t, v.user+"'s desktop on the screen", func() bool {
		display, pids := session(t, h, v.user)
		if display == "" || strings.Count(pids, "\n") < 3 {
			return false
		}
		img := v.screen.picture(t)
		return colours(img, image.Rect(200, 200, v.wide-200, v.high-100)) > 50 && colours(img, image.Rect(0, v.high-30, v.wide, v.high)) > 20
	})
}

// TestRDPStartsTheClient: `vpsctl rdp` itself, on somebody's terminal: the expired password is changed, the client that
// is there is started, is given the password by who sits there, and shows the desktop through the tunnel. Logging out
// there ends all of it well.
func TestRDPStartsTheClient(t *testing.T) {
	w := theWorkstation(t)
	const user, password = "dora", "Changed-On-The-Way-42"
	person(t, w.h, user)
	on(t, w.h, fmt.Sprintf("install -d -m 0700 -o %[1]s -g %[1]s /home/%[1]s/.ssh && install -m 0600 -o %[1]s -g %[1]s /root/.ssh/authorized_keys /home/%[1]s/.ssh/ && chage -d 0 %[1]s", user))
	rdpClient(t)
	v := &viewer{user: user, screen: newFrameBuffer(t), wide: 1024, high: 768} // what FreeRDP takes by itself
	tool := w.tool(t)
	tool.env = append(tool.env, "DISPLAY="+v.screen.display)
	control, terminal := openTerminal(tool)
	defer control.Close()
	p := tool.prepare([]string{"rdp", w.h.Name, "--user", user})
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	try(t, p.cmd.Start())
	terminal.Close()
	p.watch()

	d := dialogue{t: t, f: control}
	for _, q := range promptRules {
		d.until(q.ask)
		d.say(map[string]string{"old": rdpPassword, "new": password}[q.answer] + "\n")
	}
	wants(t, "vpsctl rdp", d.until("Password: "), "desktop at 127.0.0.1:", "asks for the password of "+user)
	d.say(password + "\n")
	rest := make(chan string, 1)
	go func() { // somebody reads on, or the client would have to wait; ends with the last program of the terminal
		b, _ := io.ReadAll(control)
		rest <- string(b)
	}()
	t.Cleanup(func() {
		_ = exec.Command("pkill", "-KILL", "-s", fmt.Sprint(p.cmd.Process.Pid)).Run() // the client, which holds the terminal
		if !t.Failed() {
			return
		}
		select {
		case text := <-rest:
			t.Logf("on the terminal: %s", tail(text))
		case <-time.After(patience):
			t.Log("somebody still holds the terminal")
		}
	})
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	v.seesDesktop(t, w.h)
	savePicture(t, v.screen.picture(t), "desktop-vpsctl-rdp.png")
	if found := holders(t, p.cmd.Process.Pid, password); len(found) > 0 {
		t.Errorf("the password is in the arguments or the environment of %q", found)
	}
	on(t, w.h, "pkill -TERM -u "+user+" -x xfce4-session")
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the session has ended, vpsctl rdp goes on")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after a logout", code)
	}
	if left, _ := os.ReadDir(filepath.Join(w.state, "rdp")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// holders are the programs of a process session whose arguments or environment have a text in them.
func holders(t *testing.T, sid int, text string) (found []string) {
	t.Helper()
	out, _ := exec.Command("ps", "-s", fmt.Sprint(sid), "-o", "pid=").Output()
	pids := strings.Fields(string(out))
	if len(pids) < 2 {
		t.Errorf("no client runs beside vpsctl: %q", pids)
	}
	for _, pid := range pids {
		for _, name := range []string{"cmdline", "environ"} {
			if b, _ := os.ReadFile(filepath.Join("/proc", pid, name)); strings.Contains(string(b), text) {
				found = append(found, pid+"/"+name)
			}
		}
	}
	return found
}

// drawAndTrash throws a file away and prints the trash, then the width of an icon; by the libraries that a session's
// programs have, because the lean desktop brings no commands for it.
const drawAndTrash = `import ctypes, sys
gio, pixbuf, p = ctypes.CDLL("libgio-2.0.so.0"), ctypes.CDLL("libgdk_pixbuf-2.0.so.0"), ctypes.c_void_p
def call(lib, name, result, *args):
    f = getattr(lib, name)
    f.restype = result
    return f(*args)
open("waste-of-paper", "w").close()
waste = p(call(gio, "g_file_new_for_path", p, b"waste-of-paper"))
print("thrown away" if call(gio, "g_file_trash", ctypes.c_int, waste, None, None) else "kept")
can = p(call(gio, "g_file_new_for_uri", p, b"trash:///"))
inside = call(gio, "g_file_enumerate_children", p, can, b"standard::display-name", 0, None, None)
while inside:
    info = call(gio, "g_file_enumerator_next_file", p, p(inside), None, None)
    if not info:
        break
    print(call(gio, "g_file_info_get_display_name", ctypes.c_char_p, p(info)).decode())
icon = call(pixbuf, "gdk_pixbuf_new_from_file_at_size", p, sys.argv[1].encode(), 48, 48, None)
print(call(pixbuf, "gdk_pixbuf_get_width", ctypes.c_int, p(icon)) if icon else "no picture")
`

// trashAndIcons: in a user's session files go into the trash and are found there, and icons that are SVG can be drawn:
// what gvfs and librsvg are on the list of packages for.
func trashAndIcons(t *testing.T, h *lab.Host, user string) {
	t.Helper()
	script := filepath.Join(h.Root(), "opt", "draw-and-trash.py")
	try(t, os.WriteFile(script, []byte(drawAndTrash), 0o644))
	defer os.Remove(script)
	got := on(t, h, fmt.Sprintf(`icon=$(find /usr/share/icons/Adwaita -name 'user-trash*.svg' | head -n 1); test -n "$icon"
		pid=$(pgrep -u %[1]s -x xfce4-session); cd /home/%[1]s
		runuser -u %[1]s -- env $(tr '\0' '\n' </proc/$pid/environ | grep -E '^(DBUS_SESSION_BUS_ADDRESS|XDG_RUNTIME_DIR|DISPLAY|HOME)=') python3 /opt/draw-and-trash.py "$icon"`, user))
	if got != "thrown away\nwaste-of-paper\n48" {
		t.Errorf("in %s's session: %q", user, got)
	}
}

// apart: one user reaches neither the other's screen nor files nor processes.
func apart(t *testing.T, h *lab.Host, one, other, display string) {
	t.Helper()
	for _, try := range []string{
		"DISPLAY=" + display + " xwininfo -root",
		"DISPLAY=" + display + " XAUTHORITY=/home/" + other + "/.Xauthority xwininfo -root",
		"ls /home/" + other,
		"cat /proc/$(pgrep -u " + other + " -x xfce4-session)/environ",
	} {
		if out, err := h.Exec(t.Context(), "runuser -u "+one+" -- sh -c '"+try+"'"); err == nil {
			t.Errorf("%s can do with %s's: %s\n%s", one, other, try, out)
		}
	}
	if own := on(t, h, "runuser -u "+other+" -- env DISPLAY="+display+" XAUTHORITY=/home/"+other+"/.Xauthority xwininfo -root"); !slices.Contains(strings.Fields(own), "1280") {
		t.Errorf("%s cannot look at its own screen: %s", other, own)
	}
}
