//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cloud is what this host was rented as; a part that nothing here tells is empty.
type cloud struct{ provider, plan, region string }

const (
	maxInstanceData = 4 << 20
	maxDMI          = 256
)

// readCloud reads what cloud-init left behind when the host booted, and what the
// machine says of itself. No metadata server is asked: who measures a host has
// no business with the address that also gives out its secrets.
func readCloud(root string) cloud {
	var c cloud
	if b, err := readPublic(filepath.Join(root, "run/cloud-init/instance-data.json"), maxInstanceData); err == nil {
		c = parseInstanceData(b)
	}
	dmi := func(name string) string {
		b, err := readPublic(filepath.Join(root, "sys/class/dmi/id", name), maxDMI)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	return c.orDMI(dmi("sys_vendor"), dmi("product_name"))
}

// readPublic reads a regular file that everybody on the host may read. The
// prober may be root: what only root may read is nothing to tell of, and a pipe
// in the file's place would be waited for.
func readPublic(name string, most int64) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o004 == 0 {
		return nil, fmt.Errorf("%s: no file for everybody", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: over %d bytes", name, most)
	}
	return b, err
}

// noProviders are cloud-init's words for software and for ways to hand data
// over: many providers have them, with plans of the same names.
var noProviders = []string{"", "none", "nocloud", "configdrive", "openstack", "cloudstack", "opennebula", "vmware", "ovf", "lxd", "maas", "unknown", "fallback"}

// plans are where the providers' own words for a machine's size stand.
var plans = [][]string{
	{"ds", "meta_data", "instance_type"},
	{"ds", "dynamic", "instance_identity", "document", "instanceType"},
	{"ds", "meta_data", "imds", "compute", "vmSize"},
	{"ds", "meta_data", "commercial_type"},
}

// parseInstanceData reads cloud-init's instance-data.json: provider and region
// stand in its standard part, the plan in the provider's own.
func parseInstanceData(b []byte) cloud {
	var doc any
	if json.Unmarshal(b, &doc) != nil {
		return cloud{}
	}
	first := func(paths ...[]string) string {
		for _, p := range paths {
			if word := wordAt(doc, p); word != "" {
				return word
			}
		}
		return ""
	}
	c := cloud{plan: first(plans...), region: first([]string{"v1", "region"}, []string{"v1", "availability_zone"}),
		provider: strings.ToLower(first([]string{"v1", "cloud_id"}, []string{"v1", "cloud_name"}))}
	if slices.Contains(noProviders, c.provider) {
		c.provider = ""
	}
	return c
}

// wordAt is the short text at the end of a path of keys. Versions of cloud-init
// differ in hyphens, and put words in place of what is for root alone.
func wordAt(v any, path []string) string {
	for _, key := range path {
		m, _ := v.(map[string]any)
		next, ok := m[key]
		if !ok {
			next = m[strings.ReplaceAll(key, "_", "-")]
		}
		v = next
	}
	s, _ := v.(string)
	s = strings.TrimSpace(s)
	if len(s) > 100 || strings.HasPrefix(s, "redacted") {
		return ""
	}
	return s
}

// vendors are providers that say so in their machines' DMI, in cloud-init's words.
var vendors = map[string]string{"Amazon EC2": "aws", "Alibaba Cloud": "aliyun", "DigitalOcean": "digitalocean", "Exoscale": "exoscale",
	"Google": "gce", "Hetzner": "hetzner", "Scaleway": "scaleway", "UpCloud": "upcloud", "Vultr": "vultr", "Akamai": "akamai", "Linode": "akamai"}

// orDMI adds what a host without cloud-init tells. Only Amazon's product names
// are plans; the others name all their machines alike.
func (c cloud) orDMI(vendor, product string) cloud {
	if c.provider == "" {
		c.provider = vendors[vendor]
	}
	if c.plan == "" && vendor == "Amazon EC2" {
		c.plan = product
	}
	return c
}
