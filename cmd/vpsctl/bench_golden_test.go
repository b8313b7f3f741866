package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/bench"
)

var updateBench = flag.Bool("update-bench", false, "write the expected comparisons anew")

// TestCompareFormats: every format of a comparison that programs read, of sessions that the first
// version wrote, is what it was.
func TestCompareFormats(t *testing.T) {
	zone := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = zone })
	dir := filepath.Join(t.TempDir(), "web1")
	line, err := os.ReadFile("../../bench/testdata/history-1.jsonl")
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, bench.HistoryFile), line, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	list, unread, err := bench.Store{Dir: filepath.Dir(dir)}.History("web1")
	if err != nil || unread != 0 || len(list) < 2 {
		t.Fatalf("%d sessions, %d unread, %v", len(list), unread, err)
	}
	doc := newCompareDoc("baseline")
	h := compareTwo("web1", bench.ResultsOf(list[1]), bench.ResultsOf(list[0]), false)
	h.history = list
	doc.add(h)
	u := newUI(streams{strings.NewReader(""), io.Discard, io.Discard}, uiOptions{})
	for format, file := range map[string]string{"text": "compare.txt", "json": "compare.json", "csv": "compare.csv", "benchfmt": "compare.benchfmt"} {
		var b bytes.Buffer
		if err := doc.write(&b, format, u); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "bench", file)
		if *updateBench {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s is another one than %s (-update-bench writes it anew):\n%s", format, path, b.String())
		}
	}
}
