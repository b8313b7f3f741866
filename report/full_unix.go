//go:build !windows

package report

import "golang.org/x/sys/unix"

// What a full disk is called besides ENOSPC.
const (
	errQuota    = unix.EDQUOT
	errTooLarge = unix.EFBIG
	errFull     = unix.ENOSPC
)
