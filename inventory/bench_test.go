package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// large is an inventory of n hosts in ten regions below two continents, each
// with an address, a jump host and variables of its own.
func large(n int) string {
	var b strings.Builder
	b.WriteString("defaults: {user: root, identity_file: ~/.ssh/id, vars: {username: devuser, swap: auto}}\ngroups:\n")
	b.WriteString("  east: {groups: [r0, r1, r2, r3, r4], vars: {apt_mirror: http://east.example.net}}\n")
	b.WriteString("  west: {groups: [r5, r6, r7, r8, r9], vars: {apt_mirror: http://west.example.net}}\n")
	for r := range 10 {
		fmt.Fprintf(&b, "  r%d: {hosts: [\"host-*%d\"], jump: gate%d, vars: {region: r%d}}\n", r, r, r, r)
	}
	b.WriteString("hosts:\n")
	for r := range 10 {
		fmt.Fprintf(&b, "  gate%d: {address: 203.0.113.%d}\n", r, r)
	}
	for i := range n {
		fmt.Fprintf(&b, "  host-%05d:\n    address: 10.%d.%d.%d\n    port: 22\n    vars: {rack: %d, token: {env: TOKEN}}\n", i, i>>16, i>>8&255, i&255, i%40)
	}
	return b.String()
}

func BenchmarkLoad10000(b *testing.B) {
	dir := b.TempDir()
	name := filepath.Join(dir, "inventory.yaml")
	write(b, name, large(10000))
	write(b, filepath.Join(dir, "ssh_config"), "Host gate*\n  User admin\nHost *.example.net 10.*\n  Port 2222\nHost *\n  IdentityFile ~/.ssh/x\n")
	if st, err := os.Stat(name); err == nil {
		b.SetBytes(st.Size())
	}
	for b.Loop() {
		inv, err := Load(b.Context(), name, Options{SSHConfig: filepath.Join(dir, "ssh_config")})
		if err != nil {
			b.Fatal(err)
		}
		hosts, err := inv.Select("east,&host-*,!r3")
		if err != nil || len(hosts) != 4000 {
			b.Fatal(len(hosts), err)
		}
	}
}
