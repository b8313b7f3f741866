//go:build linux

package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// dpkg is asked again when its database has changed, and as long as it is in the
// middle of a change, and not otherwise.
func TestDpkgIsAskedOnce(t *testing.T) {
	r := aptRig(t)
	status, updates := filepath.Join(r.Env.root, "var/lib/dpkg/status"), filepath.Join(r.Env.root, "var/lib/dpkg/updates")
	r.file("root/var/lib/dpkg/status", "1")
	if err := os.Mkdir(updates, 0o755); err != nil {
		t.Fatal(err)
	}
	asked := 0
	look := func(want int, why string) {
		t.Helper()
		r.do(pkgs("bash"), wire.OK)
		asked += want
		if got := strings.Count(r.calls(), "dpkg-query"); got != asked {
			t.Errorf("%s: asked %d times, not %d", why, got, asked)
		}
	}
	look(1, "at first")
	look(0, "again")
	r.file("root/var/lib/dpkg/status.new", "1")
	if err := os.Rename(status+".new", status); err != nil {
		t.Fatal(err)
	}
	look(1, "another file of the same size")
	look(0, "again")
	r.file("root/var/lib/dpkg/updates/0000", "")
	look(1, "in the middle of a change")
	look(1, "still in the middle")
	if err := os.Remove(filepath.Join(updates, "0000")); err != nil {
		t.Fatal(err)
	}
	look(0, "as it was")
	if err := os.WriteFile(status, []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	look(1, "written in place")
}
