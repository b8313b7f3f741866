package phases

import (
	"slices"
	"time"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// fetch says how the plan's packages are downloaded; nil when it has none.
// Where they are to be removed once they are installed, none are downloaded
// ahead: each phase that removes them would remove those of the next. Nor where
// one download shall come after the other, since apt has its own.
func (b *builder) fetch(phases []wire.Phase) *wire.Fetch {
	if !slices.ContainsFunc(phases, func(ph wire.Phase) bool {
		return slices.ContainsFunc(ph.Steps, func(s wire.Step) bool { return s.Packages != nil })
	}) {
		return nil
	}
	parallel, _ := b.tuned("apt_max_parallel").(int)
	timeout, _ := b.tuned("download_timeout").(int)
	return &wire.Fetch{Parallel: max(1, parallel), Timeout: time.Duration(timeout) * time.Second, Ahead: b.tuned("apt_clean") == false && parallel > 1}
}

// tuned is the value of one of vpsctl's own variables; checkVars has judged it.
func (b *builder) tuned(name string) any {
	v, _ := tuning(name)
	if value, is := b.request.Vars[name]; is {
		if fit, err := v.fits(value); err == nil {
			return fit
		}
	}
	return v.Default
}
