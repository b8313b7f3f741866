//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// dir is the host's folder outside: disk layers, host keys, console log.
func (h *Host) dir() string { return filepath.Join(labDir(h.lab.ID), h.Name) }

// Root is the host's file system as seen from this machine. Its /run, /tmp and /proc are not the host's own.
func (h *Host) Root() string { return filepath.Join(h.dir(), "root") }

func (h *Host) mounted() bool {
	var root, parent unix.Stat_t
	return unix.Stat(h.Root(), &root) == nil && unix.Stat(h.dir(), &parent) == nil && root.Dev != parent.Dev
}

// freshDisk throws the host's disk away and gives it one that is the base and what makes a host this host.
func (h *Host) freshDisk(ctx context.Context) error {
	if err := unmountBelow(h.dir()); err != nil {
		return err
	}
	for _, layer := range []string{"upper", "work", "root"} {
		dir := filepath.Join(h.dir(), layer)
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			return fmt.Errorf("%s: fresh disk: %w", h.Name, err)
		}
	}
	if err := h.mount(); err != nil {
		return err
	}
	if err := h.personalize(); err != nil {
		return fmt.Errorf("%s: fresh disk: %w", h.Name, err)
	}
	return nil
}

func (h *Host) mount() error {
	if h.mounted() {
		return nil
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", h.lab.state.Base, h.dir(), h.dir())
	if err := unix.Mount("overlay", h.Root(), "overlay", 0, layers); err != nil {
		return &diskError{fmt.Errorf("%s: mount its disk at %s: %w", h.Name, h.Root(), err)}
	}
	return nil
}

type diskError struct{ error }

func (e *diskError) Unwrap() error { return e.error }
func (e *diskError) Hint() string {
	return "an overlay cannot lie on another: set VPSCTL_LAB_STORE to a folder on a real disk"
}

// personalize writes the files that differ from host to host. The machine-id is set, so that the host's systemd does
// not take this boot for the image's first one.
func (h *Host) personalize() error {
	resolv, err := resolvConf()
	if err != nil {
		return err
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	files := map[string]string{
		"etc/hostname":    h.Name + "\n",
		"etc/machine-id":  hex.EncodeToString(id[:]) + "\n",
		"etc/resolv.conf": string(resolv),
		aptConfPath:       h.lab.aptConf(h),
		"etc/hosts":       fmt.Sprintf("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n%s %s\n", h.Addr, h.Name),
	}
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(h.Root(), name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(h.installHostKeys(), h.authorize("root", "root"), h.authorize("admin", "home/admin"), h.authorize("plain", "home/plain"))
}

func (h *Host) installHostKeys() error {
	for _, kind := range keyKinds {
		if _, _, err := h.hostKey(kind); err != nil {
			return err
		}
		name := "ssh_host_" + kind + "_key"
		for file, mode := range map[string]os.FileMode{name: 0o600, name + ".pub": 0o644} {
			b, err := os.ReadFile(filepath.Join(h.dir(), file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(h.Root(), "etc/ssh", file), b, mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// authorize lets the lab's identity log in as the user with that home.
func (h *Host) authorize(user, home string) error {
	line, err := os.ReadFile(h.lab.Identity() + ".pub")
	if err != nil {
		return err
	}
	dir := filepath.Join(h.Root(), home, ".ssh")
	owner, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("home of %s: %w", user, err)
	}
	st := owner.Sys().(*syscall.Stat_t)
	file := filepath.Join(dir, "authorized_keys")
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, line, 0o600),
		os.Chown(dir, int(st.Uid), int(st.Gid)), os.Chown(file, int(st.Uid), int(st.Gid)))
}

// unmountBelow unmounts everything mounted in or below dir, the deepest first.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	lines := strings.Split(string(b), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) < 2 || !strings.HasPrefix(f[1], dir+"/") {
			continue
		}
		if e := unix.Unmount(f[1], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); e != nil {
			err = errors.Join(err, fmt.Errorf("lab: unmount %s: %w", f[1], e))
		}
	}
	return err
}
