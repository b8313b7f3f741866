package wire

import "time"

// Fetch says how what a plan installs is downloaded. Nil leaves it to apt.
type Fetch struct {
	Parallel int           `json:"parallel"`          // downloads at the same time, 1 or more
	Timeout  time.Duration `json:"timeout,omitempty"` // without progress, of one attempt; 0 = apt's own
	// Ahead has the packages of later steps downloaded while earlier ones are
	// installed.
	Ahead bool `json:"ahead,omitempty"`
}

// KindFetched says that packages of a step have been downloaded.
const KindFetched Kind = "fetched"

// WaitDownloads is what a step waits for whose own packages are still coming.
const WaitDownloads = "its packages to be downloaded"

// Fetched is what was downloaded for a step, other than by apt itself. The time
// of its event is when it ended.
type Fetched struct {
	Files   int           `json:"files"`
	Bytes   int64         `json:"bytes"`
	Elapsed time.Duration `json:"elapsed"`         // from the first download's begin to the last one's end
	Ahead   bool          `json:"ahead,omitempty"` // the step had not begun
}
