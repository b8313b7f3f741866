package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sethvargo/go-password/password"
	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// passwordSecret is the secret a phase's user step names for the generated
// password of the developer user.
const passwordSecret = "developer_password"

// credential is a generated password on its way to its owner. It is written
// before the host hears it, so that no interruption loses it, and removed once
// it was shown or turned out not to be needed.
type credential struct {
	Host     string `json:"host"`
	User     string `json:"user,omitempty"` // set once the host said that the account was made
	Password string `json:"password"`
}

// credentials are the files credentials/<host> of the state folder.
type credentials struct{ dir string }

func (k *call) credentials() credentials {
	return credentials{filepath.Join(k.stateDir(), "credentials")}
}

// needsPassword tells whether a plan can set a generated password.
func needsPassword(p *wire.Plan) bool {
	for _, ph := range p.Phases {
		for _, s := range ph.Steps {
			if s.User != nil && s.User.Password == passwordSecret {
				return true
			}
		}
	}
	return false
}

// prepare gives the password for host: the one an interrupted run left, else a
// new one, kept on disk before anybody uses it.
func (c credentials) prepare(host string) (credential, error) {
	if old, err := c.read(host); err == nil {
		return old, nil
	}
	pw, err := generatePassword()
	if err != nil {
		return credential{}, err
	}
	cred := credential{Host: host, Password: pw}
	return cred, c.write(cred)
}

// generatePassword makes 20 characters with lower and upper case, digits and
// symbols from a cryptographic source; characters that look alike are kept,
// since the password is pasted, but none needs quoting in a shell.
func generatePassword() (string, error) {
	g, err := password.NewGenerator(&password.GeneratorInput{Symbols: "+-_.,:=@%"})
	if err != nil {
		return "", err
	}
	return g.Generate(20, 4, 3, false, true)
}

func (c credentials) read(host string) (credential, error) {
	var cred credential
	b, err := os.ReadFile(filepath.Join(c.dir, host))
	if err == nil {
		err = json.Unmarshal(b, &cred)
	}
	return cred, err
}

func (c credentials) write(cred credential) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(cred)
	if err != nil {
		return err
	}
	tmp := filepath.Join(c.dir, "."+cred.Host)
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(c.dir, cred.Host))
}

// settle ends a run's use of a password: user is the account that got it, ""
// when none did and the run is over.
func (c credentials) settle(host, user string) error {
	if user == "" {
		if cred, err := c.read(host); err == nil && cred.User != "" {
			return nil // an earlier run set it and nobody has seen it yet
		}
		return c.remove(host)
	}
	cred, err := c.read(host)
	if err != nil {
		return err
	}
	cred.User = user
	return c.write(cred)
}

func (c credentials) remove(host string) error {
	err := os.Remove(filepath.Join(c.dir, host))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// waiting are the credentials that belong to an account, by host.
func (c credentials) waiting() ([]credential, error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []credential
	for _, e := range entries {
		if cred, rerr := c.read(e.Name()); rerr == nil && cred.User != "" {
			out = append(out, cred)
		}
	}
	return out, err
}

func credentialsCommand() *cli.Command {
	return &cli.Command{Name: "credentials", Usage: "generated passwords", CustomHelpTemplate: help("vpsctl credentials show", "vpsctl credentials show alpha", "vpsctl credentials rotate -l alpha"), Subcommands: []*cli.Command{
		{Name: "show", Usage: "print generated passwords once and forget them", ArgsUsage: "[HOST…]", Flags: flags(talkFlags, stateFlags), Action: with(credentialsShow), CustomHelpTemplate: help(
			"vpsctl credentials show", "vpsctl credentials show alpha", "vpsctl credentials show -o json")},
		rotateCommand(),
	}}
}

func credentialsShow(k *call) error {
	store := k.credentials()
	all, err := store.waiting()
	if err != nil {
		return err
	}
	if want := k.Args().Slice(); len(want) > 0 {
		all = slices.DeleteFunc(all, func(c credential) bool { return !slices.Contains(want, c.Host) })
	}
	if len(all) == 0 {
		k.ui.say("[INFO]", "no password is waiting to be shown")
	}
	return k.show(store, all)
}

// show prints passwords to standard output and forgets those it could print.
func (k *call) show(store credentials, all []credential) error {
	err := k.ui.result(k.json(), map[string]any{"schema": 1, "credentials": nonNil(all)}, func(w io.Writer) error {
		for _, c := range all {
			if _, err := fmt.Fprintf(w, "%s: user %s, password %s\n", c.Host, c.User, c.Password); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		err = errors.Join(err, store.remove(c.Host))
	}
	return err
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// settle decides what becomes of a generated password: it belongs to the account
// the host said it made; it is forgotten when the run is over without one.
func (d *drive) settle(h inventory.Host, rec *report.HostRecord, err error) {
	user := ""
	for _, made := range rec.Created {
		if name, ok := strings.CutPrefix(made, "user "); ok {
			user = name
		}
	}
	over := rec.End != nil || rec.Start == nil && err != nil
	if user == "" && (!over || d.attach) {
		return
	}
	if err := d.credentials().settle(h.Name, user); err != nil {
		d.screen.line("[WARN]", "%s: generated password: %v", h.Name, err)
	}
}
