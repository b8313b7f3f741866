//go:build linux

package main

import "github.com/vpsctl/vpsctl/payload/wire"

// maskEvent masks the text a host's programs or files may have put into an
// event. Output is masked as a stream, before it is cut into events.
func maskEvent(m *wire.Masker, e *wire.Event) {
	mask := func(texts ...*string) {
		for _, t := range texts {
			*t = m.String(*t)
		}
	}
	if w := e.Wait; w != nil {
		mask(&w.For, &w.Holder)
	}
	if u := e.Undo; u != nil {
		masked := *u // the caller's goes to the undo folder as it is
		mask(&masked.What)
		masked.Data = make(map[string]string, len(u.Data))
		for k, v := range u.Data {
			masked.Data[k] = m.String(v)
		}
		e.Undo = &masked
	}
	if s := e.StepEnd; s != nil {
		mask(&s.Reason, &s.Stderr, &s.Hint, &s.Created)
		if f := s.Found; f != nil {
			mask(&f.Was, &f.Want)
		}
	}
	if p := e.PhaseEnd; p != nil {
		mask(&p.Reason)
	}
	if g := e.Guard; g != nil {
		mask(&g.Reason)
	}
	if n := e.Note; n != nil {
		mask(&n.Text, &n.Hint)
	}
	if x := e.End; x != nil {
		mask(&x.Reason, &x.Hint)
	}
}
