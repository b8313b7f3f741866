//go:build linux

package main

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// printer writes lines, each with one write.
type printer struct {
	mu sync.Mutex
	to io.Writer
}

// line fails when nobody reads any more.
func (p *printer) line(l wire.ProbeLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.to.Write(append(b, '\n'))
	return err
}

func (p *printer) skip(what, why string) error {
	return p.line(wire.ProbeLine{Skip: &wire.ProbeSkip{What: what, Why: why}})
}
