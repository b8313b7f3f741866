package main

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/phases"
	"github.com/vpsctl/vpsctl/remote"
)

//go:embed hostside/deep/*.sh
var deepScripts embed.FS

const (
	deepPhaseID = "deep"
	deepTime    = 12 * time.Minute
)

// deepTarget is how long something may take. Over Target it is slow, which is
// said; over Most it does not count as working.
type deepTarget struct {
	ID           string
	Description  string
	Target, Most time.Duration
}

// deepTargets are the guide's promises, in the order they are kept: a session in
// 10 s (authentication 2, X server 3, window manager 2, panel 3), back in it in
// 3, and a window of each IDE in 8, 9 and 10.
var deepTargets = []deepTarget{
	{"authentication", "the session manager takes the password", 2 * time.Second, 15 * time.Second},
	{"x-server", "an X server answers", 3 * time.Second, 15 * time.Second},
	{"window-manager", "the window manager is ready", 2 * time.Second, 15 * time.Second},
	{"panel", "the desktop's panel is on the screen", 3 * time.Second, 15 * time.Second},
	{"session", "a desktop session, from the password to the panel", 10 * time.Second, 15 * time.Second},
	{"reconnect", "the way back into that session", 3 * time.Second, 15 * time.Second},
	{"vscode", "a window of VS Code", 8 * time.Second, 15 * time.Second},
	{"cursor", "a window of Cursor", 9 * time.Second, 15 * time.Second},
	{"antigravity", "a window of Antigravity", 10 * time.Second, 15 * time.Second},
	{"removed", "what was made for this is gone", 0, 0},
}

// deepPhase is one script: whoever ends it, it removes what it made.
func deepPhase(runID, developer string, q phases.Request) wire.Phase {
	args := []string{deepID(runID), developer}
	for _, ide := range []string{"vscode", "cursor", "antigravity"} {
		if id := "ide-" + ide; (q.Only == nil || slices.Contains(q.Only, id)) && !slices.Contains(q.Skip, id) {
			args = append(args, ide)
		}
	}
	ph := wire.Phase{ID: deepPhaseID, Title: "A Session And Its Windows", Files: map[string][]byte{}}
	entries, _ := deepScripts.ReadDir("hostside/deep")
	for _, e := range entries {
		ph.Files[e.Name()], _ = deepScripts.ReadFile(path.Join("hostside/deep", e.Name())) // embedded: it is there
	}
	ph.Steps = []wire.Step{{Name: "session", Timeout: deepTime, Run: &wire.Run{Script: `exec sh "$PHASE_DIR/deep.sh" "$@"`, Args: args}}}
	return ph
}

// deepID names the account: the random end of the run's id.
func deepID(runID string) string { return runID[strings.LastIndexByte(runID, '-')+1:] }

// tunnelTo dials an address of the host's through its SSH line.
func tunnelTo(s *remote.Session, addr string) dialFunc {
	return func(ctx context.Context) (net.Conn, error) { return s.Tunnel(ctx, addr) }
}

// deepFindings are what the deep verification of one host has found.
type deepFindings struct {
	host        string
	rest        string // a line that has not ended
	certificate string // hex SHA-256 of the certificate on the host's disk
	checks      []verifyCheck
}

var deepLine = regexp.MustCompile(`^deep: ([a-z-]{1,30}) (ok|err) (-|[0-9]{1,6}\.[0-9]{3}) ?(.*)$`)

// take reads what the script says. The host may say anything: names that are
// not in the table are left out, and each counts once.
func (d *deepFindings) take(text string) {
	lines := strings.Split(d.rest+text, "\n")
	d.rest = lines[len(lines)-1]
	if len(d.rest) > 4<<10 {
		d.rest = ""
	}
	for _, line := range lines[:len(lines)-1] {
		m := deepLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[1] == "certificate" {
			d.certificate = cmp.Or(d.certificate, m[4])
			continue
		}
		i := slices.IndexFunc(deepTargets, func(t deepTarget) bool { return t.ID == m[1] })
		if i < 0 || slices.ContainsFunc(d.checks, func(c verifyCheck) bool { return c.ID == m[1] }) {
			continue
		}
		seconds, _ := strconv.ParseFloat(m[3], 64) // "-" is none
		d.checks = append(d.checks, deepCheck(deepTargets[i], m[2] == "ok", seconds, oneLine(m[4])))
	}
}

// deepCheck grades one of them.
func deepCheck(t deepTarget, ok bool, seconds float64, words string) verifyCheck {
	c := verifyCheck{ID: t.ID, Description: t.Description, Critical: true, Status: checkPass, Message: words, Seconds: seconds, Target: t.Target.Seconds()}
	took := time.Duration(seconds * float64(time.Second))
	switch {
	case !ok:
		c.Status, c.Hint = checkFail, "on the host: journalctl -u xrdp -u xrdp-sesman -n 50"
	case t.Target == 0 || took <= t.Target:
	case took <= t.Most:
		c.Status, c.Message = checkWarn, "slow: "+words
	default:
		c.Status, c.Message = checkFail, fmt.Sprintf("over %s: %s", t.Most, words)
		c.Hint = "look at the host's load and memory: vpsctl monitor watch"
	}
	return c
}

// greeted keeps what the RDP server showed.
func (d *deepFindings) greeted(g rdpGreeting, err error) {
	c := verifyCheck{ID: "rdp-tls", Description: "RDP through the SSH line: negotiation, TLS, our certificate", Critical: true, Status: checkFail,
		Hint: "run provision again, with the phase rdp-config"}
	c.Seconds = (g.Connect + g.Negotiate + g.Handshake).Seconds()
	switch {
	case err != nil:
		c.Message = oneLine(err.Error())
	case g.Certificate != d.certificate:
		c.Message = "the certificate that it shows is not the one on the host's disk: SHA-256 " + g.Certificate
	case !g.TLSOnly:
		c.Message = "it lets clients in without TLS"
	case time.Now().After(g.Expires):
		c.Message = "its certificate has ended on " + g.Expires.UTC().Format(time.DateOnly)
	default:
		c.Status, c.Hint = checkPass, ""
		c.Message = fmt.Sprintf("connection %s, negotiation %s, %s handshake %s", milli(g.Connect), milli(g.Negotiate), g.Version, milli(g.Handshake))
	}
	d.checks = append([]verifyCheck{c}, d.checks...)
}

func milli(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }

// failure is the first finding that does not count as working.
func (d *deepFindings) failure() *verifyCheck {
	if i := slices.IndexFunc(d.checks, func(c verifyCheck) bool { return c.Status == checkFail }); i >= 0 {
		return &d.checks[i]
	}
	return nil
}
