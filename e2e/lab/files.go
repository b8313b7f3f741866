//go:build linux

package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh/knownhosts"
)

// writeFiles writes what a client needs to reach the hosts: identity, inventory and known_hosts. They belong to the
// user who called sudo, if one did.
func (l *Lab) writeFiles() error {
	if err := os.MkdirAll(l.state.Dir, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if _, _, err := ensureKey(l.Identity(), "ed25519", "lab"); err != nil {
		return err
	}
	inventory, known, err := l.describe()
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(l.Inventory(), []byte(inventory), 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := renameio.WriteFile(l.KnownHosts(), []byte(known), 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return l.giveAway()
}

func (l *Lab) describe() (inventory, known string, err error) {
	var inv, kh strings.Builder
	fmt.Fprintf(&inv, "# Hosts of a lab on this machine. Written anew by every lab-up.\ndefaults:\n  user: root\n  identity_file: %q\nhosts:\n", l.Identity())
	for _, h := range l.Hosts {
		for _, kind := range keyKinds {
			signer, line, err := h.hostKey(kind)
			if err != nil {
				return "", "", err
			}
			fmt.Fprintln(&kh, knownhosts.Line([]string{h.Addr}, signer.PublicKey()))
			if kind == keyKinds[0] {
				fmt.Fprintf(&inv, "  %s:\n    address: %s\n    host_key: %q\n", h.Name, h.Addr, line)
			}
		}
	}
	return inv.String(), kh.String(), nil
}

func (l *Lab) giveAway() error {
	uid, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil {
		return nil
	}
	gid, err := strconv.Atoi(os.Getenv("SUDO_GID"))
	if err != nil {
		return nil
	}
	for _, path := range append(l.files(), l.state.Dir) {
		if err := os.Lchown(path, uid, gid); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}

func (l *Lab) files() []string {
	return []string{l.Inventory(), l.KnownHosts(), l.Identity(), l.Identity() + ".pub"}
}
