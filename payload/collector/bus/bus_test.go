//go:build linux

package bus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// reply is an answer as another implementation writes it.
func reply(t testing.TB, kind dbus.Type, to uint32, values ...any) []byte {
	t.Helper()
	m := &dbus.Message{Type: kind, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldSender: dbus.MakeVariant("org.freedesktop.systemd1"), dbus.FieldReplySerial: dbus.MakeVariant(to)}, Body: values}
	if kind == dbus.TypeSignal {
		m.Headers = map[dbus.HeaderField]dbus.Variant{dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/a/b")),
			dbus.FieldInterface: dbus.MakeVariant("a.b"), dbus.FieldMember: dbus.MakeVariant("C")}
	}
	if kind == dbus.TypeError {
		m.Headers[dbus.FieldErrorName] = dbus.MakeVariant("a.b.Error")
	}
	if len(values) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(values...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// server says all of it to who comes, once the calls are there, and gives them.
func server(t *testing.T, says ...[]byte) (socket string, heard <-chan []*dbus.Message) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan []*dbus.Message, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for range 2 {
			if line, _ := r.ReadString('\n'); !strings.HasPrefix(strings.TrimPrefix(line, "\x00"), "AUTH EXTERNAL 3") && line != "BEGIN\r\n" {
				t.Errorf("said %q", line)
			}
		}
		var calls []*dbus.Message
		for range 2 {
			m, err := dbus.DecodeMessage(r)
			if err != nil {
				t.Error(err)
				return
			}
			calls = append(calls, m)
		}
		got <- calls
		c.Write(bytes.Join(says, nil))
	}()
	return socket, got
}

func TestAsk(t *testing.T) {
	body := &Buf{}
	body.Str("a.b.Unit")
	body.Str("LoadState")
	call := Call{Path: UnitPath("9-my@x_y.service"), Interface: "org.freedesktop.DBus.Properties", Member: "Get", Signature: "ss", Body: body.B}
	socket, heard := server(t, []byte("OK 0123\r\n"), reply(t, dbus.TypeSignal, 0, "x", uint32(7)),
		reply(t, dbus.TypeMethodReply, 1, dbus.MakeVariant("loaded")), reply(t, dbus.TypeSignal, 0),
		reply(t, dbus.TypeError, 2, "no such thing"))
	talk, err := Ask(socket, call, call)
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	for i, m := range <-heard {
		if err := m.IsValid(); err != nil || m.Serial() != uint32(i+1) || len(m.Body) != 2 || m.Body[1] != "LoadState" ||
			m.Headers[dbus.FieldPath].Value() != dbus.ObjectPath("/org/freedesktop/systemd1/unit/_39_2dmy_40x_5fy_2eservice") {
			t.Errorf("%v: %v", err, m)
		}
	}
	answer, err := talk.Answer()
	if value, ok := Variant(answer); err != nil || !ok || value != "loaded" {
		t.Errorf("%q, %v", value, err)
	}
	if _, err := talk.Answer(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("an error is answered: %v", err)
	}
	if _, err := talk.Answer(); err == nil {
		t.Error("an answer behind the end")
	}
}

func TestAskOfAnother(t *testing.T) {
	if _, err := Ask(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("connected to nobody")
	}
	socket, _ := server(t, []byte("REJECTED EXTERNAL\r\n"))
	talk, err := Ask(socket, Call{Path: "/a", Interface: "a.b", Member: "C"}, Call{Path: "/a", Interface: "a.b", Member: "C"})
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	if _, err := talk.Answer(); err == nil || !strings.Contains(err.Error(), "REJECTED") {
		t.Errorf("%v", err)
	}
}

func TestVariant(t *testing.T) {
	for want, v := range map[string]any{"active": "active", "": "", "yes": true, "no": false} {
		m, err := dbus.DecodeMessage(bytes.NewReader(reply(t, dbus.TypeMethodReply, 1, dbus.MakeVariant(v))))
		if err != nil {
			t.Fatal(err)
		}
		_, _, body, err := read(bufio.NewReader(bytes.NewReader(reply(t, dbus.TypeMethodReply, 1, m.Body...))))
		if got, ok := Variant(body); err != nil || !ok || got != want {
			t.Errorf("%v is read as %q, %v, %v", v, got, ok, err)
		}
	}
	if _, ok := Variant([]byte("\x01s\x00\x00\xff\xff\xff\xffx")); ok {
		t.Error("a string longer than its message")
	}
}

// Nothing that comes makes it fall over or take more memory than a message has.
func FuzzRead(f *testing.F) {
	f.Add(reply(f, dbus.TypeMethodReply, 1, dbus.MakeVariant("loaded")))
	f.Add(reply(f, dbus.TypeSignal, 0, "x"))
	f.Add(reply(f, dbus.TypeError, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, body, err := read(bufio.NewReader(bytes.NewReader(b)))
		if err == nil && len(body) > len(b) {
			t.Error("more than there was")
		}
		Variant(body)
	})
}
