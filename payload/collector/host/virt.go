//go:build linux

package host

import (
	"os"
	"path/filepath"
	"strings"
)

// firmware are names that virtual machines put into their firmware's tables.
var firmware = []struct{ has, virt string }{
	{"KVM", "kvm"}, {"QEMU", "qemu"}, {"OpenStack", "kvm"}, {"Amazon EC2", "amazon"}, {"Google Compute", "google"}, {"DigitalOcean", "kvm"}, {"Hetzner", "kvm"},
	{"Linode", "kvm"}, {"Vultr", "kvm"}, {"VMware", "vmware"}, {"VirtualBox", "oracle"}, {"innotek", "oracle"}, {"Xen", "xen"}, {"Bochs", "bochs"},
	{"Parallels", "parallels"}, {"BHYVE", "bhyve"}, {"Microsoft Corporation Virtual Machine", "microsoft"},
}

// virt says what the host runs in, in the words of systemd-detect-virt, without
// starting a process: a container first, then a machine, else none.
func virt(root, cpuinfo string) string {
	if c := strings.TrimSpace(read(root, "run/systemd/container")); c != "" {
		return c
	}
	for _, v := range strings.Split(read(root, "proc/1/environ"), "\x00") {
		if c, ok := strings.CutPrefix(v, "container="); ok && c != "" {
			return c
		}
	}
	for name, c := range map[string]string{".dockerenv": "docker", "run/.containerenv": "podman", "proc/vz": "openvz"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return c
		}
	}
	dmi := read(root, "sys/class/dmi/id/sys_vendor") + " " + read(root, "sys/class/dmi/id/product_name") + " " + read(root, "sys/class/dmi/id/bios_vendor")
	dmi = strings.ReplaceAll(dmi, "\n", "")
	for _, f := range firmware {
		if strings.Contains(dmi, f.has) {
			return f.virt
		}
	}
	if t := strings.TrimSpace(read(root, "sys/hypervisor/type")); t != "" {
		return t
	}
	if strings.Contains(value(cpuinfo, "flags"), "hypervisor") {
		return "vm-other"
	}
	return "none"
}
