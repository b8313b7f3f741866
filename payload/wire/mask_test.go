package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

func masker(t testing.TB, values ...string) *Masker {
	t.Helper()
	secrets := map[string]string{}
	for i, v := range values {
		secrets[string(rune('a'+i))] = v
	}
	m, err := NewMasker(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMaskSpellings(t *testing.T) {
	const secret = `p4$$ wörd/"it's"+x`
	m := masker(t, secret)
	js, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"raw": secret, "hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"query": url.QueryEscape(secret), "path": url.PathEscape(secret), "json": strings.Trim(string(js), `"`),
		"shell": strings.ReplaceAll(secret, `'`, `'\''`), "shell2": strings.ReplaceAll(secret, `'`, `'"'"'`), "double": `p4\$\$ wörd/\"it's\"+x`,
	} {
		if got := m.String("before " + text + " after"); got != "before *** after" {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
	// Base64 at each alignment: nothing that decodes to as much as 6 bytes of the
	// secret is left.
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
			text := enc.EncodeToString([]byte(strings.Repeat("x", shift) + secret + "tail"))
			got := m.String(text)
			if !strings.Contains(got, Mask) || len(got) > len(text)-(len(secret)*4/3-2)+len(Mask) {
				t.Errorf("shift %d: %q became %q", shift, text, got)
			}
		}
	}
}

func TestMaskRefusesShortSecrets(t *testing.T) {
	for _, v := range []string{"", "12345", " 12345\n"} {
		if _, err := NewMasker(map[string]string{"token": v}); err == nil || !strings.Contains(err.Error(), `"token"`) {
			t.Errorf("%q: %v", v, err)
		}
	}
}

func TestMaskOverlaps(t *testing.T) {
	for _, tt := range []struct{ secrets, in, want string }{
		{"abcdef cdefgh", "xabcdefghx", "x***x"},
		{"abcdef abcdefgh", "abcdefg abcdefgh", "***g ***"},
		{"aaaaaa", strings.Repeat("a", 13), "***"},
		{"secret", "secretsecret", "******"},
		{"secret", "secre", "secre"},
	} {
		if got := masker(t, strings.Fields(tt.secrets)...).String(tt.in); got != tt.want {
			t.Errorf("%s in %q: %q, want %q", tt.secrets, tt.in, got, tt.want)
		}
	}
	lines := "-----BEGIN KEY-----\nabcdefghijklmnop\nqrst\n"
	if got := masker(t, lines).String("1: abcdefghijklmnop\n"); got != "1: ***\n" {
		t.Errorf("one line of several: %q", got)
	}
	var none *Masker
	if none.String("text") != "text" || (&Masker{}).String("text") != "text" {
		t.Error("no secrets, yet masked")
	}
}

// Held back is exactly the longest end that could begin a secret.
func TestMaskHoldsBackNoMore(t *testing.T) {
	m := masker(t, "secret")
	for in, held := range map[string]int{"": 0, "x": 0, "s": 1, "xs": 1, "xsec": 3, "secres": 1, "secret": 0, "xsecre": 5, "sesecsecr": 4, "secrxt": 0} {
		st := Masking{Masker: m}
		out := st.Write(nil, []byte(in))
		if st.Held() != held {
			t.Errorf("%q: held %d, want %d (out %q)", in, st.Held(), held, out)
		}
	}
}

// FuzzMask: wherever a stream is cut, what comes out is the same, has no
// secret, and loses nothing but secrets.
func FuzzMask(f *testing.F) {
	f.Add([]byte("some text secret1 and c2VjcmV0MQ== more"), "secret1", "another secret", uint64(1))
	f.Add([]byte("aaaaaaaaabaaaaaaaab"), "aaaaaaab", "aabaaa", uint64(2))
	f.Add([]byte("abcabcabcabcabcx"), "abcabcx", "bcabca", uint64(3))
	f.Add([]byte("***secret***"), "***secret", "secret***", uint64(3))
	f.Fuzz(func(t *testing.T, text []byte, a, b string, seed uint64) {
		m, err := NewMasker(map[string]string{"a": a, "b": b})
		if err != nil {
			return
		}
		whole := Masking{Masker: m}
		want := whole.Close(whole.Write(nil, text))
		pieces := Masking{Masker: m}
		var got []byte
		rnd := rand.New(rand.NewPCG(seed, 1))
		for rest := text; len(rest) > 0; {
			n := 1 + rnd.IntN(min(len(rest), 1+rnd.IntN(20)))
			got = pieces.Write(got, rest[:n])
			rest = rest[n:]
			if pieces.Held() >= m.most {
				t.Fatalf("%d bytes held back, the longest pattern has %d", pieces.Held(), m.most)
			}
		}
		got = pieces.Close(got)
		if !bytes.Equal(got, want) {
			t.Fatalf("cut it gives %q, whole %q", got, want)
		}
		if bytes.Contains(text, []byte("*")) { // where a mask begins cannot be told then
			return
		}
		// What is not masked is the text in its order, and holds no secret: the
		// parts between the masks are all outside any match.
		for _, secret := range []string{a, b} {
			if !bytes.Contains(text, []byte(secret)) {
				continue
			}
			if !bytes.Contains(got, []byte(Mask)) {
				t.Fatalf("%q has %q and no mask", got, secret)
			}
			for _, part := range strings.Split(string(got), Mask) {
				if strings.Contains(part, secret) {
					t.Fatalf("%q still has %q", got, secret)
				}
			}
		}
		rest := string(text)
		for i, part := range strings.Split(string(got), Mask) {
			at := strings.Index(rest, part)
			if at < 0 || i == 0 && at > 0 {
				t.Fatalf("%q is not in %q in this order", part, text)
			}
			rest = rest[at+len(part):]
		}
	})
}

func BenchmarkMask(b *testing.B) {
	m := masker(b, "a secret of some length", "another one", strings.Repeat("a long key ", 300))
	text := []byte(strings.Repeat("Setting up libfoo1:amd64 (1.2.3-4+deb13u1) ...\n", 1000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	st := Masking{Masker: m}
	var out []byte
	for b.Loop() {
		out = st.Write(out[:0], text)
	}
}
