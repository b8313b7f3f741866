package report

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"time"
)

var (
	idForm   = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-[a-z0-9]{4}$`)
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	device   = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|com[0-9]|lpt[0-9])(\..*)?$`)
)

// NewID makes a run id: the time in UTC and four random characters, such as
// 20261123-101502-x7k2.
func NewID(now time.Time) string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789" // none that look alike
	suffix := make([]byte, 0, 4)
	for len(suffix) < 4 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		for _, v := range b {
			if int(v) < 256/len(letters)*len(letters) && len(suffix) < 4 { // each letter as likely as the next
				suffix = append(suffix, letters[int(v)%len(letters)])
			}
		}
	}
	return now.UTC().Format("20060102-150405") + "-" + string(suffix)
}

// ValidID tells whether id has the form of a run id.
func ValidID(id string) bool {
	_, err := idTime(id)
	return err == nil
}

// idTime is when the run of this id began.
func idTime(id string) (time.Time, error) {
	if !idForm.MatchString(id) {
		return time.Time{}, fmt.Errorf("%q is not a run id such as 20261123-101502-x7k2", id)
	}
	t, err := time.Parse("20060102-150405", id[:15])
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a run id: no such time", id)
	}
	return t, nil
}

// checkHost refuses names that would not be one folder on every system.
func checkHost(name string) error {
	switch {
	case !nameForm.MatchString(name):
		return fmt.Errorf("host name %q: use letters, digits, dot, dash and underscore, at most 63", name)
	case device.MatchString(name):
		return fmt.Errorf("host name %q: means a device on Windows", name)
	case strings.HasSuffix(name, "."):
		return fmt.Errorf("host name %q: a folder cannot end with a dot on Windows", name)
	case strings.EqualFold(name, runFile) || strings.EqualFold(name, htmlFile):
		return fmt.Errorf("host name %q: the record has a file of this name", name)
	}
	return nil
}
