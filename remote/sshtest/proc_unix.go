//go:build unix

package sshtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// nobody are the ids commands run with; nil when the test is not root.
func nobody() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	cred := &syscall.Credential{Uid: 65534, Gid: 65534}
	if u, err := user.Lookup("nobody"); err == nil {
		if n, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
			cred.Uid = uint32(n)
		}
		if n, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
			cred.Gid = uint32(n)
		}
	}
	return cred
}

func giveAway(dir string) error {
	cred := nobody()
	if cred == nil {
		return nil
	}
	return os.Chown(dir, int(cred.Uid), int(cred.Gid))
}

// command is what the login shell is given.
func (s *Server) command(asked string) []string {
	if s.opt.Forced != "" {
		asked = s.opt.Forced
	}
	return []string{s.opt.Shell, "-c", asked}
}

// start runs argv for the channel and ends the channel when it has ended.
func (s *Server) start(c *conn, ch ssh.Channel, argv []string, user, asked string, env []string) error {
	s.set(func() { s.counts.Commands++ })
	if s.opt.Noise != "" {
		io.WriteString(ch, s.opt.Noise)
		io.WriteString(ch.Stderr(), s.opt.Noise)
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `umask 022; exec "$@"`, "sh"}, argv...)...)
	cmd.Env = env
	return s.attach(c, ch, cmd, user, asked)
}

func (s *Server) attach(c *conn, ch ssh.Channel, cmd *exec.Cmd, user, asked string) error {
	cmd.Dir = s.Home
	cmd.Env = append(append(cmd.Env, "HOME="+s.Home, "USER="+user, "LOGNAME="+user, "SHELL="+s.opt.Shell,
		"PATH="+filepath.Join(s.base, "bin")+":/usr/local/bin:/usr/bin:/bin", "SSH_CONNECTION=127.0.0.1 1 127.0.0.1 22",
		"SSH_ORIGINAL_COMMAND="+asked, s.id), s.opt.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: nobody()}
	p, err := newPipes(cmd)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		p.close()
		return errNo
	}
	err = cmd.Start()
	p.closeTheirs()
	if err != nil {
		p.close()
		return err
	}
	pid := cmd.Process.Pid
	s.groups = append(s.groups, pid)
	s.wg.Go(func() { s.serveProcess(c, ch, cmd, p, pid) })
	return nil
}

// serveProcess moves bytes until the process has ended, or the connection has:
// as with sshd, the process then gets what had come, and goes on with closed
// pipes.
func (s *Server) serveProcess(c *conn, ch ssh.Channel, cmd *exec.Cmd, p *pipes, pid int) {
	out, done := make(chan struct{}, 2), make(chan struct{})
	s.wg.Go(func() {
		io.Copy(p.in, ch)
		p.in.Close()
	})
	s.wg.Go(func() {
		s.passEvents(c, ch, p.out)
		out <- struct{}{}
	})
	s.wg.Go(func() {
		io.Copy(ch.Stderr(), p.err)
		out <- struct{}{}
	})
	s.wg.Go(func() {
		select {
		case <-c.gone:
			p.out.Close()
			p.err.Close()
		case <-done:
		}
	})
	s.wg.Go(func() {
		err := cmd.Wait()
		s.set(func() { s.groups = slices.DeleteFunc(s.groups, func(p int) bool { return p == pid }) })
		<-out
		<-out
		sayExit(ch, err)
		ch.Close()
		close(done)
		p.close()
	})
}

func sayExit(ch ssh.Channel, err error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			name := strings.TrimPrefix(map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM", syscall.SIGINT: "INT"}[ws.Signal()], "SIG")
			ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal string
				Core   bool
				Text   string
				Lang   string
			}{name, false, "", ""}))
			return
		}
	}
	rc := 0
	if err != nil {
		rc = max(1, exitCode(exit))
	}
	ch.SendRequest("exit-status", false, ssh.Marshal(struct{ N uint32 }{uint32(rc)}))
}

func exitCode(e *exec.ExitError) int {
	if e == nil {
		return 1
	}
	return e.ExitCode()
}

// passEvents copies r to ch as it comes, and springs the trap at the right
// event.
func (s *Server) passEvents(c *conn, ch io.Writer, r io.Reader) {
	buf := make([]byte, 32<<10)
	var head []byte // the beginning of the line we are in
	for {
		n, err := r.Read(buf)
		from, to := 0, 0 // what is read and not yet passed on
		for part := range bytes.Lines(buf[:n]) {
			head = append(head, part[:min(len(part), len(eventMark)-len(head))]...)
			event := bytes.Equal(head, eventMark)
			if event && s.sprung(c, false) {
				return
			}
			to += len(part)
			if part[len(part)-1] != '\n' {
				continue
			}
			head = head[:0]
			if !event {
				continue
			}
			if _, err := ch.Write(buf[from:to]); err != nil || s.sprung(c, true) {
				return
			}
			from = to
		}
		if from < n {
			if _, err := ch.Write(buf[from:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

var eventMark = []byte(`{"n":`)

// pipes are a process's streams; in, out and err are our ends.
type pipes struct {
	in, out, err *os.File
	theirs       []*os.File
}

func newPipes(cmd *exec.Cmd) (*pipes, error) {
	var p pipes
	var err error
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	stdin, in := pipe()
	out, stdout := pipe()
	errs, stderr := pipe()
	p.in, p.out, p.err, p.theirs = in, out, errs, []*os.File{stdin, stdout, stderr}
	if err != nil {
		p.closeTheirs()
		p.close()
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return &p, nil
}

func (p *pipes) closeTheirs() {
	for _, f := range p.theirs {
		f.Close()
	}
}

func (p *pipes) close() {
	p.in.Close()
	p.out.Close()
	p.err.Close()
}

// startSFTP runs this very program as an SFTP server, so that it has the rights
// of the user and no more. It is started by its descriptor: the user may not be
// allowed to enter the folder it lies in.
func (s *Server) startSFTP(c *conn, ch ssh.Channel, user string) error {
	s.set(func() { s.counts.SFTP++ })
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe)
	if f, err := os.Open("/proc/self/exe"); err == nil {
		defer f.Close()
		cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{f}
	}
	cmd.Env = []string{sftpEnv + "=1"}
	return s.attach(c, ch, cmd, user, "")
}

// killAll ends the process groups that were started and, where /proc tells,
// every process that has id in its environment: those that left their group.
func killAll(groups []int, id string) {
	for _, pid := range groups {
		if pid > 1 { // 0 and 1 would mean more than a group of ours
			syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
	for range 10 {
		found := false
		names, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, name := range names {
			env, err := os.ReadFile(name)
			if err != nil || !bytes.Contains(env, []byte(id)) {
				continue
			}
			var pid int
			if _, err := fmt.Sscanf(name, "/proc/%d/environ", &pid); err == nil && pid > 1 && pid != os.Getpid() {
				found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
			}
		}
		if !found {
			return
		}
	}
}
