package phases

import "testing"

func TestWhoReachesWhat(t *testing.T) {
	for _, test := range []struct {
		name, value string
		ok          bool
	}{
		{"rdp_from", "tunnel", true}, {"rdp_from", "any", true}, {"rdp_from", "203.0.113.7", true},
		{"rdp_from", "203.0.113.0/24 2001:db8::/32 2001:db8::1", true},
		{"rdp_from", "", false}, {"rdp_from", "anybody", false}, {"rdp_from", "any 203.0.113.7", false},
		{"rdp_from", "203.0.113.7/24", false}, // ufw shows it as 203.0.113.0/24
		{"rdp_from", "203.0.113.7/32", false}, // and this without /32
		{"rdp_from", "0.0.0.0/0", false}, {"rdp_from", "::/0", false}, {"rdp_from", "0.0.0.0", false},
		{"rdp_from", "2001:DB8::1", false}, {"rdp_from", "fe80::1%eth0", false}, {"rdp_from", "::ffff:203.0.113.7", false},
		{"rdp_from", "203.0.113.7;reboot", false}, {"rdp_from", "203.0.113.7  203.0.113.8", false}, {"rdp_from", "203.0.113.7\n", false},
		{"firewall_allow", "", true}, {"firewall_allow", "80/tcp 443/tcp 60000:61000/udp", true},
		{"firewall_allow", "80", false}, {"firewall_allow", "0/tcp", false}, {"firewall_allow", "65536/tcp", false},
		{"firewall_allow", "90:80/tcp", false}, {"firewall_allow", "80/tcp 80/tcp", false}, {"firewall_allow", "80/sctp", false},
		{"firewall_allow", "3389/tcp", false}, {"firewall_allow", "3000:4000/tcp", false}, {"firewall_allow", "3389/udp", true},
		{"firewall_allow", "80/tcp;reboot", false}, {"firewall_allow", " 80/tcp", false},
		{"desktop", "lean", true}, {"desktop", "fat", false}, {"swap", "auto", true}, {"swap", "off", true}, {"swap", "2G", false},
	} {
		v, ok := tuning(test.name)
		if !ok {
			t.Fatalf("no variable %s", test.name)
		}
		if _, err := v.fits(test.value); (err == nil) != test.ok {
			t.Errorf("%s = %q: %v", test.name, test.value, err)
		}
	}
}
