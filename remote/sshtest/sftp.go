package sshtest

import (
	"io"
	"os"

	"github.com/pkg/sftp"
)

// sftpEnv makes a program that imports this package be an SFTP server on its
// standard streams, and nothing else.
const sftpEnv = "SSHTEST_BE_SFTP_SERVER"

func init() {
	if os.Getenv(sftpEnv) == "" {
		return
	}
	srv, err := sftp.NewServer(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	if err == nil {
		err = srv.Serve()
	}
	if err != nil && err != io.EOF {
		os.Exit(1)
	}
	os.Exit(0)
}
