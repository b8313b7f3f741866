package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
	"github.com/vpsctl/vpsctl/report"
)

// finding is the answer to one question of preflight.
type finding struct {
	ID     string `json:"id"`
	Status string `json:"status"` // ok, warn, err
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

// Below these the plan would stop (err) or may stop (warn), in MiB.
var roomFor = []struct {
	folder    string
	err, warn int
	apt       bool // only of a plan that installs packages
}{
	{"/var/lib/vpsctl", 32, 64, false},
	{"/var/cache/apt/archives", 100, 500, true},
	{"/var/lib/dpkg", 50, 200, true},
	{"/var/log", 8, 64, false},
	{"/tmp", 16, 64, false},
	{"/run", 4, 16, false},
}

const (
	lowMemoryMB = 300 // available: under it the kernel may end a step
	fewInodes   = 5000
	clockLimit  = 5 * time.Second
)

// heard is what one host answered and what this machine saw meanwhile.
type heard struct {
	host   string
	answer answers
	ahead  time.Duration // the host's clock before this machine's
	within time.Duration // as exactly as that is known
}

// judge sets the answers against the needs, in the order they are shown.
func judge(n *needs, h *heard) []finding {
	var all []finding
	for _, f := range []func(*needs, *heard) *verdict{
		judgeRights, judgeSystem, judgeMemory, judgeDisk, judgePorts, judgeRun, judgeCloudInit, judgePackages, judgeLocks, judgeClock, judgeNames, judgeMirrors, judgeLinks,
	} {
		if v := f(n, h); v != nil {
			all = append(all, v.finding())
		}
	}
	return all
}

// verdict collects what is wrong with one thing.
type verdict struct {
	id, fine string
	worst    string
	texts    []string
	hint     string
}

func (v *verdict) warn(hint, format string, args ...any) { v.add("warn", hint, format, args...) }
func (v *verdict) err(hint, format string, args ...any)  { v.add("err", hint, format, args...) }

func (v *verdict) add(status, hint, format string, args ...any) {
	if v.worst == "" || v.worst == "warn" && status == "err" {
		v.worst, v.hint = status, hint
	}
	v.hint = cmp.Or(v.hint, hint)
	if text := fmt.Sprintf(format, args...); !slices.Contains(v.texts, text) {
		v.texts = append(v.texts, text)
	}
}

func (v *verdict) finding() finding {
	f := finding{ID: v.id, Status: cmp.Or(v.worst, "ok"), Text: v.fine, Hint: oneLine(v.hint)}
	if v.worst != "" {
		f.Text = strings.Join(v.texts, "; ")
	}
	f.Text = oneLine(f.Text)
	return f
}

func judgeRights(n *needs, h *heard) *verdict {
	who := h.answer.one("who")
	uid, user, sudo := word(who, 0), word(who, 1), word(who, 2)
	v := &verdict{id: rightsCheck, fine: "works as " + user}
	switch {
	case uid == "0" || n.root == "":
	case sudo == "yes":
		v.err("in the inventory: "+h.host+": {become: true}", "%s is not root, and %s needs root", user, n.root)
	default:
		v.err("log in as root, or let "+user+" use sudo without a password and set become: true", "%s is neither root nor has it sudo without a password, and %s needs root", user, n.root)
	}
	return v
}

func judgeSystem(n *needs, h *heard) *verdict {
	line := h.answer.one("os")
	system, arch := word(line, 0), goArch(word(line, 1))
	v := &verdict{id: "system", fine: system + " on " + arch}
	for _, q := range n.requires {
		if len(q.OS) > 0 && !slices.Contains(q.OS, system) {
			v.err("use another host, or --skip-phase", "this is %s, and %s is for %s", system, q.phase, strings.Join(q.OS, ", "))
		}
		if len(q.Arch) > 0 && !slices.Contains(q.Arch, arch) {
			v.err("use another host, or --skip-phase", "this is %s, and %s is for %s", arch, q.phase, strings.Join(q.Arch, ", "))
		}
	}
	return v
}

// goArch is the kernel's name of a machine as plans say it.
func goArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}

func judgeMemory(n *needs, h *heard) *verdict {
	line := h.answer.one("memory")
	total, avail := number(word(line, 0)), number(word(line, 1))
	v := &verdict{id: "memory", fine: fmt.Sprintf("%d MiB, %d available", total, avail)}
	for _, q := range n.requires {
		if total < q.MemoryMB {
			v.err("use a larger server, or --skip-phase", "%d MiB, and %s wants %d", total, q.phase, q.MemoryMB)
		}
	}
	if avail < lowMemoryMB {
		v.warn("on the host: ps aux --sort=-rss | head", "only %d MiB of %d are available", avail, total)
	}
	return v
}

func judgeDisk(n *needs, h *heard) *verdict {
	v := &verdict{id: "disk"}
	for _, line := range h.answer["room"] {
		folder, mount, free := word(line, 0), word(line, 1), number(word(line, 2))
		if folder == "/" {
			v.fine = fmt.Sprintf("%d MiB available on /", free)
			for _, q := range n.requires {
				if free < q.DiskMB {
					v.err("on the host: apt-get clean; journalctl --vacuum-size=100M; du -xh / | sort -h | tail", "%d MiB available on /, and %s wants %d", free, q.phase, q.DiskMB)
				}
			}
		}
		v.room(n, folder, mount, free)
		if in, err := strconv.Atoi(word(line, 3)); err == nil && in < fewInodes {
			v.err("on the host: df -i "+mount, "only %d more files fit on %s", in, mount)
		}
		options := strings.Split(word(line, 4), ",")
		if slices.Contains(options, "ro") {
			v.err("on the host: mount -o remount,rw "+mount, "%s is read-only", mount)
		}
		if slices.Contains(options, "noexec") && strings.HasSuffix(folder, "/vpsctl") {
			v.warn("mount "+mount+" without noexec, or let it be", "%s is on %s, which is mounted noexec: the collector will run from a folder of its own elsewhere", folder, mount)
		}
	}
	return v
}

// room judges one folder by roomFor. Without root the state lies elsewhere.
func (v *verdict) room(n *needs, folder, mount string, free int) {
	if strings.HasSuffix(folder, "/.local/state/vpsctl") {
		folder = "/var/lib/vpsctl"
	}
	for _, want := range roomFor {
		switch {
		case want.folder != folder || want.apt && !n.apt:
		case free < want.err:
			v.err("on the host: df -h "+mount+"; du -xh "+mount+" | sort -h | tail", "%d MiB available on %s, where %s is", free, mount, folder)
		case free < want.warn:
			v.warn("on the host: df -h "+mount, "%d MiB available on %s, where %s is", free, mount, folder)
		}
	}
}

func judgePorts(n *needs, h *heard) *verdict {
	if len(n.ports) == 0 {
		return nil
	}
	v := &verdict{id: "ports"}
	var free []string
	for _, line := range h.answer["port"] {
		port, by := number(word(line, 0)), word(line, 2)
		may, asked := n.ports[port]
		if word(line, 1) == "taken" && asked && !slices.Contains(strings.Split(by, ","), may) {
			v.err(fmt.Sprintf("on the host: ss -ltnp 'sport = :%d'", port), "port %d, which %s shall have, is taken by %s", port, may, cmp.Or(by, "somebody who is not named"))
		}
		free = append(free, word(line, 0))
	}
	v.fine = strings.Join(free, ", ") + " can be had"
	return v
}

func judgeRun(_ *needs, h *heard) *verdict {
	v := &verdict{id: "run", fine: "no other run of vpsctl"}
	if line := h.answer.one("run"); line != nil {
		var lock wire.Lock
		if err := json.Unmarshal([]byte(word(line, 0)), &lock); err != nil || !runWord.MatchString(lock.RunID) {
			v.err("vpsctl runs list --remote -l "+h.host, "another run goes on, and its lock cannot be read")
			return v
		}
		v.err("vpsctl runs attach "+lock.RunID, "run %s (%s) goes on since %s", lock.RunID, lock.Verb, lock.Since.UTC().Format("2006-01-02 15:04:05Z"))
	}
	return v
}

func judgeCloudInit(_ *needs, h *heard) *verdict {
	v := &verdict{id: "cloud-init", fine: "not there, or disabled"}
	state, stage, _ := strings.Cut(word(h.answer.one("cloud"), 0), " ")
	switch state {
	case "done":
		v.fine = "has ended"
	case "running":
		v.warn("vpsctl ping --wait 10m -l "+h.host, "still sets this host up%s; provision would wait for it", stageText(stage))
	case "error":
		v.warn("on the host: cloud-init status --long", "has ended with errors")
	}
	return v
}

func stageText(stage string) string {
	if stage == "" {
		return ""
	}
	return " (stage " + stage + ")"
}

func judgePackages(n *needs, h *heard) *verdict {
	line := h.answer.one("apt")
	if !n.apt || line == nil {
		return nil
	}
	v := &verdict{id: "packages", fine: "apt and dpkg are in order"}
	if word(line, 0) != "yes" {
		v.err("use a Debian host, or --skip-phase", "there is no apt, and the plan installs packages")
	} else if audit := word(line, 1); audit != "" {
		v.warn("system-prep repairs them; by hand: dpkg --configure -a; apt-get -f install", "packages are half installed: %s", audit)
	}
	if line := h.answer.one("sources"); line != nil {
		v.err("on the host: apt-get update", "apt cannot read its sources: %s", word(line, 0))
	}
	return v
}

func judgeLocks(n *needs, h *heard) *verdict {
	if !n.apt {
		return nil
	}
	v := &verdict{id: "locks", fine: "nobody holds a lock of apt or dpkg"}
	for _, line := range h.answer["lock"] {
		v.warn("provision waits for it", "%s is held by %s", word(line, 0), word(line, 1))
	}
	return v
}

func judgeClock(_ *needs, h *heard) *verdict {
	v := &verdict{id: "clock"}
	way := "ahead of"
	if h.ahead < 0 {
		way = "behind"
	}
	off := h.ahead.Abs()
	v.fine = fmt.Sprintf("%.2f s %s this machine's (± %.2f s)", off.Seconds(), way, h.within.Seconds())
	if off-h.within > clockLimit {
		v.warn("on the host: timedatectl; apt install systemd-timesyncd", "%s %s this machine's: apt may call its lists not valid yet, or expired", off.Round(time.Second), way)
	}
	return v
}

// oneLine is a host's text made clean. A carriage return of the host's would
// else begin a line that looks like one of ours.
func oneLine(s string) string { return strings.Join(strings.Fields(report.Clean(s)), " ") }
