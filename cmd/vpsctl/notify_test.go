package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/report"
)

// receiver keeps what it was sent.
type receiver struct {
	mu  sync.Mutex
	got []notice
}

func (r *receiver) take(doc []byte) error {
	var n notice
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&n); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, n)
	return nil
}

func voice() (*ui, *bytes.Buffer) {
	var said bytes.Buffer
	return newUI(streams{out: io.Discard, err: &said}, uiOptions{}), &said
}

var memoryLow = report.Alert{Type: report.AlertMemory, Value: 450, Limit: 500, Message: "ALERT: Available memory below threshold: 450MB < 500MB"}

func TestNotifyHook(t *testing.T) {
	var r receiver
	var wrong []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err = errors.Join(err, r.take(b)); err != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json" {
			wrong = append(wrong, fmt.Sprintf("%s %v %s", q.Method, err, b))
		}
	}))
	defer server.Close()
	u, said := voice()
	n := newNotifier(hookSender(server.URL + "/hook"))
	n.tell(alertNotice("20261123-101502-x7k2", "web1", memoryLow))
	code := 0
	n.tell(notice{Kind: "end", RunID: "20261123-101502-x7k2", Status: "ok", ExitCode: &code, Text: "1 host: 1 ok"})
	n.close(u)
	if len(wrong) > 0 || len(r.got) != 2 || said.Len() > 0 {
		t.Fatalf("wrong %v, got %+v, said %s", wrong, r.got, said)
	}
	a := r.got[0]
	if a.Kind != "alert" || a.Host != "web1" || a.Type != "memory" || *a.Value != 450 || *a.Limit != 500 || a.Text != memoryLow.Message || a.Schema != 1 {
		t.Errorf("alert %+v", a)
	}
	if r.got[1].Kind != "end" || *r.got[1].ExitCode != 0 {
		t.Errorf("end %+v", r.got[1])
	}
}

func TestNotifyCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("sh")
	}
	file := filepath.Join(t.TempDir(), "got")
	u, said := voice()
	n := newNotifier(shellSender("cat >> " + file))
	n.tell(alertNotice("", "web1", memoryLow))
	n.tell(alertNotice("", "web2", memoryLow))
	n.close(u)
	b, err := os.ReadFile(file)
	if err != nil || said.Len() > 0 || strings.Count(string(b), "\n") != 2 || !strings.Contains(string(b), `"host":"web2"`) {
		t.Errorf("%v %s %s", err, b, said)
	}
}

// A receiver that answers with an error, hangs, or is not there costs the run
// nothing and is told of once, without the URL's secret.
func TestNotifyDead(t *testing.T) {
	hold := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, "/elsewhere") {
			t.Error("a redirection was followed")
		}
		http.Redirect(w, q, "/elsewhere", http.StatusFound)
	}))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	defer slow.Close()
	defer close(hold)
	defer bad.Close()
	targets := map[string]func(context.Context, []byte) error{
		"slow": hookSender(slow.URL + "/s3cret"), "bad": hookSender(bad.URL + "/s3cret"), "gone": hookSender(gone.URL + "/s3cret")}
	if runtime.GOOS != "windows" {
		targets["command"] = shellSender("exit 3")
		targets["stuck"] = shellSender("sleep 100 & sleep 100")
	}
	for name, send := range targets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, said := voice()
			n := newNotifier(send)
			begin := time.Now()
			for range 5 {
				n.tell(alertNotice("", "web1", memoryLow))
			}
			if took := time.Since(begin); took > noticeTime/2 {
				t.Errorf("telling took %v", took)
			}
			n.close(u)
			if took := time.Since(begin); took > 3*noticeTime { // waited out, the five would take five times that
				t.Errorf("leaving took %v", took)
			}
			if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "5 of 5 messages were not delivered") || strings.Contains(text, "s3cret") {
				t.Errorf("said %q", text)
			}
		})
	}
}

// A flood is cut, and what was left out is told.
func TestNotifyFlood(t *testing.T) {
	var r receiver
	u, said := voice()
	n := newNotifier(func(_ context.Context, doc []byte) error { return r.take(doc) })
	for range 5 {
		for range noticeQueue / 2 {
			n.tell(alertNotice("", "web1", memoryLow))
		}
		for len(n.queue) > 0 { // at its own pace
			time.Sleep(time.Millisecond)
		}
	}
	n.tell(notice{Kind: "end", Text: "over"})
	n.close(u)
	last := r.got[len(r.got)-1]
	if len(r.got) < noticeBurst || len(r.got) > noticeBurst+5 || last.Kind != "end" || last.LeftOut < 100 {
		t.Errorf("%d messages, the last %+v", len(r.got), last)
	}
	if said.Len() > 0 { // the last message has told it
		t.Errorf("said %s", said)
	}
}

func TestNotifyRefuses(t *testing.T) {
	for _, target := range []string{"https://", "http://[", "http:///x"} {
		if err := checkNotify(target); exitCode(err) != exitUsage {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range []string{"", "cat", "https://example.net/hook"} {
		if err := checkNotify(target); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	var none *notifier
	none.tell(notice{})
	none.close(nil)
}
