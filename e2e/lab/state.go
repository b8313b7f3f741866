//go:build linux

package lab

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// storeDir holds what belongs to labs that exist. It must not lie on an overlay, which cannot carry another one.
func storeDir() string { return cmp.Or(os.Getenv("VPSCTL_LAB_STORE"), "/var/lib/vpsctl-lab") }

// state is what a lab must remember; all other names follow from the lab's id.
type state struct {
	Dir      string   `json:"dir"`
	Subnet   string   `json:"subnet"` // the first three numbers
	Base     string   `json:"base"`
	Prefix   string   `json:"prefix"`
	Hosts    []string `json:"hosts"`
	Owner    *process `json:"owner,omitempty"` // of an ephemeral lab
	Suite    string   `json:"suite,omitempty"` // none: the default
	IPv6Only bool     `json:"ipv6_only,omitempty"`
	AptCache bool     `json:"apt_cache,omitempty"`
	Limits   Limits   `json:"limits,omitzero"` // of hosts that have none of their own
}

func (st state) recipe() recipe { return recipes[cmp.Or(st.Suite, defaultSuite)] }

// agree takes over what the options want of a lab that is there already. What hosts are made of cannot change.
func (st *state) agree(opt Options) error {
	if want := cmp.Or(opt.Suite, st.recipe().suite); want != st.recipe().suite {
		return &standing{st.Dir, st.recipe().suite}
	}
	if opt.IPv6Only && !st.IPv6Only {
		return &standing{st.Dir, "IPv4"}
	}
	st.AptCache = st.AptCache || opt.AptCache
	if opt.Limits != (Limits{}) {
		st.Limits = opt.Limits
	}
	return nil
}

// standing is returned for wishes that the lab of a folder cannot have any more.
type standing struct{ dir, kind string }

func (e *standing) Error() string { return fmt.Sprintf("lab: %s has %s hosts", e.dir, e.kind) }
func (*standing) Hint() string    { return "take the lab down first, or use another folder" }

// process names a process for good: a pid alone comes back one day.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // field 22 of /proc/PID/stat
}

func thisProcess() *process { return &process{PID: os.Getpid(), Start: startOf(os.Getpid())} }

func (p *process) alive() bool { return p.Start != "" && startOf(p.PID) == p.Start }

// startOf returns a process's start time, or "" when there is no such process.
func startOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// IDOf is the id of the lab that belongs to a state folder, whether or not there is one.
func IDOf(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("lab: %s: %w", dir, err)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(abs)))[:6], nil
}

func labDir(id string) string { return filepath.Join(storeDir(), id) }

func loadState(id string) (st state, err error) {
	b, err := os.ReadFile(filepath.Join(labDir(id), "state.json"))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("lab: %s/state.json: %w", labDir(id), err)
	}
	return st, nil
}

func (st state) save(id string) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(labDir(id), 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return renameio.WriteFile(filepath.Join(labDir(id), "state.json"), b, 0o644)
}

// claim loads or begins the lab of opt.Dir and returns with its lock held. The subnet is reserved by writing the state
// down under the lock of the store.
func claim(ctx context.Context, opt Options) (*Lab, func(), error) {
	id, err := IDOf(opt.Dir)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := lockLab(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	st, err := reserve(ctx, id, opt)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return newLab(id, st, opt.Log), unlock, nil
}

func reserve(ctx context.Context, id string, opt Options) (state, error) {
	unlock, err := lockFile(ctx, filepath.Join(storeDir(), "lock"))
	if err != nil {
		return state{}, err
	}
	defer unlock()
	st, err := loadState(id)
	if errors.Is(err, os.ErrNotExist) {
		st.Dir, _ = filepath.Abs(opt.Dir)
		st.Prefix, st.Suite, st.IPv6Only = opt.Prefix, opt.Suite, opt.IPv6Only
		if opt.Ephemeral {
			st.Owner = thisProcess()
		}
		st.Subnet, err = freeSubnet()
	}
	if err != nil {
		return st, err
	}
	if err := st.agree(opt); err != nil {
		return st, err
	}
	for i := len(st.Hosts); i < opt.N; i++ {
		st.Hosts = append(st.Hosts, fmt.Sprintf("%s%d", st.Prefix, i+1))
	}
	return st, st.save(id)
}

// freeSubnet picks a /24 of 10.79.0.0/16 that neither an interface of this machine nor another lab has.
func freeSubnet() (string, error) {
	taken, err := takenSubnets()
	if err != nil {
		return "", err
	}
	for i := range 256 {
		if s := fmt.Sprintf("10.79.%d", i); !slices.ContainsFunc(taken, func(n *net.IPNet) bool { return n.Contains(net.ParseIP(s + ".1")) }) {
			return s, nil
		}
	}
	return "", errors.New("lab: all subnets of 10.79.0.0/16 are taken")
}

func takenSubnets() (taken []*net.IPNet, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("lab: list this machine's addresses: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			taken = append(taken, n)
		}
	}
	labs, err := allLabs()
	for _, st := range labs {
		taken = append(taken, &net.IPNet{IP: net.ParseIP(st.Subnet + ".0"), Mask: net.CIDRMask(24, 32)})
	}
	return taken, err
}

// allLabs returns the state of every lab of this machine by id.
func allLabs() (map[string]state, error) {
	files, err := filepath.Glob(filepath.Join(storeDir(), "*", "state.json"))
	labs := make(map[string]state)
	for _, f := range files {
		id := filepath.Base(filepath.Dir(f))
		if st, e := loadState(id); e == nil {
			labs[id] = st
		} else if !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return labs, err
}

// Sweep removes the ephemeral labs whose process has died without taking them down.
func Sweep(ctx context.Context, log io.Writer) error {
	labs, err := allLabs()
	for id, st := range labs {
		if st.Owner != nil && !st.Owner.alive() {
			fmt.Fprintf(log, "lab: removing the lab of %s, left behind by process %d\n", st.Dir, st.Owner.PID)
			err = errors.Join(err, newLab(id, st, log).Down(ctx))
		}
	}
	return err
}

func lockPath(id string) string { return filepath.Join(storeDir(), id+".lock") }

func lockLab(ctx context.Context, id string) (func(), error) {
	return lockFile(ctx, lockPath(id))
}

// lockFile waits for the lock. Whoever holds it may remove the file, so what was locked must still be the file of that
// name.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	var f *os.File
	err = poll(ctx, func() (bool, error) {
		f, err = tryLock(path)
		return f != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("lab: wait for the lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// tryLock returns nil when somebody else has the lock.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	held, heldErr := f.Stat()
	named, namedErr := os.Stat(path)
	if err == nil && heldErr == nil && namedErr == nil && os.SameFile(held, named) {
		return f, nil
	}
	f.Close()
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, err
	}
	return nil, nil
}
