// Command floor is the least a program can do over SSH: it dials all hosts at once, checks their keys, runs one shell
// line on each, and closes. The benchmark holds vpsctl against it.
//
//	floor -key FILE -known FILE LINE ADDRESS[:PORT]…
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func main() {
	key := flag.String("key", "", "private key `FILE`")
	known := flag.String("known", "", "known_hosts `FILE`")
	user := flag.String("user", "root", "log in as `NAME`")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: floor -key FILE -known FILE LINE ADDRESS[:PORT]…")
		os.Exit(2)
	}
	if err := run(*key, *known, *user, flag.Arg(0), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(key, known, user, line string, hosts []string) error {
	pem, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	check, err := knownhosts.New(known)
	if err != nil {
		return err
	}
	config := &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: check,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: 10 * time.Second}
	errs := make(chan error, len(hosts))
	for _, host := range hosts {
		go func() { errs <- once(host, line, config) }()
	}
	err = nil
	for range hosts {
		err = errors.Join(err, <-errs)
	}
	return err
}

func once(host, line string, config *ssh.ClientConfig) error {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "22")
	}
	client, err := ssh.Dial("tcp", host, config)
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	if out, err := session.CombinedOutput(line); err != nil {
		return fmt.Errorf("%s: %w: %s", host, err, out)
	}
	return nil
}
