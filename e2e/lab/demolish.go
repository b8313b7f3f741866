//go:build linux

package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// demolish removes all that bears the lab's id, in whatever state it is. The state goes last: an interrupted removal
// can be done again.
func demolish(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := cgroupOf(id)
	if err != nil {
		return err
	}
	if err := killCgroup(ctx, dir); err != nil {
		return err
	}
	if err := errors.Join(removeCgroup(ctx, dir), removeLimits(ctx, id), removeNetwork(ctx, id), removeLoss(ctx, id), removeLxcfs(id), unmountBelow(labDir(id))); err != nil {
		return err
	}
	if err := removeFolders(id); err != nil {
		return err
	}
	return restoreLimits(ctx)
}

func removeFolders(id string) error {
	spawned, _ := filepath.Glob("/run/systemd/nspawn/*/vl" + id + "-*")
	for _, path := range spawned {
		_ = os.Remove(path) // what nspawn leaves when it is killed: an empty folder
	}
	var err error
	if st, e := loadState(id); e == nil {
		l := newLab(id, st, nil)
		for _, path := range l.files() {
			if e := os.Remove(path); !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
		_ = os.Remove(st.Dir) // stays when there is more in it
	}
	// A disk that is still mounted would be emptied by removing its folder, but it would be the host's own.
	return errors.Join(err, os.RemoveAll(labDir(id)))
}
