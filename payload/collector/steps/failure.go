//go:build linux

package steps

import (
	"errors"
	"fmt"
	"strings"
)

// failure is an error with what a reader needs besides its text.
type failure struct {
	text      string
	hint      string
	rc        *int
	stderr    string
	retryable bool
	cause     string // one of causes, or ""
	err       error
}

func (f *failure) Error() string {
	if f.err != nil && f.text != "" {
		return f.text + ": " + f.err.Error()
	}
	if f.err != nil {
		return f.err.Error()
	}
	return f.text
}

func (f *failure) Unwrap() error { return f.err }

// Hint is the next thing to type, or "".
func (f *failure) Hint() string { return f.hint }

func failf(hint, format string, args ...any) *failure {
	return &failure{text: fmt.Sprintf(format, args...), hint: hint}
}

// cause is a kind of failure that is told by its message, because programs
// use one exit code for many.
type cause struct {
	name      string
	marks     []string
	retryable bool
	hint      string
}

// The causes that steps ask for.
const (
	diskFull       = "the disk is full"
	staleLists     = "the package lists are out of date"
	unknownPackage = "there is no such package"
)

// causes are looked for in this order: a full disk also breaks downloads, and
// a lock is not the network.
var causes = []cause{
	{diskFull, []string{"No space left on device", "You don't have enough free space", "Disk quota exceeded"}, false,
		"make room on the host: df -h; apt-get clean"},
	{"another program holds a lock", []string{"Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock directory", "is another process using it",
		"Resource temporarily unavailable", "cannot lock /etc/"}, true, ""},
	{"dpkg was interrupted before", []string{"dpkg was interrupted"}, false, "on the host: dpkg --configure -a"},
	{"the host's clock is wrong", []string{"is not valid yet", "certificate is not yet valid"}, false, "set the host's clock, then run again: timedatectl"},
	{"a package source is not signed by a known key", []string{"NO_PUBKEY", "is not signed.", "Missing key", "signatures couldn't be verified"}, false,
		"the source's key must be in its signed-by file on the host"},
	{staleLists, []string{"404  Not Found"}, true, ""},
	{"the network failed", []string{"Temporary failure resolving", "Temporary failure in name resolution", "Could not resolve", "Name or service not known", "Could not connect", "Connection timed out",
		"Connection failed", "Unable to connect to", "Network is unreachable", "Connection reset by peer", "Connection refused", "No route to host", "Failed to fetch", "Hash Sum mismatch",
		"File has unexpected size", "Some index files failed to download", "Operation timed out", "timed out after", "Failed to connect", "transfer closed with", "Error reading from server", "unable to resolve host", "returned error: 5", "returned error: 429",
		"500  Internal Server Error", "504  Gateway Timeout", "503  Service Unavailable", "502  Bad Gateway", "429  Too Many Requests"}, true, ""},
	{unknownPackage, []string{"Unable to locate package", "has no installation candidate", "Couldn't find any package by", "Unable to find package"}, false,
		"is the name right for this release? on the host: apt-cache policy NAME"},
	{"packages do not fit together", []string{"unmet dependencies", "held broken packages", "held packages"}, false, "on the host: apt-get -s install NAME; apt-mark showhold"},
	{"a package's own script failed", []string{"Sub-process /usr/bin/dpkg returned an error code", "Errors were encountered while processing"}, false,
		"the lines above name the package; on the host: dpkg --configure -a"},
}

// classify finds the cause of a failure in what a program said, nil when it
// says nothing known.
func classify(text string) *cause {
	for i := range causes {
		for _, m := range causes[i].marks {
			if strings.Contains(text, m) {
				return &causes[i]
			}
		}
	}
	return nil
}

// lastLine of a text that says something, at most 200 bytes of it.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "…"
	}
	return line
}

// isCause tells whether err is a failure of this cause.
func isCause(err error, name string) bool {
	var f *failure
	return errors.As(err, &f) && f.cause == name
}
