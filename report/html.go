package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"path/filepath"
	"sync"
)

//go:embed html/page.tmpl
var pageText string

//go:embed html/page.css
var pageStyle string

//go:embed html/live.js
var pageScript string

// pages is the template of the HTML report, parsed once.
var pages = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(pageText))
})

// htmlPage is what the template is given.
type htmlPage struct {
	ID, Verb, Status, Mark, Verdict string
	Meta                            []string
	Figures                         []htmlFact
	Fleet                           *htmlFleet
	Hosts                           []template.HTML
	Style                           template.CSS
	Script                          template.JS // of the live page only
	Policy                          string
	Live                            bool
}

// HTML writes the report of a run as one file that needs nothing else: no
// network, no scripts, no fonts. It stays readable on paper and in the dark.
func HTML(w io.Writer, r *Report) error { return writeTemplate(w, r, "page", false) }

// writeTemplate writes the page, or its body, which is what changes of a live
// page: that one asks for it anew when the record has grown.
func writeTemplate(w io.Writer, r *Report, name string, live bool) error {
	views := make([]*htmlHost, len(r.Hosts))
	parts := make([]template.HTML, len(r.Hosts))
	errs := make([]error, len(r.Hosts))
	each(len(r.Hosts), func(i int) {
		views[i] = newHTMLHost(r, i)
		var b bytes.Buffer
		errs[i] = pages().ExecuteTemplate(&b, "host", views[i])
		parts[i] = template.HTML(b.String()) // made by the same template, so escaped already
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	page := newHTMLPage(r, views)
	page.Hosts, page.Style, page.Live = parts, template.CSS(pageStyle), live
	if name == "body" {
		return pages().ExecuteTemplate(w, name, page)
	}
	page.Policy = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src '" + hashOf(pageStyle) + "'"
	if live {
		page.Script = template.JS(pageScript)
		page.Policy += "; script-src '" + hashOf(pageScript) + "'; connect-src 'self'"
	}
	return pages().ExecuteTemplate(w, name, page)
}

// hashOf is how a policy names the one style or script that may be used.
func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// WriteHTML writes report.html into the record.
func (d *RunDir) WriteHTML(r *Report) error {
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		return fault("write", filepath.Join(d.dir, htmlFile), err)
	}
	return writeAtomic(d.root, d.dir, htmlFile, b.Bytes())
}
