//go:build linux

package steps

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// The account tools, on the rig's own files. useradd gives the account the uid
// in $S/uid.
const (
	fakeUseradd = `
groups= shell=/bin/sh comment= primary=
while [ $# -gt 1 ]; do case $1 in -G) groups=$2; shift;; -s) shell=$2; shift;; -c) comment=$2; shift;; -g) primary=$2; shift;;
	-p) field=$2; shift;; -d) home=$2; shift;; esac; shift; done
uid=$(cat $S/uid); gid=$uid
[ -z "$primary" ] || gid=$(sed -n "s/^$primary:x:\([0-9]*\):.*/\1/p" $S/root/etc/group)
[ -n "$primary" ] || echo "$1:x:$gid:" >>$S/root/etc/group
echo "$1:x:$uid:$gid:$comment:$home:$shell" >>$S/root/etc/passwd
echo "$1:$field:1::::::" >>$S/root/etc/shadow
for g in $(echo $groups | tr , ' '); do sed -i "s/^\($g:x:[0-9]*:.*[^:]\)$/\1,$1/; s/^\($g:x:[0-9]*:\)$/\1$1/" $S/root/etc/group; done
mkdir -p $home; [ $(id -u) != 0 ] || chown $uid $home`
	fakeUsermod = `
for a; do last=$a; done
while [ $# -gt 1 ]; do case $1 in
	-G) for g in $(echo $2 | tr , ' '); do sed -i "s/^\($g:x:[0-9]*:.*[^:]\)$/\1,$last/; s/^\($g:x:[0-9]*:\)$/\1$last/" $S/root/etc/group; done; shift;;
	-s) sed -i "s|^\($last:.*:\)[^:]*$|\1$2|" $S/root/etc/passwd; shift;;
	-p) sed -i "s|^$last:[^:]*:|$last:$2:|" $S/root/etc/shadow; shift;;
	-a) ;; *) shift;; esac; shift; done`
	fakeGroupadd = `echo "$1:x:$((4000 + $(wc -l <$S/root/etc/group))):" >>$S/root/etc/group`
	fakeGroupdel = `sed -i "/^$1:/d" $S/root/etc/group`
	fakeGpasswd  = `sed -i "/^$3:/s/\b$2\b,*//; /^$3:/s/,$//" $S/root/etc/group`
	fakeUserdel  = `
for a; do last=$a; done
if [ -e $S/busy ]; then rm $S/busy; echo "userdel: user is currently used by process 1" >&2; exit 8; fi
home=$(sed -n "s/^$last:x:[0-9]*:[0-9]*:[^:]*:\([^:]*\):.*/\1/p" $S/root/etc/passwd)
[ "$1" != -r ] || rm -rf $home
sed -i "/^$last:/d" $S/root/etc/passwd $S/root/etc/shadow $S/root/etc/group; sed -i "s/,$last\$//; s/:$last\$/:/" $S/root/etc/group`
	fakeChpasswd = `IFS=: read -r name word; word=$(echo "$word" | tr : _); sed -i "s|^$name:[^:]*:|$name:HASH($word):|" $S/root/etc/shadow`
	fakeChage    = `[ ! -e $S/chage-fails ] || exit 1; sed -i "s|^\($3:[^:]*\):[^:]*:|\1:$2:|" $S/root/etc/shadow`
)

func userRig(t *testing.T) *rig {
	uid := os.Geteuid()
	if uid == 0 {
		uid = strangerUID + 1
	} else if uid < firstUID || uid >= 65534 {
		t.Skip("this user's own number is one of the system's")
	}
	r := newRig(t)
	for name, body := range map[string]string{"useradd": fakeUseradd, "usermod": fakeUsermod, "groupadd": fakeGroupadd, "groupdel": fakeGroupdel,
		"gpasswd": fakeGpasswd, "userdel": fakeUserdel, "chpasswd": fakeChpasswd, "chage": fakeChage, "loginctl": ""} {
		r.fake(name, body)
	}
	r.file("uid", fmt.Sprint(uid))
	r.file("root/etc/group", "root:x:0:\nsudo:x:27:\naudio:x:29:pulse\nstaff:x:50:\n")
	r.Secret = func(name string) (string, bool) { return "pa:ss$word", name == "pw" }
	r.ConnectionKey = testKey(1) + " me@laptop"
	return r
}

// testKey makes a key line, always the same for n.
func testKey(n byte) string {
	key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	var blob []byte
	for _, part := range [][]byte{[]byte("ssh-ed25519"), key} {
		blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(part))), part...)
	}
	return "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob)
}

func (r *rig) dev() wire.User {
	return wire.User{Name: "dev", Group: "devusers", Groups: []string{"sudo", "audio"}, Shell: "/bin/bash", Home: r.path("home/dev"),
		AuthorizedKeys: []string{"@connection"}, Password: "pw", MustChange: true}
}

func userStep(u wire.User) wire.Step { return wire.Step{Name: "u", User: &u} }

func TestUserThereAndBack(t *testing.T) {
	r := userRig(t)
	group, passwd := r.read("root/etc/group"), r.read("root/etc/passwd")
	got := r.do(userStep(r.dev()), wire.Changed)
	if got.Created != "user dev" || got.Finish == nil {
		t.Fatalf("%+v", got)
	}
	for file, want := range map[string]string{
		"root/etc/passwd":               ":" + r.path("home/dev") + ":/bin/bash\n",
		"root/etc/shadow":               "dev:!vpsctl:",
		"root/etc/group":                "sudo:x:27:dev\naudio:x:29:pulse,dev\n",
		"home/dev/.ssh/authorized_keys": testKey(1) + " me@laptop\n",
	} {
		r.has(want, r.read(file))
	}
	if s := state(t, r.path("home/dev/.ssh")); s != "directory -rwx------" {
		t.Error(s)
	}
	r.has("file -rw------- ", state(t, r.path("home/dev/.ssh/authorized_keys")))

	// The proof of the login has not come: the next run finds it pending.
	got = r.do(userStep(r.dev()), wire.Changed)
	if got.Created != "user dev" || got.Finish == nil || len(r.undos) != 1 {
		t.Fatalf("pending: %+v", got)
	}
	if err := got.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.has("dev:HASH(pa_ss$word):0:", r.read("root/etc/shadow"))
	if got := r.do(userStep(r.dev()), wire.OK); got.Finish != nil || got.Created != "" {
		t.Errorf("settled: %+v", got)
	}
	if strings.Contains(r.calls(), "ss$word") {
		t.Error("the password is in an argv")
	}
	r.file("busy", "") // still logged in at the first try
	r.revert()
	r.revert()
	if r.read("root/etc/group") != group || r.read("root/etc/passwd") != passwd || r.exists("home/dev") {
		t.Errorf("after undo:\n%s%s", r.read("root/etc/group"), r.read("root/etc/passwd"))
	}
}

func TestUserThatWasThere(t *testing.T) {
	r := userRig(t)
	home := r.path("home/dev")
	r.file("home/dev/.ssh/authorized_keys", "# mine\n"+testKey(2)+" old\n")
	uid := r.read("uid")
	if err := exec.Command("chown", "-R", uid, home).Run(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{home + "/.ssh", home + "/.ssh/authorized_keys"} {
		mode := os.FileMode(0o700)
		if strings.HasSuffix(p, "keys") {
			mode = 0o600
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	r.file("root/etc/passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\ndev:x:%s:50::%s:/bin/sh\n", uid, home))
	r.file("root/etc/shadow", "dev:HASH(own):100:\n")
	before := r.read("root/etc/group") + r.read("root/etc/passwd") + r.read("home/dev/.ssh/authorized_keys")
	u := r.dev()
	u.Group = ""
	u.AuthorizedKeys = []string{"@connection", testKey(2)}
	got := r.do(userStep(u), wire.Changed)
	if got.Finish != nil || got.Created != "" {
		t.Errorf("a user of before gets no password: %+v", got)
	}
	r.has("not in sudo, audio, shell is /bin/sh, 1 of 2 keys missing", got.Reason)
	if keys := r.read("home/dev/.ssh/authorized_keys"); keys != "# mine\n"+testKey(2)+" old\n"+testKey(1)+" me@laptop\n" {
		t.Errorf("keys %q", keys)
	}
	r.do(userStep(u), wire.OK)
	r.has("HASH(own)", r.read("root/etc/shadow"))
	r.revert()
	if after := r.read("root/etc/group") + r.read("root/etc/passwd") + r.read("home/dev/.ssh/authorized_keys"); after != before {
		t.Errorf("after undo\n%s\nbefore\n%s", after, before)
	}
}

func TestUserRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(r *rig, u *wire.User)
	}{
		"name":         {"cannot be a user's name", func(_ *rig, u *wire.User) { u.Name = "-rf" }},
		"capital":      {"cannot be a user's name", func(_ *rig, u *wire.User) { u.Name = "Dev" }},
		"long":         {"cannot be a user's name", func(_ *rig, u *wire.User) { u.Name = strings.Repeat("a", 33) }},
		"system user":  {"account of the system", func(_ *rig, u *wire.User) { u.Name = "root" }},
		"system group": {"group of the system", func(_ *rig, u *wire.User) { u.Name, u.Group = "sudo", "" }},
		"group name":   {"group's name", func(_ *rig, u *wire.User) { u.Groups = []string{"a,b"} }},
		"secret":       {"not in the plan", func(_ *rig, u *wire.User) { u.Password = "other" }},
		"line break":   {"line break", func(r *rig, _ *wire.User) { r.Secret = func(string) (string, bool) { return "a\nroot:b", true } }},
		"no key":       {"no key is known", func(r *rig, _ *wire.User) { r.ConnectionKey = "" }},
		"bad key":      {"no authorized_keys line", func(_ *rig, u *wire.User) { u.AuthorizedKeys = []string{"ssh-ed25519 AAAA"} }},
		"not root":     {"root", func(r *rig, _ *wire.User) { r.Root = false }},
	} {
		r := userRig(t)
		u := r.dev()
		c.change(r, &u)
		got := r.do(userStep(u), wire.Failed)
		if !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %s", name, got.Reason)
		}
		if r.calls() != "" || len(r.undos) != 0 {
			t.Errorf("%s: something was done: %s", name, r.calls())
		}
	}
}

func TestUserWithoutPassword(t *testing.T) {
	r := userRig(t)
	u := r.dev()
	u.Password = ""
	if got := r.do(userStep(u), wire.Changed); got.Finish != nil || got.Created != "user dev" {
		t.Errorf("%+v", got)
	}
	r.has("dev:*:", r.read("root/etc/shadow"))
}

func TestUserHomeIsNotMoved(t *testing.T) {
	r := userRig(t)
	r.file("root/etc/passwd", "dev:x:5000:50::/somewhere:/bin/bash\n")
	r.has("not moved", r.do(userStep(r.dev()), wire.Failed).Reason)
}

func TestExpiryThatFailsIsPendingAgain(t *testing.T) {
	r := userRig(t)
	got := r.do(userStep(r.dev()), wire.Changed)
	r.file("chage-fails", "")
	if err := got.Finish(t.Context()); err == nil {
		t.Fatal("no error")
	}
	r.has("dev:!vpsctl:", r.read("root/etc/shadow"))
	r.file("root/etc/shadow", "dev:HASH(own):1:\n")
	if err := got.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody has set one") {
		t.Error(err)
	}
}

func TestPlantedSSHFolder(t *testing.T) {
	needRoot(t)
	r := userRig(t)
	home := r.path("home/dev")
	r.file("secret/authorized_keys", "root's own\n")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(r.path("secret"), home+"/.ssh"); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("chown", "-h", r.read("uid"), home, home+"/.ssh").Run(); err != nil {
		t.Fatal(err)
	}
	r.file("root/etc/passwd", fmt.Sprintf("dev:x:%s:50::%s:/bin/bash\n", r.read("uid"), home))
	u := r.dev()
	u.Group, u.Groups = "", nil
	r.has("symbolic link", r.do(userStep(u), wire.Failed).Reason)
	if r.read("secret/authorized_keys") != "root's own\n" {
		t.Error("root wrote through a planted ~/.ssh")
	}
}

func TestRootsKeys(t *testing.T) {
	r := userRig(t)
	r.file("root/root/.ssh/authorized_keys", strings.Join([]string{
		`no-port-forwarding,command="echo 'Please login as the user \"admin\" rather than root.';sleep 10" ` + testKey(3) + " cloud",
		"# a comment", "", `from="10.0.0.1" ` + testKey(4), testKey(5) + " plain one", testKey(1)}, "\n"))
	u := r.dev()
	u.AuthorizedKeys = []string{"@connection", "@root"}
	r.do(userStep(u), wire.Changed)
	want := testKey(1) + " me@laptop\n" + testKey(5) + " plain one\n"
	if got := r.read("home/dev/.ssh/authorized_keys"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestUnknownConnectionKeyIsSaid(t *testing.T) {
	r := userRig(t)
	r.ConnectionKey = ""
	u := r.dev()
	u.AuthorizedKeys = []string{"@connection", testKey(6)}
	r.do(userStep(u), wire.Changed)
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "not known") {
		t.Errorf("notes %q", r.notes)
	}
}

func TestHomeOfBeforeStays(t *testing.T) {
	r := userRig(t)
	r.file("home/dev/data", "kept")
	if err := exec.Command("chown", "-R", r.read("uid"), r.path("home/dev")).Run(); err != nil {
		t.Fatal(err)
	}
	r.do(userStep(r.dev()), wire.Changed)
	r.revert()
	if r.read("home/dev/data") != "kept" || strings.Contains(r.read("root/etc/passwd"), "dev:") {
		t.Error("a home that was there before the account is not ours to remove")
	}
}
