// Package page keeps measured tables in a page between marks.
package page

import (
	"fmt"
	"os"
	"strings"
)

// Put replaces what stands between the marks of that name in the page at path;
// nothing is done where path is empty.
func Put(path, name, table string) error {
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	head, rest, ok := strings.Cut(string(b), begin)
	_, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: has no %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(head+begin+table+end+foot), 0o644)
}
