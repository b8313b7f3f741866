package phases

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

const (
	maxFile   = 1 << 20 // a phase's files travel inside the plan
	maxFolder = 4 << 20
	maxFiles  = 500
	phaseFile = "phase.yaml"
)

// folder is a phase's folder as it was read: its files, by slash-separated
// names, none of them hidden.
type folder struct {
	id     string
	label  string // how problems name it
	origin string
	files  map[string][]byte
}

// builtinFolders reads the folders that are part of the program.
func builtinFolders(problems *Problems) []folder {
	var list []folder
	for _, id := range IDs() {
		if _, err := fs.Stat(builtin, "builtin/"+id+"/"+phaseFile); err != nil {
			continue
		}
		sub, err := fs.Sub(builtin, "builtin/"+id)
		if err != nil {
			problems.addf("", "builtin/%s: %v", id, err)
			continue
		}
		list = append(list, folder{id, "builtin/" + id, "built in", readFiles(sub, "builtin/"+id, problems)})
	}
	return list
}

// userFolders reads the folders below dir that have a phase.yaml, by name.
// Nothing outside dir is read, whatever is linked there.
func userFolders(dir string, problems *Problems) []folder {
	if dir == "" {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		problems.addf("", "phases: %v", err)
		return nil
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		problems.addf("", "phases: %s: %v", dir, err)
		return nil
	}
	var list []folder
	for _, e := range entries {
		if f, ok := userFolder(root, dir, e, problems); ok {
			list = append(list, f)
		}
	}
	if st, err := root.Stat("."); err == nil && len(list) > 0 {
		writable(st, dir, problems)
	}
	return list
}

func userFolder(root *os.Root, dir string, e fs.DirEntry, problems *Problems) (folder, bool) {
	label := filepath.Join(dir, e.Name())
	if e.Type()&fs.ModeSymlink != 0 {
		if _, err := os.Stat(filepath.Join(label, phaseFile)); err == nil {
			problems.add(Problem{File: label, Text: "a link is not read as a phase", Hint: "make it a real folder, or use --phases"})
		}
		return folder{}, false
	}
	if !e.IsDir() {
		return folder{}, false
	}
	sub, err := root.OpenRoot(e.Name())
	if err != nil {
		problems.add(Problem{File: label, Text: err.Error()})
		return folder{}, false
	}
	defer sub.Close()
	if _, err := sub.Lstat(phaseFile); err != nil {
		return folder{}, false
	}
	if st, err := sub.Stat("."); err == nil {
		writable(st, label, problems)
	}
	return folder{e.Name(), label, label, readFiles(sub.FS(), label, problems)}, true
}

// readFiles reads every file that is not hidden. Links are followed only as far
// as fsys follows them, which for a user's folder is not beyond it.
func readFiles(fsys fs.FS, label string, problems *Problems) map[string][]byte {
	files, total := map[string][]byte{}, 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(label, filepath.FromSlash(name))
		switch {
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			if st, err := d.Info(); err == nil && name != "." {
				writable(st, at, problems)
			}
			return nil
		case len(files) >= maxFiles || total > maxFolder:
			problems.add(Problem{File: label, Text: fmt.Sprintf("more than %d files or %d MiB in a phase's folder", maxFiles, maxFolder>>20), Hint: "push large files with vpsctl push"})
			return fs.SkipAll
		}
		body, err := readFile(fsys, name, at, problems)
		if err != nil {
			problems.add(Problem{File: at, Text: err.Error()})
			return nil
		}
		files[name] = body
		total += len(body)
		return nil
	})
	if err != nil {
		problems.add(Problem{File: label, Text: err.Error()})
	}
	return files
}

func readFile(fsys fs.FS, name, at string, problems *Problems) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("not read: %s", outside(err))
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	writable(st, at, problems)
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("not read: %s", outside(err))
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxFile {
		return nil, fmt.Errorf("over %d MiB: too large to travel in a plan", maxFile>>20)
	}
	return body, nil
}

// outside says what os.Root means by its errors.
func outside(err error) string {
	if strings.Contains(err.Error(), "escapes from parent") {
		return "a link that leads out of the phase's folder"
	}
	return err.Error()
}

// writable refuses what everybody on this machine could have written: its
// scripts run as root on the hosts.
func writable(st fs.FileInfo, at string, problems *Problems) {
	if runtime.GOOS != "windows" && st.Mode()&fs.ModeSymlink == 0 && st.Mode().Perm()&0o002 != 0 {
		problems.add(Problem{File: at, Text: "others can write here, and its scripts run as root", Hint: "chmod o-w " + at})
	}
}

// lf is text with line ends as hosts read them.
func lf(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }

// inside checks a source's or script's name: a path below the phase's folder.
func inside(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.Contains(name, `\`) && path.Clean(name) == name
}

var idRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// checkIDs finds names that are no phase's, and such that are one and the same
// on a file system that ignores case.
func checkIDs(folders []folder, problems *Problems) {
	seen := map[string]string{}
	for _, id := range IDs() {
		seen[id] = id
	}
	for _, f := range folders {
		fold := strings.ToLower(f.id)
		switch other, ok := seen[fold]; {
		case !idRule.MatchString(f.id):
			problems.add(Problem{File: f.label, Text: fmt.Sprintf("%q is no name for a phase", f.id), Hint: "letters, digits, . _ and -, at most 63, a letter or digit first"})
		case deviceName(fold):
			problems.add(Problem{File: f.label, Text: fmt.Sprintf("%q is the name of a device on Windows", f.id), Hint: "rename the folder"})
		case ok && other != f.id:
			problems.add(Problem{File: f.label, Text: fmt.Sprintf("%q and %q differ in case alone", f.id, other), Hint: "rename the folder"})
		}
		seen[fold] = f.id
	}
}

func deviceName(fold string) bool {
	stem, _, _ := strings.Cut(fold, ".")
	devices := []string{"con", "prn", "aux", "nul"}
	numbered := len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) && stem[3] >= '1' && stem[3] <= '9'
	return slices.Contains(devices, stem) || numbered
}
