//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/e2e/vendors"
)

// withVendors serves the IDEs' makers to a fleet until the test ends.
func withVendors(t *testing.T, f *Fleet, opt vendors.Options) *vendors.Vendors {
	t.Helper()
	opt.Address = f.Lab.Gateway()
	v, err := vendors.Start(t.Context(), opt)
	try(t, err)
	t.Cleanup(func() { try(t, v.Close()) })
	for _, h := range f.Hosts {
		try(t, v.Prepare(t.Context(), h))
	}
	return v
}

// ides provisions IDE phases, all three when none is named.
func (v *tool) ides(code int, made *vendors.Vendors, phases []string, more ...string) result {
	v.t.Helper()
	if len(phases) == 0 {
		phases = []string{"ide-vscode", "ide-cursor", "ide-antigravity"}
	}
	args := []string{"provision", "--sample-interval", "1s"}
	for _, p := range phases {
		args = append(args, "--only-phase", p)
	}
	return v.run(code, append(append(args, made.Args()...), more...)...)
}

// whatIDEsTouch is all that a rollback of them must bring back.
const whatIDEsTouch = asItWas + `
	dpkg-query -W -f '${binary:Package} ${db:Status-Abbrev} ${Version}\n'
	find /usr/share/keyrings /usr/local/bin /usr/local/share /home /usr/share/applications -printf '%p %M %U:%G %l\n' 2>/dev/null | sort
	debconf-show code; ls /var/lib/apt/lists | grep 10.79 || true`

// TestIDEs: the three from vendors that are dead, slow, cut off, tampered with and well; once more without a change;
// newer ones; and all of it taken back.
func TestIDEs(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h, v := f.Hosts[0], newTool(t, f)
	made := withVendors(t, f, vendors.Options{})
	v.run(0, "provision", "--only-phase", "user-creation")
	on(t, h, `printf 'deb [signed-by=/usr/share/keyrings/old.gpg] `+made.Vars()["cursor_repository"]+` stable main\n' >/etc/apt/sources.list.d/cursor.list
		install -d -o devuser -g devusers /home/devuser/.config /home/devuser/.config/Code /home/devuser/.config/Code/User
		echo '{"mine": true}' >/home/devuser/.config/Code/User/settings.json && chown devuser /home/devuser/.config/Code/User/settings.json`)
	before := on(t, h, whatIDEsTouch)
	var runs []string
	did := func() { runs = append(runs, v.lastRun()) }

	one := []string{"ide-vscode"}
	made.Break(vendors.VSCode, vendors.Fault{Tampered: vendors.Key})
	r := v.ides(2, made, one)
	wants(t, "another key", r.says(), "ide-vscode/source", made.Vars()["vscode_key"], made.Fingerprint(), made.Impostor(), "ask the maker")
	made.Break(vendors.VSCode, vendors.Fault{Tampered: vendors.Signature})
	r = v.ides(2, made, one)
	wants(t, "another index", r.says(), "ide-vscode/source", "it was put back")
	if after := on(t, h, whatIDEsTouch); after != before {
		t.Errorf("after what was refused:\n%s", differ(before, after))
	}
	made.Break(vendors.VSCode, vendors.Fault{Dead: true})
	made.Break(vendors.Cursor, vendors.Fault{Unavailable: 2, Cut: 1})
	made.Break(vendors.Antigravity, vendors.Fault{Unavailable: 1, Cut: 1, BytesPerSec: 2 << 20})
	r = v.ides(2, made, nil)
	did()
	wants(t, "a dead vendor", r.says(), "ide-vscode/source", made.Vars()["vscode_key"])
	for id, want := range map[string]string{"ide-vscode/source": "failed", "ide-cursor/package": "changed", "ide-cursor/it is whole": "ok", "ide-antigravity/it is whole": "ok"} {
		if s := v.record(h.Name).step(id); string(s.Status) != want {
			t.Errorf("beside a dead vendor: %s is %+v, want %s\n%s", id, s, want, r.says())
		}
	}
	for _, ide := range []vendors.IDE{vendors.Cursor, vendors.Antigravity} {
		asked := strings.Join(made.Requests(ide), "\n")
		wants(t, "what "+string(ide)+" was asked for", asked, "503 ", "cut ")
	}
	made.Break(vendors.VSCode, vendors.Fault{Tampered: vendors.Content})
	r = v.ides(2, made, one)
	did()
	wants(t, "another package", r.says(), "ide-vscode/package", "Hash Sum mismatch")
	healthy(t, h, v, made, did)
	newer(t, h, v, made, did)
	for i := len(runs) - 1; i >= 0; i-- {
		v.run(0, "rollback", "-y", runs[i])
	}
	if after := on(t, h, whatIDEsTouch); after != before {
		t.Errorf("after the rollbacks:\n%s", differ(before, after))
	}
}

// healthy wants all three, and nothing to do the second time.
func healthy(t *testing.T, h *lab.Host, v *tool, made *vendors.Vendors, did func()) {
	t.Helper()
	for _, ide := range []vendors.IDE{vendors.VSCode, vendors.Cursor, vendors.Antigravity} {
		made.Break(ide, vendors.Fault{})
	}
	v.ides(0, made, nil)
	did()
	got := on(t, h, `cat /home/devuser/.config/Code/User/settings.json; ls /etc/apt/sources.list.d
		apt-get update -q -o APT::Update::Error-Mode=any >/dev/null && for c in code cursor antigravity; do runuser -u devuser -- $c --version | head -n 1; done
		stat -c '%a %U' /opt/antigravity-ide/chrome-sandbox; grep antigravity /usr/share/applications/mimeinfo.cache | grep scheme`)
	want := "{\"mine\": true}\ncursor.sources\nvscode.sources\n1.104.2-1758714605\n3.20.17-1763000000\n2.5.5-4923483625488384\n4755 root\nx-scheme-handler/antigravity-ide=antigravity-ide-url-handler.desktop;"
	if got != want {
		t.Errorf("on the host:\n%s\nwant\n%s", got, want)
	}
	for _, ide := range []vendors.IDE{vendors.VSCode, vendors.Cursor, vendors.Antigravity} {
		made.Break(ide, vendors.Fault{Dead: true}) // what is there needs nobody
	}
	prints := on(t, h, whatIDEsTouch)
	v.ides(0, made, nil)
	if n := v.changed(h); n != 0 {
		t.Errorf("the second run changed %d", n)
	}
	if after := on(t, h, whatIDEsTouch); after != prints {
		t.Errorf("after a second run:\n%s", differ(prints, after))
	}
}

// newer wants what a new pin names, and to hear of a certificate that is past its date.
func newer(t *testing.T, h *lab.Host, v *tool, made *vendors.Vendors, did func()) {
	t.Helper()
	for _, ide := range []vendors.IDE{vendors.VSCode, vendors.Antigravity} {
		made.Break(ide, vendors.Fault{})
	}
	ctx := context.WithoutCancel(t.Context())
	try(t, made.Publish(ctx, vendors.Release{IDE: vendors.Antigravity, Version: "2.6.0-1", Certificate: time.Now().Add(-time.Hour)}))
	try(t, made.Publish(ctx, vendors.Release{IDE: vendors.VSCode, Version: "1.105.0-1"}))
	made.Break(vendors.Antigravity, vendors.Fault{Tampered: vendors.Content})
	r := v.ides(2, made, []string{"ide-antigravity"})
	wants(t, "another archive", r.says(), "ide-antigravity/program", "SHA-256", made.Vars()["antigravity_sha256_amd64"])
	made.Break(vendors.Antigravity, vendors.Fault{})
	vars := made.Vars()
	try(t, os.WriteFile(filepath.Join(v.dir, "vendors.pem"), []byte(made.CA()), 0o600))
	try(t, os.WriteFile(filepath.Join(v.dir, "pins.yaml"), []byte("antigravity_latest: "+vars["antigravity_latest"]+"\n"), 0o600))
	v.env = append(v.env, "SSL_CERT_FILE="+filepath.Join(v.dir, "vendors.pem"))
	wants(t, "pins update", v.run(0, "pins", "update").out, "2.6.0-1", vars["antigravity_sha256_amd64"])
	r = v.run(0, "provision", "--only-phase", "ide-vscode", "--only-phase", "ide-antigravity", "-e", "vscode_version=1.105.0-1",
		"-e", "vscode_repository="+vars["vscode_repository"], "-e", "vscode_key="+vars["vscode_key"], "-e", "vscode_fingerprint="+vars["vscode_fingerprint"])
	did()
	wants(t, "an old certificate", r.says(), "languageServer/cert.pem of release 2.6.0-1 expired on", "vpsctl pins update")
	got := on(t, h, "for c in code antigravity; do runuser -u devuser -- $c --version | head -n 1; done; stat -c '%a %U' /opt/antigravity-ide/chrome-sandbox")
	if got != "1.105.0-1\n2.6.0-1\n4755 root" {
		t.Errorf("newer ones: %s", got)
	}
}

// TestUpgradeWithoutVendors: an upgrade when all vendors are away goes by Debian's own sources, and says so; an entry for
// Cursor that somebody wrote by hand, and that stops apt beside its package's own, goes before apt is called.
func TestUpgradeWithoutVendors(t *testing.T) {
	t.Parallel()
	f := FreshLab(t, 1)
	h, v := f.Hosts[0], newTool(t, f)
	made := withVendors(t, f, vendors.Options{})
	v.run(0, "provision", "--only-phase", "user-creation")
	v.ides(0, made, []string{"ide-cursor"})
	const list = "/etc/apt/sources.list.d/cursor.list"
	on(t, h, `cp /usr/share/keyrings/anysphere.gpg /etc/apt/keyrings/cursor.gpg
		echo 'deb [signed-by=/etc/apt/keyrings/cursor.gpg] `+made.Vars()["cursor_repository"]+` stable main' >`+list)
	if out, err := h.Exec(t.Context(), "apt-get -s upgrade"); err == nil || !strings.Contains(err.Error(), "Conflicting values set for option Signed-By") {
		t.Fatalf("apt does not mind the second entry, this proves nothing: %v\n%s", err, out)
	}
	made.Break(vendors.Cursor, vendors.Fault{Unavailable: 1000})
	upgrade := func() result {
		on(t, h, "touch -d '7 hours ago' /var/lib/apt/lists; ! test -e /var/lib/vpsctl/upgraded || touch -d '7 hours ago' /var/lib/vpsctl/upgraded")
		return v.run(0, "provision", "--only-phase", "system-prep", "-e", "upgrade=always")
	}
	first := upgrade()
	wants(t, "an upgrade without vendors", first.says(), "[WARN]", "system-prep/all package sources answered", "went on without cursor.sources")
	for id, want := range map[string]string{"second source of Cursor": "changed", "second source of VS Code": "skipped", "package lists": "changed", "upgrade": "changed"} {
		if s := v.record(h.Name).step("system-prep/" + id); string(s.Status) != want {
			t.Errorf("%s is %+v, want %s", id, s, want)
		}
	}
	on(t, h, "! test -e "+list+" && ls /var/lib/apt/lists | grep aptrepo_dists_stable") // the old lists are still there
	made.Break(vendors.Cursor, vendors.Fault{})
	if again := upgrade(); strings.Contains(again.says(), "all package sources answered") {
		t.Errorf("with the vendor back:\n%s", again.says())
	}
	if s := v.record(h.Name).step("system-prep/package lists"); s.Status != "changed" {
		t.Errorf("the second time, package lists is %+v", s)
	}
}

// changed counts the steps of the last run that changed something on a host.
func (v *tool) changed(h *lab.Host) (n int) {
	v.t.Helper()
	for _, line := range strings.Split(v.file("state/vpsctl/runs/"+v.lastRun()+"/"+h.Name+"/events.jsonl"), "\n") {
		if strings.Contains(line, `"k":"step_end"`) && strings.Contains(line, `"status":"changed"`) {
			n++
		}
	}
	return n
}
