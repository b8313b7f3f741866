//go:build linux

package lab

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

//go:embed boot.sh
var bootScript string

// bootLimit bounds each of: a start until ssh answers, a shutdown, a reboot.
const bootLimit = 90 * time.Second

// Host is one host of a lab. Its methods may be called from several goroutines and processes; those that change
// whether it runs wait for each other.
type Host struct {
	Name  string
	Addr  string // IPv4, but for a host that has none
	Addr6 string // empty where this machine has IPv6 switched off

	number int
	lab    *Lab
}

func (h *Host) lock(ctx context.Context) (func(), error) {
	return lockFile(ctx, filepath.Join(labDir(h.lab.ID), h.Name+".lock"))
}

// Running tells whether the host is switched on, be it still booting.
func (h *Host) Running() bool {
	dir, err := h.cgroup()
	return err == nil && populated(dir)
}

// Start switches the host on with the disk it has and waits until ssh lets root in. A running host is left alone.
func (h *Host) Start(ctx context.Context) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return h.start(ctx)
}

// Kill cuts the host's power: nothing is written, no connection is closed, the line just falls silent.
func (h *Host) Kill(ctx context.Context) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return h.kill(ctx)
}

// Reset gives the host a fresh disk and starts it. Address, name and host keys stay.
func (h *Host) Reset(ctx context.Context) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return h.reset(ctx)
}

// Reboot lets the host restart itself and waits until the next boot lets root in.
func (h *Host) Reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*bootLimit)
	defer cancel()
	before, err := h.BootID()
	if err != nil {
		return err
	}
	if _, err := h.Exec(ctx, "systemctl reboot"); err != nil {
		return err
	}
	return h.WaitReboot(ctx, before)
}

// WaitReboot waits until the host runs another boot than the named one and lets root in.
func (h *Host) WaitReboot(ctx context.Context, before string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*bootLimit)
	defer cancel()
	err := poll(ctx, func() (bool, error) {
		if !h.Running() {
			return false, fmt.Errorf("%s: reboot: it switched itself off: %s", h.Name, h.console())
		}
		now, err := h.BootID()
		return err == nil && now != before, nil
	})
	if err != nil {
		return fmt.Errorf("%s: wait for its reboot: %w", h.Name, err)
	}
	return h.waitReady(ctx)
}

// Cut pulls the host's network cable: all that was sent or comes in until Restore is lost, and nobody is told.
func (h *Host) Cut(ctx context.Context) error {
	_, err := run(ctx, "", "ip", "link", "set", h.link(), "down")
	return err
}

// Restore plugs the cable in again.
func (h *Host) Restore(ctx context.Context) error {
	_, err := run(ctx, "", "ip", "link", "set", h.link(), "up")
	return err
}

// BootID is the id of the host's present boot; nspawn gives every boot its own.
func (h *Host) BootID() (string, error) {
	leader, err := h.leader()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/proc/sys/kernel/random/boot_id", leader))
	if err != nil {
		return "", fmt.Errorf("%s: read its boot id: %w", h.Name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Exec runs a shell line as root in the host, without ssh and even while its line is cut, and returns its stdout. The
// error ends with its stderr and wraps *exec.ExitError. A line that takes 15 minutes is ended.
func (h *Host) Exec(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	leader, err := h.leader()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--target="+strconv.Itoa(leader), "--mount", "--uts", "--ipc", "--net",
		"--pid", "--cgroup", "--root", "--wd", "--", "/bin/sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LANG=C.UTF-8"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	endAsGroup(cmd)
	if err := runUnstopped(cmd); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", h.Name, tail(line, 200), err, tail(errs.String(), 2000))
	}
	return out.String(), nil
}

// runUnstopped runs cmd and keeps waking it. A host that shuts down stops all its processes before it kills them;
// nsenter would stop along with its command, never reap it, and so hold up the host's end.
func runUnstopped(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	done, awake := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(awake)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = cmd.Process.Signal(syscall.SIGCONT)
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	<-awake
	return err
}

// leader finds the host's process 1 by its pid, from this machine's point of view.
func (h *Host) leader() (int, error) {
	dir, err := h.cgroup()
	if err != nil {
		return 0, err
	}
	for _, pid := range pidsIn(filepath.Join(dir, "box")) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, rest, _ := strings.Cut(string(b), "\nNSpid:")
		line, _, _ := strings.Cut(rest, "\n")
		// One number more than we have ourselves, and that is 1: neither nspawn nor a container inside the host.
		if f := strings.Fields(line); len(f) == 2 && f[1] == "1" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("%s: it is not running", h.Name)
}

// ensure makes the host run: kept as it is when it does, else with a fresh disk.
func (h *Host) ensure(ctx context.Context) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if h.Running() {
		return h.waitReady(ctx)
	}
	return h.reset(ctx)
}

func (h *Host) reset(ctx context.Context) error {
	if err := h.kill(ctx); err != nil {
		return err
	}
	if err := h.freshDisk(ctx); err != nil {
		return err
	}
	return h.start(ctx)
}

func (h *Host) start(ctx context.Context) error {
	if h.Running() {
		return h.waitReady(ctx)
	}
	if err := h.mount(); err != nil {
		return err
	}
	if err := h.launch(ctx); err != nil {
		return fmt.Errorf("%s: start: %w", h.Name, err)
	}
	return h.waitReady(ctx)
}

// launch starts the keeper, which outlives this process. It is born inside the host's cgroup and inherits nothing but
// the console's log: a host that held one of our locks would hold it for as long as it runs.
func (h *Host) launch(ctx context.Context) error {
	keeper, err := h.makeCgroup()
	if err != nil {
		return err
	}
	defer keeper.Close()
	confined, err := h.confine(ctx)
	if err != nil {
		return err
	}
	console, err := os.Create(filepath.Join(h.dir(), "console.log"))
	if err != nil {
		return err
	}
	defer console.Close()
	script := filepath.Join(h.dir(), "boot.sh")
	if err := renameio.WriteFile(script, []byte(bootScript), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "setsid", "--fork", "sh", script)
	cmd.Env = append(h.bootEnv(filepath.Dir(keeper.Name())), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.Env = append(cmd.Env, confined...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(keeper.Fd())}
	return cmd.Run()
}

func (h *Host) bootEnv(cgroup string) []string {
	env := []string{
		"CGROUP=" + cgroup, "NETNS=" + h.netns(), "LINK=" + h.link(), "BRIDGE=" + bridgeOf(h.lab.ID), "MAC=" + h.mac(),
		"ADDR6=" + h.Addr6, "MACHINE=" + h.netns(), "ROOT=" + h.Root(), "LINE=" + h.lineScript(),
	}
	if h.Addr != h.Addr6 {
		env = append(env, "ADDR="+h.Addr, "GATEWAY="+h.lab.Gateway())
	}
	return env
}

// kill ends all of the host's processes. Its line goes first, or the kernel would say goodbye for them.
func (h *Host) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	dir, err := h.cgroup()
	if err != nil {
		return err
	}
	if err := unplug(ctx, h.link()); err != nil {
		return err
	}
	return killCgroup(ctx, dir)
}

// console returns the last lines of the host's console.
func (h *Host) console() string {
	b, _ := os.ReadFile(filepath.Join(h.dir(), "console.log"))
	return tail(string(b), 1000)
}
