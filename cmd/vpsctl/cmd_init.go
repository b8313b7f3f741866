package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/inventory"
)

//go:embed starter.yaml
var starterText string

// starter is what a new inventory is made from.
type starter struct{ Name, Address, User, Key string }

func initCommand() *cli.Command {
	return &cli.Command{Name: "init", Usage: "write a commented starter inventory", Flags: flags(talkFlags, []cli.Flag{yesFlag}), Action: with(initInventory),
		Description:        "Asks for one host on a terminal, else takes an example address. A file that is\nthere is only replaced with -y.",
		CustomHelpTemplate: help("vpsctl init", "vpsctl init -i hosts/inventory.yaml", "vpsctl init --non-interactive && $EDITOR inventory.yaml")}
}

// initInventory writes the file that -i names. It never overwrites one without
// -y, and writes nothing that would not load.
func initInventory(k *call) error {
	path := k.String("inventory")
	if k.NArg() > 0 {
		return usageError{"init: takes no argument", "name the file with -i: vpsctl init -i " + k.Args().First()}
	}
	if _, err := os.Lstat(path); err == nil && !k.Bool("yes") {
		return usageError{fmt.Sprintf("%s: is there already, and was left as it is", path), "add -y to replace it, or name another file with -i"}
	}
	st := starter{Name: "alpha", Address: "203.0.113.10", User: "root", Key: "~/.ssh/id_ed25519"}
	asked := false
	if f, ok := k.ui.in.(*os.File); ok && !k.ui.never && term.IsTerminal(int(f.Fd())) {
		if err := k.askStarter(&st); err != nil {
			return err
		}
		asked = true
	}
	text, err := st.text()
	if err != nil {
		return err
	}
	if err := writeNew(path, text, k.Bool("yes")); err != nil {
		return err
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "inventory": path}, func(io.Writer) error {
		k.ui.say("[OK]", "wrote %s", path)
		if !asked {
			k.ui.hint("put your host's address into it, then type `vpsctl ping --accept-new-host-keys`")
		} else {
			k.ui.hint("vpsctl ping --accept-new-host-keys")
		}
		return nil
	})
}

// askStarter asks for each value, again while the inventory would not load.
func (k *call) askStarter(st *starter) error {
	in := bufio.NewReader(k.ui.in)
	for _, q := range []struct {
		text  string
		value *string
	}{{"address of the host", &st.Address}, {"its name here", &st.Name}, {"user to log in as", &st.User}, {"private key", &st.Key}} {
		for old := *q.value; ; *q.value = old {
			fmt.Fprintf(k.ui.err, "%s [%s]: ", q.text, old)
			answer, err := in.ReadString('\n')
			if err != nil {
				fmt.Fprintln(k.ui.err)
				return exitError{exitInterrupted, errors.New("nothing was written")}
			}
			if answer = strings.TrimSpace(answer); answer != "" {
				*q.value = answer
			}
			why := st.mistake()
			if why == "" {
				break
			}
			k.ui.say("[ERR]", "%s", why)
		}
	}
	return nil
}

// text is the inventory.
func (st starter) text() ([]byte, error) {
	quoted := starter{}
	for to, value := range map[*string]string{&quoted.Name: st.Name, &quoted.Address: st.Address, &quoted.User: st.User, &quoted.Key: st.Key} {
		b, err := yaml.Marshal(value)
		if err != nil {
			return nil, err
		}
		*to = strings.TrimSpace(string(b))
	}
	t, err := template.New("starter").Parse(starterText)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = t.Execute(&b, quoted)
	return []byte(b.String()), err
}

// mistake is what an inventory of st has against it, in one line, or "".
func (st starter) mistake() string {
	dir, err := os.MkdirTemp("", "vpsctl-init-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	text, err := st.text()
	if err != nil {
		return err.Error()
	}
	path := filepath.Join(dir, "inventory.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err.Error()
	}
	_, err = inventory.Load(context.Background(), path, inventory.Options{SSHConfig: "none"})
	var bad *inventory.Problems
	switch {
	case errors.As(err, &bad) && bad.List[0].Hint != "":
		return bad.List[0].Text + " (" + bad.List[0].Hint + ")"
	case errors.As(err, &bad):
		return bad.List[0].Text
	case err != nil:
		return err.Error()
	}
	return ""
}

// writeNew writes a file whole or not at all; what is there only goes with
// replace.
func writeNew(path string, text []byte, replace bool) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return usageError{fmt.Sprintf("%s: its folder is not there", path), "mkdir -p " + filepath.Dir(path)}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".vpsctl-init-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing, once it has its name
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close(), os.Chmod(f.Name(), 0o644)); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), path)
	}
	if err = os.Link(f.Name(), path); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(f.Name(), path) // a file system without links
}
