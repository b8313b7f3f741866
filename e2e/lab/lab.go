//go:build linux

// Package lab runs real Debian and Ubuntu hosts on this machine: systemd-nspawn booting systemd and OpenSSH, each host
// with a network namespace, addresses, a cgroup and an overlay of one cached base. It needs root, systemd-container,
// mmdebstrap, nftables and iproute2, and lxcfs for hosts with limits.
//
// Everything a lab makes carries the lab's id in its name (bridge, links, namespaces, cgroups, nft table, folders), so
// that it is found and removed after a crash, and nothing else ever is.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// maxHosts keeps the addresses of a lab inside its /24.
const maxHosts = 200

// Options say which lab is wanted.
type Options struct {
	Dir       string    // state folder with inventory, known_hosts and identity; one lab per folder
	N         int       // hosts, 1 if zero
	Prefix    string    // of the hosts' names, "lab" if empty
	Ephemeral bool      // the lab belongs to this process: whoever builds a lab after its death removes this one
	Log       io.Writer // what is done to this machine, one line each; nil for silence

	Suite     string   // of the hosts: trixie if empty, bookworm or noble; one per lab
	Limits    Limits   // of hosts that start from now on; see Host.Limit
	IPv6Only  bool     // hosts without IPv4: their Addr is an IPv6 address
	AptCache  bool     // apt in the hosts downloads through a cache that all labs of this machine share
	AptServer []string // command that calls ServeApt for a lab that outlives this process; none: this process serves
}

// Lab is a set of hosts that are up, or were. It is safe for use by several goroutines.
type Lab struct {
	ID    string // part of the name of everything that was made for this lab
	Hosts []*Host

	state state
	log   io.Writer
	apt   *aptServer // when this process serves
}

// Up makes the lab of opt.Dir hold at least opt.N running hosts. Hosts that already run are kept as they are, the
// others start with a fresh disk. After an error the lab is left as far as it came: Down removes it.
func Up(ctx context.Context, opt Options) (*Lab, error) {
	opt.N, opt.Prefix = max(opt.N, 1), cmp.Or(opt.Prefix, "lab")
	if err := opt.check(); err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = io.Discard
	}
	if err := Sweep(ctx, opt.Log); err != nil {
		fmt.Fprintln(opt.Log, "lab: leftovers:", err)
	}
	l, unlock, err := prepare(ctx, opt)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := l.provideApt(ctx, opt.AptServer); err != nil {
		return l, err
	}
	return l, ensureAll(ctx, l.Hosts)
}

// Grow starts n more hosts in the lab and leaves the others as they are. The lab that it returns has them all.
func (l *Lab) Grow(ctx context.Context, n int) (*Lab, error) {
	opt := Options{Dir: l.state.Dir, N: len(l.Hosts) + n, Prefix: l.state.Prefix, Log: l.log}
	if err := opt.check(); err != nil {
		return nil, err
	}
	grown, unlock, err := prepare(ctx, opt)
	if err != nil {
		return nil, err
	}
	defer unlock()
	grown.apt = l.apt
	return grown, ensureAll(ctx, grown.Hosts[len(l.Hosts):])
}

func ensureAll(ctx context.Context, hosts []*Host) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, h := range hosts {
		group.Go(func() error { return h.ensure(ctx) })
	}
	return group.Wait()
}

// prepare does all that comes before the hosts themselves, and returns holding the lab's lock.
func prepare(ctx context.Context, opt Options) (*Lab, func(), error) {
	l, unlock, err := claim(ctx, opt)
	if err != nil {
		return nil, nil, err
	}
	if err := l.furnish(ctx); err != nil {
		unlock()
		return nil, nil, err
	}
	return l, unlock, nil
}

func (l *Lab) furnish(ctx context.Context) error {
	// Disks of running hosts stand on the present base, so it is changed only when there are none.
	if !slices.ContainsFunc(l.Hosts, (*Host).Running) {
		base, err := ensureBase(ctx, l.state.recipe(), l.log)
		if err != nil {
			return err
		}
		l.state.Base = base
	}
	if err := l.state.save(l.ID); err != nil {
		return err
	}
	if err := raiseLimits(l.log); err != nil {
		return err
	}
	if err := l.makeNetwork(ctx); err != nil {
		return err
	}
	return l.writeFiles()
}

func (o Options) check() error {
	if os.Geteuid() != 0 {
		return &needsRoot{}
	}
	if o.Dir == "" {
		return errors.New("lab: no state folder named")
	}
	if o.N > maxHosts {
		return fmt.Errorf("lab: %d hosts wanted: at most %d fit", o.N, maxHosts)
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`).MatchString(o.Prefix) {
		return fmt.Errorf("lab: prefix %q: want lower case letters and digits", o.Prefix)
	}
	if _, known := recipes[o.Suite]; !known && o.Suite != "" {
		return fmt.Errorf("lab: suite %q: want one of %s", o.Suite, strings.Join(slices.Sorted(maps.Keys(recipes)), ", "))
	}
	if o.IPv6Only && !hasIPv6() {
		return errors.New("lab: hosts with IPv6 only: this machine has IPv6 switched off")
	}
	return o.Limits.check()
}

// Open finds the lab of a state folder. The error is fs.ErrNotExist when there is none.
func Open(dir string, log io.Writer) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, &needsRoot{}
	}
	id, err := IDOf(dir)
	if err != nil {
		return nil, err
	}
	st, err := loadState(id)
	if err != nil {
		return nil, fmt.Errorf("lab: no lab belongs to %s: %w", dir, err)
	}
	if log == nil {
		log = io.Discard
	}
	return newLab(id, st, log), nil
}

func newLab(id string, st state, log io.Writer) *Lab {
	l := &Lab{ID: id, state: st, log: log}
	for i, name := range st.Hosts {
		h := &Host{Name: name, number: i + 1, lab: l, Addr: fmt.Sprintf("%s.%d", st.Subnet, 11+i)}
		if hasIPv6() {
			h.Addr6 = net.ParseIP(fmt.Sprintf("%s%d", prefix6Of(id), 11+i)).String() // as every program prints it: no leading zeros
		}
		if st.IPv6Only {
			h.Addr = h.Addr6
		}
		l.Hosts = append(l.Hosts, h)
	}
	return l
}

// Host returns the host of that name, or nil.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Inventory is the path of an inventory with all hosts, their pinned host keys and the identity file.
func (l *Lab) Inventory() string { return filepath.Join(l.state.Dir, "inventory.yaml") }

// KnownHosts is the path of a known_hosts file with all keys of all hosts.
func (l *Lab) KnownHosts() string { return filepath.Join(l.state.Dir, "known_hosts") }

// Identity is the path of the private key that root, admin and plain accept on every host.
func (l *Lab) Identity() string { return filepath.Join(l.state.Dir, "id_ed25519") }

// Gateway is the IPv4 address of this machine as the hosts see it, which those with IPv6 only do not.
func (l *Lab) Gateway() string { return l.state.Subnet + ".1" }

// Gateway6 is the IPv6 address of this machine as the hosts see it. It forwards nothing.
func (l *Lab) Gateway6() string { return prefix6Of(l.ID) + "1" }

// Down stops the hosts, and removes them and all else the lab made.
func (l *Lab) Down(ctx context.Context) error {
	unlock, err := lockLab(ctx, l.ID)
	if err != nil {
		return err
	}
	defer unlock()
	l.apt.close()
	return errors.Join(demolish(ctx, l.ID), os.Remove(lockPath(l.ID)))
}

// needsRoot is returned by all that changes the machine.
type needsRoot struct{}

func (*needsRoot) Error() string { return "lab: network namespaces and hosts: only root can make them" }
func (*needsRoot) Hint() string  { return "run it with sudo" }
