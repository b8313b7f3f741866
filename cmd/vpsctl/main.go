// Command vpsctl provisions, measures and watches VPSs over SSH from a laptop.
package main

import (
	"context"
	"io"
	"os"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(Main(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are the three a command talks through.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Main runs one command line (without the program's name) and returns the exit
// code. Only main exits.
func Main(ctx context.Context, args []string, s streams) int {
	app := newApp(s)
	args, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, append([]string{app.Name}, args...))
	}
	return newUI(s, uiOptions{}).finish(err)
}
