//go:build linux

// Serve plays the makers of the IDEs for the hosts of a lab until it is interrupted: for shell scripts. In the lab's
// state folder it writes vendors.args, the arguments that vpsctl needs, one a line (mapfile reads them), and vendors.pem,
// the certificate that the hosts trust. Both are there as soon as everything is served, and gone with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/e2e/vendors"
)

func main() {
	dir := flag.String("dir", ".lab", "state folder of the lab")
	heavy := flag.Bool("heavy", false, "VS Code's stand-in is Debian's chromium in app mode")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *dir, *heavy); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, dir string, heavy bool) (err error) {
	l, err := lab.Open(dir, os.Stderr)
	if err != nil {
		return err
	}
	v, err := vendors.Start(ctx, vendors.Options{Address: l.Gateway(), Heavy: heavy})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	for _, h := range l.Hosts {
		if err := v.Prepare(ctx, h); err != nil {
			return err
		}
	}
	args, cert := filepath.Join(dir, "vendors.args"), filepath.Join(dir, "vendors.pem")
	defer os.Remove(cert)
	if err := renameio.WriteFile(cert, []byte(v.CA()), 0o644); err != nil {
		return err
	}
	defer os.Remove(args)
	if err := renameio.WriteFile(args, []byte(strings.Join(v.Args(), "\n")+"\n"), 0o644); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
