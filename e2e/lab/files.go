//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	if err := l.Describe(l.state.Dir, l.Hosts); err != nil {
		return err
	}
	return l.giveAway()
}

// Describe writes an inventory.yaml and a known_hosts of some of the hosts into a folder, for a client that is to see
// no others.
func (l *Lab) Describe(dir string, hosts []*Host) error {
	var inventory, known strings.Builder
	fmt.Fprintf(&inventory, "# Hosts of a lab on this machine. Written anew by every lab-up.\ndefaults:\n  user: root\n  identity_file: %q\nhosts:\n", l.Identity())
	for _, h := range hosts {
		_, pin, err := h.hostKey(keyKinds[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(&inventory, "  %s:\n    address: %s\n    host_key: %q\n", h.Name, h.Addr, pin)
		if err := h.known(&known); err != nil {
			return err
		}
	}
	return errors.Join(
		renameio.WriteFile(filepath.Join(dir, "inventory.yaml"), []byte(inventory.String()), 0o600),
		renameio.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known.String()), 0o600))
}

func (h *Host) known(lines *strings.Builder) error {
	for _, kind := range keyKinds {
		signer, _, err := h.hostKey(kind)
		if err != nil {
			return err
		}
		fmt.Fprintln(lines, knownhosts.Line([]string{h.Addr}, signer.PublicKey()))
	}
	return nil
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
