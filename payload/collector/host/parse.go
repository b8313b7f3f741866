//go:build linux

package host

import "bytes"

// counters are what /proc says at one moment. -1: the kernel does not say.
type counters struct {
	cpuTotal, cpuIdle, cpuSteal uint64 // ticks
	diskRead, diskWritten       int64  // bytes
	netIn, netOut               int64  // bytes
}

// uintAt reads the digits b begins with, after blanks, and what follows them.
func uintAt(b []byte) (n uint64, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	return n, b[i:]
}

// nextLine cuts the first line off b.
func nextLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// parseStat reads the first line of /proc/stat. Waiting for a disk counts as
// idle; guest time is within user time already.
func parseStat(b []byte, c *counters) {
	line, _ := nextLine(b)
	line, ok := bytes.CutPrefix(line, []byte("cpu "))
	if !ok {
		return
	}
	var v [8]uint64 // user nice system idle iowait irq softirq steal
	for i := range v {
		v[i], line = uintAt(line)
		c.cpuTotal += v[i]
	}
	c.cpuIdle, c.cpuSteal = v[3]+v[4], v[7]
}

// memory is /proc/meminfo in KiB.
type memory struct{ total, available, free, swapTotal, swapFree uint64 }

func parseMeminfo(b []byte) (m memory) {
	hasAvailable := false
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			continue
		}
		var to *uint64
		switch string(line[:colon]) { // does not allocate
		case "MemTotal":
			to = &m.total
		case "MemAvailable":
			to, hasAvailable = &m.available, true
		case "MemFree":
			to = &m.free
		case "SwapTotal":
			to = &m.swapTotal
		case "SwapFree":
			to = &m.swapFree
		default:
			continue
		}
		*to, _ = uintAt(line[colon+1:])
	}
	if !hasAvailable {
		m.available = m.free
	}
	return m
}

// parseLoad reads the first number of /proc/loadavg.
func parseLoad(b []byte) float64 {
	whole, rest := uintAt(b)
	if len(rest) == 0 || rest[0] != '.' {
		return float64(whole)
	}
	digits, scale := uint64(0), 1.0
	for _, c := range rest[1:min(len(rest), 7)] {
		if c < '0' || c > '9' {
			break
		}
		digits, scale = digits*10+uint64(c-'0'), scale*10
	}
	return float64(whole) + float64(digits)/scale
}

// parsePressure reads "some avg10=" of a file of /proc/pressure.
func parsePressure(b []byte) (float64, bool) {
	b, ok := bytes.CutPrefix(b, []byte("some avg10="))
	return parseLoad(b), ok
}

// parseDisks sums the sectors of /proc/diskstats over the disks counted.
func parseDisks(b []byte, counted func(name []byte) bool, c *counters) {
	c.diskRead, c.diskWritten = 0, 0
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		_, line = uintAt(line) // major
		_, line = uintAt(line) // minor
		line = bytes.TrimLeft(line, " ")
		end := bytes.IndexByte(line, ' ')
		if end < 0 || !counted(line[:end]) {
			continue
		}
		line = line[end:]
		var v [7]uint64 // reads merged sectors ms writes merged sectors
		for i := range v {
			v[i], line = uintAt(line)
		}
		c.diskRead += int64(v[2]) * 512
		c.diskWritten += int64(v[6]) * 512
	}
}

// parseNet sums the bytes of /proc/net/dev over the interfaces that lead out
// of the host.
func parseNet(b []byte, c *counters) {
	c.netIn, c.netOut = 0, 0
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || inner(bytes.TrimLeft(line[:colon], " ")) {
			continue
		}
		line = line[colon+1:]
		var v [9]uint64 // 8 of receiving, then the bytes sent
		for i := range v {
			v[i], line = uintAt(line)
		}
		c.netIn += int64(v[0])
		c.netOut += int64(v[8])
	}
}

var innerNames = [][]byte{[]byte("veth"), []byte("docker"), []byte("br-"), []byte("virbr"), []byte("vnet"), []byte("tap"), []byte("tun"),
	[]byte("wg"), []byte("cni"), []byte("cali"), []byte("flannel"), []byte("lxc"), []byte("dummy"), []byte("ifb")}

// inner tells interfaces whose bytes stay on the host or are counted again on
// the interface they leave through.
func inner(name []byte) bool {
	if string(name) == "lo" {
		return true
	}
	for _, p := range innerNames {
		if bytes.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
