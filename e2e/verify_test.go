//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/e2e/vendors"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// verified is the part of verify's JSON that tests look at.
type verified struct {
	Status string `json:"overall_status"`
	Hosts  []struct {
		Checks []verifiedCheck `json:"checks"`
	} `json:"hosts"`
}

type verifiedCheck struct {
	ID       string  `json:"check_id"`
	Critical bool    `json:"critical"`
	Status   string  `json:"status"`
	Message  string  `json:"message"`
	Hint     string  `json:"fix_suggestion"`
	Seconds  float64 `json:"duration_sec"`
}

func (r result) verified(t *testing.T) verified {
	t.Helper()
	var d verified
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || len(d.Hosts) != 1 {
		t.Fatalf("standard output is no document of verify: %v\n%s", err, tail(r.says()))
	}
	return d
}

func (v verified) check(t *testing.T, id string) verifiedCheck {
	t.Helper()
	i := slices.IndexFunc(v.Hosts[0].Checks, func(c verifiedCheck) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("no check %s in %+v", id, v.Hosts[0].Checks)
	}
	return v.Hosts[0].Checks[i]
}

// use runs verify --deep for all tests that look at what it finds. What the guide promises is promised of a host that has
// its CPUs to itself, and here other programs may want them: a use with anything slow in it is repeated, twice at most,
// and told of. The targets stay what they are, and each use has to leave nothing behind.
func (w *workstation) use(t *testing.T) verified {
	t.Helper()
	for n := 1; w.deep == nil; n++ {
		before := remains(t, w.h)
		p := w.tool(t).start(append([]string{"verify", "--deep", "-y", "-o", "json"}, w.vars...)...)
		p.finishes() // the script on the host bounds it
		code := p.cmd.ProcessState.ExitCode()
		if code != 0 && code != 4 {
			t.Fatalf("verify --deep: exit %d\n%s", code, p.talk())
		}
		d := p.wait(code).verified(t)
		nothingRemains(t, w.h, before, "verify --deep")
		slow := d.slow()
		if slow == "" || n == 3 {
			w.deep = &d
			break
		}
		t.Logf("use %d of 3: %s", n, slow)
	}
	return *w.deep
}

// slow are the checks of a verify --deep that only took longer than they should; whatever does not hold fails at once.
func (v verified) slow() string {
	var out strings.Builder
	for _, c := range v.Hosts[0].Checks {
		if c.Seconds > 0 && (c.Status == "WARN" || c.Status == "FAIL" && strings.HasPrefix(c.Message, "over ")) {
			fmt.Fprintf(&out, "%s: %s, %.2f s: %s; ", c.ID, c.Status, c.Seconds, c.Message)
		}
	}
	return out.String()
}

// TestT136_test_performance: all ten phases on a host of 4 GB and 2 CPUs within the guide's 15 minutes.
func TestT136_test_performance(t *testing.T) {
	theWorkstation(t).within(t, 900)
}

// TestT136_test_performance_small: the same on 2 GB and one CPU, within 20 minutes, one phase after the other.
func TestT136_test_performance_small(t *testing.T) {
	f := NewLab(t, 1)
	shop, err := vendors.Start(t.Context(), vendors.Options{Address: shared.lab.Gateway()})
	try(t, err)
	t.Cleanup(func() { try(t, shop.Close()) })
	w := &workstation{Fleet: f, h: f.Hosts[0], vars: shop.Args(), state: t.TempDir()}
	t.Cleanup(func() { try(t, w.h.Limit(context.Background(), lab.Limits{})) }) // it serves other tests
	w.fill(t, shop, lab.Limits{MemoryMB: 2048, CPUs: 1})
	w.within(t, 1200)
	if n := w.tool(t).record(w.h.Name).sideBySide(); n != 1 {
		t.Errorf("%d phases ran side by side on a small host", n)
	}
}

// sideBySide is how many phases ran at the same time, at most.
func (r *record) sideBySide() (most int) {
	running := map[string]bool{}
	for _, e := range r.events {
		switch e.Kind {
		case wire.KindPhase:
			running[e.Phase] = true
		case wire.KindPhaseEnd:
			delete(running, e.Phase)
		}
		most = max(most, len(running))
	}
	return most
}

// within: all ten phases did their work, in so many seconds.
func (w *workstation) within(t *testing.T, most float64) {
	t.Helper()
	var doc struct {
		Hosts []struct {
			Seconds float64 `json:"duration_sec"`
			Phases  []struct {
				ID      string  `json:"id"`
				Status  string  `json:"status"`
				Seconds float64 `json:"duration_sec"`
				Changed int     `json:"changed"`
			} `json:"phases"`
		} `json:"hosts"`
	}
	try(t, json.Unmarshal([]byte(w.provision.out), &doc))
	worked := 0
	for _, p := range doc.Hosts[0].Phases {
		t.Logf("%-18s %-8s %6.1f s", p.ID, p.Status, p.Seconds)
		if p.Status == "changed" && p.Changed > 0 || p.ID == "verification" && p.Status == "ok" {
			worked++
		}
	}
	if worked != 10 {
		t.Errorf("%d phases did their work, want 10", worked)
	}
	if s := doc.Hosts[0].Seconds; s <= 0 || s > most {
		t.Errorf("the provisioning took %.1f s, the guide allows %g", s, most)
	}
}

// TestT137_test_performance: a desktop session within the guide's 10 seconds, counted from the password to the panel on
// the screen, with RDP and TLS spoken through the SSH line.
func TestT137_test_performance(t *testing.T) {
	d := theWorkstation(t).use(t)
	for _, id := range []string{"rdp-tls", "authentication", "x-server", "window-manager", "panel", "session", "reconnect", "removed"} {
		c := d.check(t, id)
		t.Logf("%-15s %-5s %6.2f s  %s", id, c.Status, c.Seconds, c.Message)
		if c.Status == "FAIL" || c.Status == "SKIP" {
			t.Errorf("%s: %s: %s", id, c.Status, c.Message)
		}
	}
	session := d.check(t, "session").Seconds
	parts := d.check(t, "authentication").Seconds + d.check(t, "x-server").Seconds + d.check(t, "window-manager").Seconds + d.check(t, "panel").Seconds
	if session <= 0 || session > 10 {
		t.Errorf("the session took %.2f s, the guide allows 10", session)
	}
	back := d.check(t, "reconnect").Seconds
	t.Logf("coming back to it took %.2f s; 3 is what verify warns of", back)
	if back <= 0 {
		t.Errorf("coming back to it was not timed: %.2f s", back)
	}
	if parts > session || parts < session/2 {
		t.Errorf("the parts come to %.2f s of %.2f", parts, session)
	}
}

// TestT138_test_performance: each IDE's window within the guide's 8, 9 and 10 seconds of its start in that session, as
// the developer's.
func TestT138_test_performance(t *testing.T) {
	d := theWorkstation(t).use(t)
	for id, most := range map[string]float64{"vscode": 8, "cursor": 9, "antigravity": 10} {
		c := d.check(t, id)
		t.Logf("%-12s %-5s %6.2f s  %s", id, c.Status, c.Seconds, c.Message)
		if c.Status != "PASS" || c.Seconds <= 0 || c.Seconds > most || !strings.HasPrefix(c.Message, "window ") || !strings.HasSuffix(c.Message, " of devuser") {
			t.Errorf("%s: %+v, the guide allows %g s", id, c, most)
		}
	}
}

// TestVerifyNamesWhatIsBroken: the fifteen checks hold on a workstation, change nothing, and each thing that is broken
// is named by its check, with exit code 4 and something to type.
func TestVerifyNamesWhatIsBroken(t *testing.T) {
	w := theWorkstation(t)
	v := w.tool(t)
	verify := func(code int, args ...string) result {
		return v.run(code, append(append([]string{"verify"}, args...), w.vars...)...)
	}
	before := on(t, w.h, fingerprint)
	d := verify(0, "-o", "json").verified(t)
	if after := on(t, w.h, fingerprint); after != before {
		t.Errorf("verify has changed the host: %s", firstDifference(after, before))
	}
	if len(d.Hosts[0].Checks) != 15 || d.Status != "PASS" {
		t.Errorf("%s, %d checks", d.Status, len(d.Hosts[0].Checks))
	}
	critical := 0
	for _, c := range d.Hosts[0].Checks {
		if c.Status != "PASS" {
			t.Errorf("%s is %s: %s", c.ID, c.Status, c.Message)
		}
		if c.Critical {
			critical++
		}
	}
	if critical != 8 {
		t.Errorf("%d critical checks, want 8", critical)
	}
	wants(t, "a check nobody knows", verify(5, "--check", "nothing").err, "there is no such check", "rdp-port")
	wants(t, "a phase left out", verify(0, "--skip-phase", "ide-cursor", "--check", "cursor-installed").out, "[SKIP] cursor-installed")

	for _, broken := range []struct{ check, breaks, mends string }{
		{"rdp-service", "systemctl disable --now xrdp", "systemctl enable --now xrdp"},
		{"rdp-port", "sed -i s/^security_layer=tls/security_layer=negotiate/ /etc/xrdp/xrdp.ini", "sed -i s/^security_layer=negotiate/security_layer=tls/ /etc/xrdp/xrdp.ini"},
		{"vscode-installed", "mv /usr/bin/code /usr/bin/code.kept; ln -s /bin/false /usr/bin/code", "mv -f /usr/bin/code.kept /usr/bin/code"},
		{"firewall-rules", "ufw disable", "ufw --force enable"},
		{"desktop-installed", "mv /usr/bin/xfwm4 /usr/bin/xfwm4.kept", "mv /usr/bin/xfwm4.kept /usr/bin/xfwm4"},
		{"user-groups", "gpasswd -d devuser plugdev", "gpasswd -a devuser plugdev"},
	} {
		on(t, w.h, broken.breaks)
		r := verify(4, "-o", "json", "--check", broken.check)
		on(t, w.h, broken.mends)
		if c := r.verified(t).check(t, broken.check); c.Status != "FAIL" || c.Message == "" || c.Hint == "" {
			t.Errorf("%s, broken by %q: %+v", broken.check, broken.breaks, c)
		}
		verify(0, "--check", broken.check)
	}
	var suites struct {
		Suites []struct {
			Tests int `xml:"tests,attr"`
			Cases []struct {
				Name string `xml:"name,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	try(t, xml.Unmarshal([]byte(verify(0, "-o", "junit").out), &suites))
	if len(suites.Suites) != 1 || suites.Suites[0].Tests != 15 || len(suites.Suites[0].Cases) != 15 {
		t.Errorf("JUnit: %+v", suites)
	}
}

// TestVerifyDeepLeavesNothing: what was made for it is gone also when it is interrupted in the middle, and when its line
// is cut.
func TestVerifyDeepLeavesNothing(t *testing.T) {
	w := theWorkstation(t)
	v := w.tool(t)
	before := remains(t, w.h)
	gone := func() bool {
		out, err := w.h.Exec(t.Context(), "getent passwd | grep vpsctl- || ls -d /run/vpsctl-* /home/vpsctl-*")
		return err != nil && out == ""
	}
	args := append([]string{"verify", "--deep", "-y", "--check", "os-version"}, w.vars...)

	p := v.start(args...)
	p.sees("deep: vscode ok") // the next one is being started, as the developer
	p.signal(syscall.SIGINT)
	p.wait(130)
	until(t, "an interrupted verify --deep to leave nothing", gone)
	nothingRemains(t, w.h, before, "verify --deep with ^C")

	p = v.start(args...)
	p.sees("deep: authentication ok")
	try(t, w.h.Cut(t.Context()))
	until(t, "a verify --deep without a line to leave nothing", gone)
	try(t, w.h.Restore(t.Context()))
	p.wait(0)
	nothingRemains(t, w.h, before, "verify --deep whose line is cut")
}

// TestWorkstationSecondRun: all ten phases once more change nothing, within the guide's 300 seconds. `make bench-provision`
// measures how far below that it is.
func TestWorkstationSecondRun(t *testing.T) {
	const most = 300.0
	w := theWorkstation(t)
	state := fingerprint + "; cat /etc/passwd /etc/group /etc/shadow; systemctl list-unit-files --no-legend; ufw status verbose"
	before := on(t, w.h, state)
	r := w.tool(t).run(0, append([]string{"provision", "--non-interactive", "-o", "json"}, w.vars...)...)
	if d, after := r.doc(t), on(t, w.h, state); after != before || d.Hosts[0].Changed != 0 {
		t.Fatalf("the second run changed %d steps:\n%s", d.Hosts[0].Changed, differences(before, after))
	}
	t.Logf("the second run took %.2f s", r.took.Seconds())
	if r.took.Seconds() > most {
		t.Errorf("the second run took %.2f s, the guide allows %g", r.took.Seconds(), most)
	}
}
