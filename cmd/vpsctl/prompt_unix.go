//go:build !windows

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// silence stops a terminal from showing what is typed, until restore.
func silence(fd int) (restore func(), err error) {
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ICANON | unix.ISIG
	quiet.Iflag |= unix.ICRNL
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, unix.IoctlSetTermios(fd, setTermios, &quiet)
}

// readSilent reads a line of a terminal that is silent. It changes nothing of it,
// as term.ReadPassword would: it may begin when somebody has said ^C already, and
// leave a terminal that was restored silent.
func readSilent(tty *os.File) ([]byte, error) {
	line, err := bufio.NewReader(tty).ReadBytes('\n')
	if len(line) > 0 && errors.Is(err, io.EOF) { // ^D behind it
		err = nil
	}
	return bytes.TrimRight(line, "\r\n"), err
}
