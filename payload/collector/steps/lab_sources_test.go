//go:build linux && lab

package steps

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// mirror serves testdata/repo, the keys and archives on the host itself. Files
// below /cut/ break off in the middle until they are asked for from there.
func mirror(t *testing.T) (url string, ranges *atomic.Int32) {
	t.Helper()
	ranges = &atomic.Int32{}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.HandleFunc("/cut/", func(w http.ResponseWriter, q *http.Request) {
		b := bigTar(t)
		if q.Header.Get("Range") != "" {
			ranges.Add(1)
			w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")
			http.ServeContent(w, q, "x", mustTime("Mon, 23 Nov 2026 10:00:00 GMT"), strings.NewReader(string(b)))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")
		_, _ = w.Write(b[:len(b)/2])
		w.(http.Flusher).Flush()
		time.Sleep(100 * time.Millisecond) // what was flushed shall arrive before the line breaks
		panic(http.ErrAbortHandler)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, ranges
}

func bigTar(t *testing.T) []byte {
	return gzipped(t, tarOf(t, append(goodTar, member{name: "tool-1.0/big", content: noise(1 << 20)})...))
}

// noise does not get smaller when it is packed, and is the same each time.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// labSources is all that an undo of a source must bring back.
const labSources = `find /etc/apt /usr/share/keyrings /var/lib/apt/lists /opt /srv -printf '%p %M %u %l ' ! -type d -exec sha256sum {} \; -o -printf '\n' 2>/dev/null | grep -v lists/lock | sort;
	dpkg-query -W -f '${binary:Package} ${db:Status-Abbrev} ${Version}\n'; ` + labDebconf

// labDebconf is all that debconf knows.
const labDebconf = `cat /var/cache/debconf/config.dat /var/cache/debconf/passwords.dat /var/cache/debconf/templates.dat`

func labRepository(t *testing.T, url string) wire.Step {
	return wire.Step{Name: "r", Repository: &wire.AptRepository{Name: "vendor", URIs: []string{url + "/repo"}, Suites: []string{"stable"}, Components: []string{"main"},
		Architectures: []string{"amd64"}, KeyURL: url + "/key.asc", Fingerprints: []string{keyPrint},
		Path: "/etc/apt/sources.list.d/vendor.sources", Keyring: "/etc/apt/keyrings/vendor.gpg"}}
}

func TestLabRepository(t *testing.T) {
	r := labRig(t)
	url, _ := mirror(t)
	r.sh("apt-get update -q")
	before := r.sh(labSources)
	s := labRepository(t, url)
	t.Log(r.do(s, wire.Changed).Reason)
	r.do(s, wire.OK)
	p := pkgs("vpsctl-probe")
	p.Packages.Debconf = []wire.Debconf{{Owner: "vpsctl-probe", Question: "vpsctl-probe/answer", Type: "string", Value: "forty two"}}
	r.do(p, wire.Changed)
	r.sh("grep -x 'forty two' /usr/share/vpsctl-probe/answer")
	if strings.Contains(strings.Join(r.notes, " "), "refreshing") {
		t.Error("lists of others were refreshed:", r.notes)
	}
	r.sh("apt-get update -q -o APT::Update::Error-Mode=any")
	r.revert()
	r.revert()
	if after := r.sh(labSources); after != before {
		t.Error(cmp.Diff(before, after))
	}
	r.sh("apt-get update -q -o APT::Update::Error-Mode=any")
}

// Somebody had answered a question of the package before it was there; another
// one belongs to a package that stays.
func TestLabDebconf(t *testing.T) {
	r := labRig(t)
	r.sh("apt-get update -q; printf 'dma dma/mailname string theirs.example.org\\ndma dma/mailname seen false\\n' | debconf-set-selections")
	defer r.sh("echo PURGE | debconf-communicate dma")
	before := r.sh(labPackages + "; " + labDebconf)
	s := pkgs("dma")
	s.Packages.Debconf = []wire.Debconf{{Owner: "dma", Question: "dma/mailname", Type: "string", Value: "ours.example.org"},
		{Owner: "dma", Question: "dma/relayhost", Type: "string", Value: ""},
		{Owner: "dma", Question: "tzdata/Areas", Type: "select", Value: "Asia"}}
	r.do(s, wire.Changed)
	r.sh("grep -x ours.example.org /etc/mailname; debconf-show dma | grep 'tzdata/Areas: Asia'")
	r.revert()
	r.revert()
	if after := r.sh(labPackages + "; " + labDebconf); after != before {
		t.Error(cmp.Diff(before, after))
	}
	for _, u := range r.undos {
		if left, err := Residue(t.Context(), r.Env, u); left != "" || err != nil {
			t.Error(u.Kind, left, err)
		}
	}
}

func TestLabRepositoryOfAnother(t *testing.T) {
	r := labRig(t)
	url, _ := mirror(t)
	before := r.sh(labSources)
	s := labRepository(t, url)
	s.Repository.Fingerprints = []string{otherPrint}
	r.has("has the fingerprint "+keyPrint, r.do(s, wire.Failed).Reason)
	// The right key of somebody else's signature.
	s.Repository.KeyURL = url + "/two.gpg"
	got := r.do(s, wire.Failed)
	t.Log(got.Reason)
	r.has("it was put back", got.Reason)
	s = labRepository(t, url)
	s.Repository.KeyURL = url + "/none.asc"
	got = r.do(s, wire.Failed)
	t.Log(got.Reason, got.Hint)
	if got.Retryable {
		t.Error("a key that is not there is tried again")
	}
	if after := r.sh(labSources); after != before {
		t.Error(cmp.Diff(before, after))
	}
}

func TestLabArchive(t *testing.T) {
	r := labRig(t)
	url, ranges := mirror(t)
	before := r.sh(labSources)
	data := bigTar(t)
	s := wire.Step{Name: "a", Archive: &wire.Archive{URL: url + "/cut/x.tgz", SHA256: hexSum(data), Dest: "/opt/tools/tool", Strip: 1, Owner: "daemon"}}
	t.Log(r.do(s, wire.Changed).Reason, r.notes)
	if ranges.Load() == 0 {
		t.Error("the download was not resumed")
	}
	r.sh("test -x /opt/tools/tool/bin/t && test $(stat -c %U /opt/tools/tool/README) = daemon && test -z \"$(find /opt/tools -perm /6022 ! -type l)\"")
	r.do(s, wire.OK)
	first := r.sh(labSources)
	undos := r.undos
	r.undos = nil
	second := archiveStep(tarOf(t, member{name: "x/only", content: "2"}), "/opt/tools/tool")
	r.Env.UndoDir = "/var/lib/steps-undo"
	r.sh("mkdir -p /var/lib/steps-undo")
	defer r.sh("rm -rf /var/lib/steps-undo")
	r.do(second, wire.Changed)
	r.sh("test -e /opt/tools/tool/only && test ! -e /opt/tools/tool/README")
	r.revert()
	if after := r.sh(labSources); after != first {
		t.Error(cmp.Diff(first, after))
	}
	r.undos = undos
	r.revert()
	if after := r.sh(labSources); after != before {
		t.Error(cmp.Diff(before, after))
	}
}

func TestLabKeys(t *testing.T) {
	r := labRig(t)
	before := r.sh("cp -a /etc/systemd/journald.conf /srv/j.conf; stat -c '%a %U' /srv/j.conf; sha256sum /srv/j.conf")
	defer r.sh("rm -f /srv/j.conf")
	s := fileStep(wire.File{Path: "/srv/j.conf", Keys: []wire.Key{{Section: "Journal", Name: "SystemMaxUse", Value: "50M"}}})
	t.Log(r.do(s, wire.Changed).Reason)
	r.do(s, wire.OK)
	if got := r.sh("diff /etc/systemd/journald.conf /srv/j.conf | grep '^[<>]' || true"); got != "> SystemMaxUse=50M" {
		t.Error(got)
	}
	r.revert()
	if after := r.sh("stat -c '%a %U' /srv/j.conf; sha256sum /srv/j.conf"); after != before {
		t.Errorf("%s\n%s", before, after)
	}
}

func mustTime(s string) time.Time {
	at, err := http.ParseTime(s)
	if err != nil {
		panic(err)
	}
	return at
}
