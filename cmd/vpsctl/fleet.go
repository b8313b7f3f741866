package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/vpsctl/vpsctl/inventory"
)

// width says how many hosts work at once and when no further one is started.
type width struct {
	forks   int
	batch   int // 0: all at once; else so many, then the next so many
	maxFail int // 0: no limit
}

// width reads --forks, --serial and --max-fail for n hosts.
func (k *call) width(n int) (width, error) {
	w := width{forks: k.Int("forks"), maxFail: k.Int("max-fail")}
	if w.forks < 1 {
		return w, usageError{fmt.Sprintf("--forks %d: at least 1", w.forks), ""}
	}
	if w.maxFail < 0 {
		return w, usageError{fmt.Sprintf("--max-fail %d: at least 0", w.maxFail), ""}
	}
	s := k.String("serial")
	if s == "" {
		return w, nil
	}
	num, percent := strings.CutSuffix(s, "%")
	v, err := strconv.Atoi(num)
	if err != nil || v < 1 || percent && v > 100 {
		return w, usageError{fmt.Sprintf("--serial %s: neither a number of hosts nor a percentage", s), "write --serial 2 or --serial 25%"}
	}
	w.batch = v
	if percent {
		w.batch = max(1, n*v/100)
	}
	return w, nil
}

// crew are the hosts of the command line, and how many of them work at once.
func (k *call) crew() (*inventory.Inventory, []inventory.Host, width, error) {
	inv, hosts, err := k.hosts()
	if err != nil {
		return nil, nil, width{}, err
	}
	w, err := k.width(len(hosts))
	return inv, hosts, w, err
}

// fleet runs f once for every host, each in a goroutine that writes only its
// own slot, and waits for all. A failing host ends nobody else; once maxFail
// hosts have failed no further one is started, and its slot stays nil, unless
// it was started already.
func fleet[T any](ctx context.Context, hosts []inventory.Host, w width, f func(context.Context, inventory.Host) (T, bool)) []*T {
	results := make([]*T, len(hosts))
	stop := failures{most: w.maxFail}
	batch := w.batch
	if batch == 0 {
		batch = len(hosts)
	}
	for from := 0; from < len(hosts); from += batch {
		var g errgroup.Group
		g.SetLimit(w.forks)
		for i := from; i < min(from+batch, len(hosts)); i++ {
			g.Go(func() error {
				if stop.reached() {
					return nil
				}
				r, ok := f(ctx, hosts[i])
				results[i] = &r
				stop.count(!ok)
				return nil
			})
		}
		_ = g.Wait()
	}
	return results
}

// failures counts failed hosts over the whole run.
type failures struct {
	mu   sync.Mutex
	n    int
	most int
}

func (f *failures) count(failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if failed {
		f.n++
	}
}

func (f *failures) reached() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most > 0 && f.n >= f.most
}
