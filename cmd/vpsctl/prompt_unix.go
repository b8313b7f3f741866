//go:build !windows

package main

import "golang.org/x/sys/unix"

// silence stops a terminal from showing what is typed, until restore.
func silence(fd int) (restore func(), err error) {
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, unix.IoctlSetTermios(fd, setTermios, &quiet)
}
