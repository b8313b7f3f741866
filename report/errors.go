package report

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Error is a failure of the record on this machine: what was tried, on which
// file, why not, and what to do.
type Error struct {
	Op   string // "write", "open", …
	Path string
	Err  error
	hint string
}

func (e *Error) Error() string { return fmt.Sprintf("record: %s %s: %v", e.Op, e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Hint is the next thing to do, or nothing.
func (e *Error) Hint() string { return e.hint }

// BusyError says that another vpsctl is writing this record.
type BusyError struct {
	ID  string
	PID int // 0 when it did not say
}

func (e *BusyError) Error() string {
	who := "another vpsctl"
	if e.PID > 0 {
		who = fmt.Sprintf("another vpsctl (process %d)", e.PID)
	}
	return fmt.Sprintf("record: run %s: %s on this machine is writing it", e.ID, who)
}

// Hint is the next thing to do.
func (e *BusyError) Hint() string {
	return "wait for it to end; to look at what is there: vpsctl runs show " + e.ID
}

// ErrNoRun: there is no record of the run that was named.
var ErrNoRun = errors.New("no such run on this machine")

// fault makes an *Error out of why; the paths that os puts into its errors are
// inside the root and say less than path does.
func fault(op, path string, why error) error {
	var p *fs.PathError
	if errors.As(why, &p) {
		why = p.Err
	}
	e := &Error{Op: op, Path: path, Err: why}
	switch {
	case diskFull(why):
		e.hint = "free some space; what arrived is kept, and `vpsctl runs attach` fetches the rest"
	case errors.Is(why, fs.ErrPermission):
		e.hint = "the folder must be yours to write; or name another with --state-dir DIR"
	}
	return e
}

func diskFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, errQuota, errTooLarge, errFull} {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}
