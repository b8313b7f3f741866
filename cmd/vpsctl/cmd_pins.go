package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func pinsCommand() *cli.Command {
	examples := help("vpsctl pins show", "vpsctl pins show -o json", "vpsctl pins update")
	return &cli.Command{Name: "pins", Usage: "versions and hashes of what comes from makers who sign nothing", CustomHelpTemplate: examples, Subcommands: []*cli.Command{
		{Name: "show", Usage: "the pins in force, and where they come from", Flags: talkFlags, Action: with(pinsShow), CustomHelpTemplate: examples},
		{Name: "update", Usage: "ask the makers for the newest releases and write " + pinsFile, Flags: talkFlags, Action: with(pinsUpdate), CustomHelpTemplate: examples,
			Description: "Writes " + pinsFile + " beside the inventory. Other pins in it stay."},
	}}
}

// pin is a variable that names what is fetched.
type pin struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // the file, or "built in"
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
	all := map[string]pin{}
	for _, p := range cat.Phases() {
		for _, v := range p.Vars {
			if strings.HasPrefix(v.Name, pinPrefix) {
				all[v.Name] = pin{v.Name, fmt.Sprint(v.Default), "built in"}
			}
		}
	}
	for name, value := range file {
		all[name] = pin{name, value, k.pinsPath()}
	}
	var list []pin
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return list, file, nil
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
			if _, err := fmt.Fprintf(w, "%-26s %s  (%s)\n", p.Name, p.Value, p.Origin); err != nil {
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
	base := ""
	for _, p := range list {
		if p.Name == pinPrefix+"latest" {
			base = strings.TrimRight(p.Value, "/")
		}
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
