package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/report"
)

// maxScript is more than any script that phases.Script takes, in bytes.
const maxScript = 64 << 20

// runScript carries out a local script as a plan of one step.
func runScript(k *call) error {
	if k.NArg() == 0 {
		return usageError{"run: there is no script", "name it behind the flags: vpsctl run fix.sh"}
	}
	body, err := k.script(k.Args().First())
	if err != nil {
		return err
	}
	inv, hosts, w, err := k.crew()
	if err != nil {
		return err
	}
	runID := report.NewID(time.Now())
	plans, err := k.scriptPlans(runID, hosts, body)
	if err != nil {
		return err
	}
	if err := k.trusted(inv); err != nil {
		return err
	}
	return k.record(runID, inv, hosts, plans, nil, w)
}

// script reads the script of that name; "-" is standard input.
func (k *call) script(name string) ([]byte, error) {
	from := k.ui.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError{fmt.Sprintf("run: %v", err), "SCRIPT is a file on this machine; for a command on the hosts: vpsctl exec -- CMD"}
		}
		defer f.Close()
		from = f
	}
	body, err := io.ReadAll(io.LimitReader(from, maxScript))
	if err != nil {
		return nil, usageError{fmt.Sprintf("run: read the script: %v", err), ""}
	}
	return body, nil
}

// scriptPlans are the hosts' plans: the same step, with each host's variables.
func (k *call) scriptPlans(runID string, hosts []inventory.Host, body []byte) ([]wire.Plan, error) {
	name := filepath.Base(k.Args().First())
	if name == "-" {
		name = "standard input"
	}
	plans := make([]wire.Plan, len(hosts))
	for i, h := range hosts {
		env := map[string]string{}
		for key, v := range h.Vars {
			if v.Secret == nil {
				env[key] = fmt.Sprint(v.Value)
			}
		}
		p, err := phases.Script(name, body, k.Args().Tail(), env)
		if err != nil {
			return nil, err
		}
		env["host"], env["address"], env["groups"], env["run_id"] = h.Name, h.Address, strings.Join(h.Groups, " "), runID
		env["connect_user"] = h.User
		p.RunID, p.Host, p.Interval = runID, h.Name, k.Duration("sample-interval")
		plans[i] = p
	}
	return plans, nil
}
