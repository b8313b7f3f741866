//go:build linux

package steps

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Residue says what is left of a recorded act: "" when the host is as it was
// before it. Kinds whose Revert looks again by itself, and scripts, which only
// their own undo knows, have none.
func Residue(ctx context.Context, env *Env, u wire.Undo) (string, error) {
	switch u.Kind {
	case "file":
		return env.fileResidue(u)
	case "packages":
		return env.packagesResidue(ctx, u)
	case "debconf":
		return env.debconfResidue(ctx, u)
	case "archive":
		now, err := env.readMark(u.Data["dest"])
		if err == nil && now != u.Data["mark"] {
			return u.Data["dest"] + " is still there", nil
		}
		return "", err
	case "apt_repository":
		for name := range strings.SplitSeq(u.Data["lists"], "\n") {
			if left, _ := filepath.Glob(env.at("/var/lib/apt/lists/"+name) + "*"); len(left) > 0 {
				return left[0] + " is still there", nil
			}
		}
	}
	return "", nil
}

func (e *Env) packagesResidue(ctx context.Context, u wire.Undo) (string, error) {
	content, err := e.saved(u)
	if err != nil {
		return "", err
	}
	purge, remove, err := e.stillThere(ctx, parseDebs(content), strings.Fields(u.Data["installed"]))
	if left := append(purge, remove...); err == nil && len(left) > 0 {
		return "still installed: " + someOf(left), nil
	}
	return "", err
}

// fileResidue compares a path with what stood there before.
func (e *Env) fileResidue(u wire.Undo) (left string, err error) {
	want, err := oldShape(u)
	if err != nil {
		return "", err
	}
	if want.kind == "file" {
		if want.content, err = e.saved(u); err != nil {
			return "", err
		}
	}
	err = e.atPlace(u.Data["path"], u.Data["as"], false, func(p *place) error {
		now, err := p.look()
		switch {
		case err != nil:
			return err
		case now.kind != want.kind:
			left = fmt.Sprintf("%s is %s, it was %s", u.Data["path"], now.kind, want.kind)
		case now.kind == "absent":
		case now.kind == "link" && now.target != want.target:
			left = u.Data["path"] + " leads elsewhere than before"
		case now.kind == "file":
			same, err := sameContent(p, now, want.content)
			if err != nil {
				return err
			}
			if !same {
				left = u.Data["path"] + " has not its old content"
			}
		}
		if diff := rights(now, want); left == "" && now.kind != "absent" && now.kind != "link" && len(diff) > 0 {
			left = u.Data["path"] + ": " + strings.Join(diff, ", ")
		}
		return nil
	})
	return left, err
}
