//go:build linux

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// aptLocks are held by POSIX locks, which tell their holder.
var aptLocks = []string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"}

// dailyLock is held by flock while Debian's own daily updates run.
const dailyLock = "/var/lib/apt/daily_lock"

const (
	lockPoll = 500 * time.Millisecond
	lockSay  = 5 * time.Second
)

// inTheWay is what a package step waits for.
type inTheWay struct{ what, holder string }

// freeApt waits until nobody else works with packages, saying who does, and
// then keeps the daily updates out until release is called. Only ctx bounds
// the wait.
func (e *Env) freeApt(ctx context.Context) (release func(), err error) {
	turn := func() {}
	if e.Turn != nil {
		if turn, err = e.Turn(ctx); err != nil {
			return nil, &failure{text: "waited for its turn to change packages", err: err}
		}
	}
	defer func() {
		if release == nil {
			turn()
		}
	}()
	var said inTheWay
	for quiet := lockSay; ; quiet += lockPoll {
		now, lock, err := e.aptBusy(ctx)
		if err != nil {
			return nil, err
		}
		if said.what != "" && now.what != said.what {
			e.waits(wire.Wait{For: said.what, Holder: said.holder, Done: true})
		}
		if now.what == "" {
			return func() { lock.Close(); turn() }, nil
		}
		if now != said || quiet >= lockSay {
			e.waits(wire.Wait{For: now.what, Holder: now.holder})
			quiet = 0
		}
		said = now
		if err := e.sleep(ctx, lockPoll); err != nil {
			return nil, &failure{text: "waited for " + now.what + ", held by " + now.holder, retryable: true, err: err}
		}
	}
}

func (e *Env) waits(w wire.Wait) {
	if e.Wait != nil {
		e.Wait(w)
	}
}

// aptBusy says who is in the way; when nobody is, lock holds dailyLock.
func (e *Env) aptBusy(ctx context.Context) (inTheWay, *os.File, error) {
	if e.cloudInit(ctx) {
		return inTheWay{"cloud-init", "cloud-final.service"}, nil, nil
	}
	for _, name := range aptLocks {
		pid, err := posixHolder(e.at(name))
		if err != nil {
			return inTheWay{}, nil, fmt.Errorf("ask who holds %s: %w", name, err)
		}
		if pid != 0 {
			return inTheWay{"apt lock " + name, e.holder(pid)}, nil, nil
		}
	}
	lock, err := os.OpenFile(e.at(dailyLock), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return inTheWay{}, nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return inTheWay{}, lock, nil
	}
	defer lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return inTheWay{"apt lock " + dailyLock, e.holder(e.flockHolder(lock))}, nil, nil
	}
	return inTheWay{}, nil, fmt.Errorf("lock %s: %w", dailyLock, err)
}

// posixHolder is the pid that holds a lock on a file; 0 when it is free, -1
// when the kernel does not tell (another namespace).
func posixHolder(file string) (int, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lk); err != nil {
		return 0, err
	}
	if lk.Type == unix.F_UNLCK {
		return 0, nil
	}
	if lk.Pid <= 0 {
		return -1, nil
	}
	return int(lk.Pid), nil
}

// flockHolder looks the holder up in /proc/locks; -1 when it is not there.
func (e *Env) flockHolder(f *os.File) int {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return -1
	}
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		return -1
	}
	return parseLocks(b, st.Ino)
}

// parseLocks finds who holds a flock on an inode: lines such as
// "1: FLOCK  ADVISORY  WRITE 812 08:01:1234 0 EOF". Waiters have "->".
func parseLocks(data []byte, inode uint64) int {
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		dev := strings.Split(f[5], ":")
		ino, err1 := strconv.ParseUint(dev[len(dev)-1], 10, 64)
		pid, err2 := strconv.Atoi(f[4])
		if err1 == nil && err2 == nil && ino == inode && pid > 0 {
			return pid
		}
	}
	return -1
}

// holder names a process: "pid 812 unattended-upgr (apt-daily-upgrade.service)".
func (e *Env) holder(pid int) string {
	if pid <= 0 {
		return "a process that the kernel does not name"
	}
	dir := path.Join("/proc", strconv.Itoa(pid))
	name := fmt.Sprintf("pid %d", pid)
	if comm, err := os.ReadFile(path.Join(dir, "comm")); err == nil {
		name += " " + strings.TrimSpace(string(comm))
	}
	if cg, err := os.ReadFile(path.Join(dir, "cgroup")); err == nil {
		if unit := parseCgroup(cg); unit != "" {
			name += " (" + unit + ")"
		}
	}
	return name
}

// parseCgroup finds the systemd unit in /proc/PID/cgroup: the innermost part of
// a path that is a service or a scope, in the hierarchy of v2 or systemd's own
// of v1.
func parseCgroup(data []byte) string {
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) != 3 || f[1] != "" && f[1] != "name=systemd" {
			continue
		}
		parts := strings.Split(f[2], "/")
		for i := len(parts) - 1; i >= 0; i-- {
			if strings.HasSuffix(parts[i], ".service") || strings.HasSuffix(parts[i], ".scope") {
				return parts[i]
			}
		}
	}
	return ""
}

// cloudInit tells whether cloud-init still sets this host up. Its own status
// command takes a third of a second, so files are asked first.
func (e *Env) cloudInit(ctx context.Context) bool {
	if !exists(e.at("/run/cloud-init/enabled")) || exists(e.at("/run/cloud-init/result.json")) {
		return false
	}
	out, err := e.call(ctx, call{name: "systemctl", args: []string{"show", "-p", "ActiveState,Job", "cloud-final.service"}})
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(out)) {
		key, val, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ActiveState" && val == "activating" || key == "Job" && val != "" && val != "0" {
			return true
		}
	}
	return false
}

func exists(file string) bool {
	var st unix.Stat_t
	return unix.Stat(file, &st) == nil
}
