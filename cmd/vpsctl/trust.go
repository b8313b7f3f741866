package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/inventory"
)

// A shared inventory is code: it may be a program, run commands for secrets and
// read files outside its folder. Nothing of it runs until somebody has looked at
// those lines once; the file `trusted` in the state folder keeps their hashes.

// approve refuses a program that was not named, or not confirmed as it is now.
func (k *call) approve(dir string, code []string) error {
	if !k.IsSet("inventory") {
		return usageError{"./inventory.yaml is a program; what is not named is not run", "name it: -i ./inventory.yaml"}
	}
	return k.confirmed(dir, code)
}

// trusted refuses to connect with an inventory whose code was not confirmed.
func (k *call) trusted(inv *inventory.Inventory) error { return k.confirmed(inv.Dir(), inv.Code()) }

func (k *call) confirmed(dir string, code []string) error {
	if len(code) == 0 {
		return nil
	}
	known, err := k.isTrusted(dir, code)
	if err != nil || known {
		return err
	}
	return usageError{"the inventory runs commands or reads files that you have not confirmed:\n" + strings.Join(code, "\n"),
		"look at these lines, then type `vpsctl inventory trust -i " + k.String("inventory") + "`"}
}

func (k *call) trustFile() string { return filepath.Join(k.stateDir(), "trusted") }

func (k *call) isTrusted(dir string, code []string) (bool, error) {
	kept, err := os.ReadFile(k.trustFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	return slices.Contains(strings.Fields(string(kept)), trustHash(dir, code)), nil
}

// trustHash is of the code and its folder: the same words mean other files in
// another one.
func trustHash(dir string, code []string) string {
	sum := sha256.Sum256([]byte(dir + "\x00" + strings.Join(code, "\n")))
	return hex.EncodeToString(sum[:])
}

func inventoryTrust(k *call) error {
	inv, err := k.loadInventory(func(dir string, code []string) error {
		if !k.IsSet("inventory") {
			return k.approve(dir, code)
		}
		return k.trust(dir, code, "Run this program for the inventory?")
	})
	if err != nil {
		return err
	}
	code := nonNil(inv.Code())
	if len(code) > 0 {
		if err := k.trust(inv.Dir(), code, "Run these commands and read these files when connecting?"); err != nil {
			return err
		}
	}
	return k.ui.result(k.json(), map[string]any{"schema": 1, "inventory": k.String("inventory"), "code": code}, func(io.Writer) error {
		if len(code) == 0 {
			k.ui.say("[OK]", "%s runs nothing and reads nothing elsewhere: there is nothing to confirm", k.String("inventory"))
		} else {
			k.ui.say("[OK]", "%s is confirmed, until one of these lines changes", k.String("inventory"))
		}
		return nil
	})
}

// trust shows the code, asks, and keeps the answer. What is known is not asked
// again.
func (k *call) trust(dir string, code []string, question string) error {
	known, err := k.isTrusted(dir, code)
	if err != nil || known {
		return err
	}
	to := k.ui.out
	if k.json() {
		to = k.ui.err
	}
	fmt.Fprintln(to, strings.Join(code, "\n"))
	if err := k.confirm(question); err != nil {
		return err
	}
	if err := os.MkdirAll(k.stateDir(), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(k.trustFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, trustHash(dir, code))
	return errors.Join(err, f.Close())
}
