package remote

import (
	"context"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
)

// reader reads the rest of the pack, and tells how far it has come.
func (p *pusher) reader(ctx context.Context) *counted {
	at := p.from
	return &counted{r: p.pack.reader(p.from), ctx: ctx, add: func(n int64) {
		atomic.AddInt64(&p.got.Bytes, n)
		at += n
		p.progress(at, p.pack.size)
	}}
}

// counted may still be read by what fed a command whose line broke, while the
// copy goes on over another: after Close nothing is read or told any more.
type counted struct {
	mu  sync.Mutex // held over each read
	r   *packReader
	ctx context.Context
	add func(n int64)
	err error // why reading failed here

	closed bool
}

func (c *counted) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, fs.ErrClosed
	case c.ctx.Err() != nil:
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(b)
	c.add(int64(n))
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// Close waits for a read that goes on.
func (c *counted) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.r.Close()
}
