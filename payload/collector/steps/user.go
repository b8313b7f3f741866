//go:build linux

package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// pendingPassword is the password field of an account that this tool made and
// whose password is still to be set. No password matches it.
const pendingPassword = "!vpsctl"

// isName tells whether users and groups may be called so.
func isName(s string) bool {
	return s != "" && len(s) <= 32 && s[0] >= 'a' && s[0] <= 'z' && only(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")
}

// firstUID is where accounts of people begin; below are the system's.
const firstUID = 1000

// user is an account that shall exist with what the step names.
type user struct {
	env  *Env
	want *wire.User

	have              *account
	madeGroups        []string // missing on the host
	joined            []string // the account is not in them
	newKeys           []key
	sshMode           []string // what is wrong with ~/.ssh
	usermod           []string // options that bring an existing account in line
	unknownConnection bool
	newborn           bool // made by this step
}

func doUser(ctx context.Context, env *Env, s *wire.Step) Result {
	u := &user{env: env, want: s.User}
	password, err := u.password()
	if err != nil {
		return failed(ctx, err)
	}
	r := converge(ctx, env, u)
	if u.unknownConnection {
		env.Note("warn", "the key of this connection is not known; "+s.User.Name+" gets the other keys only")
	}
	if r.Status != wire.OK && r.Status != wire.Changed {
		return r // an account that was made all the same is found pending by the next run
	}
	if u.newborn {
		r.Created = "user " + s.User.Name
	}
	if s.User.Password == "" {
		return r
	}
	field, err := env.shadow(s.User.Name)
	if err != nil {
		return failed(ctx, err)
	}
	if field == pendingPassword {
		if r.Status == wire.OK {
			r.Reason = "the password is still to be set"
		}
		r.Status, r.Created = wire.Changed, "user "+s.User.Name
		r.Finish = func(ctx context.Context) error { return u.setPassword(ctx, password) }
	}
	return r
}

func (u *user) password() (string, error) {
	if u.want.Password == "" {
		return "", nil
	}
	var secret string
	ok := false
	if u.env.Secret != nil {
		secret, ok = u.env.Secret(u.want.Password)
	}
	switch {
	case !ok || secret == "":
		return "", failf("", "the secret %q is not in the plan", u.want.Password)
	case strings.ContainsAny(secret, "\n\r\x00"):
		return "", failf("", "the password %q has a line break in it", u.want.Password)
	}
	return secret, nil
}

func (e *Env) shadow(name string) (string, error) {
	b, err := os.ReadFile(e.at("/etc/shadow"))
	if err != nil {
		return "", fmt.Errorf("read the password fields: %w", err)
	}
	field, _ := passwordField(b, name)
	return field, nil
}

func (u *user) differs(context.Context) (string, error) {
	if !isName(u.want.Name) {
		return "", failf("a-z first, then a-z 0-9 _ -, at most 32", "%q cannot be a user's name", u.want.Name)
	}
	if !u.env.Root {
		return "", needsRoot("users")
	}
	var err error
	if u.have, err = u.env.account(u.want.Name); err != nil {
		return "", fmt.Errorf("read the accounts: %w", err)
	}
	if u.have != nil && (u.have.uid < firstUID || u.have.uid >= 65534) {
		return "", failf("choose another name", "%s is an account of the system (uid %d)", u.want.Name, u.have.uid)
	}
	groups, err := u.env.groups()
	if err != nil {
		return "", fmt.Errorf("read the groups: %w", err)
	}
	diff, err := u.list(groups)
	return strings.Join(diff, ", "), err
}

func (u *user) list(groups []group) ([]string, error) {
	var diff []string
	u.madeGroups, u.joined, u.usermod = nil, nil, nil
	named := u.want.Groups
	if u.want.Group != "" {
		named = append([]string{u.want.Group}, named...)
	}
	for _, name := range named {
		if !isName(name) {
			return nil, failf("", "%q cannot be a group's name", name)
		}
		if findGroup(groups, name) == nil && !slices.Contains(u.madeGroups, name) {
			u.madeGroups = append(u.madeGroups, name)
		}
	}
	if len(u.madeGroups) > 0 {
		diff = append(diff, "no group "+strings.Join(u.madeGroups, ", "))
	}
	if u.have == nil {
		if g := findGroup(groups, u.want.Name); g != nil && g.gid < firstUID && u.want.Group == "" {
			return nil, failf("choose another name, or name its `group`", "%s is a group of the system (gid %d)", g.name, g.gid)
		}
		u.joined = slices.Clone(u.want.Groups)
		keys, err := u.wantedKeys()
		u.newKeys = keys
		return append(diff, "no user "+u.want.Name), err
	}
	diff = append(diff, u.compare(groups)...)
	if u.want.Home != "" && u.want.Home != u.have.home {
		return nil, failf("leave `home` out, or move it by hand", "the home of %s is %s, and a home is not moved", u.have.name, u.have.home)
	}
	keys, err := u.compareKeys()
	return append(diff, keys...), err
}

func findGroup(groups []group, name string) *group {
	if i := slices.IndexFunc(groups, func(g group) bool { return g.name == name }); i >= 0 {
		return &groups[i]
	}
	return nil
}

// compare an existing account with the wanted one.
func (u *user) compare(groups []group) []string {
	var diff []string
	if g := findGroup(groups, u.want.Group); u.want.Group != "" && (g == nil || g.gid != u.have.gid) {
		u.usermod = append(u.usermod, "-g", u.want.Group)
		diff = append(diff, "primary group is not "+u.want.Group)
	}
	for _, name := range u.want.Groups {
		g := findGroup(groups, name)
		if g == nil || g.gid != u.have.gid && !slices.Contains(g.members, u.have.name) {
			u.joined = append(u.joined, name)
		}
	}
	if len(u.joined) > 0 {
		diff = append(diff, "not in "+strings.Join(u.joined, ", "))
		u.usermod = append(u.usermod, "-a", "-G", strings.Join(u.joined, ","))
	}
	if u.want.Shell != "" && u.want.Shell != u.have.shell {
		u.usermod = append(u.usermod, "-s", u.want.Shell)
		diff = append(diff, "shell is "+u.have.shell)
	}
	if u.want.Comment != "" && u.want.Comment != u.have.comment {
		u.usermod = append(u.usermod, "-c", u.want.Comment)
		diff = append(diff, "comment")
	}
	return diff
}

// compareKeys looks at ~/.ssh with the account's own rights.
func (u *user) compareKeys() ([]string, error) {
	u.newKeys, u.sshMode = nil, nil
	if len(u.want.AuthorizedKeys) == 0 {
		return nil, nil
	}
	want, err := u.wantedKeys()
	if err != nil {
		return nil, err
	}
	old, found, err := u.env.keyFile(u.have)
	if err != nil {
		return nil, err
	}
	u.newKeys, u.sshMode = missingKeys(want, parseKeys(old)), found
	diff := found
	if n := len(u.newKeys); n > 0 {
		diff = append(slices.Clone(found), fmt.Sprintf("%d of %d keys missing", n, len(want)))
	}
	return diff, nil
}

func keyFilePath(a *account) string { return path.Join(a.home, ".ssh/authorized_keys") }

// keyFile reads an account's authorized_keys, and says what is wrong with the
// modes around it.
func (e *Env) keyFile(a *account) (content []byte, wrong []string, err error) {
	err = e.atPlace(path.Dir(keyFilePath(a)), a.name, false, func(p *place) error {
		dir, err := p.look()
		if dir.kind == "directory" && dir.mode != 0o700 {
			wrong = append(wrong, fmt.Sprintf("~/.ssh is %04o", dir.mode))
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = e.atPlace(keyFilePath(a), a.name, false, func(p *place) error {
		f, err := p.look()
		switch {
		case err != nil || f.kind == "absent":
			return err
		case f.kind == "link":
			return p.refuseLink(p.name)
		case f.mode != 0o600 || f.uid != a.uid:
			wrong = append(wrong, fmt.Sprintf("~/.ssh/authorized_keys is %04o of uid %d", f.mode, f.uid))
		}
		content, err = p.read()
		return err
	})
	return content, wrong, err
}

// userUndo is what Revert needs to know of an account; it is kept as content.
type userUndo struct {
	Created  bool     `json:"created"`
	KeepHome bool     `json:"keep_home,omitempty"` // the home was there before the account
	Groups   []string `json:"groups,omitempty"`    // made
	Joined   []string `json:"joined,omitempty"`
	Keys     []string `json:"keys,omitempty"`    // added: type and blob
	Usermod  []string `json:"usermod,omitempty"` // options that set the account back
}

func (u *user) remember(context.Context) (*wire.Undo, []byte, error) {
	keep := userUndo{Created: u.have == nil, Groups: u.madeGroups, Joined: u.joined}
	what := "remove user " + u.want.Name
	if u.have != nil {
		what = "set user " + u.want.Name + " back"
		keep.Usermod = u.usermodBack()
	} else {
		var st unix.Stat_t
		keep.KeepHome = !errors.Is(unix.Lstat(u.home(), &st), unix.ENOENT)
	}
	for _, k := range u.newKeys {
		keep.Keys = append(keep.Keys, k.id)
	}
	b, err := json.Marshal(keep)
	return &wire.Undo{Kind: "user", What: what, Data: map[string]string{"user": u.want.Name}}, b, err
}

// usermodBack are the options that undo those of u.usermod.
func (u *user) usermodBack() []string {
	var back []string
	for option, old := range map[string]string{"-g": strconv.Itoa(u.have.gid), "-s": u.have.shell, "-c": u.have.comment} {
		if slices.Contains(u.usermod, option) {
			back = append(back, option, old)
		}
	}
	return back
}

func (u *user) home() string {
	if u.want.Home != "" {
		return u.want.Home
	}
	return "/home/" + u.want.Name
}
