package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/vpsctl/vpsctl/inventory"
)

// pinsFile lies beside the inventory. It holds variables that name what is
// fetched from makers who sign nothing: a version, where it is, its hash. They
// are weaker than the inventory's own variables and stronger than defaults.
const pinsFile = "pins.yaml"

// mostPins is the biggest file of pins, in bytes.
const mostPins = 1 << 20

// pinned gives hosts the pins that their inventory says nothing of.
func (k *call) pinned(dir string, hosts []inventory.Host) error {
	pins, err := readPins(filepath.Join(dir, pinsFile))
	if err != nil {
		return err
	}
	for i, h := range hosts {
		vars := maps.Clone(h.Vars)
		if vars == nil {
			vars = map[string]inventory.Var{}
		}
		for name, value := range pins {
			if _, own := vars[name]; !own {
				vars[name] = inventory.Var{Value: value, Origin: pinsFile}
			}
		}
		hosts[i].Vars = vars
	}
	return nil
}

// readPins reads a file of pins; one that is not there has none.
func readPins(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, usageError{path + ": is no file", "it holds a few lines: NAME: value"}
	} else if runtime.GOOS != "windows" && st.Mode().Perm()&0o002 != 0 {
		return nil, usageError{fmt.Sprintf("%s: others can write it (mode %04o), and it says what runs on the hosts", path, st.Mode().Perm()), "chmod o-w " + path}
	}
	text, err := io.ReadAll(io.LimitReader(f, mostPins+1))
	if err != nil {
		return nil, err
	}
	if len(text) > mostPins {
		return nil, usageError{fmt.Sprintf("%s: has more than %d bytes", path, mostPins), "it holds a few lines: NAME: value"}
	}
	return parsePins(path, text)
}

var pinName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// parsePins reads one mapping of names to texts.
func parsePins(path string, text []byte) (map[string]string, error) {
	bad := func(n *yaml.Node, what string) error {
		return usageError{fmt.Sprintf("%s:%d:%d: %s", path, n.Line, n.Column, what), `each line is NAME: "value"`}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, usageError{path + ": " + strings.TrimPrefix(err.Error(), "yaml: "), `each line is NAME: "value"`}
	}
	if dec.Decode(&yaml.Node{}) != io.EOF {
		return nil, usageError{path + ": wanted one YAML document", `each line is NAME: "value"`}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, bad(root, "wanted names with values")
	}
	pins := map[string]string{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		_, twice := pins[key.Value]
		switch {
		case !pinName.MatchString(key.Value):
			return nil, bad(key, fmt.Sprintf("%q is no name of a variable", key.Value))
		case twice:
			return nil, bad(key, fmt.Sprintf("%q is there twice", key.Value))
		case value.Kind != yaml.ScalarNode || value.ShortTag() == "!!null" || value.ShortTag() == "!!binary":
			return nil, bad(value, fmt.Sprintf("%s: wanted a text", key.Value))
		}
		pins[key.Value] = value.Value // as it is written: a version such as 1.10 is no number
	}
	return pins, nil
}

// writePins replaces the file of pins.
func writePins(path string, pins map[string]string) error {
	var b strings.Builder
	b.WriteString("# What vpsctl fetches from makers who sign nothing. Written by vpsctl pins update;\n# compare the hashes with what the maker says before you trust them.\n")
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s: %s\n", name, yamlText(pins[name]))
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// yamlText quotes a text; JSON's way is also YAML's.
func yamlText(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

var (
	pinHash    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	pinVersion = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~-]{0,63}$`)
)

// release is what the maker of Antigravity says of its newest one.
type release struct {
	URL     string `json:"url"`
	Version string `json:"productVersion"`
	SHA256  string `json:"sha256hash"`
}

// parseRelease judges an answer of the update service. Its full version stands
// only in the address: .../stable/2.5.5-4923483625488384/linux-x64/...
func parseRelease(text []byte) (release, error) {
	var r release
	if err := json.Unmarshal(text, &r); err != nil {
		return release{}, fmt.Errorf("it did not answer as expected: %w", err)
	}
	r.SHA256 = strings.ToLower(r.SHA256)
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(r.URL, " \t\r\n\\\"'<>") {
		return release{}, fmt.Errorf("it names %q, which is no https:// address", r.URL)
	}
	if !pinHash.MatchString(r.SHA256) {
		return release{}, fmt.Errorf("it names the hash %q, which is no SHA-256", r.SHA256)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if r.Version != "" && strings.HasPrefix(part, r.Version+"-") {
			r.Version = part
		}
	}
	if !pinVersion.MatchString(r.Version) {
		return release{}, fmt.Errorf("it names the version %q", r.Version)
	}
	return r, nil
}
