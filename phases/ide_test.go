package phases

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOneScriptForAllIDEs: the three phases have the same one.
func TestOneScriptForAllIDEs(t *testing.T) {
	first, err := builtin.ReadFile("builtin/ide-vscode/ide.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"ide-cursor", "ide-antigravity"} {
		if other, err := builtin.ReadFile("builtin/" + id + "/ide.sh"); err != nil || !bytes.Equal(first, other) {
			t.Errorf("%s has another ide.sh: %v", id, err)
		}
	}
}

// TestIDESettings: made where there are none, left alone where there are, and
// taken back as long as nobody has changed them.
func TestIDESettings(t *testing.T) {
	sh := shell(t)
	script, err := filepath.Abs("builtin/ide-vscode/ide.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, home := filepath.Join(dir, "ide"), filepath.Join(dir, "home")
	run := func(want int, verb string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), sh, script, verb, root)
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != want {
			t.Fatalf("%s: exit code %d, wanted %d\n%s", verb, cmd.ProcessState.ExitCode(), want, out)
		}
	}
	product := filepath.Join(root, "resources", "app", "product.json")
	settings, switches := filepath.Join(home, ".config/An IDE/User/settings.json"), filepath.Join(home, ".an-ide/argv.json")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	run(0, "unset") // the IDE is gone already
	write(t, product, `{"nameShort":"../..","dataFolderName":".an-ide"}`)
	run(2, "ask")
	run(2, "set")
	write(t, product, `{"nameShort":"An IDE","nameLong":"An IDE of Ours","dataFolderName": ".an-ide"}`)
	run(1, "ask")
	run(0, "set")
	run(0, "ask")
	for file, want := range map[string]string{settings: `"telemetry.telemetryLevel": "off"`, switches: `"disable-hardware-acceleration": true`} {
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v\n%s", file, err, b)
		}
	}
	run(0, "unset")
	if left, _ := os.ReadDir(home); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	write(t, settings, `{"mine": true}`)
	run(1, "ask")
	run(0, "set")
	run(0, "unset")
	if b, _ := os.ReadFile(settings); string(b) != `{"mine": true}` {
		t.Errorf("the developer's settings: %s", b)
	}
	if _, err := os.Stat(switches); err == nil {
		t.Error("our switches are left")
	}
}

// TestCertificatesInside: one that is past its date is named; collections of
// authorities and what tests carry are not looked at.
func TestCertificatesInside(t *testing.T) {
	sh := shell(t)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	root := t.TempDir()
	old, good := certificate(t, time.Now().Add(-24*time.Hour)), certificate(t, time.Now().Add(24*time.Hour))
	write(t, filepath.Join(root, "a/good.pem"), good)
	write(t, filepath.Join(root, "a/all.pem"), old+good)
	write(t, filepath.Join(root, "node_modules/x/old.pem"), old)
	write(t, filepath.Join(root, "a/none.crt"), "-----BEGIN CERTIFICATE-----\nx\n")
	ask := func() (string, int) {
		cmd := exec.CommandContext(t.Context(), sh, "builtin/ide-antigravity/certificates.sh", root, "1.2")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := ask(); code != 0 || out != "" {
		t.Errorf("exit code %d: %s", code, out)
	}
	write(t, filepath.Join(root, "language server/cert.pem"), old)
	if out, code := ask(); code != 1 || !strings.HasPrefix(out, root+"/language server/cert.pem of release 1.2 expired on ") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func certificate(t *testing.T, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.AddDate(-1, 0, 0), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestIDEPlan: what variables change, and what a fingerprint must be.
func TestIDEPlan(t *testing.T) {
	q := request()
	q.Only = []string{"ide-vscode", "ide-antigravity"}
	q.Vars = map[string]any{"vscode_version": "1.2.3-4", "vscode_repository": "https://m.test/code", "antigravity_sha256_arm64": strings.Repeat("a", 64)}
	p, _ := mustPlan(t, load(t, ""), q)
	steps := map[string]int{}
	for _, ph := range p.Phases {
		if !ph.Parallel {
			t.Errorf("%s is not parallel", ph.ID)
		}
		for _, s := range ph.Steps {
			if s.Repository != nil && s.Repository.URIs[0] == "https://m.test/code" && s.Repository.Keyring == "/usr/share/keyrings/microsoft.gpg" {
				steps["repository"]++
			}
			if s.File != nil && strings.Contains(string(s.File.Content), "Pin: version 1.2.3-4\n") && s.File.State == "present" {
				steps["pin"]++
			}
			if s.Archive != nil && s.Archive.SHA256 == strings.Repeat("a", 64) {
				steps["archive"]++
			}
		}
	}
	if steps["repository"] != 2 || steps["pin"] != 1 || steps["archive"] != 1 {
		t.Errorf("got %v", steps)
	}
	q.Vars["vscode_fingerprint"] = "42A1772E62E492D6" // a short id is easily made by others
	if _, _, err := load(t, "").Plan(q); err == nil || !strings.Contains(err.Error(), "is no fingerprint") {
		t.Errorf("a short fingerprint: %v", err)
	}
}
