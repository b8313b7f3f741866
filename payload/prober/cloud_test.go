//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestParseInstanceData(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       cloud
	}{
		{"EC2", `{"v1":{"cloud_id":"aws","cloud_name":"aws","region":"eu-west-1","availability_zone":"eu-west-1b"},"ds":{"meta_data":{"instance_type":"t3.small"},
			"dynamic":{"instance-identity":{"document":{"instanceType":"t3.large"}}}}}`, cloud{"aws", "t3.small", "eu-west-1"}},
		{"EC2, the identity document alone", `{"v1":{"cloud-name":"aws","availability-zone":"eu-west-1b"},"ds":{"dynamic":{"instance-identity":{"document":{"instanceType":"t3.large"}}}}}`, cloud{"aws", "t3.large", "eu-west-1b"}},
		{"Azure", `{"v1":{"cloud_id":"azure","region":"westeurope"},"ds":{"meta_data":{"imds":{"compute":{"vmSize":"Standard_B2s"}}}}}`, cloud{"azure", "Standard_B2s", "westeurope"}},
		{"an older cloud-init", `{"v1":{"cloud-name":"Hetzner","region":null},"ds":{"meta-data":{"instance-type":" cx22\n"}}}`, cloud{"hetzner", "cx22", ""}},
		{"software is no provider", `{"v1":{"cloud_id":"openstack","region":"RegionOne"},"ds":{"meta_data":{"instance_type":"m1.small"}}}`, cloud{"", "m1.small", "RegionOne"}},
		{"for root alone", `{"v1":{"cloud_id":"aws","region":"eu"},"ds":{"meta_data":"redacted for non-root user","dynamic":{"instance_identity":{"document":{"instanceType":"redacted for non-root user"}}}}}`, cloud{"aws", "", "eu"}},
		{"other types than words", `{"v1":{"cloud_id":["aws"],"region":7},"ds":[{"meta_data":{}}]}`, cloud{}},
		{"a flood", `{"v1":{"cloud_id":"aws","region":"` + strings.Repeat("x", 101) + `"}}`, cloud{"aws", "", ""}},
		{"nothing", ``, cloud{}},
		{"no JSON", `{"v1":`, cloud{}},
		{"no object", `"v1"`, cloud{}},
	} {
		if got := parseInstanceData([]byte(c.text)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func FuzzParseInstanceData(f *testing.F) {
	f.Add([]byte(`{"v1":{"cloud_id":"aws","region":"eu-west-1"},"ds":{"meta_data":{"instance_type":"t3.small"}}}`))
	f.Add([]byte(`{"v1":[[[{}]]],"ds":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := parseInstanceData(b)
		if len(c.plan) > 100 || len(c.region) > 100 || len(c.provider) > 300 { // in lower case a letter may be longer
			t.Errorf("%+v", c)
		}
	})
}

func TestOrDMI(t *testing.T) {
	for _, c := range []struct {
		has             cloud
		vendor, product string
		want            cloud
	}{
		{cloud{}, "Amazon EC2", "t3.micro", cloud{provider: "aws", plan: "t3.micro"}},
		{cloud{}, "Hetzner", "vServer", cloud{provider: "hetzner"}}, // all of them are called so
		{cloud{}, "QEMU", "Standard PC (Q35 + ICH9, 2009)", cloud{}},
		{cloud{"ovh", "b2-7", "gra"}, "Amazon EC2", "t3.micro", cloud{"ovh", "b2-7", "gra"}},
	} {
		if got := c.has.orDMI(c.vendor, c.product); got != c.want {
			t.Errorf("%s, %s: %+v, want %+v", c.vendor, c.product, got, c.want)
		}
	}
}

// TestReadCloud: only regular files that everybody may read are read, and no
// more of them than they should have.
func TestReadCloud(t *testing.T) {
	const data = `{"v1":{"cloud_id":"aws","region":"eu"},"ds":{"meta_data":{"instance_type":"t3.small"}}}`
	root := t.TempDir()
	file := filepath.Join(root, "run/cloud-init/instance-data.json")
	vendor := filepath.Join(root, "sys/class/dmi/id/sys_vendor")
	for _, dir := range []string{filepath.Dir(file), filepath.Dir(vendor)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := filepath.Join(root, "secret")
	for name, text := range map[string]string{vendor: "Hetzner\n", elsewhere: data} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	whole, dmiOnly := cloud{"aws", "t3.small", "eu"}, cloud{provider: "hetzner"}
	for _, c := range []struct {
		name string
		make func() error
		want cloud
	}{
		{"there is none", func() error { return nil }, dmiOnly},
		{"for everybody", func() error { return os.WriteFile(file, []byte(data), 0o644) }, whole},
		{"for root alone", func() error { return os.WriteFile(file, []byte(data), 0o600) }, dmiOnly},
		{"a link", func() error { return os.Symlink(elsewhere, file) }, dmiOnly},
		{"a pipe that nobody writes to", func() error { return syscall.Mkfifo(file, 0o644) }, dmiOnly},
		{"a folder", func() error { return os.Mkdir(file, 0o755) }, dmiOnly},
		{"endless", func() error { return os.WriteFile(file, []byte(data+strings.Repeat(" ", maxInstanceData)), 0o644) }, dmiOnly},
	} {
		if err := c.make(); err != nil {
			t.Fatal(err)
		}
		if got := readCloud(root); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		_ = os.Remove(file)
	}
}
