//go:build linux

package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// fake makes a root folder with these files.
func fake(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const meminfo = "MemTotal:        4003844 kB\nMemFree:          180224 kB\nMemAvailable:    3145727 kB\nBuffers:            1000 kB\nSwapTotal:       2097148 kB\nSwapFree:        1048572 kB\n"

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 999999     10    0    0    0     0          0         0   999999      10    0    0    0     0       0          0
  eth0: 1000       10    0    0    0     0          0         0      500      10    0    0    0     0       0          0
docker0: 7777      10    0    0    0     0          0         0     7777      10    0    0    0     0       0          0
enp2s0:2000       10    0    0    0     0          0         0      700      10    0    0    0     0       0          0
`

const diskstats = `   8       0 sda 100 1 2000 5 200 2 4000 6 0 7 8 0 0 0 0 9 9
   8       1 sda1 90 1 1900 5 190 2 3900 6 0 7 8
 259       0 nvme0n1 1 0 48 0 2 0 96 0 0 0 0
   7       0 loop0 5 0 500 0 0 0 0 0 0 0 0
 253       0 dm-0 50 0 5000 0 50 0 5000 0 0 0 0
`

func TestSample(t *testing.T) {
	files := map[string]string{
		"proc/stat": "cpu  100 10 50 800 40 0 0 0 7 7\ncpu0 1 2 3\n", "proc/meminfo": meminfo, "proc/loadavg": "0.61 1.20 2.00 1/181 4711\n",
		"proc/net/dev": netDev, "proc/diskstats": diskstats, "proc/pressure/cpu": "some avg10=12.34 avg60=1.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0 avg300=0 total=0\n",
		"proc/1/stat": "", "proc/42/stat": "", "proc/self": "", "sys/block/sda/x": "", "sys/block/nvme0n1/x": "", "sys/block/loop0/x": "", "sys/block/dm-0/x": "",
	}
	root := fake(t, files)
	s := NewSampler(root, 0)
	defer s.Close()
	for name, text := range map[string]string{
		"proc/stat":      "cpu  150 10 60 850 60 0 0 10 9 9\n", // 140 ticks: 70 idle or waiting for a disk, 10 stolen
		"proc/net/dev":   "a\nb\n  eth0: 3146728 1 0 0 0 0 0 0 1049076 1\nenp2s0: 2000 0 0 0 0 0 0 0 700 0\n",
		"proc/diskstats": "   8       0 sda 100 1 6096 5 200 2 4000 6\n 259       0 nvme0n1 1 0 48 0 2 0 96 0 0 0 0\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got wire.Sample
	got.Running = []string{"p"}
	s.Sample(2e9, &got)
	p := func(v float64) *float64 { return &v }
	want := wire.Sample{Elapsed: 2 * time.Second, MemUsedMB: 838, MemAvailMB: 3071, SwapUsedMB: 1024, CPUPct: 50, StealPct: 7.1, DiskAvailMB: got.DiskAvailMB, Load1: 0.61, Procs: 2,
		PSICPU: p(12.34), DiskReadMBs: p(1), DiskWritMBs: p(0), NetRxMBs: p(1.5), NetTxMBs: p(0.5), Running: []string{"p"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Counters that begin anew are no rate, idle that steps back is no load over 100 %.
	if err := os.WriteFile(filepath.Join(root, "proc/net/dev"), []byte("a\nb\n  eth0: 5 1 0 0 0 0 0 0 5 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/stat"), []byte("cpu  250 10 60 800 60 0 0 10 9 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Sample(4e9, &got)
	if got.NetRxMBs != nil || got.CPUPct != 100 {
		t.Errorf("after a reset: net %v, cpu %v", got.NetRxMBs, got.CPUPct)
	}
}

// The short way to the number of processes gives what counting gives.
func TestProcesses(t *testing.T) {
	s := NewSampler("/", 0)
	defer s.Close()
	s.processes()
	// Processes come and go on a living machine: one exact hit of many is enough.
	for range 200 {
		before, got, after := s.listProcesses(), s.processes(), s.listProcesses()
		if before == after && got == before {
			return
		}
	}
	t.Errorf("never the same: %d by links, %d listed", s.processes(), s.listProcesses())
}

// A kernel that says nothing gives zeros and blanks, not a panic.
func TestSampleOfNothing(t *testing.T) {
	s := NewSampler(t.TempDir(), 0)
	defer s.Close()
	var got wire.Sample
	s.Sample(1e9, &got)
	got.DiskAvailMB = 0
	if diff := cmp.Diff(wire.Sample{Elapsed: time.Second}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMemoryWithoutAvailable(t *testing.T) {
	if m := parseMeminfo([]byte("MemTotal: 100 kB\nMemFree: 40 kB\n")); m.available != 40 {
		t.Errorf("%+v", m)
	}
}

func TestFacts(t *testing.T) {
	root := fake(t, map[string]string{
		"etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n# x\n", "proc/meminfo": meminfo,
		"proc/cpuinfo":         "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 7B13\n",
		"run/systemd/system/x": "", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n", "sys/class/dmi/id/sys_vendor": "QEMU\n",
	})
	f := Facts(root)
	if f.OS != "debian-13" || f.OSName != "Debian GNU/Linux 13 (trixie)" || f.CPUModel != "AMD EPYC 7B13" || f.Cores != 2 || f.MemoryMB != 3910 || f.SwapMB != 2047 ||
		!f.Systemd || f.Cgroup != "v2" || f.Virt != "qemu" || f.Hostname == "" || f.Kernel == "" {
		t.Errorf("%+v", f)
	}
	if bare := Facts(t.TempDir()); bare.Cgroup != "none" || bare.Systemd || bare.OS != "" || bare.Virt != "none" || bare.User == "" {
		t.Errorf("of nothing: %+v", bare)
	}
}

func TestVirt(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"systemd-nspawn": {"run/systemd/container": "systemd-nspawn\n", "sys/class/dmi/id/sys_vendor": "QEMU\n"},
		"lxc":            {"proc/1/environ": "PATH=/bin\x00container=lxc\x00"},
		"docker":         {".dockerenv": ""},
		"amazon":         {"sys/class/dmi/id/sys_vendor": "Amazon EC2\n"},
		"microsoft":      {"sys/class/dmi/id/sys_vendor": "Microsoft Corporation\n", "sys/class/dmi/id/product_name": "Virtual Machine\n"},
		"xen":            {"sys/hypervisor/type": "xen\n"},
		"vm-other":       {"proc/cpuinfo": "flags : fpu hypervisor\n"},
		"none":           {"proc/cpuinfo": "flags : fpu\n"},
	} {
		root := fake(t, files)
		if got := virt(root, read(root, "proc/cpuinfo")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzParse: no content of a file in /proc makes a reader panic.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "cpu  1 2 3", meminfo, netDev, diskstats, "some avg10=1.", ": : :", "cpu 99999999999999999999999 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c counters
		parseStat(b, &c)
		parseMeminfo(b)
		parseDisks(b, func([]byte) bool { return true }, &c)
		parseNet(b, &c)
		parsePressure(b)
		if load := parseLoad(b); load < 0 {
			t.Errorf("load %v", load)
		}
		osRelease(string(b))
		value(string(b), "flags")
	})
}
