package remote

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"mvdan.cc/sh/v3/syntax"
)

// execScript runs a user's script, whose lines are its arguments after the
// marker. The marker goes to both streams: both have noise before it. The
// answer after it is the process group, by which the command can be ended.
var execScript = oneLine(`
m=$1 s=$2 g=; shift 2;
[ $# = 0 ] || { n=$(printf "\n."); n=${n%.}; for l do s=$s$n$l; done; };
read -r q q q q g q <"/proc/$$/stat";
echo "$m"; echo "$m ${g:-0}"; echo "$m" >&2;
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin; export PATH;
exec /bin/sh -c "$s";
`)

// execPlain is execScript for a line that is simple: it goes behind this
// one in the same shell, which saves the host a program.
const execPlain = `m=$1; read -r q q q q g q <"/proc/$$/stat"; echo "$m"; echo "$m ${g:-0}"; echo "$m" >&2; ` +
	`PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin; export PATH; shift; unset m g q; `

// simple tells lines whose syntax is beyond doubt: a shell that cannot read the
// end of a line does not begin with it either. What is left are simple commands,
// with quotes and pipes.
func simple(script string) bool {
	for _, c := range script {
		if c < ' ' || c > '~' || strings.ContainsRune("\\$`!#(){}<*?[~", c) {
			return false
		}
	}
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "")
	if err != nil || len(f.Stmts) == 0 {
		return false
	}
	calls := true
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case nil, *syntax.File, *syntax.Stmt, *syntax.BinaryCmd, *syntax.Word, *syntax.Lit, *syntax.SglQuoted, *syntax.DblQuoted, *syntax.Assign:
		case *syntax.CallExpr:
			calls = len(n.Args) == 0 || !reserved(n.Args[0].Lit())
		default:
			calls = false
		}
		return calls
	})
	return calls
}

// reserved says that a shell may read word as the beginning of more than a
// command: the parser takes some of POSIX's words as commands where they end
// what nobody began ("else | r"), and knows none of those that bash and ksh have beside
// them. Source: POSIX.1-2017, Shell Command Language, 2.4; bash(1).
func reserved(word string) bool {
	switch word {
	case "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then", "until", "while",
		"]]", "coproc", "function", "namespace", "select", "time":
		return true
	}
	return false
}

// killScript ends a process group: it is asked, and after a second made to.
const killScript = `echo "$1"; shift; kill -TERM "-$1" || exit 0; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; kill -0 "-$1" 2>/dev/null || exit 0; done; kill -KILL "-$1"`

// ShellLine is the line of a POSIX shell that runs args, each one word.
func ShellLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = quote(a)
	}
	return strings.Join(words, " ")
}

// Exec runs a script by /bin/sh on the host, with become as root, and gives its
// exit status; 128 plus the signal's number when one ended it. A line that
// breaks is an error: nobody knows then whether the script has finished. When
// ctx ends, so does the script's process group, if the host can still be told.
// stdin may be nil; it is read until it ends or the script does, by a goroutine
// that a blocked Read keeps.
func (s *Session) Exec(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) (rc int, err error) {
	const most = 100 << 10
	switch {
	case strings.ContainsRune(script, 0):
		return -1, s.fail("exec", Local, "", "the command has a zero byte")
	case len(script) > most:
		return -1, s.fail("exec", Local, "put it into a file and use `vpsctl run FILE`", "the command has %d bytes; at most %d fit into a command line", len(script), most)
	}
	c, err := s.connect(ctx, s.d.lim.tries)
	if err != nil {
		return -1, err
	}
	stdout, tidy := s.veiled(stdout)
	stderr, tidyErr := s.veiled(stderr)
	defer func() { err = errors.Join(err, tidy(), tidyErr()) }()
	marker := newMarker()
	o := s.orderPlain(execPlain+script, marker)
	if !simple(script) {
		o = s.order(execScript, append([]string{marker}, strings.Split(script, "\n")...)...)
	}
	p, err := c.run(ctx, o, &errStream{marker, stderr})
	if err != nil {
		return -1, s.problem(ctx, "exec", err)
	}
	defer p.close()
	p.send(stdin)
	if err := s.greet(ctx, p, marker); err != nil {
		return -1, s.problem(ctx, "exec", err)
	}
	group, err := p.word(ctx, marker, s.d.lim.firstByte, "the host to start the command")
	if err != nil {
		return -1, s.problem(ctx, "exec", err)
	}
	return s.watchOver(ctx, p, group[0], stdout)
}

// watchOver copies a command's output until it ends, or ends it with ctx.
func (s *Session) watchOver(ctx context.Context, p *process, group string, stdout io.Writer) (rc int, err error) {
	over := make(chan struct{})
	var reaper sync.WaitGroup
	reaper.Go(func() {
		select {
		case <-ctx.Done():
			s.endGroup(ctx, p, group)
		case <-over:
		}
	})
	defer reaper.Wait()
	defer close(over)
	if _, err := io.Copy(stdout, p.out); err != nil && p.c.alive() && ctx.Err() == nil {
		return -1, s.fail("exec: write its output", Local, "", "%w", err)
	}
	rc, err = p.wait()
	if ctx.Err() != nil {
		return -1, s.ended(ctx, "exec")
	}
	if err != nil {
		return -1, s.problem(ctx, "exec", err)
	}
	return rc, nil
}

// endGroup ends a command that nobody waits for any more: by the signal that
// SSH has for it, which reaches what the user may signal, and by a command of
// its own for what runs as root. In the end the line is cut: it may be dead.
func (s *Session) endGroup(why context.Context, p *process, group string) {
	defer p.c.abort(context.Cause(why))
	// What is said to a host that takes nothing any more is never said.
	defer time.AfterFunc(2*s.d.lim.farewell, func() { p.c.abort(context.Cause(why)) }).Stop()
	p.ch.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
	if n, err := strconv.Atoi(group); err != nil || n <= 1 {
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(why), s.d.lim.farewell, errors.New("the host did not say whether it ended the command"))
	defer cancel()
	marker := newMarker()
	k, err := p.c.run(ctx, s.order(killScript, marker, group), nil)
	if err != nil {
		return
	}
	defer k.close()
	k.send(nil)
	if _, err := k.answer(ctx, marker); err != nil {
		return
	}
	select {
	case <-k.done:
	case <-ctx.Done():
	case <-p.c.done:
	}
}
