//go:build linux

package bus

import "encoding/binary"

// Buf writes D-Bus values, little endian, each at its alignment.
type Buf struct{ B []byte }

func (w *Buf) align(n int) {
	for len(w.B)%n != 0 {
		w.B = append(w.B, 0)
	}
}

// U32 writes a number, or a boolean.
func (w *Buf) U32(v uint32) {
	w.align(4)
	w.B = binary.LittleEndian.AppendUint32(w.B, v)
}

// Str writes a string, or an object's path.
func (w *Buf) Str(s string) {
	w.U32(uint32(len(s)))
	w.B = append(append(w.B, s...), 0)
}

// Sig writes a signature.
func (w *Buf) Sig(s string) {
	w.B = append(append(append(w.B, byte(len(s))), s...), 0)
}

// Array writes the length of what f writes before it; its elements begin at a
// multiple of align.
func (w *Buf) Array(align int, f func()) {
	w.U32(0)
	at := len(w.B) - 4
	w.align(align)
	from := len(w.B)
	f()
	binary.LittleEndian.PutUint32(w.B[at:], uint32(len(w.B)-from))
}

// Property writes a struct of name and variant.
func (w *Buf) Property(name, signature string, value func()) {
	w.align(8)
	w.Str(name)
	w.Sig(signature)
	value()
}
