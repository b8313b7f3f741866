//go:build linux

package steps

import (
	"archive/tar"
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// oracle is what package archive/tar reads.
func oracle(data []byte) (list []string, err error) {
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			return list, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return list, err
		}
		list = append(list, string(h.Typeflag)+" "+h.Name+" > "+h.Linkname+" = "+string(b))
	}
}

func ours(data []byte) (list []string, err error) {
	r := &tarReader{r: bytes.NewReader(data)}
	for {
		m, err := r.next()
		if err != nil {
			return list, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return list, err
		}
		list = append(list, string(m.kind)+" "+m.name+" > "+m.link+" = "+string(b))
	}
}

func TestTarAsOthersRead(t *testing.T) {
	long := strings.Repeat("long-name/", 30) + "é"
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		add := func(h tar.Header, content string) {
			h.Format, h.Mode, h.Size = format, 0o644, int64(len(content))
			if err := w.WriteHeader(&h); err != nil && format != tar.FormatUSTAR {
				t.Fatal(err)
			} else if err == nil {
				if _, err := w.Write([]byte(content)); err != nil {
					t.Fatal(err)
				}
			}
		}
		add(tar.Header{Name: "d/", Typeflag: tar.TypeDir}, "")
		add(tar.Header{Name: "d/f", Typeflag: tar.TypeReg}, strings.Repeat("x", 1025))
		add(tar.Header{Name: long, Typeflag: tar.TypeReg}, "hello")
		add(tar.Header{Name: strings.Repeat("p", 90) + "/" + strings.Repeat("q", 90), Typeflag: tar.TypeReg}, "512")
		add(tar.Header{Name: "l", Linkname: long, Typeflag: tar.TypeSymlink}, "")
		add(tar.Header{Name: "h", Linkname: "d/f", Typeflag: tar.TypeLink}, "")
		add(tar.Header{Name: "empty", Typeflag: tar.TypeReg}, "")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		want, _ := oracle(b.Bytes())
		got, err := ours(b.Bytes())
		if err != io.EOF || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%v: %v\n%q\n%q", format, err, got, want)
		}
		for n := range 8 { // cut anywhere it is damaged, and never more than was there
			if _, err := ours(b.Bytes()[:700+n*100]); err == nil || err == io.EOF {
				t.Errorf("%v: cut off after %d bytes: %v", format, 700+n*100, err)
			}
		}
	}
}

// TestTarOfTar reads what the machine's own tar writes.
func TestTarOfTar(t *testing.T) {
	for _, format := range []string{"v7", "oldgnu", "gnu", "ustar", "pax"} {
		out, err := exec.Command("tar", "-C", "testdata", "--format="+format, "-cf", "-", ".").Output()
		if err != nil {
			t.Skip(err)
		}
		want, _ := oracle(out)
		got, err := ours(out)
		if err != io.EOF || strings.Join(got, "\n") != strings.Join(want, "\n") || len(got) < 4 {
			t.Errorf("%s: %v\n%q\n%q", format, err, got, want)
		}
	}
}

// What both readers take as whole they read alike.
func FuzzTar(f *testing.F) {
	f.Add(tarOf(f, goodTar...))
	f.Add(tarOf(f, member{name: strings.Repeat("n", 200), content: "x"}, member{name: "l", kind: tar.TypeSymlink, link: strings.Repeat("m", 200)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &tarReader{r: bytes.NewReader(data)}
		var total int64
		for {
			if _, err := r.next(); err != nil {
				break
			}
			n, err := io.Copy(io.Discard, r)
			if total += n; total > int64(len(data)) {
				t.Fatalf("%d bytes of content in %d", total, len(data))
			}
			if err != nil {
				break
			}
		}
	})
}
