//go:build linux

package steps

import (
	"bytes"
	"encoding/base64"
	"os"
	"strings"
	"testing"
)

// Fingerprints of the keys in testdata, as gpg tells them.
const (
	keyPrint   = "CB63519CAEAD3101CBB67B07EA92D4FE3F72C8CC"
	otherPrint = "73A9F895FD8DF096B3CEC34406592D054A179B52"
)

// The version 6 certificate of RFC 9580, A.3.
const keyV6 = `-----BEGIN PGP PUBLIC KEY BLOCK-----

xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laPCsQYf
GwoAAABCBYJjh3/jAwsJBwUVCg4IDAIWAAKbAwIeCSIhBssYbE8GCaaX5NUt+mxy
KwwfHifBilZwj2Ul7Ce62azJBScJAgcCAAAAAK0oIBA+LX0ifsDm185Ecds2v8lw
gyU2kCcUmKfvBXbAf6rhRYWzuQOwEn7E/aLwIwRaLsdry0+VcallHhSu4RN6HWaE
QsiPlR4zxP/TP7mhfVEe7XWPxtnMUMtf15OyA51YBM4qBmOHf+MZAAAAIIaTJINn
+eUBXbki+PSAld2nhJh/LVmFsS+60WyvXkQ1wpsGGBsKAAAALAWCY4d/4wKbDCIh
BssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce62azJAAAAAAQBIKbpGG2dWTX8
j+VjFM21J0hqWlEg+bdiojWnKfA5AQpWUWtnNwDEM0g12vYxoWM8Y81W+bHBw805
I8kWVkXU6vFOi+HWvv/ira7ofJu16NnoUkhclkUrk0mXubZvyl4GBg==
-----END PGP PUBLIC KEY BLOCK-----
`

func keyFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFingerprints(t *testing.T) {
	armor, two := keyFile(t, "key.asc"), keyFile(t, "two.gpg")
	for name, c := range map[string]struct{ data, want string }{
		"armored":       {string(armor), keyPrint},
		"crlf":          {strings.ReplaceAll(string(armor), "\n", "\r\n"), keyPrint},
		"words before":  {"This is our key\n\n" + string(armor) + "\nbye", keyPrint},
		"two, binary":   {string(two), keyPrint + " " + otherPrint},
		"two blocks":    {string(armor) + keyV6, keyPrint + " CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"},
		"version 6":     {keyV6, "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"},
		"html":          {"<html>404</html>", ""},
		"empty":         {"", ""},
		"cut":           {string(two[:len(two)-1]), ""},
		"no end":        {strings.ReplaceAll(string(armor), "-----END", "----"), ""},
		"bad base64":    {strings.ReplaceAll(string(armor), "m", "!"), ""},
		"a signature":   {string([]byte{0xc2, 1, 4}), ""},
		"a secret key":  {string([]byte{0xc5, 6, 4, 0, 0, 0, 0, 22}), ""},
		"a version 3":   {string([]byte{0xc6, 6, 3, 0, 0, 0, 0, 1}), ""},
		"partial":       {string([]byte{0xc6, 225, 4, 0, 0, 0, 0, 1}), ""},
		"indeterminate": {string([]byte{0x9b, 4, 0, 0, 0, 0, 1}), ""},
	} {
		keys, err := pgpKeys([]byte(c.data))
		var got []string
		for _, k := range keys {
			got = append(got, k.fingerprint)
		}
		if strings.Join(got, " ") != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	keys, _ := pgpKeys(two)
	if all := append(bytes.Clone(keys[0].packets), keys[1].packets...); !bytes.Equal(all, two) {
		t.Error("the packets of all keys are not the file")
	}
}

// What is read as keys is made of its own bytes, and is read again the same.
func FuzzKeys(f *testing.F) {
	f.Add(keyFile(f, "two.gpg"))
	f.Add(keyFile(f, "key.asc"))
	f.Add([]byte(keyV6))
	f.Add([]byte{0xc6, 0xff, 0xff, 0xff, 0xff, 0xff, 4})
	v6, _ := base64.StdEncoding.DecodeString("xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laM=")
	f.Add(v6)
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := pgpKeys(data)
		if err != nil {
			return
		}
		for _, k := range keys {
			again, err := pgpKeys(k.packets)
			if err != nil || len(again) != 1 || again[0].fingerprint != k.fingerprint {
				t.Fatalf("%x: %v", k.packets, err)
			}
		}
	})
}
