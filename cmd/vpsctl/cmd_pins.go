package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
)

func pinsCommand() *cli.Command {
	examples := help("vpsctl pins show", "vpsctl pins show -o json", "vpsctl pins update")
	own := flags(talkFlags, stateFlags, []cli.Flag{&cli.StringSliceFlag{Name: "extra-var", Aliases: []string{"e"}, Usage: "a variable, `KEY=VALUE`; wins over the inventory"}})
	return &cli.Command{Name: "pins", Usage: "versions and hashes of what comes from makers who sign nothing", CustomHelpTemplate: examples, Subcommands: []*cli.Command{
		{Name: "show", Usage: "the pins in force, and where they come from", Flags: own, Action: with(pinsShow), CustomHelpTemplate: examples},
		{Name: "update", Usage: "ask the makers for the newest releases and write " + pinsFile, Flags: own, Action: with(pinsUpdate), CustomHelpTemplate: examples,
			Description: "Writes " + pinsFile + " beside the inventory. Other pins in it stay. Asked is\n" + pinPrefix + "latest, as the inventory, -e or " + pinsFile + " have it."},
	}}
}

// pin is a variable that names what is fetched.
type pin struct {
	Name   string   `json:"name"`
	Value  string   `json:"value"`
	Origin string   `json:"origin"`          // the file, "built in", or the place in the inventory
	Hosts  []string `json:"hosts,omitempty"` // whose it is, where hosts have different ones
}

// pinPrefix is how the names of the pins begin.
const pinPrefix = "antigravity_"

func (k *call) pinsPath() string {
	return filepath.Join(filepath.Dir(k.String("inventory")), pinsFile)
}

// pins are those in force, and the file's.
func (k *call) pins() ([]pin, map[string]string, error) {
	file, err := readPins(k.pinsPath())
	if err != nil {
		return nil, nil, err
	}
	cat, err := k.catalog()
	if err != nil {
		return nil, nil, err
	}
	hosts, err := k.whoPins()
	if err != nil {
		return nil, nil, err
	}
	all := map[string]pin{}
	for _, p := range cat.Phases() {
		for _, v := range p.Vars {
			if strings.HasPrefix(v.Name, pinPrefix) {
				all[v.Name] = pin{Name: v.Name, Value: fmt.Sprint(v.Default), Origin: "built in"}
			}
		}
	}
	for name, value := range file {
		all[name] = pin{Name: name, Value: value, Origin: k.pinsPath()}
	}
	var list []pin
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, inForce(all[name], hosts)...)
	}
	return list, file, nil
}

// whoPins are the hosts whose variables win over pins. Pins can come before the
// inventory: then it is one host without a name that has what -e says.
func (k *call) whoPins() ([]inventory.Host, error) {
	if _, err := os.Stat(k.String("inventory")); !errors.Is(err, fs.ErrNotExist) {
		inv, err := k.inventory()
		if err != nil {
			return nil, err
		}
		return inv.Hosts(), nil
	}
	vars, err := extraVars(k.StringSlice("extra-var"))
	h := inventory.Host{Vars: map[string]inventory.Var{}}
	for name, value := range vars {
		h.Vars[name] = inventory.Var{Value: value, Origin: "-e"}
	}
	return []inventory.Host{h}, err
}

// inForce is what hosts have instead of a pin, or the pin: one value, unless
// they differ.
func inForce(p pin, hosts []inventory.Host) []pin {
	var list []pin
	for _, h := range hosts {
		have := p
		if v, own := h.Vars[p.Name]; own && v.Secret == nil {
			have.Value, have.Origin = fmt.Sprint(v.Value), v.Origin
		}
		i := slices.IndexFunc(list, func(q pin) bool { return q.Value == have.Value })
		if i < 0 {
			i, list = len(list), append(list, have)
		}
		list[i].Hosts = append(list[i].Hosts, h.Name)
	}
	switch len(list) {
	case 0:
		return []pin{p}
	case 1:
		list[0].Hosts = nil
	}
	return list
}

func pinsShow(k *call) error {
	list, _, err := k.pins()
	if err != nil {
		return err
	}
	return k.showPins(list)
}

func (k *call) showPins(list []pin) error {
	return k.ui.result(k.json(), map[string]any{"schema": 1, "pins": list}, func(w io.Writer) error {
		for _, p := range list {
			origin := p.Origin
			if len(p.Hosts) > 0 {
				origin += ": " + strings.Join(p.Hosts, ", ")
			}
			if _, err := fmt.Fprintf(w, "%-26s %s  (%s)\n", p.Name, p.Value, origin); err != nil {
				return err
			}
		}
		return nil
	})
}

// pinsUpdate writes nothing unless all answers are there and fit together.
func pinsUpdate(k *call) error {
	list, file, err := k.pins()
	if err != nil {
		return err
	}
	base, err := whomToAsk(list)
	if err != nil {
		return err
	}
	fresh := maps.Clone(file)
	if fresh == nil {
		fresh = map[string]string{}
	}
	version := ""
	for _, arch := range [][2]string{{"amd64", "linux-x64"}, {"arm64", "linux-arm"}} {
		r, err := latest(k.ctx, base+"/"+arch[1]+"/stable/latest")
		if err == nil && version != "" && r.Version != version {
			err = fmt.Errorf("it has %s for this architecture and %s for another", r.Version, version)
		}
		if err != nil {
			return pinsError{base, arch[1], err}
		}
		version = r.Version
		fresh[pinPrefix+"url_"+arch[0]], fresh[pinPrefix+"sha256_"+arch[0]] = r.URL, r.SHA256
	}
	fresh[pinPrefix+"version"] = version
	if err := writePins(k.pinsPath(), fresh); err != nil {
		return err
	}
	if list, _, err = k.pins(); err != nil {
		return err
	}
	return k.showPins(list)
}

// whomToAsk is the address of the update service. One file of pins serves all
// hosts, so they have to agree.
func whomToAsk(list []pin) (string, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(p pin) bool { return p.Name != pinPrefix+"latest" })
	if len(list) == 1 {
		return strings.TrimRight(list[0].Value, "/"), nil
	}
	var all []string
	for _, p := range list {
		all = append(all, fmt.Sprintf("%s (%s)", p.Value, strings.Join(p.Hosts, ", ")))
	}
	return "", usageError{"pins: hosts have different " + pinPrefix + "latest: " + strings.Join(all, "; "), "name the one to ask: -e " + pinPrefix + "latest=URL"}
}

// latest asks an update service.
func latest(ctx context.Context, url string) (release, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return release{}, err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return release{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return release{}, fmt.Errorf("it answered %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return release{}, err
	}
	return parseRelease(text)
}

// pinsError says what could not be learnt, and how to go on without it.
type pinsError struct {
	base, what string
	err        error
}

func (e pinsError) Error() string {
	return fmt.Sprintf("pins: ask %s for %s: %v; nothing was changed", e.base, e.what, e.err)
}
func (e pinsError) Unwrap() error { return e.err }
func (e pinsError) Hint() string {
	return "write the release into " + pinsFile + " by hand: " + pinPrefix + "version, " + pinPrefix + "url_amd64, " + pinPrefix + "sha256_amd64"
}
