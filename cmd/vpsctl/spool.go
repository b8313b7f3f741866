package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// input gives every host a reader of the same bytes, or nil where there is
// nothing to read: --stdin FILE, or standard input unless it is a terminal.
// The second function ends it.
func (k *call) input() (reader func() io.ReadCloser, end func(), err error) {
	none := func() {}
	if name := k.String("stdin"); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, usageError{fmt.Sprintf("--stdin: %v", err), ""}
		}
		read, err := fileReader(f)
		return read, func() { f.Close() }, err
	}
	f, ok := k.ui.in.(*os.File)
	if !ok || term.IsTerminal(int(f.Fd())) {
		return func() io.ReadCloser { return nil }, none, nil
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		read, err := fileReader(f)
		return read, none, err
	}
	s := newSpool(f)
	return s.reader, s.close, nil
}

// fileReader reads a file from where it stands, for each host at its own pace.
func fileReader(f *os.File) (func() io.ReadCloser, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, usageError{fmt.Sprintf("--stdin %s: not a regular file", f.Name()), "pipe it into vpsctl instead"}
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return func() io.ReadCloser { return io.NopCloser(io.NewSectionReader(f, at, 1<<62)) }, err
}

// spool lets many read what comes once, each at its own pace: the bytes lie in
// a file that has no name, so that a slow host costs no memory. It is not read
// from before somebody wants to read.
type spool struct {
	src  io.Reader
	mu   sync.Mutex
	more *sync.Cond
	file *os.File
	size int64
	err  error // why no more comes; io.EOF at the end
	once sync.Once
}

func newSpool(src io.Reader) *spool {
	s := &spool{src: src}
	s.more = sync.NewCond(&s.mu)
	return s
}

func (s *spool) reader() io.ReadCloser {
	s.once.Do(func() { go s.fill() })
	return &spoolReader{s: s}
}

// fill ends with the source: a Read of it that blocks ends with the process.
func (s *spool) fill() {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.src.Read(buf)
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return
		}
		if n > 0 {
			if werr := s.keep(buf[:n]); werr != nil {
				err = werr
			}
		}
		s.err = err
		s.more.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// keep appends to the file. It is called with s.mu held.
func (s *spool) keep(b []byte) (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "vpsctl-stdin-"); err != nil {
			return fmt.Errorf("keep standard input: %w", err)
		}
		os.Remove(s.file.Name()) // where open files can lose their names; else at the end
	}
	n, err := s.file.WriteAt(b, s.size)
	s.size += int64(n)
	return err
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, os.ErrClosed)
	s.more.Broadcast()
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}

type spoolReader struct {
	s      *spool
	at     int64
	closed bool
}

// Read waits for what is still to come.
func (r *spoolReader) Read(p []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	for r.at == s.size && s.err == nil && !r.closed {
		s.more.Wait()
	}
	size, err, file, closed := s.size, s.err, s.file, r.closed
	s.mu.Unlock()
	if closed {
		return 0, os.ErrClosed
	}
	if r.at == size {
		return 0, err
	}
	n, err := file.ReadAt(p[:min(int64(len(p)), size-r.at)], r.at)
	r.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Close ends a Read that waits.
func (r *spoolReader) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.closed = true
	r.s.more.Broadcast()
	return nil
}
