//go:build linux

package steps

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/apt-daily-upgrade.service\n":                                      "apt-daily-upgrade.service",
		"0::/user.slice/user-0.slice/session-3.scope\n":                                     "session-3.scope",
		"12:cpu:/x.service\n1:name=systemd:/system.slice/cloud-final.service/inner\n0::/\n": "cloud-final.service",
		"0::/\n": "", "": "", "garbage": "", "0::": "",
		"0::/system.slice/a:b.service": "a:b.service",
	} {
		if got := parseCgroup([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParseLocks(t *testing.T) {
	text := []byte("1: POSIX  ADVISORY  WRITE 10 08:01:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 08:01:1234 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 900 08:01:99 0 EOF\n")
	for inode, want := range map[uint64]int{1234: 812, 99: -1, 5: -1} {
		if got := parseLocks(text, inode); got != want {
			t.Errorf("inode %d: %d, want %d", inode, got, want)
		}
	}
}

func TestRemovals(t *testing.T) {
	got := removals([]byte("Reading package lists...\nRemv exim4 [4.98]\nRemv libc6:i386 [2.41-1]\nInst vim (9.1 Debian:13 [amd64])\nConf vim (9.1 Debian:13 [amd64])\nPurg nano* [8]\nRemv\n"))
	if d := cmp.Diff([]string{"exim4", "libc6:i386", "nano*"}, got); d != "" {
		t.Error(d)
	}
}

func TestParsePlan(t *testing.T) {
	got := parsePlan([]byte("VERSION 3\nAPT::Architecture=" + "amd64\n\n" +
		"libc6 2.40-1 " + runtime.GOARCH + " same < 2.41-1 " + runtime.GOARCH + " same /var/cache/apt/archives/libc6_2.41-1.deb\n" +
		"vim - - none < 9.1 " + runtime.GOARCH + " none /var/cache/apt/archives/vim.deb\n" +
		"vim-common - - none < 9.1 all foreign /var/cache/apt/archives/vim-common.deb\n" +
		"libc6 - - none < 2.41-1 i386 same /var/cache/apt/archives/libc6_2.41-1_i386.deb\n" +
		"vim - - none < 9.1 " + runtime.GOARCH + " none **CONFIGURE**\n" +
		"nano 8 " + runtime.GOARCH + " none > - - none **REMOVE**\nrubbish\n"))
	want := transaction{fresh: []string{"vim", "vim-common", "libc6:i386"}, upgraded: []string{"libc6"}, removed: []string{"nano"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(transaction{})); d != "" {
		t.Error(d)
	}
}

func TestDebStates(t *testing.T) {
	d := parseDebs([]byte("a\tii \t\nheld\thi \t\nb\trc \t\nc\tiF \t\nd\tit \t\ne\tiiR\tx\nf\tii \tmail-agent (= 1), virt\nlib:" + "amd64\tii \t\n"))
	for name, want := range map[string]bool{"a": true, "held": true, "b": false, "c": false, "d": false, "e": false, "x": false, "virt": true, "mail-agent": true, "nosuch": false} {
		if d.has(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestParseUnit(t *testing.T) {
	u := parseUnit([]byte("LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nNeedDaemonReload=yes\nCanReload=yes\nResult=success\n"))
	if !u.running() || !u.on() || !u.stale || !u.canReload {
		t.Errorf("%+v", u)
	}
}

func TestTailKeepsItsEnd(t *testing.T) {
	var w tail
	for range 10000 {
		_, _ = w.Write([]byte("äöü line\n"))
	}
	if s := w.String(); len(s) > tailSize || !strings.HasPrefix(s, "äöü line\n") || !strings.HasSuffix(s, "äöü line\n") {
		t.Errorf("%d bytes, %.20q", len(s), s)
	}
}

func FuzzParseDebs(f *testing.F) {
	f.Add([]byte("vim\tii \tedit, vi\nlibc6:i386\trc \t\n"))
	f.Add([]byte("a\t\tb\n\t\t\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := parseDebs(data)
		for name := range d {
			if name == "" || strings.ContainsAny(name, "\t\n") {
				t.Errorf("a package called %q", name)
			}
		}
		// What is kept for undo reads back as the same states.
		back := parseDebs(d.list())
		for name, p := range d {
			if back[name].status != p.status && len(p.status) >= 2 {
				t.Errorf("%q: %q, then %q", name, p.status, back[name].status)
			}
		}
		_ = removals(data)
		_ = parsePlan(data)
	})
}

func FuzzParseAccounts(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/bash\n+::::::\nnobody:x:65534:65534::/:\n"), "root")
	f.Add([]byte("a:x:-1:0::/:/\n:x:0:0:::\n"), "")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		for _, a := range parseAccounts(data) {
			if a.name == "" || a.uid < 0 || a.gid < 0 {
				t.Errorf("%+v", a)
			}
		}
		for _, g := range parseGroups(data) {
			if g.name == "" || g.gid < 0 {
				t.Errorf("%+v", g)
			}
		}
		if field, ok := passwordField(data, name); ok && (name == "" || !bytes.Contains(data, []byte(name+":"+field))) {
			t.Errorf("field %q of %q", field, name)
		}
	})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add([]byte("0::/system.slice/x.service\n"), uint64(7))
	f.Add([]byte("1: FLOCK  ADVISORY  WRITE 812 08:01:7 0 EOF\n"), uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, inode uint64) {
		if unit := parseCgroup(data); strings.ContainsAny(unit, "/\n") {
			t.Errorf("unit %q", unit)
		}
		if pid := parseLocks(data, inode); pid == 0 || pid < -1 {
			t.Errorf("pid %d", pid)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(testKey(1) + " me")
	f.Add(`command="a \" b",no-pty ` + testKey(2))
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, line string) {
		k, ok := parseKey(line)
		if !ok {
			return
		}
		if strings.ContainsAny(k.line, "\n\r") {
			t.Errorf("a key of two lines: %q", k.line)
		}
		file := withKeys([]byte("no newline"), []key{k})
		if back := parseKeys(file); len(back) != 1 || back[0].id != k.id || back[0].options != k.options {
			t.Errorf("%q became %+v", line, back)
		}
		if left := parseKeys(withoutKeys(file, map[string]bool{k.id: true})); len(left) != 0 {
			t.Errorf("%q is still there", line)
		}
	})
}
