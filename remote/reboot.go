package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// rests tells whether the host reboots because our plan asked for it. The rest
// of the plan is with us alone: it is never on the host's disk.
func (t *turn) rests() bool { return t.reboot != nil && t.plan != nil && t.end == nil }

// goOn brings the plan again for what comes behind the reboot. Until the host
// is in another boot it says no, and is asked again.
func (s *Session) goOn(ctx context.Context, c *conn, t *turn) error {
	t.plan.Continues = &wire.Reboot{BootID: t.reboot.BootID, Step: t.reboot.Step, After: t.cursor}
	return s.start(ctx, c, t)
}

// patient says whether what went wrong may come from the host going down or up:
// it does not answer, its sshd lets nobody in yet, it has not gone down yet.
func patient(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return isLost(err)
	}
	return isLost(err) || e.Kind == Unreachable || e.Kind == AuthRefused
}

// notYet is a host that has been told to reboot and is still up.
func notYet(text string) error { return fmt.Errorf("%w: %s", errLost, clip(text, 200)) }

// rested takes the events that a reboot is told by.
func (st *stream) rested(e *wire.Event) {
	switch e.Kind {
	case wire.KindReboot:
		if e.Reboot != nil && st.steps[e.Reboot.Step] {
			st.reboot = e.Reboot
		}
	case wire.KindResumed:
		st.reboot = nil
	}
}
