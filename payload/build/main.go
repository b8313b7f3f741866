// Build makes the collectors and probers of all architectures into payload/bin, from where
// vpsctl embeds them: `go run ./payload/build` in the module's folder.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vpsctl/vpsctl/payload"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run() error {
	src, err := payload.Source()
	if err != nil {
		return err
	}
	for _, p := range payload.Programs {
		for _, arch := range payload.Archs {
			b, err := payload.BuildProgram(src, p, arch)
			if err != nil {
				return err
			}
			if err := payload.Store(filepath.Join(src, "payload", "bin"), b); err != nil {
				return err
			}
			fmt.Printf("%s linux/%s  %d bytes, %d compressed  sha256 %s\n", p, arch, b.Size, len(b.Gzip), b.SHA256)
		}
	}
	return nil
}
