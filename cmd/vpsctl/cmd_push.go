package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
	"github.com/vpsctl/vpsctl/report"
)

// copyCommands are the verbs that move files.
func copyCommands() []*cli.Command {
	return []*cli.Command{
		{Name: "push", Usage: "copy a file or folder to every host, verified", ArgsUsage: "SRC DST", Flags: flags(hostFlags, paceFlags), Action: with(push),
			Description: "DST is the copy's name there; with a / at its end, the folder it goes into.\nA copy that was cut off is continued; what is there already is not sent.", CustomHelpTemplate: help(
				"vpsctl push app.conf /etc/app.conf", "vpsctl push site /var/www/", "vpsctl push -l eu -o json disk.img /srv/disk.img")},
		{Name: "pull", Usage: "copy a file or folder from every host into DIR/<host>/", ArgsUsage: "SRC DIR", Flags: flags(hostFlags, paceFlags, []cli.Flag{
			&cli.IntFlag{Name: "max-mb", Value: 10 << 10, Usage: "take at most `N` MiB from a host"}}), Action: with(pull),
			Description: "Links and devices are not taken, and counted. A file that was cut off is\ncontinued; one that is here already is not fetched.", CustomHelpTemplate: help(
				"vpsctl pull /etc/hosts ./got", "vpsctl pull -l eu /var/log/nginx logs", "vpsctl pull -o json /etc/ssh/sshd_config .")},
	}
}

// copied is what a push or pull did with one host.
type copied struct {
	Host        string      `json:"host"`
	Status      wire.Status `json:"status"`
	ExitCode    int         `json:"exit_code"`
	Path        string      `json:"path"` // of the copy
	Files       int         `json:"files"`
	Same        int         `json:"same"`
	Bytes       int64       `json:"bytes"`
	Resumed     int64       `json:"resumed_bytes"`
	Refused     int         `json:"refused"`
	Left        []string    `json:"left"`
	Via         string      `json:"via"`
	DurationSec float64     `json:"duration_sec"`
	Error       *hostError  `json:"error"`
	problem     error
}

func push(k *call) error {
	if k.NArg() != 2 {
		return usageError{fmt.Sprintf("push: %d arguments, it takes two", k.NArg()), "write: vpsctl push SRC DST"}
	}
	src, err := remote.OpenSource(k.Args().First())
	if err != nil {
		return usageError{fmt.Sprintf("push: %v", err), "SRC is a file or folder on this machine"}
	}
	defer src.Close()
	for _, left := range src.Left {
		k.ui.warn("not copied: "+report.Clean(left), "")
	}
	return k.copy(func(ctx context.Context, s *remote.Session, h inventory.Host, tell func(int64, int64), c *copied) error {
		got, err := s.Push(ctx, src, k.Args().Get(1), tell)
		c.Path, c.Files, c.Same, c.Bytes, c.Resumed, c.Via = got.Path, got.Files, got.Same, got.Bytes, got.Resumed, got.Via
		c.Left, c.Refused = src.Left, len(src.Left)
		return err
	})
}

func pull(k *call) error {
	if k.NArg() != 2 {
		return usageError{fmt.Sprintf("pull: %d arguments, it takes two", k.NArg()), "write: vpsctl pull SRC DIR"}
	}
	if k.Int("max-mb") < 1 {
		return usageError{fmt.Sprintf("--max-mb %d: at least 1", k.Int("max-mb")), ""}
	}
	dir := k.Args().Get(1)
	return k.copy(func(ctx context.Context, s *remote.Session, h inventory.Host, tell func(int64, int64), c *copied) error {
		got, err := s.Pull(ctx, k.Args().First(), dir, int64(k.Int("max-mb"))<<20, tell)
		c.Path = filepath.Join(dir, h.Name, filepath.FromSlash(got.Path))
		c.Files, c.Same, c.Bytes, c.Resumed, c.Via = got.Files, got.Same, got.Bytes, got.Resumed, got.Via
		c.Left, c.Refused = got.Left, got.Refused
		return err
	})
}

// copy does it for every host, with a bar on a terminal, and says what came of
// it.
func (k *call) copy(one func(context.Context, *remote.Session, inventory.Host, func(int64, int64), *copied) error) error {
	ctx, stop := k.interruptible()
	defer stop()
	bar := newMeter(k.ui)
	hosts, results, err := each(k, ctx, nil, func(ctx context.Context, s *remote.Session, h inventory.Host, c *copied) error {
		return one(ctx, s, h, func(done, total int64) { bar.tell(h.Name, done, total) }, c)
	})
	bar.close()
	if err != nil {
		return err
	}
	list := make([]*copied, len(hosts))
	var codes []int
	for i, h := range hosts {
		c := &copied{}
		if o := results[i]; o != nil {
			c = &o.got
			c.DurationSec, c.problem, c.ExitCode, c.Error = o.took.Seconds(), o.err, exitCode(o.err), newHostError(o.err)
			codes = append(codes, c.ExitCode)
		}
		c.Host, c.Status, c.Left = h.Name, statusWord(c.problem, results[i] != nil), cleaned(c.Left)
		list[i] = c
	}
	code := fleetCode(codes)
	err = k.ui.result(k.json(), map[string]any{"schema": 1, "exit_code": codeOr(ctx, code), "hosts": list}, func(w io.Writer) error {
		for _, c := range list {
			k.copiedLine(w, c)
		}
		return nil
	})
	for _, c := range list {
		k.sayCopied(c)
	}
	return errors.Join(err, ended(ctx, code))
}

func cleaned(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = report.Clean(l)
	}
	return out
}

func (k *call) copiedLine(w io.Writer, c *copied) {
	if c.Status != wire.OK {
		return
	}
	parts := []string{fmt.Sprintf("%d files", c.Files)}
	if c.Files == 1 {
		parts[0] = "1 file"
	}
	if c.Same > 0 {
		parts = append(parts, fmt.Sprintf("%d there before", c.Same))
	}
	parts = append(parts, size(c.Bytes)+" moved")
	if c.Resumed > 0 {
		parts = append(parts, size(c.Resumed)+" continued")
	}
	fmt.Fprintf(w, "[OK] %s: %s (%s)\n", c.Host, report.Clean(c.Path), strings.Join(parts, ", "))
}

// sayCopied says what did not go well, or not in full.
func (k *call) sayCopied(c *copied) {
	switch {
	case c.Status == wire.NotReached:
		k.ui.say("[WARN]", "%s: not begun: --max-fail", c.Host)
	case c.problem != nil:
		k.ui.explain(c.problem)
	case c.Refused > 0 && k.Command.Name == "pull":
		k.ui.warn(fmt.Sprintf("%s: %d were left there: %s", c.Host, c.Refused, strings.Join(c.Left[:min(3, len(c.Left))], "; ")), "")
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// meter is the bar over the bytes of all hosts. Without a terminal it is silent.
type meter struct {
	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	hosts map[string][2]int64
}

func newMeter(u *ui) *meter {
	m := &meter{hosts: map[string][2]int64{}}
	if u.tty && !u.quiet {
		m.bar = progressbar.NewOptions64(1, progressbar.OptionSetWriter(u.err), progressbar.OptionShowBytes(true),
			progressbar.OptionSetWidth(20), progressbar.OptionThrottle(life/4), progressbar.OptionUseANSICodes(true), progressbar.OptionClearOnFinish())
	}
	return m
}

func (m *meter) tell(host string, done, total int64) {
	if m.bar == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[host] = [2]int64{done, total}
	var sum, all int64
	for _, h := range m.hosts {
		sum, all = sum+h[0], all+h[1]
	}
	m.bar.ChangeMax64(min(max(all, 1), math.MaxInt64-1))
	_ = m.bar.Set64(min(sum, max(all, 1)))
}

func (m *meter) close() {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}
