//go:build linux

package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// tool runs a program that changes accounts. It is short and must not be cut
// in the middle of /etc/passwd.
func (e *Env) tool(ctx context.Context, name string, args ...string) error {
	_, err := e.call(ctx, call{name: name, args: args, keep: true})
	return err
}

func (u *user) act(ctx context.Context) error {
	for _, g := range u.madeGroups {
		if err := u.env.tool(ctx, "groupadd", g); err != nil {
			return err
		}
	}
	if u.have == nil {
		if err := u.create(ctx); err != nil {
			return err
		}
	} else if len(u.usermod) > 0 {
		if err := u.env.tool(ctx, "usermod", append(slices.Clone(u.usermod), u.want.Name)...); err != nil {
			return err
		}
	}
	if len(u.newKeys) == 0 && len(u.sshMode) == 0 {
		return nil
	}
	return u.authorize(ctx)
}

// create makes the account. Without a password to come its field says that
// there is none, which locks neither keys nor the account.
func (u *user) create(ctx context.Context) error {
	field := "*"
	if u.want.Password != "" {
		field = pendingPassword
	}
	args := []string{"-m", "-d", u.home(), "-p", field}
	groups, err := u.env.groups()
	if err != nil {
		return fmt.Errorf("read the groups: %w", err)
	}
	switch {
	case u.want.Group != "":
		args = append(args, "-g", u.want.Group)
	case findGroup(groups, u.want.Name) != nil: // useradd would refuse
		args = append(args, "-g", u.want.Name)
	}
	for _, o := range [][2]string{{"-G", strings.Join(u.want.Groups, ",")}, {"-s", u.want.Shell}, {"-c", u.want.Comment}} {
		if o[1] != "" {
			args = append(args, o[0], o[1])
		}
	}
	if err := u.env.tool(ctx, "useradd", append(args, u.want.Name)...); err != nil {
		return err
	}
	u.newborn = true
	if u.have, err = u.env.account(u.want.Name); err != nil || u.have == nil {
		return errors.Join(err, errors.New("useradd made no account"))
	}
	return nil
}

// authorize adds the missing keys, as the user itself.
func (u *user) authorize(ctx context.Context) error {
	file := keyFilePath(u.have)
	ours := shape{kind: "directory", mode: 0o700, setMode: true, uid: -1, gid: -1}
	err := u.env.atPlace(path.Dir(file), u.have.name, false, func(p *place) error {
		if p.dir < 0 {
			return errors.New("the home folder is missing")
		}
		return p.folder(ours)
	})
	if err != nil {
		return err
	}
	old, _, err := u.env.keyFile(u.have)
	if err != nil {
		return err
	}
	want := shape{kind: "file", content: withKeys(old, u.newKeys), mode: 0o600, setMode: true, uid: u.have.uid, gid: -1}
	return u.env.replace(ctx, file, u.have.name, want, "")
}

// setPassword gives the account that this tool made its password, once.
func (u *user) setPassword(ctx context.Context, password string) error {
	name := u.want.Name
	field, err := u.env.shadow(name)
	if err != nil {
		return err
	}
	if field != pendingPassword {
		return fmt.Errorf("password of %s: somebody has set one meanwhile; it is left as it is", name)
	}
	in := strings.NewReader(name + ":" + password + "\n")
	if _, err := u.env.call(ctx, call{name: "chpasswd", stdin: in, keep: true}); err != nil {
		return fmt.Errorf("password of %s: %w", name, err)
	}
	if !u.want.MustChange {
		return nil
	}
	if err := u.env.tool(ctx, "chage", "-d", "0", name); err != nil {
		// Pending again, so that the next run does both.
		back := u.env.tool(context.WithoutCancel(ctx), "usermod", "-p", pendingPassword, name)
		return fmt.Errorf("expire the password of %s: %w", name, errors.Join(err, back))
	}
	return nil
}

func revertUser(ctx context.Context, env *Env, u wire.Undo) error {
	content, err := env.saved(u)
	if err != nil {
		return err
	}
	var kept userUndo
	if err := json.Unmarshal(content, &kept); err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	name := u.Data["user"]
	have, err := env.account(name)
	if err != nil {
		return fmt.Errorf("read the accounts: %w", err)
	}
	switch {
	case have == nil:
	case kept.Created:
		err = env.removeUser(ctx, name, kept.KeepHome)
	default:
		err = env.resetUser(ctx, have, kept)
	}
	return errors.Join(err, env.removeGroups(ctx, kept.Groups))
}

// removeUser ends what the user runs, then removes the account with its home.
func (e *Env) removeUser(ctx context.Context, name string, keepHome bool) error {
	args := []string{"-r", name}
	if keepHome {
		args = args[1:]
	}
	if e.look("loginctl") != "" {
		// Without sessions it fails, and that is all right.
		_, _ = e.call(ctx, call{name: "loginctl", args: []string{"terminate-user", name}})
	}
	var err error
	for range 5 {
		err = e.tool(ctx, "userdel", args...)
		var f *failure
		if !errors.As(err, &f) || f.rc == nil || *f.rc != 8 { // 8: still logged in
			return err
		}
		if err := e.sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return failf("on the host: pkill -KILL -u "+name, "%v", err)
}

// resetUser takes back what a step added to an account that was there before.
func (e *Env) resetUser(ctx context.Context, have *account, kept userUndo) error {
	var errs []error
	groups, err := e.groups()
	errs = append(errs, err)
	for _, name := range kept.Joined {
		if g := findGroup(groups, name); g != nil && slices.Contains(g.members, have.name) {
			errs = append(errs, e.tool(ctx, "gpasswd", "-d", have.name, name))
		}
	}
	if len(kept.Usermod) > 0 {
		errs = append(errs, e.tool(ctx, "usermod", append(slices.Clone(kept.Usermod), have.name)...))
	}
	return errors.Join(append(errs, e.withdraw(ctx, have, kept.Keys))...)
}

// withdraw removes keys from an account.
func (e *Env) withdraw(ctx context.Context, have *account, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	old, _, err := e.keyFile(have)
	if err != nil {
		return err
	}
	ids := make(map[string]bool)
	for _, k := range keys {
		ids[k] = true
	}
	left := withoutKeys(old, ids)
	if len(left) == len(old) {
		return nil
	}
	return e.replace(ctx, keyFilePath(have), have.name, shape{kind: "file", content: left, uid: -1, gid: -1}, "")
}

// removeGroups removes groups that a step made, unless somebody is in them.
func (e *Env) removeGroups(ctx context.Context, names []string) error {
	accounts, err := e.accounts()
	if err != nil {
		return fmt.Errorf("read the accounts: %w", err)
	}
	groups, err := e.groups()
	if err != nil {
		return fmt.Errorf("read the groups: %w", err)
	}
	var errs []error
	for _, name := range names {
		g := findGroup(groups, name)
		if g == nil {
			continue
		}
		if len(g.members) > 0 || slices.ContainsFunc(accounts, func(a account) bool { return a.gid == g.gid }) {
			e.Note("info", "group "+name+" has members: it stays")
			continue
		}
		errs = append(errs, e.tool(ctx, "groupdel", name))
	}
	return errors.Join(errs...)
}
