package inventory

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// resolver turns a file into hosts.
type resolver struct {
	*problems
	file       *file
	dir        string
	ssh        *sshConfig
	hostIndex  map[string]int
	groupIndex map[string]int
	cyclic     bool
	conflicts  map[conflict]*disagreement
	hosts      []Host
	jumps      []entry // by host; without value: none
	warnings   []string
	warned     map[string]bool
}

const builtIn = "built in"

func (r *resolver) warn(p pos, text string) {
	r.warnOnce(Problem{File: r.problems.file, Line: p.line, Col: p.col, Text: text}.String())
}

func (r *resolver) warnOnce(text string) {
	if r.warned == nil {
		r.warned = map[string]bool{}
	}
	if !r.warned[text] {
		r.warned[text] = true
		r.warnings = append(r.warnings, text)
	}
}

func (r *resolver) resolve() {
	if r.cyclic {
		return // nobody could say which group is stronger
	}
	r.hosts, r.jumps = make([]Host, len(r.file.hosts)), make([]entry, len(r.file.hosts))
	for i, h := range r.file.hosts {
		all := r.merge(h)
		r.hosts[i], r.jumps[i] = r.host(h, all), all["jump"]
	}
	for i := range r.hosts {
		r.jump(i)
	}
	r.reportConflicts()
	r.warnOfTwins()
}

// merge is precedence: each later layer wins, variable by variable.
func (r *resolver) merge(h *host) layer {
	written := overlay(r.file.defaults, r.fromGroups(h), h.own, r.file.extra)
	return overlay(
		layer{
			"address": {value: h.name, origin: "the host's name"},
			"port":    {value: 22, origin: builtIn},
			"user":    {value: "root", origin: builtIn},
			"become":  {value: false, origin: builtIn},
		}, r.fromSSHConfig(h, written), written)
}

func overlay(layers ...layer) layer {
	all := layer{}
	for _, l := range layers {
		maps.Copy(all, l)
	}
	return all
}

// fromSSHConfig is what ssh would do for this name, or for its address. An
// address of the inventory is dialled as it stands, without HostName.
func (r *resolver) fromSSHConfig(h *host, written layer) layer {
	address, _ := written["address"].value.(string)
	s := r.ssh.lookup(h.name, address)
	l := layer{}
	put := func(key string, value any, origin string) {
		if origin != "" {
			l[key] = entry{value, h.at, `host "` + h.name + `": ` + origin, origin}
		}
	}
	if addr, why, _ := cleanAddress(s.hostName.text); address == "" && why == "" {
		put("address", addr, s.hostName.origin)
	}
	put("port", s.portNumber, s.port.origin)
	put("user", s.user.text, s.user.origin)
	put("identities_only", s.identitiesOnly.text == "yes", s.identitiesOnly.origin)
	put("jump", sshJump(s.proxyJump.text), s.proxyJump.origin)
	if len(s.identities) > 0 {
		put("identity_file", sshPaths(s.identities), s.identities[0].origin)
	}
	if _, ok := written["jump"]; !ok && s.proxyCommand.origin != "" {
		r.warnOnce(s.proxyCommand.origin + ": ProxyCommand is not in this release: " + h.name + " is dialled directly (ProxyJump and jump: are)")
	}
	return l
}

// host builds a host from its merged layer.
func (r *resolver) host(src *host, l layer) Host {
	h := Host{Name: src.name, Vars: map[string]Var{}, Origin: map[string]string{}}
	for _, g := range src.groups {
		h.Groups = append(h.Groups, g.name)
	}
	for k, e := range l {
		if name, ok := strings.CutPrefix(k, varPrefix); ok {
			v := e.value.(Var)
			v.Origin = e.origin
			h.Vars[name] = v
			continue
		}
		h.Origin[k] = e.origin
	}
	h.Address, _ = l["address"].value.(string)
	h.Port, _ = l["port"].value.(int)
	h.User, _ = l["user"].value.(string)
	h.Become, _ = l["become"].value.(bool)
	h.BecomePassword, _ = l["become_password"].value.(*Ref)
	h.IdentitiesOnly, _ = l["identities_only"].value.(bool)
	h.HostKeys, _ = l["host_key"].value.([]string)
	h.Phases, _ = l["phases"].value.(PhaseFilter)
	switch files := l["identity_file"].value.(type) {
	case []string:
		h.IdentityFiles = r.absolute(l["identity_file"], files)
	case sshPaths:
		h.IdentityFiles = r.ssh.paths(files, &h)
	}
	return h
}

// absolute expands ~ and starts relative paths from the inventory's folder.
func (r *resolver) absolute(e entry, files []string) []string {
	paths := make([]string, 0, len(files))
	for _, p := range files {
		full, err := expand(p, r.dir)
		if err != nil {
			r.add(e.at, "write the whole path", "%s: identity_file: %s: %s", e.by, quote(p), err)
			continue
		}
		paths = append(paths, full)
	}
	return paths
}

// expand makes a path absolute: ~ is the home folder, others start from dir.
func expand(p, dir string) (string, error) {
	if p == "~" || strings.HasPrefix(p, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		return filepath.Join(home, p[1:]), nil
	}
	if p = filepath.FromSlash(p); filepath.IsAbs(p) {
		return filepath.Clean(p), nil
	}
	return filepath.Join(dir, p), nil
}

// warnOfTwins tells when one machine is there under two names: its runs would
// get into each other's way.
func (r *resolver) warnOfTwins() {
	first := map[string]string{}
	for i, h := range r.hosts {
		way := net.JoinHostPort(h.Address, strconv.Itoa(h.Port))
		if h.Jump != nil {
			way += " through " + h.Jump.Host.Name
		}
		if other, ok := first[way]; ok {
			r.warn(r.file.hosts[i].at, "hosts "+other+" and "+h.Name+" are the same machine: "+way)
			continue
		}
		first[way] = h.Name
	}
}

// inventory is what is left when there was no mistake.
func (r *resolver) inventory() *Inventory {
	inv := &Inventory{dir: r.dir, hosts: r.hosts, index: r.hostIndex, warnings: append(r.ssh.warnings, r.warnings...)}
	for _, g := range r.file.groups {
		out := Group{Name: g.name}
		for i, h := range r.file.hosts {
			if g.members.Bit(i) == 1 {
				out.Hosts = append(out.Hosts, h.name)
			}
			if g.direct.Bit(i) == 1 {
				out.Direct = append(out.Direct, h.name)
			}
		}
		for _, c := range g.children {
			out.Groups = append(out.Groups, c.name)
		}
		inv.groups = append(inv.groups, out)
	}
	return inv
}
