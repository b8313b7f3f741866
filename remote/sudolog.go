package remote

import (
	"context"
	"io"
	"strings"
)

// sudoListScript asks sudo what holds for the user who asks. Arguments: marker,
// then how sudo is called.
var sudoListScript = oneLine(`
m=$1; shift; LC_ALL=C; export LC_ALL;
l=$("$@" -l) || [ "$2" = -n ] || exit;
echo "$m"; printf "%s\n" "$l";
`)

// secretsStayOut refuses to pipe secrets through a sudo that writes down what
// is piped through it: its log would keep them, readable for every root.
func (s *Session) secretsStayOut(ctx context.Context, c *conn, secrets map[string]string) error {
	if !s.h.Become || len(secrets) == 0 {
		return nil
	}
	marker := newMarker()
	words, t := s.sudo()
	p, err := c.run(ctx, order{text: asUser(sudoListScript, append([]string{marker}, words...)...).text, talk: t}, nil)
	if err != nil {
		return err
	}
	defer p.close()
	p.send(nil)
	if err := s.greet(ctx, p, marker); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(p.out, maxNoise))
	if err != nil {
		return c.broken(err)
	}
	if !logsStdin(string(text)) {
		return nil
	}
	hint := "tell its sudoers `Defaults:" + s.h.User + " !log_stdin`, or connect as root"
	return s.fail("start", Rights, hint, "sudo on this host logs what is piped into commands: the plan's secrets would stay in that log")
}

// logsStdin reads the output of `sudo -l`: whether input that is not typed is
// logged. log_input means both, log_stdin and log_ttyin; a later entry wins.
func logsStdin(list string) bool {
	_, rest, found := strings.Cut(list, "Matching Defaults entries")
	if !found {
		return false
	}
	if _, after, ok := strings.Cut(rest, ":\n"); ok {
		rest = after
	}
	entries, _, _ := strings.Cut(rest, "\n\n")
	logs := false
	for _, e := range strings.Split(strings.ReplaceAll(entries, "\n", ","), ",") {
		switch strings.TrimSpace(e) {
		case "log_input", "log_stdin":
			logs = true
		case "!log_input", "!log_stdin":
			logs = false
		}
	}
	return logs
}
