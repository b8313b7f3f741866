package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
)

func inventoryCommand() *cli.Command {
	fl := flags(talkFlags, []cli.Flag{limitFlag, &cli.StringSliceFlag{Name: "extra-var", Aliases: []string{"e"}, Usage: "a variable, `KEY=VALUE`"}})
	return &cli.Command{Name: "inventory", Usage: "what the inventory file means", CustomHelpTemplate: help("vpsctl inventory check", "vpsctl inventory show alpha", "vpsctl inventory list -o json"), Subcommands: []*cli.Command{
		{Name: "list", Usage: "the hosts and their groups", Flags: fl, Action: with(inventoryList), CustomHelpTemplate: help(
			"vpsctl inventory list", "vpsctl inventory list -l 'eu,!beta'", "vpsctl inventory list -o json | jq -r '.hosts[].name'")},
		{Name: "show", Usage: "every value of a host and where it came from", ArgsUsage: "HOST", Flags: fl, Action: with(inventoryShow), CustomHelpTemplate: help(
			"vpsctl inventory show alpha", "vpsctl inventory show alpha -e username=jo", "vpsctl inventory show alpha -o json")},
		{Name: "check", Usage: "every mistake of the file", Flags: fl, Action: with(inventoryCheck), CustomHelpTemplate: help(
			"vpsctl inventory check", "vpsctl inventory check -i other.yaml", "vpsctl inventory check && vpsctl provision")},
		{Name: "trust", Usage: "confirm the lines that run commands or read files elsewhere", Flags: flags(fl, stateFlags, []cli.Flag{yesFlag}), Action: with(inventoryTrust), CustomHelpTemplate: help(
			"vpsctl inventory trust", "vpsctl inventory trust -y", "vpsctl inventory trust -i shared/inventory.yaml")},
	}}
}

// hostDoc is a host as JSON.
type hostDoc struct {
	Name    string            `json:"name"`
	Address string            `json:"address"`
	Port    int               `json:"port"`
	User    string            `json:"user"`
	Groups  []string          `json:"groups"`
	Become  bool              `json:"become"`
	Jump    string            `json:"jump,omitempty"`
	Vars    map[string]any    `json:"vars"`
	Origin  map[string]string `json:"origin,omitempty"`
}

func newHostDoc(h inventory.Host) hostDoc {
	d := hostDoc{Name: h.Name, Address: h.Address, Port: h.Port, User: h.User, Groups: h.Groups, Become: h.Become, Vars: map[string]any{}}
	if h.Jump != nil {
		d.Jump = fmt.Sprintf("%s@%s:%d", h.Jump.Host.User, h.Jump.Host.Address, h.Jump.Host.Port)
	}
	for name, v := range h.Vars {
		d.Vars[name] = v.Value
		if v.Secret != nil {
			d.Vars[name] = "(secret)"
		}
	}
	return d
}

func inventoryList(k *call) error {
	_, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	docs := []hostDoc{}
	for _, h := range hosts {
		docs = append(docs, newHostDoc(h))
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "hosts": docs}, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "HOST\tADDRESS\tUSER\tGROUPS")
		for _, d := range docs {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.Name, address(d), d.User, strings.Join(d.Groups, ","))
		}
		return t.Flush()
	})
}

func address(d hostDoc) string {
	if d.Port == 22 || d.Port == 0 {
		return d.Address
	}
	return fmt.Sprintf("%s port %d", d.Address, d.Port)
}

func inventoryShow(k *call) error {
	if k.NArg() != 1 {
		return usageError{"inventory show: name one host", "vpsctl inventory show HOST"}
	}
	inv, err := k.inventory()
	if err != nil {
		return err
	}
	hosts, err := inv.Select(k.Args().First())
	if err != nil || len(hosts) != 1 {
		return usageError{fmt.Sprintf("inventory show: %q is not one host of the inventory", k.Args().First()), hintOr(err, "see `vpsctl inventory list`")}
	}
	d := newHostDoc(hosts[0])
	d.Origin = hosts[0].Origin
	return k.ui.result(k.json(), map[string]any{"schema": 1, "host": d}, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		rows := [][2]string{{"address", d.Address}, {"port", fmt.Sprint(d.Port)}, {"user", d.User}, {"become", fmt.Sprint(d.Become)},
			{"jump", d.Jump}, {"identity_file", strings.Join(hosts[0].IdentityFiles, ", ")}, {"host_key", strings.Join(hosts[0].HostKeys, ", ")}, {"groups", strings.Join(d.Groups, ", ")}}
		for _, r := range rows {
			if r[1] != "" {
				fmt.Fprintf(t, "%s\t%s\t%s\n", r[0], r[1], d.Origin[r[0]])
			}
		}
		for _, name := range sortedKeys(d.Vars) {
			fmt.Fprintf(t, "vars.%s\t%v\t%s\n", name, d.Vars[name], hosts[0].Vars[name].Origin)
		}
		return t.Flush()
	})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func inventoryCheck(k *call) error {
	_, hosts, err := k.hosts()
	if err != nil {
		return err
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "hosts": len(hosts), "problems": []string{}}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "[OK] %s: %d hosts, no mistakes\n", k.String("inventory"), len(hosts))
		return err
	})
}

func inventoryTrust(k *call) error {
	inv, err := k.inventory()
	if err != nil {
		return err
	}
	lines := inv.Code()
	if len(lines) == 0 {
		k.ui.say("[OK]", "%s runs nothing and reads nothing elsewhere: there is nothing to confirm", k.String("inventory"))
		return nil
	}
	fmt.Fprintln(k.ui.out, strings.Join(lines, "\n"))
	if err := k.confirm("Run these commands and read these files when connecting?"); err != nil {
		return err
	}
	if err := os.MkdirAll(k.stateDir(), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(k.stateDir(), "trusted"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, trustHash(lines))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
