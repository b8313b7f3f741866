package state

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, text := range []string{"a longer first one", "second"} {
		if err := Write(root, "doc", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := root.ReadFile("doc"); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(root, "taken", nil); err == nil {
		t.Error("a folder was replaced by a file")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v: want the two that were asked for", left, err)
	}
}

func TestTryLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	try := func(f *os.File, exclusive, want bool) {
		t.Helper()
		if got, err := TryLock(f, exclusive); got != want || err != nil {
			t.Errorf("exclusive %v: %v, %v", exclusive, got, err)
		}
	}
	one, two := open(), open()
	try(one, false, true)
	try(two, false, true)
	two.Close()
	three := open()
	try(three, true, false)
	one.Close()
	if err := Lock(three); err != nil {
		t.Fatal(err)
	}
	try(open(), false, false)
}
