//go:build linux

package vendors

import (
	"bytes"
	"embed"
	"image"
	"image/png"
	"math/rand/v2"
	"text/template"
	"time"
)

//go:embed parts
var parts embed.FS

// Release is one version of an IDE.
type Release struct {
	IDE     IDE
	Version string
	// Certificate is until when the one that Antigravity carries is valid; a year from now if zero.
	Certificate time.Time

	sha256 string // of Antigravity's archive
}

// product is what does not change from release to release.
type product struct {
	Command, Title, Name, Scheme, DataFolder string

	repository, keyPath string // apt's; on the vendor's server
	first               string // version
}

var products = map[IDE]product{
	VSCode: {Command: "code", Title: "Visual Studio Code", Name: "Code", Scheme: "vscode", DataFolder: ".vscode",
		repository: "/repos/code", keyPath: "/keys/microsoft.asc", first: "1.104.2-1758714605"},
	Cursor: {Command: "cursor", Title: "Cursor", Name: "Cursor", Scheme: "cursor", DataFolder: ".cursor",
		repository: "/aptrepo", keyPath: "/keys/anysphere.asc", first: "3.20.17-1763000000"},
	Antigravity: {Command: "antigravity-ide", Title: "Antigravity IDE", Name: "Antigravity IDE", Scheme: "antigravity-ide",
		DataFolder: ".antigravity-ide", first: "2.5.5-4923483625488384"},
}

// facts are what the parts are filled with.
type facts struct {
	product
	Version, Arch, Depends, Repo, Keyring string
}

// part fills one of the texts in parts/.
func part(name string, f facts) ([]byte, error) {
	t, err := template.New(name).Delims("[[", "]]").ParseFS(parts, "parts/"+name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, f)
	return b.Bytes(), err
}

// file is one file of a package or an archive.
type file struct {
	name string
	mode int64
	body []byte
}

// tree is the program's folder, with names relative to it, the same for packages and archives.
func tree(f facts, window []byte, heavy bool) ([]file, error) {
	var files []file
	add := func(name string, mode int64, from string) error {
		body, err := part(from, f)
		files = append(files, file{name, mode, body})
		return err
	}
	program := "light"
	if heavy {
		program = "heavy"
	} else {
		files = append(files, file{f.Command + "-bin", 0o755, window})
	}
	for _, e := range []struct {
		name string
		mode int64
		from string
	}{{"bin/" + f.Command, 0o755, "wrapper"}, {f.Command, 0o755, program}, {"resources/app/product.json", 0o644, "product.json"},
		{"resources/app/index.html", 0o644, "index.html"}} {
		if err := add(e.name, e.mode, e.from); err != nil {
			return nil, err
		}
	}
	files = append(files, file{"resources/app/resources/linux/code.png", 0o644, icon()}, file{"chrome-sandbox", 0o4755, []byte("#!/bin/sh\nexec \"$@\"\n")},
		file{"resources/app/out/main.js", 0o644, filler(f.Version)})
	return files, nil
}

// filler does not get smaller when it is packed: a download of it takes a while, and can be cut.
func filler(seed string) []byte {
	var s [32]byte
	copy(s[:], seed)
	b := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8(s).Read(b)
	return b
}

func icon() []byte {
	pic := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range pic.Pix {
		pic.Pix[i] = []byte{0x22, 0x77, 0xcc, 0xff}[i%4]
	}
	var b bytes.Buffer
	_ = png.Encode(&b, pic)
	return b.Bytes()
}
