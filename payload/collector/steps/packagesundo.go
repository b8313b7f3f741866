//go:build linux

package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// revertPackages removes what a step newly installed, with its configuration
// unless that was there before. Whatever else would have to go with it stops
// the removal: it came from somebody else.
func revertPackages(ctx context.Context, env *Env, u wire.Undo) error {
	if !env.Root {
		return needsRoot("packages")
	}
	content, err := env.saved(u)
	if err != nil {
		return err
	}
	release, err := env.freeApt(ctx)
	if err != nil {
		return err
	}
	defer release()
	before := parseDebs(content)
	names := strings.Fields(u.Data["installed"])
	if err := env.clearWreck(ctx, before, names); err != nil {
		return err
	}
	purge, remove, err := env.stillThere(ctx, before, names)
	if err != nil {
		return err
	}
	all := append(slices.Clone(purge), remove...)
	if len(all) == 0 {
		return nil
	}
	if err := env.removesOnly(ctx, all); err != nil {
		return err
	}
	// First those that keep their configuration: purging takes dependents along.
	for _, part := range []struct {
		verb  string
		names []string
	}{{"remove", remove}, {"purge", purge}} {
		if len(part.names) == 0 {
			continue
		}
		if err := env.transaction(ctx, part.verb, append([]string{"--"}, part.names...)...); err != nil {
			return err
		}
	}
	if err := env.allGone(context.WithoutCancel(ctx), before, names); err != nil {
		return err
	}
	return env.disown(ctx, purge)
}

// clearWreck makes removing possible again where a transaction was killed: what
// was half unpacked can only be forced out, and dpkg must have taken in its own
// notes. Nothing is installed for that, since it is to go anyway.
func (e *Env) clearWreck(ctx context.Context, before debs, names []string) error {
	broken, err := e.interrupted(ctx)
	if err != nil || !broken {
		return err
	}
	e.Note("warn", "dpkg had been interrupted on this host: clearing that up first")
	now, err := e.debs(ctx)
	if err != nil {
		return err
	}
	wreck := slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return !isPackage(n) || before[n].present() || !now[n].halfUnpacked()
	})
	if len(wreck) > 0 {
		args := append([]string{"--force-remove-reinstreq", "--force-depends", "--purge", "--"}, wreck...)
		if _, err := e.call(ctx, call{name: "dpkg", args: args, env: aptEnv(), stream: true, keep: true}); err != nil {
			return err
		}
	}
	// What fails to be configured may well be what is removed next.
	_, _ = e.call(ctx, call{name: "dpkg", args: []string{"--force-confdef", "--force-confold", "--configure", "-a"}, env: aptEnv(), stream: true, keep: true})
	return nil
}

// stillThere sorts what is left to remove by whether its configuration was
// there before the step.
func (e *Env) stillThere(ctx context.Context, before debs, names []string) (purge, remove []string, err error) {
	now, err := e.debs(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		had := before[name]
		switch {
		case !isPackage(name) || had.present():
		case had.status == "" && now[name].status != "":
			purge = append(purge, name)
		case now[name].present():
			remove = append(remove, name)
		}
	}
	return purge, remove, nil
}

// removesOnly asks apt what would go along.
func (e *Env) removesOnly(ctx context.Context, names []string) error {
	out, err := e.apt(ctx, call{}, "remove", append([]string{"-s", "--"}, names...)...)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(removals(out), func(n string) bool { return slices.Contains(names, n) })
	if len(others) > 0 {
		return failf("remove them first, or keep what they need: apt-get remove "+strings.Join(others, " "),
			"%d packages that came later would go too: %s", len(others), someOf(others))
	}
	return nil
}

func (e *Env) allGone(ctx context.Context, before debs, names []string) error {
	purge, remove, err := e.stillThere(ctx, before, names)
	if err != nil {
		return err
	}
	if left := append(purge, remove...); len(left) > 0 {
		return fmt.Errorf("still there after removing: %s", someOf(left))
	}
	return nil
}
