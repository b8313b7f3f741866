//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/collector/bus"
)

// ownScope has systemd move this process into a scope unit of its own, with its
// cgroup delegated. The function it returns waits until that is done, and gives
// the cgroup's path below the hierarchy's root.
func ownScope(unit, description string) func() (string, error) {
	deadline := time.Now().Add(5 * time.Second)
	talk, err := bus.Ask(bus.Systemd, startTransientUnit(unit, description, uint32(os.Getpid())))
	return func() (string, error) {
		if err == nil {
			_, err = talk.Answer()
			talk.Close() // at once: systemd would tell us of every change of the unit
		}
		if err != nil {
			return "", fmt.Errorf("ask systemd for a scope: %w", err)
		}
		return awaitScope(unit, deadline)
	}
}

// awaitScope waits for the unit. The answer says that a job was queued; that it
// is done shows in /proc.
func awaitScope(unit string, deadline time.Time) (string, error) {
	for wait := time.Millisecond; time.Now().Before(deadline); wait = min(wait*5/4, 20*time.Millisecond) {
		if path := ownCgroup(); filepath.Base(path) == unit {
			return path, nil
		}
		time.Sleep(wait)
	}
	return "", fmt.Errorf("systemd did not move the runner into %s", unit)
}

// ownCgroup is this process's path in the hierarchy systemd keeps.
func ownCgroup() string {
	unified := ""
	for line := range strings.Lines(readSmall("/proc/self/cgroup")) {
		line = strings.TrimSpace(line)
		if _, path, ok := strings.Cut(line, ":name=systemd:"); ok && strings.HasSuffix(path, ".scope") {
			return path
		}
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			unified = path
		}
	}
	return unified
}

// startTransientUnit is the whole call: StartTransientUnit(unit, "fail",
// [(name, value)…], []).
func startTransientUnit(unit, description string, pid uint32) bus.Call {
	body := &bus.Buf{}
	body.Str(unit)
	body.Str("fail")
	body.Array(8, func() {
		body.Property("Description", "s", func() { body.Str(description) })
		body.Property("Delegate", "b", func() { body.U32(1) })
		body.Property("CollectMode", "s", func() { body.Str("inactive-or-failed") })
		body.Property("PIDs", "au", func() { body.Array(4, func() { body.U32(pid) }) })
	})
	body.Array(8, func() {})
	return bus.Call{Path: "/org/freedesktop/systemd1", Interface: "org.freedesktop.systemd1.Manager", Member: "StartTransientUnit",
		Signature: "ssa(sv)a(sa(sv))", Body: body.B}
}
