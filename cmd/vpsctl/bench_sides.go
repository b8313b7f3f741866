package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vpsctl/vpsctl/bench"
	"github.com/vpsctl/vpsctl/report"
)

// measured are the hosts that have sessions here and that --limit means.
func (k *call) measured() ([]string, error) {
	all, err := k.benchStore().Hosts()
	if err != nil {
		return nil, err
	}
	hosts, _, err := k.limited(all)
	if limit := k.String("limit"); err == nil && len(hosts) == 0 && limit != "" {
		return nil, usageError{fmt.Sprintf("--limit %s: none of these hosts has been measured from here", limit), "measure them with `vpsctl bench run`"}
	}
	return hosts, err
}

// limited are those of all that --limit means, and others that it means. Names
// and globs need no inventory; groups do.
func (k *call) limited(all []string) (hosts, others []string, err error) {
	limit := k.String("limit")
	if limit == "" {
		return all, nil, nil
	}
	if hosts, ok := byName(all, limit); ok {
		return hosts, nil, nil
	}
	inv, err := k.inventory()
	if err != nil {
		return nil, nil, err
	}
	selected, err := inv.Select(limit)
	if err != nil {
		return nil, nil, usageError{err.Error(), hintOr(err, "see `vpsctl inventory list`")}
	}
	for _, h := range selected {
		if slices.Contains(all, h.Name) {
			hosts = append(hosts, h.Name)
		} else {
			others = append(others, h.Name)
		}
	}
	return hosts, others, nil
}

// accepted is since when sessions count, of hosts whose owners have pinned a level.
func (k *call) accepted(hosts []string) (map[string]time.Time, error) {
	since := map[string]time.Time{}
	for _, h := range hosts {
		f, err := k.benchStore().FrozenSince(h)
		if err != nil {
			return nil, err
		}
		if f != nil {
			since[h] = f.Since
		}
	}
	return since, nil
}

// byName selects names by a list of names and globs; not ok when a part of it
// means something else.
func byName(all []string, limit string) (hosts []string, ok bool) {
	for part := range strings.SplitSeq(limit, ",") {
		found := false
		for _, h := range all {
			if match, err := path.Match(strings.TrimSpace(part), h); err == nil && match {
				found = true
				if !slices.Contains(hosts, h) {
					hosts = append(hosts, h)
				}
			}
		}
		if !found {
			return nil, false
		}
	}
	return hosts, true
}

// histories are those of hosts; lines that cannot be read are warned of.
func (k *call) histories(hosts []string) (map[string][]bench.Session, error) {
	all := map[string][]bench.Session{}
	for _, h := range hosts {
		list, unread, err := k.benchStore().History(h)
		if err != nil {
			return nil, err
		}
		if unread > 0 {
			k.ui.warn(fmt.Sprintf("%s: %d lines of its history cannot be read and are left out", h, unread), "")
		}
		all[h] = list
	}
	return all, nil
}

var (
	errNoSession = errors.New("there is no such session")
	errExcluded  = errors.New("no session counts for a baseline")
)

// sessionOf is a host's session of this id; "" and "latest" mean the newest.
func sessionOf(history []bench.Session, id string) (bench.Session, error) {
	if (id == "" || id == "latest") && len(history) > 0 {
		return history[len(history)-1], nil
	}
	for _, s := range slices.Backward(history) {
		if s.ID == id {
			return s, nil
		}
	}
	return bench.Session{}, fmt.Errorf("%w: %s", errNoSession, report.Clean(id))
}

// forBaseline is the session a baseline may be made of: the one named, or the
// newest one that counts.
func forBaseline(history []bench.Session, id string) (bench.Session, error) {
	if id != "" && id != "latest" {
		s, err := sessionOf(history, id)
		if err == nil && s.Excluded != "" {
			err = fmt.Errorf("%w: %s (%s)", errExcluded, s.ID, report.Clean(s.Excluded))
		}
		return s, err
	}
	for _, s := range slices.Backward(history) {
		if s.Excluded == "" {
			return s, nil
		}
	}
	if len(history) > 0 {
		s := history[len(history)-1]
		return s, fmt.Errorf("%w: %s (%s)", errExcluded, s.ID, report.Clean(s.Excluded))
	}
	return bench.Session{}, errNoSession
}

// totalTime is the guide's last line: how long the host's last provisioning run
// took against the earlier ones that did the same.
func (k *call) totalTime(host string) bench.GuideLine {
	none := func(why string) bench.GuideLine {
		return bench.NewGuideLine("Total Time", bench.GuidePart{Unit: "s", Note: why})
	}
	list, err := k.store().List()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return none("not compared: " + err.Error())
	}
	for _, e := range list {
		did := slices.ContainsFunc(e.Run.Hosts, func(h report.HostRun) bool { return h.Host == host })
		if e.Run.Verb != "provision" || e.State != report.StateComplete || !did {
			continue
		}
		row, err := k.totalRow(e.ID, host)
		if err != nil {
			return none("not compared: " + err.Error())
		}
		if row == nil {
			return none("not compared: the last provisioning run did not do all it was to do")
		}
		p := bench.GuidePart{Unit: "s", Current: &row.CurrentSec, Baseline: row.BaselineSec, ChangePct: row.ChangePct, Class: row.Class, Regressed: row.Regressed}
		p.Note = cmp.Or(noteIf(row.ChangePct == nil, "not compared: "+row.Note), fmt.Sprintf("run %s, median of %d earlier ones", e.ID, row.Runs))
		return bench.NewGuideLine("Total Time", p)
	}
	return none("no provisioning run of this host is recorded here")
}

func noteIf(holds bool, note string) string {
	if holds {
		return note
	}
	return ""
}

func (k *call) totalRow(id, host string) (*report.RegressionRow, error) {
	dir, err := k.store().Open(id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	r, err := k.regression(dir, host)
	if err != nil {
		return nil, err
	}
	for i := range r.Rows {
		if r.Rows[i].Name == report.Total {
			return &r.Rows[i], nil
		}
	}
	return nil, nil
}

func benchTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
