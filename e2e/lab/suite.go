//go:build linux

package lab

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

const (
	defaultSuite = "trixie"
	common       = "systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,ca-certificates"
)

// recipe says what a base is made of. Another recipe is another base.
type recipe struct {
	suite      string
	vendor     string
	components string
}

// recipes are the systems that hosts can have.
var recipes = map[string]recipe{
	"trixie":   {"trixie", "Debian", "main"},
	"bookworm": {"bookworm", "Debian", "main"},
	"noble":    {"noble", "Ubuntu", "main universe"},
}

// customize makes the base what a fresh VPS is, with two more users. The daily apt timers are off, or they would take
// the package lock in the middle of some test; host keys and machine-id are every host's own.
const customize = `set -e
chroot "$1" useradd --create-home --shell /bin/bash admin
chroot "$1" useradd --create-home --shell /bin/bash plain
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/admin"
chmod 0440 "$1/etc/sudoers.d/admin"
rm -f "$1"/etc/ssh/ssh_host_*_key*
rm -f "$1"/etc/systemd/system/timers.target.wants/apt-daily*.timer
: >"$1/etc/machine-id"`

func (r recipe) packages() string {
	if r.vendor == "Ubuntu" {
		return common + ",apt,adduser" // which Debian's smallest variant has by itself
	}
	return common
}

func (r recipe) customize() string {
	if r.vendor == "Ubuntu" {
		return customize + `
rm -f "$1"/etc/systemd/system/timers.target.wants/motd-news.timer`
	}
	return customize
}

func (r recipe) args() []string {
	if r.components == "main" {
		return nil
	}
	return []string{"--components=" + strings.ReplaceAll(r.components, " ", ",")}
}

// prefix is the beginning of the names of the recipe's bases.
func (r recipe) prefix() string {
	sum := sha256.Sum256([]byte(r.packages() + r.customize() + strings.Join(r.args(), " ")))
	return fmt.Sprintf("%s-%x-", r.suite, sum[:6])
}

// sources is a sources.list text of a mirror, and of a mirror of the security updates where one is named.
func (r recipe) sources(mirror, security string) string {
	text := fmt.Sprintf("deb %[1]s %[2]s %[3]s\ndeb %[1]s %[2]s-updates %[3]s\n", mirror, r.suite, r.components)
	if security == "" {
		return text
	}
	return text + fmt.Sprintf("deb %s %s-security %s\n", security, r.suite, r.components)
}

// sourcesLike turns a machine's apt indexes, one ORIGIN|LABEL|URI a line, into sources.list texts of the recipe's suite
// from the same mirrors, best first.
func (r recipe) sourcesLike(indexes string) []string {
	var mirror, security string
	for line := range strings.Lines(indexes) {
		f := strings.SplitN(strings.TrimSpace(line), "|", 3)
		switch {
		case len(f) != 3 || f[0] != r.vendor:
		case f[1] == r.vendor && mirror == "":
			mirror = f[2]
		case f[1] == r.vendor+"-Security" && security == "":
			security = f[2]
		}
	}
	switch {
	case mirror == "":
		return nil
	case security == "":
		return []string{r.sources(mirror, "")}
	}
	return []string{r.sources(mirror, security), r.sources(mirror, "")}
}
