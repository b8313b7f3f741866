package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/remote"
)

func TestNeedsOfAPlan(t *testing.T) {
	p := &wire.Plan{Phases: []wire.Phase{
		{ID: "prep", Env: map[string]string{"apt_mirror": "http://mirror.example/debian"}, Requires: &wire.Requires{MemoryMB: 1800},
			Steps: []wire.Step{{Name: "tools", Packages: &wire.Packages{Names: []string{"git"}}}}},
		{ID: "rdp", Requires: &wire.Requires{Ports: map[int]string{3389: "xrdp"}}, Steps: []wire.Step{
			{Name: "left out", Skip: "why", Archive: &wire.Archive{URL: "https://no.example/x"}},
			{Name: "repo", Repository: &wire.AptRepository{URIs: []string{"https://a.example/apt", "https://b.example/apt"}, Suites: []string{"stable", "main"}, KeyURL: "https://a.example/key"}},
			{Name: "tool", Archive: &wire.Archive{URL: "https://c.example/t.tar.gz"}},
			{Name: "again", Archive: &wire.Archive{URL: "https://c.example/t.tar.gz"}},
		}}}}
	n := needsOf(p)
	if !n.apt || n.root != "prep/tools" || n.mirror != "http://mirror.example/debian" {
		t.Errorf("got %+v", n)
	}
	want := `apt
index http://mirror.example/debian trixie
index https://a.example/apt stable
index https://a.example/apt main
index https://b.example/apt stable
index https://b.example/apt main
url https://a.example/key
url https://c.example/t.tar.gz
port 3389
`
	if d := cmp.Diff(want, n.questions().String()); d != "" {
		t.Error(d)
	}
	plain := needsOf(&wire.Plan{Phases: []wire.Phase{{ID: "x", Steps: []wire.Step{{Name: "a", Run: &wire.Run{Script: "true"}}}}}})
	if plain.apt || plain.root != "" || plain.questions().Len() != 0 {
		t.Errorf("a script of no needs: %+v", plain)
	}
}

// goodAnswers is a host that has all.
const goodAnswers = `time	1795465683.670178717
who	0	root	no
os	debian-13	x86_64
memory	3900	3000
room	/	/	20000	900000	
room	/var/lib/vpsctl	/	20000	900000	
room	/var/cache/apt/archives	/	20000	-	
cloud	none
apt	yes	
name	mirror.example.net	ok
own	http://mirror.example.net/debian/ trixie	ok
port	3389	free
link	https://c.example/t.tar.gz	ok
end
`

func judged(t *testing.T, n *needs, text string, ahead time.Duration) map[string]finding {
	t.Helper()
	a, err := parseAnswers([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]finding{}
	for _, f := range judge(n, &heard{host: "alpha", answer: a, ahead: ahead, within: time.Second}) {
		if _, twice := all[f.ID]; twice || f.Text == "" {
			t.Errorf("%+v", f)
		}
		all[f.ID] = f
	}
	return all
}

// TestJudge: one thing at a time is changed of a host that has all.
func TestJudge(t *testing.T) {
	full := needs{root: "prep/tools", apt: true, ports: map[int]string{3389: "xrdp"}, links: []string{"https://c.example/t.tar.gz"},
		requires: []phaseRequires{{"prep", wire.Requires{OS: []string{"debian-13"}, Arch: []string{"amd64"}, MemoryMB: 1800, DiskMB: 3072}}}}
	for id, f := range judged(t, &full, goodAnswers, 0) {
		if f.Status != "ok" || f.Hint != "" {
			t.Errorf("%s: %+v", id, f)
		}
	}
	for name, test := range map[string]struct {
		was, is    string
		ahead      time.Duration
		id, status string
		text, hint string
	}{
		"sudo, but no become": {"who\t0\troot\tno", "who\t1000\tjo\tyes", 0, "rights", "err", "jo is not root, and prep/tools needs root", "become: true"},
		"no sudo":             {"who\t0\troot\tno", "who\t1000\tjo\tno", 0, "rights", "err", "neither root nor", "sudo"},
		"another system":      {"debian-13", "ubuntu-24.04", 0, "system", "err", "ubuntu-24.04, and prep is for debian-13", "--skip-phase"},
		"another machine":     {"x86_64", "riscv64", 0, "system", "err", "riscv64", ""},
		"little memory":       {"memory\t3900\t3000", "memory\t900\t600", 0, "memory", "err", "900 MiB, and prep wants 1800", "larger"},
		"memory in use":       {"memory\t3900\t3000", "memory\t3900\t100", 0, "memory", "warn", "only 100 MiB of 3900", "ps aux"},
		"little disk":         {"room\t/\t/\t20000", "room\t/\t/\t2000", 0, "disk", "err", "2000 MiB available on /, and prep wants 3072", "apt-get clean"},
		"full state folder":   {"room\t/var/lib/vpsctl\t/\t20000", "room\t/var/lib/vpsctl\t/var/lib/vpsctl\t0", 0, "disk", "err", "0 MiB available on /var/lib/vpsctl", "df -h"},
		"little for packages": {"room\t/var/cache/apt/archives\t/\t20000\t-", "room\t/var/cache/apt/archives\t/var\t300\t-", 0, "disk", "warn", "300 MiB available on /var", ""},
		"no inodes":           {"20000\t900000", "20000\t7", 0, "disk", "err", "only 7 more files", "df -i"},
		"read-only":           {"900000\t\nroom\t/var/lib/vpsctl", "900000\tro\nroom\t/var/lib/vpsctl", 0, "disk", "err", "/ is read-only", "remount"},
		"noexec":              {"900000\t\nroom\t/var/cache", "900000\tnoexec\nroom\t/var/cache", 0, "disk", "warn", "noexec: the collector will run from a folder of its own", "without noexec"},
		"port taken":          {"port\t3389\tfree", "port\t3389\ttaken\tvncd", 0, "ports", "err", "port 3389, which xrdp shall have, is taken by vncd", "ss -ltnp"},
		"a run goes on": {"cloud", `run	{"run_id":"20261123-101502-x7k2","verb":"provision","pid":7,"since":"2026-11-23T10:15:02Z"}` + "\ncloud", 0, "run", "err",
			"run 20261123-101502-x7k2 (provision) goes on since 2026-11-23 10:15:02Z", "vpsctl runs attach 20261123-101502-x7k2"},
		"a lock that lies": {"cloud", "run\t{\"run_id\":\"x; reboot\"}\ncloud", 0, "run", "err", "cannot be read", "vpsctl runs list --remote -l alpha"},
		"cloud-init runs":  {"cloud\tnone", "cloud\trunning modules-final", 0, "cloud-init", "warn", "still sets this host up (stage modules-final)", "vpsctl ping --wait 10m -l alpha"},
		"cloud-init broke": {"cloud\tnone", "cloud\terror", 0, "cloud-init", "warn", "errors", "cloud-init status --long"},
		"no apt":           {"apt\tyes\t", "apt\tno", 0, "packages", "err", "there is no apt", "Debian"},
		"half installed":   {"apt\tyes\t", "apt\tyes\tThe following packages are only half configured", 0, "packages", "warn", "only half configured", "system-prep repairs"},
		"sources broken":   {"apt\tyes\t", "sources\tE:Malformed entry 1\napt\tyes\t", 0, "packages", "err", "Malformed entry", "apt-get update"},
		"apt lock": {"cloud", "lock\t/var/lib/dpkg/lock-frontend\tpid 812 unattended-upgr (apt-daily-upgrade.service)\ncloud", 0, "locks", "warn",
			"/var/lib/dpkg/lock-frontend is held by pid 812 unattended-upgr (apt-daily-upgrade.service)", "waits"},
		"clock ahead":     {"", "", 90 * time.Second, "clock", "warn", "1m30s ahead of this machine's", "timedatectl"},
		"clock behind":    {"", "", -7 * time.Second, "clock", "warn", "7s behind this machine's", ""},
		"clock a bit off": {"", "", 5900 * time.Millisecond, "clock", "ok", "5.90 s ahead", ""},
		"no name":         {"name\tmirror.example.net\tok\nown\thttp://mirror.example.net/debian/ trixie\tok", "name\tmirror.example.net\tno\nown\thttp://mirror.example.net/debian/ trixie\tno\tx", 0, "dns", "err", "mirror.example.net does not resolve", "getent"},
		"a proxy knows":   {"name\tmirror.example.net\tok", "name\tmirror.example.net\tno", 0, "dns", "warn", "a proxy reaches it", ""},
		"mirror away":     {"debian/ trixie\tok", "debian/ trixie\tno\tconnect (111: Connection refused)", 0, "mirrors", "err", "http://mirror.example.net/debian/ trixie: connect (111: Connection refused)", "apt-get update"},
		"no source":       {"own\thttp://mirror.example.net/debian/ trixie\tok\n", "", 0, "mirrors", "err", "no source", "sources.list"},
		"nowhere to go":   {"cloud", "nowhere\ncloud", 0, "mirrors", "err", "no folder to fetch into", "df -h"},
		"vendor away":     {"t.tar.gz\tok", "t.tar.gz\tno\tno answer within 20 s", 0, "downloads", "err", "https://c.example/t.tar.gz: no answer", "curl -I"},
		"vendor unasked":  {"link\thttps://c.example/t.tar.gz\tok\n", "", 0, "downloads", "err", "1 were not asked", ""},
		"escapes":         {"debian-13", "debian-\x1b]0;x\a13", 0, "system", "err", "debian-", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(goodAnswers, test.was) {
				t.Fatalf("there is no %q", test.was)
			}
			f := judged(t, &full, strings.Replace(goodAnswers, test.was, test.is, 1), test.ahead)[test.id]
			if f.Status != test.status || !strings.Contains(f.Text, test.text) || !strings.Contains(f.Hint, test.hint) {
				t.Errorf("got %+v", f)
			}
			if strings.ContainsAny(f.Text+f.Hint, "\x1b\a\n") {
				t.Errorf("not clean: %q", f.Text)
			}
		})
	}
}

// TestJudgeOfLittle: what a plan has no use for is neither asked nor judged.
func TestJudgeOfLittle(t *testing.T) {
	n := needs{ports: map[int]string{}}
	all := judged(t, &n, "time\t1\nwho\t1000\tjo\tno\nos\talpine-3.20\taarch64\nmemory\t512\t400\nroom\t/\t/\t100\t-\t\nroom\t/home/jo/.local/state/vpsctl\t/home\t8\t-\t\ncloud\tnone\nend\n", 0)
	for _, id := range []string{"ports", "packages", "locks", "dns", "mirrors", "downloads"} {
		if f, is := all[id]; is {
			t.Errorf("%+v", f)
		}
	}
	if f := all["rights"]; f.Status != "ok" {
		t.Errorf("%+v", f)
	}
	if f := all["disk"]; f.Status != "err" || !strings.Contains(f.Text, "8 MiB available on /home") {
		t.Errorf("%+v", f)
	}
}

func TestAnswersCutShort(t *testing.T) {
	for i := range len(goodAnswers) - len("end\n") {
		if _, err := parseAnswers([]byte(goodAnswers[:i])); err == nil {
			t.Fatalf("%d of %d bytes were enough", i, len(goodAnswers))
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(goodAnswers))
	f.Add([]byte("room\t/\nport\nrun\t{}\nlock\nown\nname\nlink\t\t\nend"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswers(b)
		if err != nil {
			return
		}
		n := needs{root: "a/b", apt: true, ports: map[int]string{22: "sshd"}, links: []string{"https://x"}, requires: []phaseRequires{{"p", wire.Requires{MemoryMB: 1, DiskMB: 1}}}}
		for _, c := range judge(&n, &heard{host: "h", answer: a}) {
			if strings.ContainsAny(c.Text+c.Hint, "\x1b\n\r\a") || c.Status != "ok" && c.Status != "warn" && c.Status != "err" {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestClockAhead(t *testing.T) {
	here := time.Unix(1000, 0)
	for said, want := range map[string]time.Duration{"1000.000000000": 0, "1007.500000000": 7500 * time.Millisecond, "990.N": -10 * time.Second, "1000": 0} {
		if got, err := clockAhead(said, here); err != nil || got != want {
			t.Errorf("%s: %v %v", said, got, err)
		}
	}
	for _, said := range []string{"", "x", "-5", "99999999999999"} {
		if _, err := clockAhead(said, here); err == nil {
			t.Errorf("%q was taken for a time", said)
		}
	}
}

// TestPassing: what ping --wait waits for, and what it does not.
func TestPassing(t *testing.T) {
	fail := func(stage string, kind remote.Kind) error {
		return fmt.Errorf("x: %w", &remote.Error{Host: "h", Stage: stage, Kind: kind, Err: errors.New("why")})
	}
	for _, test := range []struct {
		err  error
		what string
	}{
		{nil, ""}, {errors.New("other"), ""}, {context.Canceled, ""},
		{fail("dial 203.0.113.7:22", remote.Unreachable), "SSH: dial 203.0.113.7:22: why"},
		{fail("banner", remote.Unreachable), "SSH: banner: why"},
		{fail("authentication", remote.Unreachable), "the login: why"},
		{fail("authentication", remote.AuthRefused), "the login: why"},
		{fail("host key", remote.HostKey), ""}, {fail("sudo", remote.Rights), ""}, {fail("cloud-init", remote.TimedOut), ""},
	} {
		what, pause := passing(test.err)
		if what != test.what || (what != "") != (pause > 0) {
			t.Errorf("%v: %q, %v", test.err, what, pause)
		}
	}
	if _, pause := passing(fail("authentication", remote.AuthRefused)); pause < 15*time.Second {
		t.Errorf("a refused login is tried again after %v", pause)
	}
}

func TestEachLine(t *testing.T) {
	text := "one\n\ntwo\n" + strings.Repeat("x", 10_000) + "\nlast"
	for _, size := range []int{1, 2, 7, 5000, len(text)} {
		var got []string
		l := &eachLine{each: func(s string) { got = append(got, s) }}
		for from := 0; from < len(text); from += size {
			if _, err := l.Write([]byte(text[from:min(from+size, len(text))])); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff([]string{"one", "", "two", strings.Repeat("x", 4<<10)}, got); d != "" {
			t.Errorf("in pieces of %d: %s", size, d)
		}
	}
}
