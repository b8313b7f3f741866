package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/report"
)

func inventoryCommand() *cli.Command {
	fl := flags(talkFlags, stateFlags, []cli.Flag{limitFlag, &cli.StringSliceFlag{Name: "extra-var", Aliases: []string{"e"}, Usage: "a variable, `KEY=VALUE`"}})
	return &cli.Command{Name: "inventory", Usage: "what the inventory file means", CustomHelpTemplate: help("vpsctl inventory check", "vpsctl inventory show alpha", "vpsctl inventory list -o json"), Subcommands: []*cli.Command{
		{Name: "list", Usage: "the hosts and their groups", Flags: fl, Action: with(inventoryList), CustomHelpTemplate: help(
			"vpsctl inventory list", "vpsctl inventory list -l 'eu,!beta'", "vpsctl inventory list -o json | jq -r '.hosts[].name'")},
		{Name: "show", Usage: "every value of a host and where it came from", ArgsUsage: "HOST", Flags: fl, Action: with(inventoryShow), CustomHelpTemplate: help(
			"vpsctl inventory show alpha", "vpsctl inventory show alpha -e username=jo", "vpsctl inventory show alpha -o json")},
		{Name: "check", Usage: "every mistake of the file", Flags: fl, Action: with(inventoryCheck), CustomHelpTemplate: help(
			"vpsctl inventory check", "vpsctl inventory check -i other.yaml", "vpsctl inventory check && vpsctl provision")},
		{Name: "graph", Usage: "groups, hosts and jumps as a graph for Graphviz (DOT)", Flags: fl, Action: with(inventoryGraph), CustomHelpTemplate: help(
			"vpsctl inventory graph | dot -Tsvg > hosts.svg", "vpsctl inventory graph -l eu", "vpsctl inventory graph -o json")},
		{Name: "trust", Usage: "confirm what it runs: itself, commands, files elsewhere", Flags: flags(fl, []cli.Flag{yesFlag}), Action: with(inventoryTrust), CustomHelpTemplate: help(
			"vpsctl inventory trust", "vpsctl inventory trust -y", "vpsctl inventory trust -i shared/inventory.yaml")},
	}}
}

// hostDoc is a host as JSON.
type hostDoc struct {
	Name           string            `json:"name"`
	Address        string            `json:"address"`
	Port           int               `json:"port"`
	User           string            `json:"user"`
	Groups         []string          `json:"groups"`
	Become         bool              `json:"become"`
	BecomePassword map[string]any    `json:"become_password,omitempty"` // where it is kept
	Jump           string            `json:"jump,omitempty"`
	IdentityFiles  []string          `json:"identity_file,omitempty"`
	IdentitiesOnly bool              `json:"identities_only,omitempty"`
	HostKeys       []string          `json:"host_key,omitempty"`
	Phases         *phasesDoc        `json:"phases,omitempty"`
	Vars           map[string]any    `json:"vars"` // a secret is an object: where it is kept
	Origin         map[string]string `json:"origin,omitempty"`
}

type phasesDoc struct {
	Only *[]string `json:"only,omitempty"`
	Skip []string  `json:"skip,omitempty"`
}

func newHostDoc(h inventory.Host) hostDoc {
	d := hostDoc{Name: h.Name, Address: h.Address, Port: h.Port, User: h.User, Groups: nonNil(h.Groups), Become: h.Become, Vars: map[string]any{},
		IdentityFiles: h.IdentityFiles, IdentitiesOnly: h.IdentitiesOnly, HostKeys: h.HostKeys}
	if h.BecomePassword != nil {
		d.BecomePassword = refDoc(h.BecomePassword)
	}
	if h.Jump != nil {
		d.Jump = jumpName(h)
	}
	if h.Phases.OnlyGiven {
		only := nonNil(h.Phases.Only)
		d.Phases = &phasesDoc{Only: &only}
	} else if len(h.Phases.Skip) > 0 {
		d.Phases = &phasesDoc{Skip: h.Phases.Skip}
	}
	for name, v := range h.Vars {
		d.Vars[name] = v.Value
		if v.Secret != nil {
			d.Vars[name] = refDoc(v.Secret)
		}
	}
	return d
}

// refDoc is a reference to a secret as an inventory writes it.
func refDoc(r *inventory.Ref) map[string]any {
	switch {
	case r.Env != "":
		return map[string]any{"env": r.Env}
	case r.File != "":
		return map[string]any{"file": r.File}
	}
	return map[string]any{"command": r.Command}
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
	h := hosts[0]
	d := newHostDoc(h)
	d.Origin = map[string]string{}
	for _, r := range settingRows(h) {
		if r[2] != "" {
			d.Origin[r[0]] = r[2]
		}
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "host": d}, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, r := range settingRows(h) {
			fmt.Fprintf(t, "%s\t%s\t%s\n", r[0], report.Clean(r[1]), r[2])
		}
		return t.Flush()
	})
}

// settingRows are the values of a host: name, value, where it came from. What
// nobody set and has no default is not among them.
func settingRows(h inventory.Host) [][3]string {
	only, jump, password := "", "", ""
	if h.BecomePassword != nil {
		password = h.BecomePassword.String()
	}
	if h.IdentitiesOnly {
		only = "true"
	}
	if h.Jump != nil {
		jump = jumpName(h)
	}
	rows := [][3]string{
		{"address", h.Address}, {"port", fmt.Sprint(h.Port)}, {"user", h.User}, {"become", fmt.Sprint(h.Become)}, {"become_password", password}, {"jump", jump},
		{"identity_file", strings.Join(h.IdentityFiles, ", ")}, {"identities_only", only}, {"host_key", strings.Join(h.HostKeys, ", ")},
		{"phases", phasesText(h.Phases)}, {"groups", strings.Join(h.Groups, ", ")},
	}
	rows = slices.DeleteFunc(rows, func(r [3]string) bool { return r[1] == "" })
	for i := range rows {
		rows[i][2] = h.Origin[rows[i][0]]
	}
	for _, name := range sortedKeys(h.Vars) {
		v := h.Vars[name]
		text := fmt.Sprint(v.Value)
		if v.Secret != nil {
			text = v.Secret.String()
		}
		rows = append(rows, [3]string{"vars." + name, text, v.Origin})
	}
	return rows
}

func phasesText(f inventory.PhaseFilter) string {
	switch {
	case f.OnlyGiven && len(f.Only) == 0:
		return "none"
	case f.OnlyGiven:
		return "only " + strings.Join(f.Only, ", ")
	case len(f.Skip) > 0:
		return "all but " + strings.Join(f.Skip, ", ")
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// problemDoc is a mistake of the inventory as JSON; line is 0 where it has no
// place in the file.
type problemDoc struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// inventoryCheck says every mistake of the file, and which identity files are
// not there. With JSON the document holds the mistakes, too.
func inventoryCheck(k *call) error {
	inv, hosts, err := k.hosts()
	var bad *inventory.Problems
	if err != nil && (!k.json() || !errors.As(err, &bad)) {
		return err
	}
	warnings, problems := []string{}, []problemDoc{}
	if bad != nil {
		for _, p := range bad.List {
			problems = append(problems, problemDoc(p))
		}
	} else {
		warnings = append(warnings, inv.Warnings()...)
		for _, w := range inv.CheckFiles() {
			k.ui.warn(w, "")
			warnings = append(warnings, w)
		}
	}
	doc := map[string]any{"schema": 1, "inventory": k.String("inventory"), "hosts": len(hosts), "problems": problems, "warnings": warnings}
	if err := k.ui.result(k.json(), doc, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "[OK] %s: %d hosts, no mistakes\n", k.String("inventory"), len(hosts))
		return err
	}); err != nil || bad == nil {
		return err
	}
	return exitError{code: exitUsage}
}
