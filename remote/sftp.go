package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pkg/sftp"
)

// errNoSFTP says that files have to go another way.
var errNoSFTP = errors.New("the host offers no SFTP")

// maxWork bounds what takes as long as it takes, on a line that lives.
const maxWork = 24 * time.Hour

// bigPacket is how much goes into one write where the server says that it may.
const bigPacket = 128 << 10

// files opens an SFTP session. The error is errNoSFTP when the line is good.
func (s *Session) files(ctx context.Context, c *conn) (cl *sftp.Client, end func(), err error) {
	ch, err := c.subsystem(ctx, "sftp")
	if err == nil {
		err = c.within(ctx, c.d.lim.channel, "the host's SFTP server to answer", func() (err error) {
			cl, err = sftp.NewClientPipe(ch, ch, sftp.UseConcurrentWrites(true))
			return err
		})
		if err != nil {
			ch.Close()
			c.release()
		}
	}
	switch {
	case err != nil && c.alive() && ctx.Err() == nil:
		return nil, nil, fmt.Errorf("%w: %w", errNoSFTP, err)
	case err != nil:
		return nil, nil, c.broken(err)
	}
	if _, ok := cl.HasExtension("limits@openssh.com"); ok {
		err = sftp.MaxPacketUnchecked(bigPacket)(cl)
	}
	return cl, func() {
		cl.Close()
		ch.Close()
		c.release()
	}, err
}
