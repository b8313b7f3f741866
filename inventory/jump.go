package inventory

import "net/netip"

// sshJump is a jump that ssh_config asks for.
type sshJump string

// jumpText is where host i is to jump through, "" for nowhere. The jump host
// itself inherits the line that names it; it means the others.
func (r *resolver) jumpText(i int) (text string, bySSH bool) {
	switch v := r.jumps[i].value.(type) {
	case string:
		text = v
	case sshJump:
		text, bySSH = string(v), true
	}
	if text == "none" {
		return "", false
	}
	d, _, _ := cleanDestination(text)
	_, own := r.file.hosts[i].own["jump"]
	if h := r.hosts[i]; !own && (d.host == h.Name || d.host == h.Address) {
		return "", false
	}
	return text, bySSH
}

// jump resolves the jump of host i: a host of the inventory, else an address
// or a name of ssh_config.
func (r *resolver) jump(i int) {
	text, bySSH := r.jumpText(i)
	if text == "" {
		return
	}
	refuse := func(hint, why string) {
		r.add(r.jumps[i].at, hint, "%s: jump %s: %s", r.jumps[i].by, quote(text), why)
	}
	d, why, hint := cleanDestination(text)
	if why != "" {
		refuse(hint, why)
		return
	}
	j, known := r.hostIndex[d.host]
	switch {
	case known && j == i:
		refuse("name another host, or `jump: none`", "it is the host itself")
	case known:
		if next, _ := r.jumpText(j); next != "" {
			refuse("reach the jump host directly: give it `jump: none`",
				"it is reached through "+quote(next)+" itself; a chain of jump hosts is not in this release")
			return
		}
		r.hosts[i].Jump = &Jump{d.applied(&r.hosts[j])}
	case d.plain() && !bySSH && !isIP(d.host) && !r.ssh.knows(d.host):
		refuse(r.meant(d.host, r.hostNames(), "for a host outside the inventory write user@host:port"), "there is no such host")
	default:
		r.outside(i, d, refuse)
	}
}

// outside makes a jump host of what is not in the inventory. What neither the
// text nor ssh_config says is as for the host behind it.
func (r *resolver) outside(i int, d destination, refuse func(hint, why string)) {
	s, h := r.ssh.lookup(d.host, ""), &r.hosts[i]
	if next := s.proxyJump.text; next != "" && next != "none" && next != d.host {
		refuse("name a jump host that is reached directly", s.proxyJump.origin+" sends it through "+quote(next)+"; a chain of jump hosts is not in this release")
		return
	}
	to := &Host{Name: d.host, Address: d.host, Port: 22, User: h.User, IdentityFiles: h.IdentityFiles,
		IdentitiesOnly: s.identitiesOnly.text == "yes" || h.IdentitiesOnly, Vars: map[string]Var{}, Origin: map[string]string{}}
	if addr, why, _ := cleanAddress(s.hostName.text); why == "" {
		to.Address = addr
	}
	if s.portNumber != 0 {
		to.Port = s.portNumber
	}
	if s.user.text != "" {
		to.User = s.user.text
	}
	to = d.applied(to)
	if len(s.identities) > 0 {
		to.IdentityFiles = r.ssh.paths(s.identities, to)
	}
	h.Jump = &Jump{to}
}

// applied is h with the user and port that d names.
func (d destination) applied(h *Host) *Host {
	if d.plain() {
		return h
	}
	other := *h
	if d.user != "" {
		other.User = d.user
	}
	if d.port != 0 {
		other.Port = d.port
	}
	return &other
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
