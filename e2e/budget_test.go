//go:build e2e

package e2e

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/vpsctl/vpsctl/report"
)

// TestBudgetSaysWhoHeldItUp: a phase, and a run, that cannot get on because
// somebody holds apt's lock are stopped, and say for how long and by whom.
func TestBudgetSaysWhoHeldItUp(t *testing.T) {
	f := FreshLab(t, 1)
	h := f.Hosts[0]
	v := newTool(t, f)
	v.phase("held", "budget: 8s\nsteps:\n  - {name: first, run: sleep 1}\n  - {name: tools, packages: [tree]}\n")
	on(t, h, "systemd-run -q --expand-environment=no --unit=unattended-upgrades-like perl -e '"+holdLock+"'")
	exists(t, h, "/run/held")
	want := regexp.MustCompile(`over its budget of .*\. [2-9] s waiting for apt lock /var/lib/dpkg/lock-frontend, held by pid \d+ perl \(unattended-upgrades-like\.service\)(; cpu pressure \d+ % for \d+ s)?; of steps, most went into held/tools [2-9] s$`)
	for _, args := range [][]string{{}, {"--budget", "7s"}} {
		r := v.run(2, append([]string{"provision", "--only-phase", "held", "-o", "json"}, args...)...)
		var doc report.ProvisionDoc
		try(t, json.Unmarshal([]byte(r.out), &doc))
		if e := doc.Hosts[0].Error; e == nil || !want.MatchString(e.Message) {
			t.Errorf("%v: %+v", args, e)
		}
	}
	on(t, h, "systemctl stop unattended-upgrades-like; rm /run/held")
	v.phase("slow", "budget: 2s\nsteps:\n  - {name: sleeps, run: sleep 60}\n")
	r := v.run(2, "provision", "--only-phase", "slow", "-o", "json")
	wants(t, "without a holder", r.out, "over its budget of 2.0s. ", " went into slow/sleeps 2 s")
}
