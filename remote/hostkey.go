package remote

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpsctl/vpsctl/inventory"
)

// keyCheck decides on one host's key, over as many handshakes as it takes. A
// host has a key of each kind but shows one per handshake: the kinds that are
// asked for come from what is known, so that another kind is not taken for a
// changed key. Where only a fingerprint is known, each kind is asked for in
// turn.
type keyCheck struct {
	store *hostKeys
	host  string
	addr  string
	pins  []pin // beat known_hosts

	rounds  [][]string // algorithms to ask for, one handshake each
	seen    []ssh.PublicKey
	offered ssh.PublicKey // accepted
	verdict *Error        // final; nil while undecided or good
}

// pin is a key or the fingerprint of one.
type pin struct {
	key  ssh.PublicKey
	hash string
}

var errOtherKey = errors.New("the host has shown another kind of key")

// checkFor prepares the check of h at addr. The error is about this machine:
// a pin or a known_hosts that cannot be read.
func (s *hostKeys) checkFor(h *inventory.Host, addr string) (*keyCheck, error) {
	k := &keyCheck{store: s, host: h.Name, addr: addr}
	for _, text := range h.HostKeys {
		p, err := parsePin(text)
		if err != nil {
			return nil, &Error{Host: h.Name, Stage: "read host_key", Kind: Local, Err: err, hint: "write SHA256:… or a key line such as ssh-ed25519 AAAA…"}
		}
		k.pins = append(k.pins, p)
	}
	if err := s.load(); err != nil && len(k.pins) == 0 {
		return nil, &Error{Host: h.Name, Stage: "read known_hosts", Kind: Local, Err: err}
	}
	if len(k.pins) > 0 {
		k.rounds = pinRounds(k.pins, s.known(addr))
	} else {
		k.rounds = [][]string{knownAlgorithms(s.known(addr))}
	}
	return k, nil
}

func parsePin(text string) (pin, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "SHA256:") {
		return pin{hash: strings.TrimRight(text, "=")}, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return pin{}, fmt.Errorf("%q is neither a fingerprint nor a key line", clip(text, 60))
	}
	return pin{key: key, hash: ssh.FingerprintSHA256(key)}, nil
}

func (k *keyCheck) algorithms() []string { return k.rounds[0] }

// check is asked in a handshake whether key is the host's. When the answer is
// final and no, verdict says why.
func (k *keyCheck) check(key ssh.PublicKey) error {
	err := k.judge(key)
	if err == nil {
		k.offered = key
		return nil
	}
	var final *Error
	if errors.As(err, &final) {
		k.verdict = final
	}
	return err
}

func (k *keyCheck) judge(key ssh.PublicKey) error {
	err := k.store.ask(k.addr, key)
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &revoked) {
		return k.refuse("", "the key %s is revoked in %s", describe(key), k.store.where(revoked.Revoked))
	}
	if len(k.pins) > 0 {
		return k.judgePinned(key)
	}
	if err == nil {
		return nil
	}
	if _, cert := key.(*ssh.Certificate); cert {
		return k.refuse("", "its certificate does not hold: %v", err)
	}
	var mismatch *xknownhosts.KeyError
	if !errors.As(err, &mismatch) {
		return k.refuse("", "%v", err)
	}
	if want := plain(k.store.db, k.addr, mismatch.Want); len(want) > 0 {
		return k.changed(want, key)
	}
	if k.store.acceptNew {
		return k.accept(key)
	}
	return k.refuse(fmt.Sprintf("compare the fingerprint, then add --accept-new-host-keys, or pin it in the inventory: `host_key: %s`", keyText(key)),
		"nobody knows this host yet; it shows %s", describe(key))
}

func (k *keyCheck) judgePinned(key ssh.PublicKey) error {
	hash := ssh.FingerprintSHA256(key)
	var pinned []string
	for _, p := range k.pins {
		if p.hash == hash {
			return nil
		}
		pinned = append(pinned, p.hash)
	}
	k.seen = append(k.seen, key)
	if len(k.rounds) > 1 {
		return errOtherKey
	}
	return k.mispinned(pinned)
}

func (k *keyCheck) mispinned(pinned []string) *Error {
	var shown []string
	for _, key := range k.seen {
		shown = append(shown, describe(key))
	}
	return k.refuse(fmt.Sprintf("if the host was rebuilt, change `host_key` of %s; if not, somebody is between you and it", k.host),
		"the host key CHANGED: the inventory pins %s, the host shows %s", strings.Join(pinned, ", "), strings.Join(shown, ", "))
}

func (k *keyCheck) changed(want []xknownhosts.KnownKey, key ssh.PublicKey) *Error {
	var known []string
	for _, w := range want {
		known = append(known, fmt.Sprintf("%s (%s)", describe(w.Key), k.store.where(w)))
	}
	return k.refuse(fmt.Sprintf("if the host was rebuilt: `vpsctl hosts forget %s`; if not, somebody is between you and it", k.host),
		"the host key CHANGED: known is %s, the host shows %s", strings.Join(known, ", "), describe(key))
}

func (k *keyCheck) accept(key ssh.PublicKey) error {
	err := k.store.accept(k.addr, key)
	var mismatch *xknownhosts.KeyError
	switch {
	case errors.As(err, &mismatch): // another process has just accepted another key
		return k.changed(mismatch.Want, key)
	case err != nil:
		return &Error{Host: k.host, Stage: "host key of " + k.addr, Kind: Local, Err: fmt.Errorf("keep the accepted key: %w", err)}
	}
	return nil
}

func (k *keyCheck) refuse(hint, format string, args ...any) *Error {
	return &Error{Host: k.host, Stage: "host key of " + k.addr, Kind: HostKey, Err: fmt.Errorf(format, args...), hint: hint}
}

// next says whether another handshake may find the right key, after err ended
// one, and else what is to be said.
func (k *keyCheck) next(err error) (again bool, final error) {
	var none *ssh.AlgorithmNegotiationError
	noKey := errors.As(err, &none) && strings.Contains(none.What, "host key")
	if !noKey && !errors.Is(err, errOtherKey) {
		return false, err
	}
	if len(k.rounds) > 1 {
		k.rounds = k.rounds[1:]
		return true, nil
	}
	if len(k.seen) > 0 { // the last kind asked for is one the host has not got
		var pinned []string
		for _, p := range k.pins {
			pinned = append(pinned, p.hash)
		}
		return false, k.mispinned(pinned)
	}
	if all := plainAlgorithms(); !slices.Equal(k.rounds[0], all) {
		k.rounds[0] = all // it has no key of a known kind: the message shall name the one it has
		return true, nil
	}
	return false, err
}

// knownAlgorithms are those to ask for: of the kinds that are known, before
// them certificates when an authority speaks for the host. Nothing known, or
// only an authority, leaves every kind.
func knownAlgorithms(known []knownhosts.PublicKey) []string {
	var plain []string
	cert := false
	for _, key := range known {
		if cert = cert || key.Cert; key.Cert {
			continue
		}
		plain = append(plain, keyAlgorithms(key.Type())...)
	}
	if len(plain) == 0 {
		plain = plainAlgorithms()
	}
	if cert {
		plain = append(certAlgorithms(), plain...)
	}
	return unique(plain)
}

// pinRounds asks for the kinds of pinned keys at once; for fingerprints for one
// kind after the other, beginning with one whose known key has it.
func pinRounds(pins []pin, known []knownhosts.PublicKey) [][]string {
	var first []string
	open := false
	for _, p := range pins {
		if p.key != nil {
			first = append(first, keyAlgorithms(p.key.Type())...)
			continue
		}
		open = true
		for _, key := range known {
			if !key.Cert && ssh.FingerprintSHA256(key) == p.hash {
				first = append(first, keyAlgorithms(key.Type())...)
			}
		}
	}
	var rounds [][]string
	if len(first) > 0 {
		rounds = append(rounds, unique(first))
	}
	if !open {
		return rounds
	}
	for _, kind := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSA, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521} {
		if !slices.Contains(first, kind) {
			rounds = append(rounds, keyAlgorithms(kind))
		}
	}
	return rounds
}

// keyAlgorithms are the signature algorithms of a kind of key.
func keyAlgorithms(kind string) []string {
	if kind == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	}
	return []string{kind}
}

func plainAlgorithms() []string {
	return append([]string{ssh.KeyAlgoED25519}, slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool {
		return a == ssh.KeyAlgoED25519 || isCert(a)
	})...)
}

func certAlgorithms() []string {
	return slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool { return !isCert(a) })
}

func isCert(algorithm string) bool { return strings.Contains(algorithm, "-cert-v01@") }

func unique(in []string) (out []string) {
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func describe(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

func keyText(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// nowhere stands for the address of the peer, which knownhosts looks at only
// where no name is given.
var nowhere = &net.TCPAddr{IP: net.IPv4zero}
