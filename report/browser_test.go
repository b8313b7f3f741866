package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a headless Chromium that keeps what must not happen.
type browser struct {
	context.Context
	mu       sync.Mutex
	requests []string
	trouble  []string // console, exceptions, dialogs
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil && path == "" {
			path = p
		}
	}
	if path == "" {
		t.Skip("no chromium is installed: apt-get install chromium")
	}
	if testing.Short() {
		t.Skip("a browser takes long")
	}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(2*time.Minute))...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); stop() })
	b := &browser{Context: ctx}
	chromedp.ListenTarget(ctx, b.note)
	b.do(t, network.Enable(), log.Enable(), runtime.Enable(), cdppage.Enable())
	return b
}

func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "data:") {
			b.requests = append(b.requests, e.Request.URL)
		}
	case *log.EventEntryAdded:
		b.trouble = append(b.trouble, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		b.trouble = append(b.trouble, fmt.Sprint(e.Type))
	case *runtime.EventExceptionThrown:
		b.trouble = append(b.trouble, e.ExceptionDetails.Text)
	case *cdppage.EventJavascriptDialogOpening:
		b.trouble = append(b.trouble, "dialog: "+e.Message)
	}
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b, actions...); err != nil {
		t.Fatal(err)
	}
}

// quiet fails when anything was complained of, or asked for but want.
func (b *browser) quiet(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.trouble) > 0 {
		t.Errorf("the browser complains: %q", b.trouble)
	}
	for _, url := range b.requests {
		ok := false
		for _, w := range want {
			ok = ok || strings.HasPrefix(url, w)
		}
		if !ok {
			t.Errorf("the page asked for %s", url)
		}
	}
}

func writePage(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), htmlFile)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.ToSlash(path)
}

// Every number on the page is the one of the JSON report, and the page asks for
// nothing and complains of nothing, also on a narrow screen and on paper.
func TestPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	r := comparedReport(t)
	url := writePage(t, r)
	var numbers []struct{ Host, Key, Value, Text string }
	var wide [2]float64
	b.do(t, chromedp.Navigate(url), chromedp.Evaluate(`[...document.querySelectorAll("[data-k]")].map(e =>
		({Host: e.closest("[data-host]").dataset.host, Key: e.dataset.k, Value: e.value, Text: e.textContent}))`, &numbers))
	docs := map[string]any{}
	for i := range r.Hosts {
		text, err := json.Marshal(r.Hosts[i].Performance())
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		docs[r.Hosts[i].Host.Host] = doc
	}
	if len(numbers) < 60 {
		t.Errorf("only %d numbers are marked", len(numbers))
	}
	for _, n := range numbers {
		want, err := json.Marshal(field(docs[n.Host], n.Key))
		if err != nil || string(want) != n.Value && !sameNumber(string(want), n.Value) {
			t.Errorf("%s %s: the page has %s, the report %s", n.Host, n.Key, n.Value, want)
		}
		if strings.TrimSpace(n.Text) == "" {
			t.Errorf("%s %s: nothing is to be seen", n.Host, n.Key)
		}
	}
	for i, width := range []int64{400, 1280} {
		b.do(t, chromedp.EmulateViewport(width, 900), chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide[i]))
		if wide[i] > float64(width) {
			t.Errorf("at a width of %d the page is %.0f wide", width, wide[i])
		}
	}
	b.do(t, chromedp.ActionFunc(func(ctx context.Context) error {
		pdf, _, err := cdppage.PrintToPDF().Do(ctx)
		if err == nil && len(pdf) < 5000 {
			err = fmt.Errorf("a PDF of %d bytes", len(pdf))
		}
		return err
	}))
	b.quiet(t, url)
}

func sameNumber(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && x == y
}

// field walks down a document: phases.0.duration_sec.
func field(doc any, key string) any {
	for _, word := range strings.Split(key, ".") {
		switch d := doc.(type) {
		case map[string]any:
			doc = d[word]
		case []any:
			i, err := strconv.Atoi(word)
			if err != nil || i >= len(d) {
				return "no such field"
			}
			doc = d[i]
		default:
			return "no such field"
		}
	}
	return doc
}

// With scripts off everything is there, and a screen reader finds its way:
// landmarks, headings, tables with headers, pictures with words.
func TestPageWithoutScripts(t *testing.T) {
	b := newBrowser(t)
	r := comparedReport(t)
	var nodes []*accessibility.Node
	b.do(t, emulation.SetScriptExecutionDisabled(true), chromedp.Navigate(writePage(t, r)), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		nodes, err = accessibility.GetFullAXTree().Do(ctx)
		return err
	}))
	roles, names := map[string]int{}, strings.Builder{}
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		var role, name string
		_ = json.Unmarshal(n.Role.Value, &role)
		if n.Name != nil {
			_ = json.Unmarshal(n.Name.Value, &name)
		}
		roles[role]++
		if role == "image" && name == "" {
			t.Errorf("a %s without words", role)
		}
		names.WriteString(name + "\n")
	}
	for role, least := range map[string]int{"main": 1, "banner": 1, "contentinfo": 1, "heading": 10, "table": 5, "columnheader": 20, "rowheader": 15, "image": 6} {
		if roles[role] < least {
			t.Errorf("%d of role %s, want %d: %v", roles[role], role, least, roles)
		}
	}
	for _, word := range []string{"dev-tools/fetch", "exit status 7", "1630 MiB", "Regression detected:", "CPU over time: used peak 100%, stolen peak 2%", "not reached", "2 packages"} {
		if !strings.Contains(names.String(), word) {
			t.Errorf("%q is not to be heard", word)
		}
	}
	b.quiet(t, "file://")
}

func TestHostilePageInABrowser(t *testing.T) {
	b := newBrowser(t)
	url := writePage(t, hostileReport(t))
	var scripts int
	b.do(t, chromedp.Navigate(url), chromedp.Evaluate(`document.querySelectorAll("script,iframe,img,object,[onclick],[onerror]").length`, &scripts))
	if scripts != 0 {
		t.Errorf("%d elements that nobody wrote", scripts)
	}
	b.quiet(t, url)
}

// A page that is open shows what a growing record says, without being loaded
// anew, and leaves folds as they were.
func TestLivePageInABrowser(t *testing.T) {
	b := newBrowser(t)
	store := Store{Dir: t.TempDir()}
	d := create(t, store, Run{ID: testRun, Verb: "provision", Hosts: []HostRun{{Host: "web1"}}})
	w, err := d.Host("web1")
	if err != nil {
		t.Fatal(err)
	}
	events := journal(t, "web1.jsonl")
	give := func(list []recorded) {
		for i := range list {
			if err := w.Append(list[i].raw, &list[i].e); err != nil {
				t.Fatal(err)
			}
		}
	}
	give(events[:10])
	url, stop := serve(t, store)
	defer stop()
	var same bool
	b.do(t, chromedp.Navigate(url), chromedp.WaitVisible(`//span[@role="rowheader" and text()="system-prep"]`), chromedp.Evaluate(`window.first = true`, nil),
		chromedp.Click(`section.host > details > summary`), chromedp.WaitNotPresent(`section.host > details[open]`))
	give(events[10:])
	b.do(t, chromedp.WaitReady(`//span[@role="rowheader" and text()="dev-tools"]`), chromedp.WaitReady(`.mark.failed`),
		chromedp.Evaluate(`window.first && !document.querySelector("section.host > details").open`, &same))
	if !same {
		t.Error("the page was loaded anew, or a fold opened by itself")
	}
	b.quiet(t, url)
	stop()
	if err := w.Finish(); err != nil {
		t.Error(err)
	}
	closed(t, d)
}
