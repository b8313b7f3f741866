package report

import (
	"bufio"
	"bytes"
	"io"
)

// disk is what a record needs of a file.
type disk interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// tailFile is a file that is only ever made longer, by one writer. After a
// failed write it is cut back to what it was, and stays so.
//
// A file that exists is first written anew from the start: as long as what is
// written equals what is there nothing happens on disk; at the first difference
// it is cut and goes on from there. settle ends this.
type tailFile struct {
	path string // for errors
	f    disk
	size int64 // what is right
	err  error
	old  *bufio.Reader // what was there and has not been confirmed
	buf  []byte
}

func newTailFile(path string, f disk, size int64) *tailFile {
	t := &tailFile{path: path, f: f}
	if size > 0 {
		t.old = bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 64<<10)
	}
	return t
}

// skip takes the first n bytes as right without looking at them.
func (t *tailFile) skip(n int64) { t.size = n }

func (t *tailFile) Write(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if t.old != nil {
		if t.same(p) {
			t.size += int64(len(p))
			return len(p), nil
		}
		if err := t.settle(); err != nil {
			return 0, err
		}
	}
	n, err := t.f.WriteAt(p, t.size)
	if err != nil {
		// Half a line would be taken for a whole one by the next reader.
		_ = t.f.Truncate(t.size)
		t.err = fault("write", t.path, err)
		return 0, t.err
	}
	t.size += int64(n)
	return n, nil
}

func (t *tailFile) same(p []byte) bool {
	if cap(t.buf) < len(p) {
		t.buf = make([]byte, len(p))
	}
	n, _ := io.ReadFull(t.old, t.buf[:len(p)])
	return bytes.Equal(t.buf[:n], p)
}

// settle cuts off what was there and has not been written again.
func (t *tailFile) settle() error {
	if t.old == nil || t.err != nil {
		return t.err
	}
	t.old, t.buf = nil, nil
	if err := t.f.Truncate(t.size); err != nil {
		t.err = fault("cut", t.path, err)
	}
	return t.err
}

// close writes the file through to the disk, so that a power cut after it
// takes nothing.
func (t *tailFile) close() error {
	if err := t.f.Sync(); err != nil {
		t.f.Close()
		return fault("sync", t.path, err)
	}
	if err := t.f.Close(); err != nil {
		return fault("close", t.path, err)
	}
	return nil
}
