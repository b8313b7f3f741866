package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/vpsctl/vpsctl/"

// arrows says which of our packages each package may import. What is below a
// folder counts as the folder, but for the wire and the collector.
var arrows = map[string][]string{
	"inventory":         {},
	"payload":           {},
	"payload/wire":      {},
	"payload/collector": {"payload/wire"},
	"payload/prober":    {"payload/wire"},
	"phases":            {"payload/wire"},
	"state":             {},
	"report":            {"payload/wire", "state"},
	"bench":             {"payload/wire", "state"},
	"remote":            {"inventory", "payload", "payload/wire", "state"},
	"cmd/vpsctl":        {"inventory", "phases", "remote", "payload", "payload/wire", "report", "bench", "state"},
}

func room(pkg string) string {
	rel := strings.TrimPrefix(pkg, module)
	best := ""
	for name := range arrows {
		if (rel == name || strings.HasPrefix(rel, name+"/")) && len(name) > len(best) {
			best = name
		}
	}
	return best
}

func TestArrows(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Deps}} {{.}}{{end}}`, module+"...")
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)
		from := room(words[0])
		if from == "" || strings.HasPrefix(words[0], module+"e2e") {
			continue
		}
		seen++
		for _, dep := range words[1:] {
			to := room(dep)
			if !strings.HasPrefix(dep, module) || to == from {
				continue
			}
			if !slices.Contains(arrows[from], to) {
				t.Errorf("%s depends on %s", words[0], dep)
			}
		}
	}
	if seen < len(arrows) {
		t.Errorf("only %d packages of ours were seen, at least %d are there", seen, len(arrows))
	}
}
