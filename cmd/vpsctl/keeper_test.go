package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// TestKeeperMasksAgain: a host that does not hide a secret it was given does not
// get it into any file of the record, nor onto the screen.
func TestKeeperMasksAgain(t *testing.T) {
	const secret = "correct horse battery"
	dir, err := report.Store{Dir: t.TempDir()}.Create(report.Run{Verb: "provision", Hosts: []report.HostRun{{Host: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	w, err := dir.Host("a")
	if err != nil {
		t.Fatal(err)
	}
	mask, err := wire.NewMasker(map[string]string{"token": secret})
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	plan := wire.Plan{Host: "a"}
	c := &call{Context: cli.NewContext(nil, nil, nil), ui: &ui{streams: streams{nil, &screen, &screen}, width: 80}}
	d := &drive{call: c, dir: dir, screen: newScreen(c.ui, []wire.Plan{plan})}
	k := keeper{d: d, host: "a", w: w, mask: mask}
	for i, text := range []string{"the secret is " + secret + "\n", "in hex 636f727265637420686f727365206261747465727920\n"} {
		e := wire.Event{N: int64(i + 1), Kind: wire.KindOutput, Phase: "p", Step: "p/s", Output: &wire.Output{Stream: "stdout", Text: text}}
		raw, err := wire.Encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.take(bytes.TrimSpace(raw), &e); err != nil {
			t.Fatal(err)
		}
	}
	d.screen.close()
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	leaks(t, screen.String(), "the screen", secret)
	err = filepath.WalkDir(dir.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		leaks(t, string(b), path, secret)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(screen.String(), "the secret is ***") {
		t.Errorf("the screen shows %q", screen.String())
	}
}

func leaks(t *testing.T, text, where, secret string) {
	t.Helper()
	for _, form := range []string{secret, "636f7272656374"} {
		if strings.Contains(text, form) {
			t.Errorf("%s has %q", where, form)
		}
	}
}
