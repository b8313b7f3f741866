package phases

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxRules bounds how many addresses or ports one variable names: each becomes
// a rule of the firewall.
const maxRules = 32

// checkRDPFrom takes tunnel, any, or addresses and networks as the firewall
// shows them again, so that a second run finds what the first has written.
func checkRDPFrom(value any) error {
	s := value.(string)
	if s == "tunnel" || s == "any" {
		return nil
	}
	list := strings.Fields(s)
	if len(list) == 0 || len(list) > maxRules || strings.Join(list, " ") != s {
		return fmt.Errorf("%q is neither tunnel nor any, nor 1 to %d addresses or networks with one blank between them", s, maxRules)
	}
	for _, word := range list {
		if err := checkNetwork(word); err != nil {
			return err
		}
	}
	return nil
}

func checkNetwork(word string) error {
	if addr, err := netip.ParseAddr(word); err == nil {
		return written(word, addr.Zone() == "" && !addr.Is4In6() && !addr.IsUnspecified(), addr.String())
	}
	prefix, err := netip.ParsePrefix(word)
	if err != nil || prefix.Addr().Is4In6() {
		return fmt.Errorf("%q is neither an address nor a network such as 203.0.113.0/24", word)
	}
	if prefix.Bits() == 0 {
		return fmt.Errorf("%q is everybody: write any", word)
	}
	if prefix.IsSingleIP() {
		return written(word, true, prefix.Addr().String())
	}
	return written(word, true, prefix.Masked().String())
}

func written(word string, possible bool, want string) error {
	if !possible {
		return fmt.Errorf("%q is no address that a connection comes from", word)
	}
	if word != want {
		return fmt.Errorf("write %q as %s", word, want)
	}
	return nil
}

var portRule = regexp.MustCompile(`^([1-9][0-9]{0,4})(?::([1-9][0-9]{0,4}))?/(tcp|udp)$`)

// checkPorts takes ports and ranges of ports, each with its protocol.
func checkPorts(value any) error {
	s := value.(string)
	list := strings.Fields(s)
	if len(list) > maxRules || strings.Join(list, " ") != s {
		return fmt.Errorf("%q is no list of ports with one blank between them, %d at the most", s, maxRules)
	}
	for i, word := range list {
		m := portRule.FindStringSubmatch(word)
		if m == nil {
			return fmt.Errorf("%q is no port: wanted 443/tcp or 60000:61000/udp", word)
		}
		low, _ := strconv.Atoi(m[1]) // at most five digits
		high := low
		if m[2] != "" {
			if high, _ = strconv.Atoi(m[2]); high <= low {
				return fmt.Errorf("%q is no range of ports", word)
			}
		}
		if high > 65535 || slices.Contains(list[:i], word) {
			return fmt.Errorf("%q is no port, or there twice", word)
		}
		if low <= 3389 && high >= 3389 && m[3] == "tcp" {
			return fmt.Errorf("%q would open the remote desktop: that is rdp_from", word)
		}
	}
	return nil
}
