//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The few bytes of D-Bus it takes to be put into a scope of one's own. Asking
// systemd-run costs a process of some 10 ms, a D-Bus library (with package net)
// 440 KB of the compressed collector; this is one message with fixed types.

// ownScope has systemd move this process into a scope unit of its own, with its
// cgroup delegated. The function it returns waits until that is done, and gives
// the cgroup's path below the hierarchy's root.
func ownScope(unit, description string) func() (string, error) {
	conn, err := dialUnix("/run/systemd/private")
	if err != nil {
		return func() (string, error) { return "", fmt.Errorf("ask systemd for a scope: %w", err) }
	}
	deadline := time.Now().Add(5 * time.Second)
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	msg := append([]byte("\x00AUTH EXTERNAL "+uid+"\r\nBEGIN\r\n"), startTransientUnit(unit, description, uint32(os.Getpid()))...)
	_, err = conn.Write(msg)
	return func() (string, error) {
		if err == nil {
			err = accepted(bufio.NewReader(conn))
		}
		conn.Close() // at once: systemd would tell us of every change of the unit
		if err != nil {
			return "", fmt.Errorf("ask systemd for a scope: %w", err)
		}
		return awaitScope(unit, deadline)
	}
}

// accepted reads the answer to the call.
func accepted(r *bufio.Reader) error {
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "OK ") {
		return fmt.Errorf("it answered %q (%v)", line, err)
	}
	kind, err := readHeader(r)
	if err != nil || kind == dbusError {
		return fmt.Errorf("refused (%v)", err)
	}
	return nil
}

// awaitScope waits for the unit. The answer says that a job was queued; that it
// is done shows in /proc.
func awaitScope(unit string, deadline time.Time) (string, error) {
	for wait := time.Millisecond; time.Now().Before(deadline); wait = min(2*wait, 20*time.Millisecond) {
		if path := ownCgroup(); filepath.Base(path) == unit {
			return path, nil
		}
		time.Sleep(wait)
	}
	return "", fmt.Errorf("systemd did not move the runner into %s", unit)
}

// dialUnix connects to a stream socket whose reads and writes give up after two
// seconds.
func dialUnix(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	limit := unix.Timeval{Sec: 2}
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &limit); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ownCgroup is this process's path in the hierarchy systemd keeps.
func ownCgroup() string {
	unified := ""
	for line := range strings.Lines(readSmall("/proc/self/cgroup")) {
		line = strings.TrimSpace(line)
		if _, path, ok := strings.Cut(line, ":name=systemd:"); ok && strings.HasSuffix(path, ".scope") {
			return path
		}
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			unified = path
		}
	}
	return unified
}

const (
	dbusCall  = 1
	dbusError = 3
)

// readHeader reads the first message that answers the call and tells its type.
func readHeader(r *bufio.Reader) (kind byte, err error) {
	for {
		var fixed [16]byte
		for i := range fixed {
			if fixed[i], err = r.ReadByte(); err != nil {
				return 0, err
			}
		}
		body, fields := binary.LittleEndian.Uint32(fixed[4:]), binary.LittleEndian.Uint32(fixed[12:])
		if fixed[0] != 'l' || body > 1<<20 || fields > 1<<16 {
			return 0, fmt.Errorf("not a message of this machine")
		}
		if _, err := r.Discard(int((fields+7)&^7 + body)); err != nil {
			return 0, err
		}
		if fixed[1] != 4 { // signals come in between
			return fixed[1], nil
		}
	}
}

// wireBuf writes D-Bus values, little endian, each at its alignment.
type wireBuf struct{ b []byte }

func (w *wireBuf) align(n int) {
	for len(w.b)%n != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *wireBuf) u32(v uint32) {
	w.align(4)
	w.b = binary.LittleEndian.AppendUint32(w.b, v)
}

func (w *wireBuf) str(s string) {
	w.u32(uint32(len(s)))
	w.b = append(append(w.b, s...), 0)
}

func (w *wireBuf) sig(s string) {
	w.b = append(append(append(w.b, byte(len(s))), s...), 0)
}

// array writes the length of what f writes before it; its elements begin at a
// multiple of align.
func (w *wireBuf) array(align int, f func()) {
	w.u32(0)
	at := len(w.b) - 4
	w.align(align)
	from := len(w.b)
	f()
	binary.LittleEndian.PutUint32(w.b[at:], uint32(len(w.b)-from))
}

// property writes a struct of name and variant.
func (w *wireBuf) property(name, signature string, value func()) {
	w.align(8)
	w.str(name)
	w.sig(signature)
	value()
}

// startTransientUnit is the whole call: StartTransientUnit(unit, "fail",
// [(name, value)…], []).
func startTransientUnit(unit, description string, pid uint32) []byte {
	body := &wireBuf{}
	body.str(unit)
	body.str("fail")
	body.array(8, func() {
		body.property("Description", "s", func() { body.str(description) })
		body.property("Delegate", "b", func() { body.u32(1) })
		body.property("CollectMode", "s", func() { body.str("inactive-or-failed") })
		body.property("PIDs", "au", func() { body.array(4, func() { body.u32(pid) }) })
	})
	body.array(8, func() {})
	head := &wireBuf{b: []byte{'l', dbusCall, 0, 1}}
	head.u32(uint32(len(body.b)))
	head.u32(1) // serial
	head.array(8, func() {
		for _, f := range []struct {
			code     byte
			sig, val string
		}{
			{1, "o", "/org/freedesktop/systemd1"}, {2, "s", "org.freedesktop.systemd1.Manager"}, {3, "s", "StartTransientUnit"},
			{6, "s", "org.freedesktop.systemd1"}, {8, "g", "ssa(sv)a(sa(sv))"},
		} {
			head.align(8)
			head.b = append(head.b, f.code)
			head.sig(f.sig)
			if f.sig == "g" {
				head.sig(f.val)
			} else {
				head.str(f.val)
			}
		}
	})
	head.align(8)
	return append(head.b, body.b...)
}
