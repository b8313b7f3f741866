package remote

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func TestAwake(t *testing.T) {
	const s, h = time.Second, time.Hour
	tests := []struct {
		name              string
		asked, mono, wall time.Duration
		spent             time.Duration
		slept             bool
	}{
		{"an ordinary tick", s, s, s, s, false},
		{"a busy machine", s, 3 * s, 3 * s, 3 * s, false},
		{"sleep, and the monotonic clock stopped", s, s, h, s, true},
		{"sleep, and the monotonic clock ran on", s, h, h, s, true},
		{"the wall clock was set back", s, s, -h, s, false},
		{"the wall clock was nudged", s, s, 2 * s, s, false},
	}
	for _, tt := range tests {
		if spent, slept := awake(tt.asked, tt.mono, tt.wall); spent != tt.spent || slept != tt.slept {
			t.Errorf("%s: got %v, %v", tt.name, spent, slept)
		}
	}
}

func TestWatchFiresOnceAndOnlyWhatIsArmed(t *testing.T) {
	w := newWatch(time.Hour)
	w.start()
	defer w.stop()
	fired := make(chan string, 10)
	w.arm(20*time.Millisecond, func() { fired <- "first" })
	disarm := w.arm(10*time.Millisecond, func() { fired <- "disarmed" })
	disarm()
	w.arm(60*time.Millisecond, func() { fired <- "second" })
	if a, b := <-fired, <-fired; a != "first" || b != "second" {
		t.Errorf("fired %s, %s", a, b)
	}
	if len(fired) > 0 {
		t.Errorf("fired again: %s", <-fired)
	}
}

// After sleep a line that is dead is found out at once, not after a minute.
func TestLineIsTestedAfterSleep(t *testing.T) {
	r := newRig(t, sshtest.Options{})
	s := r.session(t)
	l := &r.dialer.lim
	l.tick = time.Hour // the test ticks by hand
	c, err := s.connect(testContext(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	c.tick(time.Second, true)
	waitFor(t, func() bool { return c.line.reads.Load() > c.seen })
	c.tick(time.Second, false) // it has answered
	if c.quiet != 0 || !c.alive() || !r.saw(Woke) {
		t.Errorf("quiet %v, alive %v, states %v", c.quiet, c.alive(), r.states)
	}
	r.Freeze()
	c.tick(time.Second, true)
	for range int(l.proof / time.Second) {
		if !c.alive() {
			t.Fatal("given up before it could answer")
		}
		c.tick(time.Second, false)
	}
	if c.alive() {
		t.Error("a dead line was kept")
	}
	if err := c.broken(nil); !isLost(err) || !strings.Contains(err.Error(), "nothing came from the host") {
		t.Errorf("got %v", err)
	}
}

func FuzzStream(f *testing.F) {
	var good bytes.Buffer
	for _, e := range goodJournal() {
		ev := e.(wire.Event)
		line, err := wire.Encode(&ev)
		if err != nil {
			f.Fatal(err)
		}
		good.Write(line)
	}
	f.Add(good.Bytes())
	f.Add([]byte("{\"n\":1,\"k\":\"end\",\"t\":0}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := wire.Cursor{}
		st := newStream(testRun, func(_ []byte, e *wire.Event) error {
			if e.Phase != "" && e.Phase != "one" {
				t.Errorf("phase %q got through", e.Phase)
			}
			return last.Take(e)
		}, 1<<20)
		st.expect(testPlan())
		if err := st.read(bytes.NewReader(data)); err != nil && !errors.Is(err, wire.ErrHostile) && !errors.As(err, new(*refusal)) {
			t.Errorf("an error of no kind: %v", err)
		}
	})
}

func FuzzReadMarker(f *testing.F) {
	f.Add([]byte("hello\nm4rk\nrest"), "m4rk")
	f.Fuzz(func(t *testing.T, data []byte, marker string) {
		if marker == "" || strings.ContainsAny(marker, "\n") {
			t.Skip()
		}
		br := bufio.NewReaderSize(bytes.NewReader(data), 64<<10)
		noise, err := readMarker(br, marker)
		if err == nil && !bytes.HasPrefix(data, []byte(noise+marker+"\n")) {
			t.Errorf("noise %q of %q", noise, data)
		}
		if len(noise) > maxNoise+64<<10 {
			t.Errorf("%d bytes of noise were kept", len(noise))
		}
	})
}
