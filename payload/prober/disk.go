//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mib     = 1 << 20
	small   = 4 << 10
	least   = 64 * mib // of a file worth measuring
	keepPct = 10       // of the filesystem stay free
	slack   = 2        // percent more at first, for what others write meanwhile
)

// disk is a file without a name on the filesystem to measure: whoever is killed
// leaves nothing behind.
type disk struct {
	fd    int
	size  int64
	noise []byte // page-aligned, incompressible
	uses  uint64 // so far; each has places of its own
	fresh atomic.Uint64
	what  string // said in words
	gone  error  // why the file is not there any more
}

// fileSize is how large the file may be: no more than wanted, a fifth of what is
// free, and a tenth of the filesystem stays free, also when logs go on.
func fileSize(want, free, total int64) (int64, error) {
	size := min(want, free/5, free-total*(keepPct+slack)/100) / mib * mib
	if size < least {
		return 0, fmt.Errorf("%d of %d MiB are free: no room for a file of %d MiB that leaves %d %% free", free/mib, total/mib, least/mib, keepPct+slack)
	}
	return size, nil
}

// openDisk makes the file and writes it fully once, past the page cache, with
// data that no disk can compress, nor knows by the session before: the seed is
// the session's.
func openDisk(ctx context.Context, dir string, want int64, seed uint64) (*disk, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if kind := filesystem(dir); kind == "tmpfs" || kind == "ramfs" {
		return nil, fmt.Errorf("%s is a %s, which is memory and no disk", dir, kind)
	}
	size, err := fileSize(want, int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Blocks)*int64(fs.Bsize))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	fd, err := nameless(dir)
	if err != nil {
		return nil, err
	}
	d := &disk{fd: fd, size: size}
	if d.noise, err = unix.Mmap(-1, 0, 8*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := d.lay(ctx, seed); err != nil {
		d.close()
		return nil, fmt.Errorf("write %d MiB below %s: %w", size/mib, dir, err)
	}
	d.what = fmt.Sprintf("O_DIRECT, file of %d MiB on %s", size/mib, filesystem(dir))
	return d, nil
}

// nameless opens a file that no folder knows, past the page cache.
func nameless(dir string) (int, error) {
	const flags = unix.O_RDWR | unix.O_DIRECT | unix.O_CLOEXEC
	fd, err := unix.Open(dir, flags|unix.O_TMPFILE, 0o600)
	if err == nil {
		return fd, nil
	}
	f, ferr := os.CreateTemp(dir, ".vpsctl-bench-")
	if ferr != nil {
		return 0, ferr
	}
	defer f.Close()
	fd, err = unix.Open(f.Name(), flags|unix.O_NOFOLLOW, 0)
	if rerr := os.Remove(f.Name()); rerr != nil {
		err = errors.Join(err, rerr)
	}
	if errors.Is(err, unix.EINVAL) {
		return 0, fmt.Errorf("%s: its filesystem (%s) cannot be read past the page cache (O_DIRECT)", dir, filesystem(dir))
	}
	return fd, err
}

// room takes the file away once others need its space: the last tenth of a
// filesystem is not ours to hold.
func (d *disk) room() error {
	var fs unix.Statfs_t
	if d.gone != nil || unix.Fstatfs(d.fd, &fs) != nil {
		return d.gone
	}
	if free, total := int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Blocks)*int64(fs.Bsize); free < total*keepPct/100 {
		d.gone = errors.Join(fmt.Errorf("only %d of %d MiB are free by now, under %d %%: the file of %d MiB was removed", free/mib, total/mib, keepPct, d.size/mib),
			unix.Ftruncate(d.fd, 0))
	}
	return d.gone
}

// lay fills the noise and the file.
func (d *disk) lay(ctx context.Context, seed uint64) error {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	source := rand.NewChaCha8(key)
	for at := int64(0); at < d.size && ctx.Err() == nil; at += mib {
		if err := d.room(); err != nil {
			return err
		}
		part := d.noise[at%int64(len(d.noise)):][:mib]
		_, _ = source.Read(part) // never fails
		if n, err := unix.Pwrite(d.fd, part, at); err != nil || n != mib {
			return errors.Join(err, shortWrite(n, mib))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return unix.Fdatasync(d.fd)
}

// sector is the least that a disk writes.
const sector = 512

// freshen makes every sector of a block one that has not been written yet: a
// disk that knows its blocks by their content would have nothing to write. fio
// does the same, and for blocks of a megabyte it costs some time.
func (d *disk) freshen(block []byte) {
	n := d.fresh.Add(1)
	for at := 0; at < len(block); at += sector {
		binary.LittleEndian.PutUint64(block[at:], n<<32|uint64(at))
	}
}

func shortWrite(n, want int) error {
	if n == want {
		return nil
	}
	return fmt.Errorf("%d of %d bytes were moved", n, want)
}

func (d *disk) close() {
	_ = unix.Close(d.fd)
	_ = unix.Munmap(d.noise)
}

// A pattern is one way to use a disk.
type pattern struct {
	name     string
	block    int
	depth    int
	write    bool
	inOrder  bool
	sync     bool // fdatasync after every write
	inBlocks bool // counted in operations, not bytes
}

var patterns = []pattern{
	{name: "disk/read-1m/qd8", block: mib, depth: 8, inOrder: true},
	{name: "disk/write-1m/qd8", block: mib, depth: 8, write: true, inOrder: true},
	{name: "disk/randread-4k/qd1", block: small, depth: 1, inBlocks: true},
	{name: "disk/randread-4k/qd32", block: small, depth: 32, inBlocks: true},
	{name: "disk/randwrite-4k/qd1", block: small, depth: 1, write: true, inBlocks: true},
	{name: "disk/randwrite-4k/qd32", block: small, depth: 32, write: true, inBlocks: true},
	{name: "disk/fdatasync-4k/qd1", block: small, depth: 1, write: true, sync: true, inBlocks: true},
}

func (p pattern) unit() string {
	if p.inBlocks {
		return "IOPS"
	}
	return "MB/s"
}

// rate turns operations per second into the pattern's unit.
func (p pattern) rate(perSecond float64) float64 {
	if p.inBlocks {
		return perSecond
	}
	return perSecond * float64(p.block) / 1e6
}

func (d *disk) probes() []probe {
	var out []probe
	for _, p := range patterns {
		out = append(out, probe{p.name, p.unit(), "higher", func(ctx context.Context, ramp, t time.Duration) (reading, error) {
			s, err := d.use(ctx, p, ramp, t, nil)
			if err != nil {
				return reading{}, err
			}
			return reading{value: p.rate(float64(s.ops) / s.seconds), seconds: s.seconds, bytes: s.ops * int64(p.block),
				percentiles: s.latency.percentiles(), note: d.what + ", " + s.engine}, nil
		}})
	}
	return out
}

// sustained are minutes of reading and of writing, in an order that the seed
// decides.
func (d *disk) sustained(seed uint64) []sustained {
	var out []sustained
	for _, of := range []struct {
		name string
		pattern
	}{{"randread-4k", patterns[3]}, {"write-1m", patterns[1]}} {
		out = append(out, sustained{probe{metric: "disk/burst-" + of.name, unit: of.unit(), better: "higher"}, probe{metric: "disk/sustained-" + of.name, unit: of.unit(), better: "higher"},
			func(ctx context.Context, t time.Duration, tell func(float64)) error {
				_, err := d.use(ctx, of.pattern, 0, t, func(ops float64) { tell(of.rate(ops)) })
				return err
			}})
	}
	rand.New(rand.NewPCG(seed, 6)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// spent is what using a disk came to.
type spent struct {
	ops     int64
	seconds float64
	latency histogram
	engine  string
}

// use drives a pattern for t. Operations that end within the ramp do not count.
func (d *disk) use(ctx context.Context, p pattern, ramp, t time.Duration, tick func(ops float64)) (*spent, error) {
	if err := d.room(); err != nil {
		return nil, err
	}
	if p.depth > 1 {
		s, err := d.asynchronous(ctx, p, ramp, t, tick)
		if err == nil || !errors.Is(err, errNoAIO) {
			return s, err
		}
		return d.threads(ctx, p, ramp, t, tick)
	}
	return d.threads(ctx, p, ramp, t, tick)
}

// places gives the offsets of a pattern's operations: others in every use, so
// that no cache below has them, and the same in every session.
func (d *disk) places(p pattern) func() int64 {
	blocks := d.size / int64(p.block)
	if p.inOrder {
		at := int64(-1)
		return func() int64 { at++; return at % blocks * int64(p.block) }
	}
	d.uses++
	r := rand.New(rand.NewPCG(workSeed, 7+d.uses<<8))
	return func() int64 { return r.Int64N(blocks) * int64(p.block) }
}

// count takes ended operations, and keeps those behind the ramp.
type count struct {
	s           *spent
	begin, from time.Time
	ramp        time.Duration
	second      time.Time
	inSecond    float64
	tick        func(float64)
}

func newCount(ramp time.Duration, engine string, tick func(float64)) *count {
	now := time.Now()
	return &count{s: &spent{engine: engine}, begin: now, ramp: ramp, second: now, tick: tick}
}

func (c *count) ended(now time.Time, took time.Duration) {
	if c.from.IsZero() {
		if now.Sub(c.begin) >= c.ramp {
			c.from = now // the time of one that ended is where counting starts
		}
		return
	}
	c.s.ops++
	c.s.latency.add(took)
	c.s.seconds = now.Sub(c.from).Seconds()
	if c.inSecond++; c.tick != nil && now.Sub(c.second) >= time.Second {
		c.tick(c.inSecond / now.Sub(c.second).Seconds())
		c.second, c.inSecond = now, 0
	}
}

// slowest is how long a disk is waited for that ends no operation in time.
const slowest = 30 * time.Second

// more says whether to go on: until t is over and something has counted.
func (c *count) more(now time.Time, t time.Duration) bool {
	spent := now.Sub(c.begin)
	return spent < t || c.s.ops == 0 && spent < t+slowest
}

// over gives the result, if there is one.
func (c *count) over() (*spent, error) {
	if c.s.ops == 0 || c.s.seconds <= 0 {
		return nil, errors.New("not one operation ended in time")
	}
	return c.s, nil
}
