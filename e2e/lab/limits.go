//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// raiseLimits lets this machine forward packets and start many systemds, each of which
// counts against root,, says what it changed, and remembers what was
// there before until the last lab is gone.
func raiseLimits(log io.Writer) error {
	for key, want := range map[string]int{"fs/inotify/max_user_instances": 4096, "fs/inotify/max_user_watches": 65536} {
		if err := raise(key, want, log); err != nil {
			fmt.Fprintln(log, "lab: many hosts may fail to boot:", err) // in a container they cannot be set
		}
	}
	return raise("net/ipv4/ip_forward", 1, log)
}

func raise(key string, want int, log io.Writer) error {
	path := filepath.Join("/proc/sys", key)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	was := strings.TrimSpace(string(b))
	if n, err := strconv.Atoi(was); err == nil && n >= want {
		return nil
	}
	if err := remember(key, was); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	fmt.Fprintf(log, "lab: set %s from %s to %d until the last lab is down\n", strings.ReplaceAll(key, "/", "."), was, want)
	return nil
}

func limitsFile() string { return filepath.Join(storeDir(), "limits.json") }

func remember(key, was string) error {
	old := make(map[string]string)
	if b, err := os.ReadFile(limitsFile()); err == nil {
		if err := json.Unmarshal(b, &old); err != nil {
			return fmt.Errorf("lab: %s: %w", limitsFile(), err)
		}
	}
	if _, known := old[key]; known {
		return nil
	}
	old[key] = was
	b, err := json.Marshal(old)
	if err != nil {
		return err
	}
	return os.WriteFile(limitsFile(), b, 0o644)
}

// restoreLimits puts the machine's own values back when no lab is left.
func restoreLimits(ctx context.Context) error {
	unlock, err := lockFile(ctx, filepath.Join(storeDir(), "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if labs, err := allLabs(); err != nil || len(labs) > 0 {
		return err
	}
	b, err := os.ReadFile(limitsFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var old map[string]string
	if err := errors.Join(err, json.Unmarshal(b, &old)); err != nil {
		return fmt.Errorf("lab: %s: %w", limitsFile(), err)
	}
	for key, was := range old {
		err = errors.Join(err, os.WriteFile(filepath.Join("/proc/sys", key), []byte(was), 0o644))
	}
	return errors.Join(err, os.Remove(limitsFile()))
}
