package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/vpsctl/vpsctl/inventory"
)

// sudoWords are the passwords that hosts' sudo asks for, each fetched once: a
// command behind one may ask a person.
type sudoWords struct {
	dir   string // what references start from
	typed inventory.Secret
	err   error // why nothing was typed that should have been

	mu    sync.Mutex
	known map[string]inventory.Secret // by where they are kept
}

// sudoWords has the one for all hosts typed, when that is wanted.
func (k *call) sudoWords() *sudoWords {
	w := &sudoWords{known: map[string]inventory.Secret{}}
	w.dir, w.err = filepath.Abs(filepath.Dir(k.String("inventory")))
	if w.err != nil || !k.Bool("ask-become-password") {
		return w
	}
	const hint = "keep it somewhere and say where: become_password in the inventory"
	if k.ui.never {
		w.err = usageError{"--ask-become-password with --non-interactive", hint}
		return w
	}
	typed, err := prompt(k.ctx, "Password for sudo on the hosts: ")
	if err == nil {
		w.typed, err = inventory.NewSecret(typed)
		clear(typed)
	}
	var left exitError // ^C is no mistake
	if errors.As(err, &left) {
		w.err = left
	} else if err != nil {
		w.err = usageError{"--ask-become-password: " + err.Error(), cmp.Or(hintOf(err), hint)}
	}
	return w
}

// of is the password for one host; empty when its inventory names none.
func (w *sudoWords) of(ctx context.Context, h inventory.Host) (inventory.Secret, error) {
	switch {
	case !h.Become:
		return inventory.Secret{}, nil
	case w.err != nil:
		return inventory.Secret{}, w.err
	case w.typed.Reveal() != "":
		return w.typed, nil
	case h.BecomePassword == nil:
		return inventory.Secret{}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprint(refDoc(h.BecomePassword))
	if s, ok := w.known[key]; ok {
		return s, nil
	}
	s, err := h.BecomePassword.Resolve(ctx, w.dir)
	if err == nil {
		w.known[key] = s
	}
	return s, err
}
