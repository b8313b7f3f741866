package report

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"plain text\twith tab\n", "plain text\twith tab\n"},
		{"\x1b[1;31mred\x1b[0m", "red"},
		{"\x1b]0;evil title\x07after", "after"},
		{"\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\", "link"},
		{"\x1bP1$r0m\x1b\\dcs", "dcs"},
		{"\x1b]0;never ended\nnext line", "\nnext line"},
		{"\x1b(Bcharset", "charset"},
		{"\x1bcreset", "reset"},
		{"\u009b31mC1 CSI", "C1 CSI"},
		{"\u009d0;title\u009cC1 OSC", "C1 OSC"},
		{"a\x00b\x08c\x7fd\u0085e", "abcde"},
		{"10%\r20%\r30%\n", "10%\n20%\n30%\n"},
		{"dos\r\nline\r\r\n", "dos\nline\n"},
		{"\u202eevil\u2066x\u061c", "evilx"},
		{"Grüße, 世界 🙂", "Grüße, 世界 🙂"},
		{"\xff\xfe", "\ufffd\ufffd"},
		{"cut \xe4\xb8", "cut \ufffd"},
		{"\x1b", ""},
		{"\x1b[12", ""},
		{"\x1b[3\nm", "\nm"},
		{"\x1b]" + strings.Repeat("x", maxEscape+3), "xxx"},
	} {
		if got := Clean(c.in); got != c.want {
			t.Errorf("Clean(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestCleanLine(t *testing.T) {
	if got := cleanLine("one\x1b[2J\r\n two\tthree\n"); got != "one two three" {
		t.Errorf("got %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("\x1b]0;t\x07\x1b[1mx\r\n\u202e\xff"), 3)
	f.Add([]byte("\x1bP\x1b\x1b\\a\r\rb"), 1)
	f.Add([]byte("世\x9b\u009b1;2Hx"), 2)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		got := Clean(string(in))
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		for _, r := range got {
			if unseen(r) || r == '\r' || r == 0x1b {
				t.Fatalf("%q left in %q", r, got)
			}
		}
		if again := Clean(got); again != got {
			t.Fatalf("cleaning twice: %q, then %q", got, again)
		}
		if size < 1 || size > 64 {
			size = 1
		}
		var c cleaner
		var parts []byte
		for rest := in; len(rest) > 0; {
			n := min(size, len(rest))
			parts, rest = c.clean(parts, rest[:n]), rest[n:]
		}
		if parts = c.flush(parts); !bytes.Equal(parts, []byte(got)) {
			t.Fatalf("in pieces of %d: %q, whole: %q", size, parts, got)
		}
	})
}
