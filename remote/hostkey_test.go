package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func ecdsaKey(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func rsaKey(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func signerOf(t *testing.T, key any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// name is how known_hosts calls the rig's host.
func (r *rig) name() string { return fmt.Sprintf("[%s]:%d", r.Host, r.Port) }

func (r *rig) knows(t *testing.T, lines ...string) {
	t.Helper()
	r.dialer = nil
	r.opt.KnownHosts = []string{writeFile(t, "known_hosts", strings.Join(lines, "\n")+"\n")}
}

func TestUnknownHostKey(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	r.knows(t, "# nobody")
	key := r.HostKeys()[0]
	wantError(t, ping(t, r), HostKey, "nobody knows this host", ssh.FingerprintSHA256(key), "--accept-new-host-keys", "host_key: "+keyText(key))
	if n := r.Counts(); n.Connections != 1 || n.KeysOffered != 0 {
		t.Errorf("counts %+v: nothing may be offered to an unknown host", n)
	}
	r.opt.KnownHosts = []string{filepath.Join(t.TempDir(), "none", "known_hosts")}
	wantError(t, pingAnew(t, r), HostKey, "nobody knows this host")
}

func TestChangedHostKeyIsRefusedAlways(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	old := r.HostKeys()[0]
	r.RotateHostKey()
	r.opt.AcceptNew = true
	wantError(t, ping(t, r), HostKey, "CHANGED", ssh.FingerprintSHA256(old), ssh.FingerprintSHA256(r.HostKeys()[0]), "known_hosts:1", "vpsctl hosts forget web1")
	if n := r.Counts().KeysOffered; n != 0 {
		t.Errorf("%d keys were offered to somebody else", n)
	}
}

// A host shows the kind of key that is asked for: one of another kind is not a
// changed one.
func TestKnownKindsAreAskedFor(t *testing.T) {
	ed, ec, rs := sshtest.NewKey(), ecdsaKey(t), rsaKey(t)
	r := newRig(t, sshtest.Options{HostKeys: []ssh.Signer{ed, ec, rs}})
	for _, key := range []ssh.Signer{ed, ec, rs} {
		r.knows(t, knownhosts.Line([]string{r.name()}, key.PublicKey()))
		pong, err := r.session(t).Ping(testContext(t))
		if err != nil || pong.Fingerprint != ssh.FingerprintSHA256(key.PublicKey()) {
			t.Errorf("%s: %+v, %v", key.PublicKey().Type(), pong, err)
		}
	}
}

func TestHostThatLostItsKnownKindHasChanged(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	gone := rsaKey(t).PublicKey()
	r.knows(t, knownhosts.Line([]string{r.name()}, gone))
	wantError(t, ping(t, r), HostKey, "CHANGED", ssh.FingerprintSHA256(gone), ssh.FingerprintSHA256(r.HostKeys()[0]))
}

func TestKnownHostsForms(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	key := r.HostKeys()[0]
	line := knownhosts.Line([]string{r.name()}, key)
	good := map[string][]string{
		"hashed":       {knownhosts.HashHostname(r.name()) + " " + keyText(key)},
		"wildcard":     {"127.0.* " + keyText(key)},
		"one bad line": {"host ssh-nobody AAAA", "garbage", line},
		"two keys":     {knownhosts.Line([]string{r.name()}, sshtest.NewKey().PublicKey()), line},
	}
	for name, lines := range good {
		t.Run(name, func(t *testing.T) {
			r.knows(t, lines...)
			if err := ping(t, r); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		r.knows(t, line, "@revoked * "+keyText(key))
		wantError(t, ping(t, r), HostKey, "revoked in", "known_hosts:2")
		r.host.HostKeys = []string{keyText(key)} // even a pin does not bring it back
		wantError(t, pingAnew(t, r), HostKey, "revoked")
		r.host.HostKeys = nil
	})
	t.Run("a bad line keeps the numbers", func(t *testing.T) {
		r.knows(t, "garbage", knownhosts.Line([]string{r.name()}, sshtest.NewKey().PublicKey()))
		wantError(t, ping(t, r), HostKey, "CHANGED", r.opt.KnownHosts[0]+":2")
	})
}

func certificate(t *testing.T, ca, key ssh.Signer, principal string, until time.Time) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{principal}, ValidBefore: uint64(until.Unix())}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCertAuthority(t *testing.T) {
	ca, key := ecdsaKey(t), sshtest.NewKey() // an authority of one kind vouches for keys of another
	tomorrow := time.Now().Add(24 * time.Hour)
	authority := func(r *rig) string { return "@cert-authority " + r.name() + " " + keyText(ca.PublicKey()) }
	r := newRig(t, sshtest.Options{HostKeys: []ssh.Signer{certificate(t, ca, key, "127.0.0.1", tomorrow), key}})
	r.knows(t, authority(r))
	if err := ping(t, r); err != nil {
		t.Error(err)
	}
	old := newRig(t, sshtest.Options{HostKeys: []ssh.Signer{certificate(t, ca, key, "127.0.0.1", time.Unix(1e9, 0))}})
	old.knows(t, authority(old))
	wantError(t, ping(t, old), HostKey, "certificate does not hold", "expired")
	plain := newRig(t, sshtest.Options{HostKeys: []ssh.Signer{key}})
	plain.knows(t, authority(plain))
	wantError(t, ping(t, plain), HostKey, "nobody knows this host")
}

func TestPins(t *testing.T) {
	ed, ec, rs := sshtest.NewKey(), ecdsaKey(t), rsaKey(t)
	r := newRig(t, sshtest.Options{HostKeys: []ssh.Signer{ed, ec, rs}})
	stranger := knownhosts.Line([]string{r.name()}, sshtest.NewKey().PublicKey())
	r.knows(t, stranger) // pins beat it
	for _, key := range []ssh.Signer{ed, ec, rs} {
		for _, pin := range []string{keyText(key.PublicKey()), ssh.FingerprintSHA256(key.PublicKey())} {
			r.host.HostKeys = []string{pin}
			if err := ping(t, r); err != nil {
				t.Errorf("%s: %v", pin, err)
			}
		}
	}
	other := ssh.FingerprintSHA256(sshtest.NewKey().PublicKey())
	r.host.HostKeys = []string{other}
	wantError(t, ping(t, r), HostKey, "CHANGED", "pins "+other, ssh.FingerprintSHA256(ed.PublicKey()), ssh.FingerprintSHA256(rs.PublicKey()), "change `host_key` of web1")
	r.host.HostKeys = []string{other, ssh.FingerprintSHA256(rs.PublicKey())}
	if err := ping(t, r); err != nil {
		t.Errorf("a list of pins: %v", err)
	}
	r.host.HostKeys = []string{keyText(sshtest.NewKey().PublicKey())}
	wantError(t, ping(t, r), HostKey, "CHANGED", ssh.FingerprintSHA256(ed.PublicKey()))
	r.host.HostKeys = []string{"rubbish"}
	wantError(t, ping(t, r), Local, "neither a fingerprint nor a key line")
}

func TestPinOfAKindTheHostHasNot(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	pin := rsaKey(t).PublicKey()
	r.host.HostKeys = []string{keyText(pin)}
	wantError(t, ping(t, r), HostKey, "CHANGED", ssh.FingerprintSHA256(pin), ssh.FingerprintSHA256(r.HostKeys()[0]))
}

func TestAcceptedKeysAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "known_hosts")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# a last line without an end"), 0o600); err != nil {
		t.Fatal(err)
	}
	var rigs []*rig
	for range 4 {
		rigs = append(rigs, newRig(t, sshtest.Options{}))
	}
	d := NewDialer(Options{KnownHosts: []string{file}, Agent: "none", AcceptNew: true})
	var wg sync.WaitGroup
	for _, r := range append(rigs, rigs...) { // each twice at once
		s := d.Session(r.host)
		wg.Go(func() {
			defer s.Close()
			if _, err := s.Ping(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(file)
	if lines := strings.Split(strings.TrimSpace(string(data)), "\n"); err != nil || len(lines) != 5 {
		t.Errorf("%v: %s", err, data)
	}
	later := rigs[0]
	later.opt.KnownHosts = []string{file}
	if err := ping(t, later); err != nil {
		t.Errorf("the next command: %v", err)
	}
}

func TestNewKnownHostsFileIsPrivate(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	file := filepath.Join(t.TempDir(), "ssh", "known_hosts")
	r.opt.KnownHosts, r.opt.AcceptNew = []string{file}, true
	if err := ping(t, r); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(file)
	if err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// Another process may have accepted a key since we read the file.
func TestAcceptLooksAgain(t *testing.T) {
	file := writeFile(t, "known_hosts", "")
	s := &hostKeys{files: []string{file}, appendTo: file, acceptNew: true}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	addr, key := "192.0.2.1:22", sshtest.NewKey().PublicKey()
	if err := os.WriteFile(file, []byte(knownhosts.Line([]string{addr}, sshtest.NewKey().PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := s.checkFor(&inventory.Host{Name: "x"}, addr)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, k.check(key), HostKey, "CHANGED")
}

func TestForget(t *testing.T) {
	host := inventory.Host{Name: "x", Address: "192.0.2.1", Port: 2222}
	addr := net.JoinHostPort(host.Address, "2222")
	line := func(name string) string {
		return strings.TrimSpace(name + " " + keyText(sshtest.NewKey().PublicKey()))
	}
	keep := []string{"# comment", line("192.0.2.1"), line("192.0.2.*"), "@cert-authority " + line("[192.0.2.1]:2222"), line("[192.0.2.9]:2222")}
	gone := []string{line("[192.0.2.1]:2222"), line("other,[192.0.2.1]:2222"), line(knownhosts.HashHostname(knownhosts.Normalize(addr)))}
	file := writeFile(t, "known_hosts", strings.Join(append(gone, keep...), "\n")+"\n")
	d := NewDialer(Options{KnownHosts: []string{file, file + "2"}, Agent: "none"})
	n, err := d.Forget(host)
	if err != nil || n != len(gone) {
		t.Errorf("forgot %d, %v", n, err)
	}
	data, _ := os.ReadFile(file)
	if string(data) != strings.Join(keep, "\n")+"\n" {
		t.Errorf("left: %s", data)
	}
}
