//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/collector/steps"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// closeDied ends the journal of a run whose runner is gone without having done
// so: the journal's lock is free and its last event is no end.
func closeDied(d runDir) error {
	f, err := os.OpenFile(d.journal(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("look after run %s: %w", d.id(), err)
	}
	defer f.Close()
	if ok, err := flock(f, unix.LOCK_EX); err != nil || !ok {
		return err
	}
	j, first, last, err := openJournal(f)
	if err != nil || last.Kind == wire.KindEnd || given(last) {
		return err
	}
	steps.Sweep(d.id())
	end := &wire.End{Status: wire.Failed, Stage: "died", Reason: "the runner was killed", Hint: "was the host out of memory? on the host: journalctl -k | grep -i oom"}
	if id := bootID(); id != "" && id != first.Start.BootID {
		end.Reason, end.Hint = "the host rebooted during the run", ""
	}
	if last.Kind == wire.KindReboot {
		end.Stage, end.Reason, end.Hint = "reboot", "the host rebooted as the plan asked, and nobody came with the rest of the plan", "vpsctl provision again: what holds is not done twice"
	}
	if err := j.append(&wire.Event{Kind: wire.KindEnd, End: end}); err != nil && !errors.Is(err, errFull) {
		return fmt.Errorf("close run %s: %w", d.id(), err)
	}
	return j.close()
}
