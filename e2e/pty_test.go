//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// screen is what a terminal of 80 columns got.
type screen struct {
	text   string
	code   int
	echoes bool // the terminal shows what is typed, afterwards
}

// pty runs vpsctl under a terminal, to its end.
func (v *tool) pty(args ...string) screen {
	v.t.Helper()
	return v.typing("", "", args...)
}

// typing is pty with somebody who types an answer once the question is there.
func (v *tool) typing(question, answer string, args ...string) screen {
	v.t.Helper()
	control, terminal := openTerminal(v)
	p := v.prepare(args)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	try(v.t, p.cmd.Start())
	terminal.Close()
	p.watch()
	read := make(chan string, 1)
	go func() {
		var b strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := control.Read(buf)
			b.Write(buf[:n])
			if question != "" && strings.Contains(b.String(), question) {
				question = ""
				_, _ = control.WriteString(answer)
			}
			if err != nil { // EIO once the last process of the terminal is gone
				read <- b.String()
				return
			}
		}
	}()
	defer time.AfterFunc(longest, func() { _ = p.cmd.Process.Kill() }).Stop() // what it asked was not what was expected
	<-p.done
	text := <-read
	left, err := unix.IoctlGetTermios(int(control.Fd()), unix.TCGETS)
	try(v.t, err)
	control.Close()
	return screen{text, p.cmd.ProcessState.ExitCode(), left.Lflag&unix.ECHO != 0}
}

func openTerminal(v *tool) (control, terminal *os.File) {
	v.t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	try(v.t, err)
	fd := int(control.Fd())
	try(v.t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	try(v.t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	try(v.t, err)
	try(v.t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	return control, terminal
}
