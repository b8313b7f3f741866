package remote

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote/sshtest"
)

// A host that reboots refuses every login for a while: that passes.
func TestRebootingHostIsWaitedFor(t *testing.T) {
	r := runRig(t, sshtest.Options{}, startEvent(), "#wait go", wire.Event{N: 2, Kind: wire.KindEnd, End: &wire.End{Status: wire.OK}})
	once := sync.OnceFunc(func() {
		r.Booting(true)
		r.Cut()
	})
	s := r.session(t)
	done := make(chan error, 1)
	go func() {
		done <- s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { once(); return nil })
	}()
	waitFor(t, func() bool { return strings.Contains(r.verbose(), "lets nobody in for the moment") })
	r.Booting(false)
	if err := os.WriteFile(r.state("runs/"+testRun+"/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestGuardIsConfirmedThroughANewConnection(t *testing.T) {
	guard := func(n int64, kind wire.Kind) wire.Event {
		return wire.Event{N: n, Kind: kind, Phase: "one", Step: "one/a", Guard: &wire.Guarding{Token: "t0ken", Login: "newuser", Window: 20 * time.Second}}
	}
	r := runRig(t, sshtest.Options{}, startEvent(), guard(2, wire.KindGuard), "#wait confirmed", guard(3, wire.KindGuardEnd),
		wire.Event{N: 4, Kind: wire.KindEnd, End: &wire.End{Status: wire.OK}})
	r.collectors(t, strings.Replace(fakeCollector, "${verb}ed", "confirmed", 1))
	if err := r.session(t).Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if n := r.Counts(); n.Connections != 3 || n.Logins != 3 {
		t.Errorf("counts %+v: want the run's, the new user's and the confirming connection", n)
	}
	if text, _ := os.ReadFile(r.state("runs/" + testRun + "/confirm")); strings.TrimSpace(string(text)) != testRun+" t0ken" {
		t.Errorf("the host was told %q", text)
	}
}

func TestGuardIsNotConfirmedWhenTheNewUserCannotLogIn(t *testing.T) {
	guard := wire.Event{N: 2, Kind: wire.KindGuard, Phase: "one", Step: "one/a", Guard: &wire.Guarding{Token: "t0ken", Login: "newuser", Window: 20 * time.Second}}
	r := runRig(t, sshtest.Options{User: "dev"}, startEvent(), guard, "#wait go", wire.Event{N: 3, Kind: wire.KindEnd, End: &wire.End{Status: wire.OK}})
	done := make(chan error, 1)
	s := r.session(t)
	go func() { done <- s.Run(testContext(t), testPlan(), func([]byte, *wire.Event) error { return nil }) }()
	waitFor(t, func() bool { return strings.Contains(r.verbose(), "confirm the change") })
	if err := os.WriteFile(r.state("runs/"+testRun+"/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.state("runs/" + testRun + "/confirm")); err == nil {
		t.Error("a change was confirmed that locks the new user out")
	}
	if n := r.Counts().Connections; n != 2 {
		t.Errorf("%d connections: a refused login must not be tried again", n)
	}
}
