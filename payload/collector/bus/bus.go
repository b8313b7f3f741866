//go:build linux

// Package bus is the little of D-Bus that it takes to ask systemd through its own
// socket. Asking systemd-run or systemctl costs a process of 5 to 10 ms, a D-Bus
// library (with package net) 440 KB of the compressed collector.
package bus

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Systemd is the socket that systemd listens on for root.
const Systemd = "/run/systemd/private"

// Call is a method call to systemd.
type Call struct {
	Path, Interface, Member, Signature string
	Body                               []byte
}

// Message is the call as it is sent.
func (c Call) Message(serial uint32) []byte {
	w := &Buf{B: []byte{'l', 1, 0, 1}}
	w.U32(uint32(len(c.Body)))
	w.U32(serial)
	w.Array(8, func() {
		for _, f := range []struct {
			code     byte
			sig, val string
		}{
			{1, "o", c.Path}, {2, "s", c.Interface}, {3, "s", c.Member}, {6, "s", "org.freedesktop.systemd1"}, {8, "g", c.Signature},
		} {
			w.align(8)
			w.B = append(w.B, f.code)
			w.Sig(f.sig)
			if f.sig == "g" {
				w.Sig(f.val)
			} else {
				w.Str(f.val)
			}
		}
	})
	w.align(8)
	return append(w.B, c.Body...)
}

// Talk is a connection over which calls were sent.
type Talk struct {
	f *os.File
	r *bufio.Reader
	n uint32 // serial of the last answer; 0 before the greeting
}

// Ask connects and sends all calls at once. Reads and writes give up after two
// seconds.
func Ask(socket string, calls ...Call) (*Talk, error) {
	f, err := dial(socket)
	if err != nil {
		return nil, err
	}
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	msg := []byte("\x00AUTH EXTERNAL " + uid + "\r\nBEGIN\r\n")
	for i, c := range calls {
		msg = append(msg, c.Message(uint32(i+1))...)
	}
	if _, err := f.Write(msg); err != nil {
		f.Close()
		return nil, err
	}
	return &Talk{f: f, r: bufio.NewReader(f)}, nil
}

func dial(path string) (*os.File, error) {
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

// Close ends the connection.
func (t *Talk) Close() { t.f.Close() }

// Answer is the body of the answer to the next call.
func (t *Talk) Answer() ([]byte, error) {
	if t.n == 0 {
		if line, err := t.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "OK ") {
			return nil, fmt.Errorf("it answered %q (%v)", line, err)
		}
	}
	t.n++
	for {
		kind, serial, body, err := read(t.r)
		switch {
		case err != nil:
			return nil, err
		case kind == 3 && serial == t.n:
			return nil, fmt.Errorf("refused")
		case kind == 2 && serial == t.n:
			return body, nil
		}
		// signals come in between
	}
}

// read reads one message: its type, and which call it answers.
func read(r *bufio.Reader) (kind byte, serial uint32, body []byte, err error) {
	var fixed [16]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return 0, 0, nil, err
	}
	size, fields := binary.LittleEndian.Uint32(fixed[4:]), binary.LittleEndian.Uint32(fixed[12:])
	if fixed[0] != 'l' || size > 1<<20 || fields > 1<<16 {
		return 0, 0, nil, fmt.Errorf("not a message of this machine")
	}
	all := make([]byte, (fields+7)&^7+size)
	if _, err := io.ReadFull(r, all); err != nil {
		return 0, 0, nil, err
	}
	return fixed[1], replySerial(all[:fields]), all[(fields+7)&^7:], nil
}

// replySerial looks for that field of a header; 0 when it is not there.
func replySerial(fields []byte) uint32 {
	for at := 0; at+8 <= len(fields); at = (at + 7) &^ 7 {
		code, sig := fields[at], fields[at+2]
		at += 4 // behind the code and the signature of one letter
		if code == 5 && sig == 'u' {
			return binary.LittleEndian.Uint32(fields[at:])
		}
		switch sig {
		case 'u':
			at += 4
		case 's', 'o':
			at += 4 + int(min(binary.LittleEndian.Uint32(fields[at:]), 1<<16)) + 1
		case 'g':
			at += 1 + int(fields[at]) + 1
		default:
			return 0
		}
	}
	return 0
}

// Variant reads a string or a boolean, which is "yes" or "no".
func Variant(body []byte) (string, bool) {
	if len(body) < 8 || body[0] != 1 {
		return "", false
	}
	n := binary.LittleEndian.Uint32(body[4:])
	switch {
	case body[1] == 'b' && n == 0:
		return "no", true
	case body[1] == 'b' && n == 1:
		return "yes", true
	case body[1] == 's' && uint64(n)+8 < uint64(len(body)):
		return string(body[8 : 8+n]), true
	}
	return "", false
}

// UnitPath is where systemd has a unit: what is no letter or digit is escaped, and
// a digit in front.
func UnitPath(name string) string {
	var s strings.Builder
	s.WriteString("/org/freedesktop/systemd1/unit/")
	for i := range len(name) {
		c := name[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || i > 0 && c >= '0' && c <= '9' {
			s.WriteByte(c)
		} else {
			fmt.Fprintf(&s, "_%02x", c)
		}
	}
	return s.String()
}
