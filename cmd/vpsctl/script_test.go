//go:build unix

package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/crypto/ssh"

	"github.com/vpsctl/vpsctl/remote/sshtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vpsctl": func() {
		os.Exit(Main(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
	}})
}

// TestScripts runs the command line as a user would, each script against SSH
// servers of its own: `server NAME` starts one and sets $NAME_PORT.
func TestScripts(t *testing.T) {
	dir, files := "testdata/script", []string(nil)
	if testing.Short() { // the others take long with the race detector
		dir = ""
		for _, name := range []string{"usage", "inventory", "hosts", "completion"} {
			files = append(files, filepath.Join("testdata/script", name+".txtar"))
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:   dir,
		Files: files,
		Setup: setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer, "fault": faultServer, "edit": editFile, "valid": validFile, "history": writeHistory,
		},
	})
}

// schemaDir is absolute: scripts work in folders of their own.
var schemaDir, _ = filepath.Abs("../../docs/schema")

type serversKey struct{}

// setupScript gives a script a home with a key, and a place for its servers.
func setupScript(e *testscript.Env) error {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return err
	}
	home := filepath.Join(e.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "id_ed25519"), pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return err
	}
	e.Setenv("HOME", home)
	e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
	e.Setenv("SSH_AUTH_SOCK", "")
	servers := &scriptServers{key: sshPub, byName: map[string]*sshtest.Server{}}
	e.Values[serversKey{}] = servers
	e.Defer(func() {
		for _, s := range servers.byName {
			s.Close()
		}
	})
	return nil
}

type scriptServers struct {
	key    ssh.PublicKey
	byName map[string]*sshtest.Server
}

// startServer is `server NAME [sudo[=PASSWORD]] [nokey] [unknown] [nosftp] [noise=TEXT]`: its key
// goes into known_hosts unless unknown.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	servers := ts.Value(serversKey{}).(*scriptServers)
	opt := sshtest.Options{Keys: []ssh.PublicKey{servers.key}}
	known := true
	for _, a := range args[1:] {
		switch {
		case a == "sudo":
			opt.Sudo = true
		case strings.HasPrefix(a, "sudo="):
			opt.SudoPassword = strings.TrimPrefix(a, "sudo=")
		case a == "nokey":
			opt.Keys = nil
		case a == "unknown":
			known = false
		case a == "nosftp":
			opt.NoSFTP = true
		case strings.HasPrefix(a, "noise="):
			opt.Noise = strings.TrimPrefix(a, "noise=")
		default:
			ts.Fatalf("server: %s?", a)
		}
	}
	s, err := sshtest.New(opt)
	ts.Check(err)
	servers.byName[args[0]] = s
	ts.Setenv(args[0]+"_PORT", fmt.Sprint(s.Port))
	ts.Setenv(args[0]+"_HOME", s.Home)
	if known {
		f, err := os.OpenFile(filepath.Join(ts.Getenv("HOME"), ".ssh", "known_hosts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		ts.Check(err)
		_, err = f.WriteString(s.KnownHosts())
		ts.Check(err)
		ts.Check(f.Close())
	}
}

// faultServer is `fault NAME down|up|newkey|cut=N`: something goes wrong there.
func faultServer(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serversKey{}).(*scriptServers).byName[args[0]]
	var n int
	switch what := args[1]; {
	case what == "down":
		s.Down()
	case what == "up":
		ts.Check(s.Up())
	case what == "newkey":
		s.RotateHostKey()
	default:
		if _, err := fmt.Sscanf(what, "cut=%d", &n); err != nil {
			ts.Fatalf("fault: %s?", what)
		}
		s.CutAfterEvent(n)
	}
}

// editFile is `edit FILE`: $NAME_PORT and the like are replaced by their values.
func editFile(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		b, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(os.Expand(string(b), ts.Getenv)), 0o644))
	}
}

// validFile is `valid SCHEMA FILE`: the document fits docs/schema/SCHEMA.schema.json.
func validFile(ts *testscript.TestScript, neg bool, args []string) {
	c := jsonschema.NewCompiler()
	paths, err := filepath.Glob(filepath.Join(schemaDir, "*.json"))
	ts.Check(err)
	var id string
	for _, p := range paths {
		f, err := os.Open(p)
		ts.Check(err)
		doc, err := jsonschema.UnmarshalJSON(f)
		ts.Check(errors.Join(err, f.Close()))
		own, _ := doc.(map[string]any)["$id"].(string)
		ts.Check(c.AddResource(own, doc))
		if filepath.Base(p) == args[0]+".schema.json" {
			id = own
		}
	}
	schema, err := c.Compile(id)
	ts.Check(err)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	if err := schema.Validate(doc); (err != nil) != neg {
		ts.Fatalf("%s: %v", args[0], err)
	}
}
