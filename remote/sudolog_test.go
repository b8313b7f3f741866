package remote

import "testing"

func TestLogsStdin(t *testing.T) {
	const head = "Matching Defaults entries for jo on host:\n    "
	for _, c := range []struct {
		list string
		want bool
	}{
		{head + "env_reset, mail_badpass, use_pty\n\nUser jo may run the following commands on host:\n    (ALL) NOPASSWD: ALL\n", false},
		{head + "env_reset, log_input, log_output\n\nUser jo may", true},
		{head + "env_reset, log_stdin\n\nUser jo may", true},
		{head + "log_input, log_output, !log_stdin\n\nUser jo may", false},
		{head + "!log_stdin, log_input\n\nUser jo may", true},
		{head + "env_reset,\n    log_input\n\nUser jo may", true},
		{"User jo may run the following commands on host:\n    (ALL) NOPASSWD: /bin/log_input\n", false},
		{"", false},
	} {
		if got := logsStdin(c.list); got != c.want {
			t.Errorf("logsStdin(%q) = %v", c.list, got)
		}
	}
}
