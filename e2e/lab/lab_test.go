//go:build linux

package lab

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestSourcesLike(t *testing.T) {
	plain := "deb http://m/debian/ trixie main\ndeb http://m/debian/ trixie-updates main\n"
	for name, c := range map[string]struct {
		indexes string
		want    []string
	}{
		"nothing":       {"", nil},
		"not Debian":    {"Vendor|Debian|http://v/\nno line\n", nil},
		"mirror":        {"Vendor|Tools|http://v/\nDebian|Debian|http://m/debian/\nDebian|Debian|http://other/\n", []string{plain}},
		"with security": {"Debian|Debian-Security|http://m/sec/\nDebian|Debian|http://m/debian/\n", []string{plain + "deb http://m/sec/ trixie-security main\n", plain}},
	} {
		if got := recipes["trixie"].sourcesLike(c.indexes); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestUsableProxies(t *testing.T) {
	dump := "Acquire::http::Proxy \"http://10.0.0.1:3142\";\nAcquire::https::Proxy \"http://127.0.0.1:3142\";\nAcquire::http::Proxy \"\";\n\n"
	if got := usableProxies(dump); !slices.Equal(got, []string{`Acquire::http::Proxy "http://10.0.0.1:3142"`}) {
		t.Errorf("got %q", got)
	}
}

func TestProcessIsAlive(t *testing.T) {
	self := thisProcess()
	if !self.alive() {
		t.Error("this process is taken for dead")
	}
	if (&process{PID: self.PID, Start: self.Start + "0"}).alive() {
		t.Error("another process with the same pid is taken for the old one")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child := &process{PID: cmd.Process.Pid, Start: startOf(cmd.Process.Pid)}
	if !child.alive() {
		t.Error("a child is taken for dead")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if child.alive() {
		t.Error("a dead child is taken for alive")
	}
}

func TestReserveKeepsLabsApart(t *testing.T) {
	t.Setenv("VPSCTL_LAB_STORE", t.TempDir())
	one, err := reserve(t.Context(), "000001", Options{Dir: "one", N: 2, Prefix: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := reserve(t.Context(), "000002", Options{Dir: "two", N: 1, Prefix: "lab", Ephemeral: true})
	if err != nil {
		t.Fatal(err)
	}
	if one.Subnet == two.Subnet {
		t.Errorf("both have %s", one.Subnet)
	}
	if one.Owner != nil || two.Owner == nil {
		t.Errorf("owners: %v of a lasting lab, %v of an ephemeral one", one.Owner, two.Owner)
	}
	grown, err := reserve(t.Context(), "000001", Options{Dir: "one", N: 3, Prefix: "other"})
	if err != nil || grown.Subnet != one.Subnet || !slices.Equal(grown.Hosts, []string{"lab1", "lab2", "lab3"}) {
		t.Errorf("grown: %+v, %v", grown, err)
	}
}

func TestLockIsHeldByOneAndSurvivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockFile(soon, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	if err := os.Remove(path); err != nil { // as whoever takes a lab down does
		t.Fatal(err)
	}
	other, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if f, err := tryLock(path); f != nil || err != nil {
		t.Errorf("the lock of the new file is not held: %v", err)
	}
	other()
}

func TestBaseAge(t *testing.T) {
	t.Setenv("VPSCTL_LAB_CACHE", t.TempDir())
	t.Setenv("VPSCTL_LAB_STORE", t.TempDir())
	trixie := recipes["trixie"]
	name := func(prefix string, age time.Duration) string {
		dir := filepath.Join(cacheDir(), prefix+time.Now().UTC().Add(-age).Format(baseTime))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	used := name(trixie.prefix(), 40*24*time.Hour)
	if err := (state{Base: used}).save("00000a"); err != nil {
		t.Fatal(err)
	}
	unused := name(trixie.prefix(), 30*24*time.Hour)
	fresh := name(trixie.prefix(), time.Hour)
	ofOtherRecipe, oldOfOtherRecipe := name("trixie-abc-", time.Hour), name("trixie-abc-", 15*24*time.Hour)
	if got := newestBase(trixie); got != fresh {
		t.Errorf("newest: %s, want %s", got, fresh)
	}
	if err := pruneBases(trixie, fresh); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{used: true, unused: false, fresh: true, ofOtherRecipe: true, oldOfOtherRecipe: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s kept: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
}
