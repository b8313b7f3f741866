package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// call is one use of a command: its flags, its voice, its context.
type call struct {
	*cli.Context
	ui   *ui
	ctx  context.Context
	sudo *sudoWords // set with the dialer
}

func newCall(c *cli.Context) (*call, error) {
	s := c.App.Metadata["streams"].(streams)
	k := &call{Context: c, ctx: c.Context, ui: newUI(s, uiOptions{
		plain: c.Bool("plain"), noColor: c.Bool("no-color"), quiet: c.Bool("quiet"), verbose: c.Bool("verbose"), never: c.Bool("non-interactive")})}
	if o := c.String("output"); o != "" && o != "text" && o != "json" && (o != "junit" || c.Command.Name != "verify" && c.Command.Name != "check") {
		return nil, usageError{fmt.Sprintf("--output %s: the formats are text and json", o), "use -o json"}
	}
	return k, checkNotify(c.String("notify"))
}

// said explains err and keeps only its code, so that it is not said twice.
func (k *call) said(err error) error {
	if err == nil {
		return nil
	}
	return exitError{code: k.ui.finish(err)}
}

func (k *call) json() bool { return k.String("output") == "json" }

// interruptible gives a context that ends at the first SIGINT or SIGTERM, with
// the exit code of that signal as its cause.
func (k *call) interruptible() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(k.ctx)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case sig := <-ch:
			cancel(signalError(sig))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

func signalError(sig os.Signal) error {
	if sig == syscall.SIGTERM {
		return exitError{exitTerminated, errors.New("terminated")}
	}
	return exitError{exitInterrupted, errors.New("interrupted")}
}

// inventory loads the inventory and warns of what it could not use.
func (k *call) inventory() (*inventory.Inventory, error) { return k.loadInventory(k.approve) }

func (k *call) loadInventory(approve func(dir string, code []string) error) (*inventory.Inventory, error) {
	vars, err := extraVars(k.StringSlice("extra-var"))
	if err != nil {
		return nil, err
	}
	if name := k.String("username"); name != "" {
		vars["username"] = name
	}
	for name, key := range map[string]string{"APT_MIRROR": "apt_mirror", "APT_ACQUIRE_MAX_PARALLEL": "apt_max_parallel", "DOWNLOAD_TIMEOUT": "download_timeout"} {
		if v := os.Getenv(name); v != "" && vars[key] == "" {
			vars[key] = v
		}
	}
	path := k.String("inventory")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, usageError{fmt.Sprintf("inventory %s: there is no such file", path), "name it with -i FILE, or write one with `vpsctl init`"}
	}
	ctx, stop := k.interruptible()
	defer stop()
	inv, err := inventory.Load(ctx, path, inventory.Options{Vars: vars, Approve: approve})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	for _, w := range inv.Warnings() {
		k.ui.warn(w, "")
	}
	return inv, nil
}

func extraVars(pairs []string) (map[string]string, error) {
	vars := map[string]string{}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, usageError{fmt.Sprintf("-e %s: no KEY=VALUE", p), "write -e name=value"}
		}
		vars[key] = value
	}
	return vars, nil
}

// hosts are the selected hosts; none is a mistake.
func (k *call) hosts() (*inventory.Inventory, []inventory.Host, error) {
	inv, err := k.inventory()
	if err != nil {
		return nil, nil, err
	}
	hosts, err := inv.Select(k.String("limit"))
	if err != nil {
		return nil, nil, usageError{err.Error(), hintOr(err, "see `vpsctl inventory list`")}
	}
	if len(hosts) == 0 {
		return nil, nil, usageError{fmt.Sprintf("--limit %s selects no host", k.String("limit")), "see `vpsctl inventory list`"}
	}
	return inv, hosts, k.pinned(inv.Dir(), hosts)
}

func hintOr(err error, other string) string {
	if h := hintOf(err); h != "" {
		return h
	}
	return other
}

// catalog loads the phases: the built-in ones and the user's.
func (k *call) catalog() (*phases.Catalog, error) {
	dir := k.String("phases")
	if dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return nil, usageError{fmt.Sprintf("--phases %s: there is no such folder", dir), ""}
		}
		return phases.Load(dir)
	}
	return phases.Load(filepath.Join(filepath.Dir(k.String("inventory")), "phases"))
}

func (k *call) stateDir() string {
	if d := k.String("state-dir"); d != "" {
		return d
	}
	return stateDir()
}

func (k *call) store() report.Store { return report.Store{Dir: k.stateDir()} }

// dialer is the one all hosts of this call share.
func (k *call) dialer(status func(host string, s remote.Status)) *remote.Dialer {
	o := remote.Options{AcceptNew: k.Bool("accept-new-host-keys"), ConnectTimeout: k.Duration("connect-timeout"), Status: status}
	if f := k.String("known-hosts"); f != "" {
		o.KnownHosts, o.AppendTo = []string{f}, f
	}
	if k.sudo == nil { // a command that dials twice asks once
		k.sudo = k.sudoWords()
	}
	o.SudoPassword = k.sudo.of
	if k.ui.verbose {
		o.Verbose = func(host, text string) {
			k.ui.say("[INFO]", "%s: %s", host, report.Clean(strings.TrimPrefix(text, host+": ")))
		}
	}
	if k.ui.tty && !k.ui.never {
		o.Prompt = prompt
	}
	return remote.NewDialer(o)
}

// confirm asks before something that cannot be taken back.
func (k *call) confirm(question string) error {
	if k.Bool("yes") {
		return nil
	}
	f, ok := k.ui.in.(*os.File)
	if k.ui.never || !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{question + " nobody is here to say yes", "add -y"}
	}
	fmt.Fprintf(k.ui.err, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(f, &answer); err != nil || !slices.Contains([]string{"y", "yes"}, strings.ToLower(answer)) {
		return exitError{exitInterrupted, errors.New("nothing was done")}
	}
	return nil
}
