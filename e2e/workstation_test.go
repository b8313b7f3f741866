//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpsctl/vpsctl/e2e/lab"
	"github.com/vpsctl/vpsctl/e2e/vendors"
)

// workstation is a host with all ten phases done, which tests share: it takes minutes to make. A test that changes
// something there puts it back.
type workstation struct {
	sync.Mutex // held by the test that uses it

	*Fleet
	h         *lab.Host
	vars      []string // -e arguments that say where the IDEs come from
	state     string   // of the tool that made it
	provision result

	deep *verified // of verify --deep
}

// workstations makes the one of this process.
var workstations struct {
	sync.Mutex
	made *workstation
	shop *vendors.Vendors
	dir  string
}

// theWorkstation gives the shared host to one test until its end. It has 4 GB and 2 CPUs, the size that the promises
// are about, and its VS Code is a program of real weight.
func theWorkstation(t *testing.T) *workstation {
	t.Helper()
	workstations.Lock()
	if workstations.made == nil {
		workstations.made = makeWorkstation(t)
	}
	w := workstations.made
	workstations.Unlock()
	w.Lock()
	t.Cleanup(w.Unlock)
	return w
}

func makeWorkstation(t *testing.T) *workstation {
	t.Helper()
	f := &Fleet{Hosts: shared.take(t, 1)} // and never given back
	f.Inventory, f.Identity = shared.lab.Inventory(), shared.lab.Identity()
	shop, err := vendors.Start(context.Background(), vendors.Options{Address: shared.lab.Gateway(), Heavy: true})
	try(t, err)
	workstations.shop = shop
	workstations.dir, err = os.MkdirTemp("", "vpsctl-desk-")
	try(t, err)
	w := &workstation{Fleet: f, h: f.Hosts[0], vars: shop.Args(), state: workstations.dir}
	w.fill(t, shop, lab.Limits{MemoryMB: 4096, CPUs: 2})
	return w
}

// fill makes a fresh host of that size, and does all ten phases there.
func (w *workstation) fill(t *testing.T, shop *vendors.Vendors, size lab.Limits) {
	t.Helper()
	shared.spoil(w.h)
	try(t, w.h.Limit(t.Context(), size))
	try(t, w.h.Reset(t.Context()))
	try(t, shop.Prepare(t.Context(), w.h))
	p := w.tool(t).start(append([]string{"provision", "-o", "json"}, w.vars...)...)
	select {
	case <-p.done:
	case <-time.After(30 * time.Minute): // twice what the guide allows: that it took too long is for a test to say
	}
	w.provision = p.wait(0)
}

// tool is vpsctl as the user has it who made the workstation.
func (w *workstation) tool(t *testing.T) *tool {
	t.Helper()
	v := newTool(t, &Fleet{Hosts: w.Hosts[:1], Inventory: w.Inventory, Identity: w.Identity})
	v.inventory("hosts:\n" + w.entry(t, w.h))
	v.state = w.state
	v.env = append(v.env, "VPSCTL_STATE_DIR="+w.state)
	return v
}

// closeWorkstation removes what this process made for it beside the host.
func closeWorkstation() {
	if workstations.shop != nil {
		_ = workstations.shop.Close()
	}
	_ = os.RemoveAll(workstations.dir)
}

// artifacts is the folder where pictures for people are left.
func artifacts(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("E2E_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join("..", ".lab", "screens")
	}
	try(t, os.MkdirAll(dir, 0o755))
	return dir
}

// remains are what a session leaves while it is there, and, in lines that begin with "stays", what it must not take along.
// Services of the system come and go with folders of their own.
func remains(t *testing.T, h *lab.Host) string {
	t.Helper()
	return on(t, h, "{ getent passwd; getent group; find /home/devuser -printf '%p %s %m %u %T@\\n'; } | sed 's/^/stays /'; ls -A /home /tmp /var/tmp /dev/shm | grep -v -e '^\\.X[0-9]*-lock$' -e ^systemd-private-; find /tmp /var/tmp /dev/shm /run -xdev -nouser; ls -d /run/vpsctl-* 2>/dev/null; "+
		"systemctl list-units --all --no-legend --plain 'vpsctl-deep*'; pgrep -ax Xorg; ps -u devuser -o pid=,args=; mount | grep -e ' /home' -e ' /tmp'; true")
}

// nothingRemains waits for the end of what ends a moment later, such as a user's runtime folder, and tells of the rest.
func nothingRemains(t *testing.T, h *lab.Host, before, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience / 3); ; time.Sleep(time.Second) {
		after := remains(t, h)
		left := added(before, after)
		for line := range strings.Lines(added(after, before)) {
			if strings.HasPrefix(line, "stays ") {
				left += "gone: " + line
			}
		}
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s leaves something behind:\n%s", what, left)
			return
		}
	}
}

// added are the lines that only the second text has.
func added(before, after string) string {
	had := map[string]bool{}
	for line := range strings.Lines(before) {
		had[strings.TrimSpace(line)] = true
	}
	var out strings.Builder
	for line := range strings.Lines(after) {
		if !had[strings.TrimSpace(line)] {
			out.WriteString(line)
		}
	}
	return out.String()
}
