//go:build linux

// Package host says what a host is and how it is doing. Its readers are written
// for one caller that asks every second for hours: files stay open, nothing is
// allocated, and what no row needs is not parsed.
package host

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Sampler reads samples of the host. It is for one goroutine.
type Sampler struct {
	files [fileCount]int // descriptors, -1 when the kernel has none
	proc  int
	root  string
	disks map[string]bool
	buf   []byte
	last  counters
	at    int64 // nanoseconds, of last

	whole  bool // /proc shows all processes of the machine
	counts int  // how often processes was asked
	links  int  // links of /proc that are no process
}

const (
	fileStat = iota
	fileMeminfo
	fileLoad
	fileDisks
	fileNet
	filePSICPU
	filePSIMem
	filePSIIO
	fileCount
)

var fileNames = [fileCount]string{"stat", "meminfo", "loadavg", "diskstats", "net/dev", "pressure/cpu", "pressure/memory", "pressure/io"}

// NewSampler opens the files below root ("/" but in tests) and takes the first
// reading, which the first sample's rates count from; now is in nanoseconds of
// any clock that later calls use too.
func NewSampler(root string, now int64) *Sampler {
	s := &Sampler{root: root, buf: make([]byte, 16<<10), disks: wholeDisks(root)}
	for i, name := range fileNames {
		s.files[i] = open(filepath.Join(root, "proc", name), 0)
	}
	s.proc = open(filepath.Join(root, "proc"), unix.O_DIRECTORY)
	ns, err := os.Readlink(filepath.Join(root, "proc/self/ns/pid"))
	s.whole = err == nil && ns == "pid:[4026531836]" // the kernel's fixed number of the first one
	s.last, s.at = s.counters(), now
	return s
}

func open(path string, flags int) int {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return -1
	}
	return fd
}

// Close closes the files.
func (s *Sampler) Close() {
	for _, fd := range append(s.files[:], s.proc) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Sample fills to with the state now and the rates since the sample before.
func (s *Sampler) Sample(now int64, to *wire.Sample) {
	c := s.counters()
	elapsed := max(now-s.at, 1)
	const mib = 1 << 20
	*to = wire.Sample{Elapsed: time.Duration(elapsed), Running: to.Running}
	if total := c.cpuTotal - s.last.cpuTotal; c.cpuTotal > s.last.cpuTotal {
		// The kernel's idle counters may step back; a share is never below 0.
		idle := float64(int64(c.cpuIdle - s.last.cpuIdle))
		to.CPUPct = share(float64(total)-idle, float64(total))
		to.StealPct = share(float64(int64(c.cpuSteal-s.last.cpuSteal)), float64(total))
	}
	m := parseMeminfo(s.read(fileMeminfo))
	to.MemUsedMB, to.MemAvailMB = int((m.total-min(m.total, m.available))>>10), int(m.available>>10)
	to.SwapUsedMB = int((m.swapTotal - min(m.swapTotal, m.swapFree)) >> 10)
	_, to.DiskAvailMB = diskMB(s.root)
	to.Load1 = parseLoad(s.read(fileLoad))
	to.Procs = s.processes()
	to.PSICPU, to.PSIMem, to.PSIIO = s.pressure(filePSICPU), s.pressure(filePSIMem), s.pressure(filePSIIO)
	seconds := float64(elapsed) / 1e9
	to.DiskReadMBs, to.DiskWritMBs = rate(c.diskRead, s.last.diskRead, seconds*mib), rate(c.diskWritten, s.last.diskWritten, seconds*mib)
	to.NetRxMBs, to.NetTxMBs = rate(c.netIn, s.last.netIn, seconds*mib), rate(c.netOut, s.last.netOut, seconds*mib)
	s.last, s.at = c, now
}

func (s *Sampler) counters() counters {
	c := counters{diskRead: -1, diskWritten: -1, netIn: -1, netOut: -1}
	parseStat(s.read(fileStat), &c)
	if b := s.read(fileDisks); b != nil && len(s.disks) > 0 {
		parseDisks(b, func(name []byte) bool { return s.disks[string(name)] }, &c)
	}
	if b := s.read(fileNet); b != nil {
		parseNet(b, &c)
	}
	return c
}

// read returns a file's content, valid until the next read; nil when there is
// none.
func (s *Sampler) read(i int) []byte {
	if s.files[i] < 0 {
		return nil
	}
	if i == fileStat { // only its first line is wanted; the rest grows with CPUs and interrupts
		n, err := unix.Pread(s.files[i], s.buf[:256], 0)
		if err != nil || n <= 0 {
			return nil
		}
		return s.buf[:n]
	}
	for n := 0; ; {
		m, err := unix.Pread(s.files[i], s.buf[n:], int64(n))
		if err != nil {
			return nil
		}
		if n += m; m == 0 || n < len(s.buf) && m < 2048 {
			return s.buf[:n]
		}
		if n == len(s.buf) {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
	}
}

func (s *Sampler) pressure(i int) *float64 {
	v, ok := parsePressure(s.read(i))
	if !ok {
		return nil
	}
	return &v
}

// recount is how many samples may pass before the processes are listed again.
const recount = 60

// processes is how many there are. Listing /proc is two fifths of a sample, but
// /proc also has a link for each process of the machine: where that is all of
// them, they are listed only now and then, to know how many other links it has.
func (s *Sampler) processes() int {
	var st unix.Stat_t
	if s.counts++; s.whole && s.counts%recount != 1 && unix.Fstat(s.proc, &st) == nil {
		return int(st.Nlink) - s.links
	}
	n := s.listProcesses()
	if s.whole && unix.Fstat(s.proc, &st) == nil {
		s.links = int(st.Nlink) - n
	}
	return n
}

// listProcesses counts the numeric names in /proc.
func (s *Sampler) listProcesses() (count int) {
	if _, err := unix.Seek(s.proc, 0, 0); err != nil {
		return 0
	}
	for {
		n, err := unix.Getdents(s.proc, s.buf)
		if err != nil || n <= 0 {
			return count
		}
		for b := s.buf[:n]; len(b) > 19; {
			if c := b[19]; c >= '1' && c <= '9' { // d_name, after ino, off, reclen, type
				count++
			}
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size < 20 || size > len(b) {
				break
			}
			b = b[size:]
		}
	}
}

// Traffic is how many bytes the host has received and sent so far, 0 when the
// kernel does not say.
func Traffic(root string) (in, out int64) {
	var c counters
	parseNet([]byte(read(root, "proc/net/dev")), &c)
	return c.netIn, c.netOut
}

func share(part, whole float64) float64 { return round(100*min(1, max(0, part/whole)), 1) }

// rate is nil when one of the two is unknown, or the counter began anew.
func rate(now, before int64, per float64) *float64 {
	if now < 0 || before < 0 || now < before {
		return nil
	}
	v := round(float64(now-before)/per, 3)
	return &v
}

// round keeps so many decimals: more only make the journal longer.
func round(v float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(v*p) / p
}

// diskMB is size and room of the root file system in MiB.
func diskMB(root string) (size, avail int) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return 0, 0
	}
	unit := uint64(st.Bsize)
	return int(st.Blocks * unit >> 20), int(st.Bavail * unit >> 20)
}

// wholeDisks names the disks that are no part of another and no image of one.
func wholeDisks(root string) map[string]bool {
	disks := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(root, "sys/block"))
	if err != nil {
		return disks
	}
	for _, e := range entries {
		kind := strings.TrimRight(e.Name(), "0123456789-")
		switch kind {
		case "loop", "ram", "zram", "dm", "md", "sr", "fd", "nbd", "drbd":
			continue
		}
		disks[e.Name()] = true
	}
	return disks
}

// AvailableMB is MemAvailable in MiB.
func AvailableMB(root string) int {
	return int(parseMeminfo([]byte(read(root, "proc/meminfo"))).available >> 10)
}
