package phases

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// request is a host as most are.
func request() Request {
	return Request{RunID: "20261123-101502-x7k2", Host: "alpha", Address: "203.0.113.10", Groups: []string{"eu", "web"},
		ConnectUser: "root", Interval: 10 * time.Second, Secrets: map[string]string{"developer_password": "Correct-Horse-42-Staple"}}
}

func load(t *testing.T, dir string) *Catalog {
	t.Helper()
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustPlan(t *testing.T, c *Catalog, q Request) (wire.Plan, []Warning) {
	t.Helper()
	p, w, err := c.Plan(q)
	if err != nil {
		t.Fatal(err)
	}
	return p, w
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "plan", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; go test -update if it is meant):\n%s", file, d)
	}
}

// readable is a plan with its files as text, for golden files that people can
// review.
func readable(t *testing.T, p wire.Plan) []byte {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for i, ph := range p.Phases {
		phase := doc["phases"].([]any)[i].(map[string]any)
		for name, body := range ph.Files {
			phase["files"].(map[string]any)[name] = len(body)
		}
		for j, s := range ph.Steps {
			if s.File != nil && len(s.File.Content) > 0 {
				phase["steps"].([]any)[j].(map[string]any)["file"].(map[string]any)["content"] = strings.Split(string(s.File.Content), "\n")
			}
		}
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func TestPlanOfAHost(t *testing.T) {
	p, warnings := mustPlan(t, load(t, ""), request())
	if len(warnings) > 0 {
		t.Errorf("warnings: %+v", warnings)
	}
	golden(t, "alpha.json", readable(t, p))
}

// TestPlanOfAnotherHost has every variable of the table set.
func TestPlanOfAnotherHost(t *testing.T) {
	q := request()
	q.ConnectUser = "admin"
	q.Vars = map[string]any{"username": "ada", "apt_mirror": "http://mirror.example.net/debian", "apt_max_parallel": 1, "download_timeout": 600,
		"apt_clean": true, "upgrade": "never", "must_change": false, "alert_memory_mb": 300}
	q.Sequential, q.Only = true, []string{"system-prep", "user-creation"}
	p, warnings := mustPlan(t, load(t, ""), q)
	if len(warnings) > 0 {
		t.Errorf("warnings: %+v", warnings)
	}
	golden(t, "beta.json", readable(t, p))
}

// order is the plan as "id(needs)".
func order(p wire.Plan) string {
	var ids []string
	for _, ph := range p.Phases {
		id := ph.ID
		if len(ph.Needs) > 0 {
			id += "(" + strings.Join(ph.Needs, ",") + ")"
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func TestOrder(t *testing.T) {
	dir := t.TempDir()
	for id, needs := range map[string]string{"aaa": "[zzz]", "mmm": "[]", "zzz": "[ide-vscode, system-prep]"} {
		write(t, filepath.Join(dir, id, phaseFile), "schema: 1\nid: "+id+"\ntitle: X\nneeds: "+needs+"\nsteps: [{name: a, run: 'true'}, {name: b, of: mmm, run: 'true'}]\n")
	}
	c := load(t, dir)
	for _, test := range []struct {
		only, skip []string
		want       string
		warnings   []string
	}{
		{nil, nil, "system-prep desktop-install(system-prep) rdp-config(desktop-install) user-creation(system-prep) " +
			"ide-vscode(desktop-install,user-creation) ide-cursor(desktop-install,user-creation) ide-antigravity(desktop-install,user-creation) " +
			"terminal-setup(user-creation) dev-tools(system-prep) mmm zzz(ide-vscode,system-prep) aaa(zzz) " +
			"verification(system-prep,desktop-install,rdp-config,user-creation,ide-vscode,ide-cursor,ide-antigravity,terminal-setup,dev-tools,aaa,mmm,zzz)", nil},
		{[]string{"verification", "aaa"}, nil, "aaa verification(aaa)",
			[]string{`phase "aaa" needs "zzz", which is not in the plan: taken as done`}},
		{[]string{}, nil, "", nil},
		{nil, []string{"system-prep", "zzz", "ide-cursor", "dev-tools"}, "desktop-install rdp-config(desktop-install) user-creation " +
			"ide-vscode(desktop-install,user-creation) ide-antigravity(desktop-install,user-creation) terminal-setup(user-creation) aaa mmm " +
			"verification(desktop-install,rdp-config,user-creation,ide-vscode,ide-antigravity,terminal-setup,aaa,mmm)",
			[]string{`phase "desktop-install" needs "system-prep", which is not in the plan: taken as done`,
				`phase "user-creation" needs "system-prep", which is not in the plan: taken as done`,
				`phase "aaa" needs "zzz", which is not in the plan: taken as done`}},
		{[]string{"aaa", "zzz"}, []string{"aaa"}, "zzz",
			[]string{`phase "zzz" needs "ide-vscode", which is not in the plan: taken as done`,
				`phase "zzz" needs "system-prep", which is not in the plan: taken as done`}},
	} {
		q := request()
		q.Only, q.Skip = test.only, test.skip
		p, warnings := mustPlan(t, c, q)
		if got := order(p); got != test.want {
			t.Errorf("only %v, skip %v:\n got  %s\n want %s", test.only, test.skip, got, test.want)
		}
		var texts []string
		for _, w := range warnings {
			texts = append(texts, w.Text)
		}
		if d := cmp.Diff(test.warnings, texts); d != "" {
			t.Errorf("only %v, skip %v: %s", test.only, test.skip, d)
		}
		for _, ph := range p.Phases {
			if ph.ID != "zzz" {
				continue
			}
			want := ""
			if !strings.Contains(test.want, "mmm") {
				want = "phase mmm is not in the plan"
			}
			if ph.Steps[1].Skip != want {
				t.Errorf("only %v, skip %v: the step of mmm has skip %q", test.only, test.skip, ph.Steps[1].Skip)
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	known := "the phases are system-prep, desktop-install, rdp-config, user-creation, ide-vscode, ide-cursor, ide-antigravity, terminal-setup, dev-tools, verification"
	for name, test := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"unknown phase": {func(q *Request) { q.Skip = []string{"sytem-prep"} },
			"there is no phase \"sytem-prep\"\n  hint: did you mean \"system-prep\"?; " + known},
		"nothing like it": {func(q *Request) { q.Only = []string{"kubernetes"} },
			"there is no phase \"kubernetes\"\n  hint: " + known},
		"name of a variable": {func(q *Request) { q.Vars = map[string]any{"PATH": "/tmp", "host": "x"} },
			"host \"alpha\": variable: PATH decides how a host finds and reads programs and cannot be a variable\n  hint: choose a name of your own in lower case\n" +
				"host \"alpha\": variable: \"host\" is a name vpsctl sets itself\n  hint: choose another name"},
		"type of a variable": {func(q *Request) {
			q.Vars = map[string]any{"username": 7, "must_change": "yes", "download_timeout": 1.5}
		}, "host \"alpha\": variable \"download_timeout\": 1.5 is a float, wanted an int\n" +
			"host \"alpha\": variable \"must_change\": yes is a string, wanted a bool\n" +
			"host \"alpha\": variable \"username\": 7 is an int, wanted a string"},
		"value of a variable": {func(q *Request) {
			q.Vars = map[string]any{"username": "www-data", "apt_mirror": "mirror.example.net", "apt_max_parallel": 0, "upgrade": "weekly", "alert_cpu_pct": 101}
		}, "host \"alpha\": variable \"alert_cpu_pct\": 101 is not between 1 and 100\n" +
			"host \"alpha\": variable \"apt_max_parallel\": 0 is not between 1 and 16\n" +
			"host \"alpha\": variable \"apt_mirror\": \"mirror.example.net\" is no mirror: wanted http://HOST/PATH or https://HOST/PATH\n" +
			"host \"alpha\": variable \"upgrade\": \"weekly\" is none of \"never\", \"first\" and \"always\"\n" +
			"host \"alpha\": variable \"username\": \"www-data\" belongs to the system"},
		"closing the door it came through": {func(q *Request) { q.Vars = map[string]any{"root_login": "no"} },
			"host \"alpha\": root_login: no would close the door that vpsctl comes through: it logs in as root\n" +
				"  hint: log in as another user with become: true, or set root_login: prohibit-password"},
		"no password": {func(q *Request) { q.Secrets = nil },
			"builtin/user-creation/phase.yaml:29:17: step \"account\": user: password: the secret \"developer_password\" has no value\n" +
				"  hint: in the inventory: vars: {developer_password: {env: NAME}}"},
		"short secret": {func(q *Request) { q.Secrets["developer_password"] = "12345" },
			"host \"alpha\": the secret \"developer_password\" has 5 bytes: under 6 it cannot be kept out of the output\n  hint: use a longer one"},
		"a secret where it would be seen": {func(q *Request) { q.Secrets["username"] = "s3cret-name" },
			"builtin/ide-antigravity/phase.yaml:104:9: step \"settings of the developer\": as: a secret would be seen here\n  hint: it can go into the content of a file"},
	} {
		t.Run(name, func(t *testing.T) {
			q := request()
			test.change(&q)
			_, _, err := load(t, "").Plan(q)
			var problems *Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			got := err.Error()
			if strings.HasPrefix(name, "a secret") {
				got, _, _ = strings.Cut(got, "\nbuiltin") // the name is wanted in many places
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestUnknownVariables(t *testing.T) {
	q := request()
	q.Vars = map[string]any{"usernam": "ada", "colour": "blue", "apt_mirror": ""}
	q.Only = []string{"verification"}
	_, warnings := mustPlan(t, load(t, ""), q)
	want := []Warning{{`variable "colour" is set, but no phase declares it`, ""},
		{`variable "usernam" is set, but no phase declares it`, `did you mean "username"?`}}
	if d := cmp.Diff(want, warnings); d != "" {
		t.Error(d)
	}
}

// TestRendering: precedence, what scripts see, what is rendered and what never.
func TestRendering(t *testing.T) {
	dir := one(t, head+`
vars: {editor: vim, tabs: 4, ratio: 0.5, wrap: false, spare: {type: string, default: ""}}
steps:
  - {name: motd, file: {path: "/etc/motd.d/{{ .host }}", content: "{{ .host }} runs {{ .editor }}\n"}}
  - {name: conf, file: {path: /etc/app.conf, source: sub/app.conf.tmpl}}
  - {name: plain, file: {path: /etc/plain, source: plain.txt}}
  - {name: own, script: own.sh, args: ["{{ .editor }}", "{{ .spare }}"]}
  - {name: pkgs, packages: ["{{ .editor }}", tmux]}
  - {name: state, file: {path: /etc/x, state: "{{ if .wrap }}present{{ else }}absent{{ end }}", content: x}}
`)
	write(t, filepath.Join(dir, "my-tools", "sub", "app.conf.tmpl"), "editor {{ .editor }}\r\n{{ range .groups }}group {{ . }}\n{{ end }}")
	write(t, filepath.Join(dir, "my-tools", "plain.txt"), "{{ .editor }}\r\n")
	write(t, filepath.Join(dir, "my-tools", "own.sh"), "#!/bin/sh\r\n. \"$PHASE_DIR/lib.sh\"\r\n")
	write(t, filepath.Join(dir, "my-tools", "lib.sh"), "x=1\r\n")
	write(t, filepath.Join(dir, "my-tools", ".hidden"), "x")
	q := request()
	q.Only, q.Vars = []string{"my-tools"}, map[string]any{"editor": "emacs", "tabs": 8}
	p, _ := mustPlan(t, load(t, dir), q)
	ph := p.Phases[0]
	wantEnv := map[string]string{"host": "alpha", "address": "203.0.113.10", "groups": "eu web", "run_id": q.RunID, "connect_user": "root",
		"editor": "emacs", "tabs": "8", "ratio": "0.5", "wrap": "false", "spare": ""}
	if d := cmp.Diff(wantEnv, ph.Env); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]byte{"own.sh": []byte("#!/bin/sh\n. \"$PHASE_DIR/lib.sh\"\n"), "lib.sh": []byte("x=1\n")}, ph.Files); d != "" {
		t.Error(d)
	}
	got := map[string]string{}
	for _, s := range ph.Steps {
		switch {
		case s.File != nil:
			got[s.Name] = s.File.Path + " " + s.File.State + " " + string(s.File.Content)
		case s.Run != nil:
			got[s.Name] = strings.Join(s.Run.Args, "|") + " " + s.Run.Script
		default:
			got[s.Name] = strings.Join(s.Packages.Names, " ")
		}
	}
	want := map[string]string{"motd": "/etc/motd.d/alpha  alpha runs emacs\n", "conf": "/etc/app.conf  editor emacs\ngroup eu\ngroup web\n",
		"plain": "/etc/plain  {{ .editor }}\r\n", "own": "emacs| #!/bin/sh\n. \"$PHASE_DIR/lib.sh\"\n", "pkgs": "emacs tmux", "state": "/etc/x absent "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestNothingIsRenderedTwice: a value that looks like a template stays one.
func TestNothingIsRenderedTwice(t *testing.T) {
	dir := one(t, head+"vars: {a: x}\nsteps: [{name: f, file: {path: /etc/f, content: '{{ .a }}'}}]\n")
	q := request()
	q.Only, q.Vars = []string{"my-tools"}, map[string]any{"a": "{{ .host }}"}
	p, _ := mustPlan(t, load(t, dir), q)
	if got := string(p.Phases[0].Steps[0].File.Content); got != "{{ .host }}" {
		t.Error(got)
	}
}

// TestSecrets: a secret goes where the phase asks for it and nowhere else.
func TestSecrets(t *testing.T) {
	dir := one(t, head+`
vars: {token: none, other: none}
steps:
  - {name: conf, file: {path: /etc/conf, content: "t={{ .token }}\n"}}
  - {name: odd, file: {path: /etc/odd, content: '{{ index . "token" | printf "%q" }}'}}
  - {name: open, file: {path: /etc/open, content: "o={{ .other }} {{ .host }}\n"}}
  - {name: script, run: "cat $VPSCTL_SECRETS/key", secrets: [key]}
`)
	q := request()
	q.Only = []string{"my-tools"}
	q.Secrets = map[string]string{"token": "tok-12345", "key": "key-12345", "unused": "unused-12345"}
	p, _ := mustPlan(t, load(t, dir), q)
	if d := cmp.Diff(map[string]string{"token": "tok-12345", "key": "key-12345"}, p.Secrets); d != "" {
		t.Error(d)
	}
	steps := p.Phases[0].Steps
	for i, want := range []wire.File{
		{Path: "/etc/conf", Content: []byte("t=tok-12345\n"), Sensitive: true},
		{Path: "/etc/odd", Content: []byte(`"tok-12345"`), Sensitive: true},
		{Path: "/etc/open", Content: []byte("o=none alpha\n")},
	} {
		if d := cmp.Diff(want, *steps[i].File); d != "" {
			t.Error(d)
		}
	}
	if _, ok := p.Phases[0].Env["token"]; ok {
		t.Error("a secret is in the environment")
	}
	p.Secrets = nil
	for i := range steps {
		if f := steps[i].File; f != nil && f.Sensitive {
			f.Content = nil
		}
	}
	if b, _ := json.Marshal(p); strings.Contains(string(b), "12345") {
		t.Errorf("a secret is elsewhere in the plan: %s", b)
	}
}

func TestScript(t *testing.T) {
	p, err := Script("deploy.sh", []byte("echo \"$1\"\r\n"), []string{"now {{ .x }}"}, map[string]string{"colour": "blue"})
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Plan{Wire: wire.Version, Verb: "run", Phases: []wire.Phase{{ID: "run", Title: "Script deploy.sh", Env: map[string]string{"colour": "blue"},
		Steps: []wire.Step{{Name: "script", Run: &wire.Run{Script: "echo \"$1\"\n", Args: []string{"now {{ .x }}"}}}}}}}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	for name, test := range map[string]struct{ body, want string }{
		"empty":  {" \n", "x.sh:1:1: the script is empty"},
		"binary": {"\x7fELF\x00\x01", "x.sh:1:1: this is no script: it has NUL bytes\n  hint: programs are pushed, then run"},
		"syntax": {"echo one\nif true\n", "x.sh:2:1: script: `if <cond>` must be followed by `then`"},
		"large":  {strings.Repeat("#", maxFile+1), "x.sh: over 1 MiB: too large for a script\n  hint: push it, then run it with vpsctl exec"},
	} {
		if _, err := Script("x.sh", []byte(test.body), nil, nil); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Script("x.sh", []byte("true"), nil, map[string]string{"IFS": "x"}); err == nil {
		t.Error("IFS is accepted as a variable")
	}
	if _, err := Script("x.py", []byte("#!/usr/bin/env python3\nif True: (\n"), nil, nil); err != nil {
		t.Error("a script that is no shell's: ", err)
	}
}
