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
	if err := env.repairIfNeeded(ctx); err != nil {
		return err
	}
	before := parseDebs(content)
	names := strings.Fields(u.Data["installed"])
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
	return env.allGone(context.WithoutCancel(ctx), before, names)
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
		case !packageName.MatchString(name) || had.present():
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
	others := slices.DeleteFunc(parseSimulation(out).removed, func(n string) bool { return slices.Contains(names, n) })
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
