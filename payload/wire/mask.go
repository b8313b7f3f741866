package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// MinSecret is the shortest secret in bytes that can be masked: shorter values
// turn up by chance in any output.
const MinSecret = 6

// Mask is what is shown instead of a secret.
const Mask = "***"

// Masker replaces secrets by value. It is immutable and safe for concurrent
// use; the zero value and nil mask nothing.
type Masker struct {
	starts *[1 << 13]uint8     // bitmap of the first two bytes of all patterns
	by     map[uint16][][]byte // patterns by their first two bytes, longest first
	most   int                 // bytes of the longest pattern
}

// NewMasker masks the values of secrets as they are, and in base64 (at each of
// the three alignments), hex, URL, JSON and shell quoting; of a value with
// several lines also each line. It refuses secrets under MinSecret bytes,
// naming the first one.
func NewMasker(secrets map[string]string) (*Masker, error) {
	m := &Masker{starts: new([1 << 13]uint8), by: map[uint16][][]byte{}}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		value := secrets[name]
		if trimmed := strings.TrimSpace(value); len(trimmed) < MinSecret {
			return nil, fmt.Errorf("secret %q has %d bytes: under %d it cannot be masked", name, len(trimmed), MinSecret)
		}
		for _, form := range spellings(value) {
			m.add([]byte(form))
		}
	}
	for _, list := range m.by {
		sort.SliceStable(list, func(i, j int) bool { return len(list[i]) > len(list[j]) })
	}
	return m, nil
}

func (m *Masker) add(pattern []byte) {
	if len(pattern) < MinSecret {
		return
	}
	k := uint16(pattern[0])<<8 | uint16(pattern[1])
	for _, have := range m.by[k] {
		if bytes.Equal(have, pattern) {
			return
		}
	}
	m.by[k] = append(m.by[k], pattern)
	m.starts[k>>3] |= 1 << (k & 7)
	m.most = max(m.most, len(pattern))
}

// spellings lists how a value may turn up.
func spellings(value string) []string {
	whole := []string{value}
	if t := strings.TrimSpace(value); t != value {
		whole = append(whole, t)
	}
	if lines := strings.Split(strings.TrimSpace(value), "\n"); len(lines) > 1 {
		for _, l := range lines {
			if l = strings.TrimRight(l, "\r"); len(l) >= 2*MinSecret {
				whole = append(whole, l)
			}
		}
	}
	var all []string
	for _, v := range whole {
		all = append(all, v, hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v))))
		all = append(all, base64Forms(v)...)
		all = append(all, urlForms(v)...)
		all = append(all, jsonForms(v)...)
		all = append(all, shellForms(v)...)
	}
	return all
}

// base64Forms are the characters that v alone decides when it begins at the
// first, second or third byte of a group of three.
func base64Forms(v string) []string {
	var forms []string
	for shift := range 3 {
		padded := append(make([]byte, shift), v...)
		from, to := (8*shift+5)/6, 8*len(padded)/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, enc.EncodeToString(padded)[from:to])
		}
	}
	return forms
}

// urlForms are v percent-encoded as a path, as a query, and with small digits.
func urlForms(v string) []string {
	escape := func(safe, digits string, space string) string {
		var b strings.Builder
		for i := range len(v) {
			switch c := v[i]; {
			case c == ' ' && space != "":
				b.WriteString(space)
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(safe, c) >= 0:
				b.WriteByte(c)
			default:
				b.WriteByte('%')
				b.WriteByte(digits[c>>4])
				b.WriteByte(digits[c&15])
			}
		}
		return b.String()
	}
	const upper, lower = "0123456789ABCDEF", "0123456789abcdef"
	return []string{escape("-._~", upper, ""), escape("-._~", lower, ""), escape("-._~", upper, "+"),
		escape("-._~$&+=:@", upper, ""), escape("-._~!$&'()*+,;=:@/", upper, "")}
}

func jsonForms(v string) []string {
	var forms []string
	for _, html := range []bool{false, true} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(html)
		if err := enc.Encode(v); err != nil {
			continue
		}
		forms = append(forms, strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`))
	}
	return append(forms, strings.ReplaceAll(forms[0], "/", `\/`))
}

// shellForms are v within single quotes (two ways to write a quote), within
// double quotes, and as printf %q writes it.
func shellForms(v string) []string {
	backslash := func(special string) string {
		var b strings.Builder
		for i := range len(v) {
			if strings.IndexByte(special, v[i]) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(v[i])
		}
		return b.String()
	}
	return []string{strings.ReplaceAll(v, `'`, `'\''`), strings.ReplaceAll(v, `'`, `'"'"'`),
		backslash("\\$`\""), backslash("\\$`\"!"), backslash(" !\"#$&'()*,;<=>?[\\]^`{|}~")}
}

// String masks a text that is complete.
func (m *Masker) String(s string) string {
	if m == nil || m.most == 0 || len(s) < MinSecret {
		return s
	}
	st := Masking{Masker: m}
	out := st.Write(nil, []byte(s))
	return string(st.Close(out))
}

// at finds the longest pattern that b begins with, and whether b is all of a
// proper beginning of one.
func (m *Masker) at(b []byte) (length int, begins bool) {
	if len(b) == 1 {
		for k := range m.by {
			if byte(k>>8) == b[0] {
				return 0, true
			}
		}
		return 0, false
	}
	k := uint16(b[0])<<8 | uint16(b[1])
	if m.starts[k>>3]&(1<<(k&7)) == 0 {
		return 0, false
	}
	for _, p := range m.by[k] {
		if len(p) > len(b) {
			begins = begins || bytes.HasPrefix(p, b)
		} else if bytes.HasPrefix(b, p) {
			return len(p), begins
		}
	}
	return 0, begins
}

// Masking masks one stream that comes in pieces. What it gives out does not
// depend on where the pieces are cut. It holds back exactly the longest end of
// what it has seen that could begin a secret, and no more.
type Masking struct {
	*Masker
	held    []byte
	covered int // so many of the held bytes belong to a mask already given out
}

// Write takes the next piece and appends to dst what can be given out.
func (s *Masking) Write(dst, piece []byte) []byte {
	if s.Masker == nil || s.most == 0 {
		return append(dst, piece...)
	}
	s.held = append(s.held, piece...)
	return s.scan(dst, false)
}

// Held is how many bytes are held back.
func (s *Masking) Held() int { return len(s.held) }

// Close appends what was held back: no more is to come.
func (s *Masking) Close(dst []byte) []byte {
	if s.Masker == nil || s.most == 0 {
		return dst
	}
	return s.scan(dst, true)
}

// scan gives out what is before the first place where a secret could begin
// that has not come in full.
func (s *Masking) scan(dst []byte, last bool) []byte {
	b, plain, end := s.held, s.covered, s.covered // plain: given out up to here; end: of the current mask
	i := 0
	for ; i < len(b); i++ {
		length, begins := s.at(b[i:])
		if begins && !last {
			break
		}
		if length == 0 {
			continue
		}
		if i >= end {
			dst = append(append(dst, b[plain:i]...), Mask...)
		}
		end = max(end, i+length)
		plain = end
	}
	if plain < i {
		dst = append(dst, b[plain:i]...)
	}
	s.covered = max(0, end-i)
	s.held = s.held[:copy(s.held, b[i:])]
	return dst
}
