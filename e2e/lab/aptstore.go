//go:build linux

package lab

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// The folder of a cache: blobs/SUM are contents under their own SHA-256, and were last used at their time of
// modification. urls/SUM, under the SHA-256 of a URL, say which blob that URL has, and since when.

// urlMaxAge is when a file is fetched anew, should what was kept be a mirror's mistake.
const urlMaxAge = 14 * 24 * time.Hour

func (c *AptCache) urlFile(url string) string {
	return filepath.Join(c.Dir, "urls", fmt.Sprintf("%x", sha256.Sum256([]byte(url))))
}

// keep moves a finished download to its place.
func (c *AptCache) keep(tmp, url, sum string, modified time.Time) error {
	info, err := os.Stat(tmp)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(c.Dir, "blobs", sum)); err != nil {
		return err
	}
	entry := fmt.Sprintf("%s %d %d %s\n", sum, info.Size(), modified.Unix(), url)
	return renameio.WriteFile(c.urlFile(url), []byte(entry), 0o644)
}

// lookup opens what is kept of a URL, or returns nil.
func (c *AptCache) lookup(url string) (*os.File, time.Time) {
	name := c.urlFile(url)
	info, err := os.Stat(name)
	if err != nil || time.Since(info.ModTime()) > urlMaxAge {
		return nil, time.Time{}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, time.Time{}
	}
	var sum string
	var size, modified int64
	if _, err := fmt.Sscanf(string(b), "%64s %d %d", &sum, &size, &modified); err != nil || len(sum) != 2*sha256.Size {
		return nil, time.Time{}
	}
	f, err := os.Open(filepath.Join(c.Dir, "blobs", filepath.Base(sum)))
	if err != nil {
		return nil, time.Time{}
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		f.Close() // a machine that lost its power may have lost the content
		return nil, time.Time{}
	}
	_ = os.Chtimes(f.Name(), time.Now(), time.Now())
	return f, time.Unix(modified, 0)
}

// prune removes what was not used for the longest time when more is kept than may be, and what is too old. It looks
// whenever a part of the limit has been added.
func (c *AptCache) prune(added int64) {
	limit := cmp.Or(c.Max, 4<<30)
	if c.pending.Add(added) < limit/64 {
		return
	}
	c.pending.Store(0)
	blobs, total := listFiles(filepath.Join(c.Dir, "blobs"))
	for _, b := range blobs {
		if total <= limit {
			break
		}
		if os.Remove(b.path) == nil {
			total -= b.size
		}
	}
	for dir, age := range map[string]time.Duration{"urls": urlMaxAge, "tmp": time.Hour} {
		old, _ := listFiles(filepath.Join(c.Dir, dir))
		for _, f := range old {
			if time.Since(f.used) > age {
				_ = os.Remove(f.path)
			}
		}
	}
}

type kept struct {
	path string
	size int64
	used time.Time
}

// listFiles lists a folder, what was not touched for the longest time first.
func listFiles(dir string) (files []kept, total int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.IsDir() {
			continue
		}
		files = append(files, kept{filepath.Join(dir, e.Name()), info.Size(), info.ModTime()})
		total += info.Size()
	}
	slices.SortFunc(files, func(a, b kept) int { return a.used.Compare(b.used) })
	return files, total
}
