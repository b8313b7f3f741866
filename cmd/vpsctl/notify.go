package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/report"
)

var notifyFlags = []cli.Flag{&cli.StringFlag{Name: "notify", EnvVars: env("notify"),
	Usage: "tell alerts and the end to `TARGET`: an http(s) URL (JSON is posted) or a command (JSON on its standard input)"}}

// notice is one message of --notify.
type notice struct {
	Schema   int       `json:"schema"`
	Kind     string    `json:"kind"` // alert, end
	Sent     time.Time `json:"sent"`
	RunID    string    `json:"run_id,omitempty"`
	Host     string    `json:"host,omitempty"`
	Type     string    `json:"type,omitempty"` // of an alert
	Phase    string    `json:"phase,omitempty"`
	Value    *float64  `json:"value,omitempty"`
	Limit    *float64  `json:"limit,omitempty"`
	Status   string    `json:"status,omitempty"` // of an end
	ExitCode *int      `json:"exit_code,omitempty"`
	Text     string    `json:"text"`
	// LeftOut messages before this one were not sent, because there were too many.
	LeftOut int `json:"left_out,omitempty"`
}

func alertNotice(runID, host string, a report.Alert) notice {
	return notice{Kind: "alert", RunID: runID, Host: host, Type: a.Type, Phase: a.Phase, Value: &a.Value, Limit: &a.Limit, Text: a.Message}
}

// How much a receiver can hold up: its queue, the messages of a minute, the time
// for one, and the time for what is left at the end.
const (
	noticeQueue  = 64
	noticeBurst  = 30
	noticeRefill = 2 * time.Second
	noticeTime   = 10 * time.Second
	noticeLeave  = 5 * time.Second
)

// notifier delivers messages beside a run, in their order, one at a time. It
// never waits for its receiver and never fails a run: what could not be
// delivered is said once, at the end. A nil notifier delivers nothing.
type notifier struct {
	send  func(ctx context.Context, doc []byte) error
	queue chan notice
	done  chan struct{}
	stop  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	dropped int // since the last message that was taken

	// Of the one goroutine that sends, until done is closed.
	tried, failed, lost int
	last                error
}

func isHook(target string) bool {
	return strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://")
}

// checkNotify refuses a --notify that cannot work, before anything is begun.
func checkNotify(target string) error {
	if u, err := url.Parse(target); isHook(target) && (err != nil || u.Host == "") {
		return usageError{"--notify: the URL has no host, or cannot be read", "write --notify https://example.net/hook"}
	}
	return nil
}

// notifier is that of --notify, nil without.
func (k *call) notifier() *notifier {
	target := k.String("notify")
	switch {
	case target == "":
		return nil
	case isHook(target):
		return newNotifier(hookSender(target))
	}
	return newNotifier(shellSender(target))
}

func newNotifier(send func(context.Context, []byte) error) *notifier {
	ctx, stop := context.WithCancel(context.Background())
	n := &notifier{send: send, queue: make(chan notice, noticeQueue), done: make(chan struct{}), stop: stop}
	go n.loop(ctx)
	return n
}

// tell queues a message; when the queue is full it is left out.
func (n *notifier) tell(m notice) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	m.Schema, m.Sent, m.LeftOut = 1, time.Now().UTC().Truncate(time.Millisecond), n.dropped
	select {
	case n.queue <- m:
		n.dropped = 0
	default:
		n.dropped++
	}
}

func (n *notifier) loop(ctx context.Context) {
	defer close(n.done)
	tokens, filled := noticeBurst, time.Now()
	for m := range n.queue {
		for more := time.Since(filled) / noticeRefill; more > 0; more-- {
			tokens, filled = min(tokens+1, noticeBurst), filled.Add(noticeRefill)
		}
		if tokens == 0 && m.Kind != "end" {
			n.lost++
			continue
		}
		tokens = max(0, tokens-1)
		m.LeftOut += n.lost
		n.deliver(ctx, m)
	}
}

func (n *notifier) deliver(ctx context.Context, m notice) {
	doc, err := json.Marshal(m)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, noticeTime)
		err = n.send(ctx, append(doc, '\n'))
		if ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		cancel()
	}
	if n.tried++; err != nil {
		n.failed, n.last = n.failed+1, err
		return
	}
	n.lost = 0
}

// close gives what is queued a few seconds and says what was not delivered.
func (n *notifier) close(u *ui) {
	if n == nil {
		return
	}
	n.mu.Lock()
	n.closed = true
	close(n.queue)
	n.mu.Unlock()
	late := time.AfterFunc(noticeLeave, n.stop)
	<-n.done
	late.Stop()
	n.stop()
	if n.failed > 0 {
		u.warn(fmt.Sprintf("--notify: %d of %d messages were not delivered; the last one: %s", n.failed, n.tried, report.Clean(n.last.Error())), "")
	}
	if left := n.lost + n.dropped; left > 0 {
		u.warn(fmt.Sprintf("--notify: %d messages were left out, there were too many", left), "")
	}
}

// hookSender posts to a URL. Its secret parts never get into an error.
func hookSender(target string) func(context.Context, []byte) error {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context, doc []byte) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(doc))
		if err != nil {
			return errors.New("the URL cannot be used")
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "vpsctl/"+version)
		res, err := client.Do(req)
		var u *url.Error
		if errors.As(err, &u) {
			return u.Err
		}
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
		if res.StatusCode/100 != 2 {
			return fmt.Errorf("the receiver answered %s", res.Status)
		}
		return nil
	}
}

// shellSender runs a command with the message on its standard input. Nothing of
// the message is in its arguments or its environment.
func shellSender(line string) func(context.Context, []byte) error {
	return func(ctx context.Context, doc []byte) error {
		words := shellWords(line)
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		ownGroup(cmd)
		cmd.Stdin, cmd.WaitDelay = bytes.NewReader(doc), time.Second
		var said bytes.Buffer
		cmd.Stderr = &limitedWriter{&said, 4 << 10}
		if err := cmd.Run(); err != nil {
			if text := strings.TrimSpace(said.String()); text != "" {
				return fmt.Errorf("%w: %s", err, text)
			}
			return err
		}
		return nil
	}
}

// limitedWriter keeps the first bytes and swallows the rest.
type limitedWriter struct {
	to   *bytes.Buffer
	left int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	keep := min(len(p), w.left)
	w.left -= keep
	w.to.Write(p[:keep])
	return len(p), nil
}
