//go:build linux

package steps

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is a line of /etc/passwd.
type account struct {
	name     string
	uid, gid int
	comment  string
	home     string
	shell    string
}

// group is a line of /etc/group.
type group struct {
	name    string
	gid     int
	members []string
}

// parseAccounts reads /etc/passwd. Lines it cannot read are skipped, as the
// system's own readers do.
func parseAccounts(data []byte) []account {
	var all []account
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) != 7 || f[0] == "" {
			continue
		}
		uid, err1 := number(f[2])
		gid, err2 := number(f[3])
		if err1 == nil && err2 == nil {
			all = append(all, account{f[0], uid, gid, f[4], f[5], f[6]})
		}
	}
	return all
}

// parseGroups reads /etc/group.
func parseGroups(data []byte) []group {
	var all []group
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) != 4 || f[0] == "" {
			continue
		}
		gid, err := number(f[2])
		if err != nil {
			continue
		}
		members := strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' })
		all = append(all, group{f[0], gid, members})
	}
	return all
}

// passwordField of a user in /etc/shadow; false when there is no line for it.
func passwordField(data []byte, name string) (string, bool) {
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) >= 2 && f[0] == name && name != "" {
			return f[1], true
		}
	}
	return "", false
}

func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err
}

func (e *Env) accounts() ([]account, error) {
	b, err := os.ReadFile(e.at("/etc/passwd"))
	return parseAccounts(b), err
}

func (e *Env) groups() ([]group, error) {
	b, err := os.ReadFile(e.at("/etc/group"))
	return parseGroups(b), err
}

// account by name; nil when there is none.
func (e *Env) account(name string) (*account, error) {
	all, err := e.accounts()
	if i := slices.IndexFunc(all, func(a account) bool { return a.name == name }); i >= 0 {
		return &all[i], err
	}
	return nil, err
}

// identity is whom a process or a write acts as.
type identity struct {
	name     string
	uid, gid int
	groups   []int
	home     string
	self     bool // who we are anyway
}

// identity of a user by name; "" is whoever we are.
func (e *Env) identity(name string) (identity, error) {
	accounts, err := e.accounts()
	if err != nil {
		return identity{}, fmt.Errorf("read the accounts: %w", err)
	}
	me := os.Geteuid()
	for _, a := range accounts {
		if name == "" && a.uid == me || name != "" && a.name == name {
			return e.identityOf(a, me)
		}
	}
	if name != "" {
		return identity{}, failf("a user step must come before", "no user %q on this host", name)
	}
	return identity{name: strconv.Itoa(me), uid: me, gid: os.Getegid(), home: "/", self: true}, nil
}

func (e *Env) identityOf(a account, me int) (identity, error) {
	id := identity{name: a.name, uid: a.uid, gid: a.gid, home: a.home, self: a.uid == me}
	if id.self {
		return id, nil
	}
	if me != 0 {
		return identity{}, failf("set `become: true` for this host", "only root can act as %s", a.name)
	}
	all, err := e.groups()
	if err != nil {
		return identity{}, fmt.Errorf("read the groups: %w", err)
	}
	for _, g := range all {
		if slices.Contains(g.members, a.name) {
			id.groups = append(id.groups, g.gid)
		}
	}
	return id, nil
}

// identityOfUID is the owner of a folder: an account, or a bare number.
func (e *Env) identityOfUID(uid, gid int) (identity, error) {
	accounts, err := e.accounts()
	if err != nil {
		return identity{}, fmt.Errorf("read the accounts: %w", err)
	}
	for _, a := range accounts {
		if a.uid == uid {
			return e.identityOf(a, os.Geteuid())
		}
	}
	return identity{name: strconv.Itoa(uid), uid: uid, gid: gid, home: "/", self: uid == os.Geteuid()}, nil
}

// credential for a process; nil where nothing changes.
func (id identity) credential() *syscall.Credential {
	if id.self {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(id.uid), Gid: uint32(id.gid)}
	for _, g := range id.groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}

// owner resolves "user", "user:group" or numbers; -1 is "as it is".
func (e *Env) owner(text string) (uid, gid int, err error) {
	if text == "" {
		return -1, -1, nil
	}
	user, grp, hasGroup := strings.Cut(text, ":")
	uid, gid = -1, -1
	if user != "" {
		if uid, gid, err = e.lookupUser(user); err != nil {
			return -1, -1, err
		}
	}
	if hasGroup {
		if gid, err = e.lookupGroup(grp); err != nil {
			return -1, -1, err
		}
	}
	return uid, gid, nil
}

func (e *Env) lookupUser(user string) (uid, gid int, err error) {
	a, err := e.account(user)
	if err != nil {
		return -1, -1, fmt.Errorf("read the accounts: %w", err)
	}
	if a != nil {
		return a.uid, a.gid, nil
	}
	if uid, err = number(user); err == nil {
		return uid, -1, nil
	}
	return -1, -1, failf("", "owner: no user %q on this host", user)
}

func (e *Env) lookupGroup(name string) (int, error) {
	all, err := e.groups()
	if err != nil {
		return -1, fmt.Errorf("read the groups: %w", err)
	}
	for _, g := range all {
		if g.name == name {
			return g.gid, nil
		}
	}
	if gid, err := number(name); err == nil {
		return gid, nil
	}
	return -1, failf("", "owner: no group %q on this host", name)
}
