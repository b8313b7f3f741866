package report

import "golang.org/x/sys/windows"

// What a full disk is called besides ENOSPC.
const (
	errQuota    = windows.ERROR_DISK_QUOTA_EXCEEDED
	errTooLarge = windows.ERROR_FILE_TOO_LARGE
	errFull     = windows.ERROR_DISK_FULL
)
