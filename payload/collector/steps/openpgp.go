//go:build linux

package steps

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// pgpKey is a public key with all that belongs to it: its names, signatures and
// subkeys.
type pgpKey struct {
	fingerprint string // upper-case hex; SHA-1 of version 4 keys, SHA-256 of version 6
	packets     []byte // as they were
}

var errPGP = errors.New("is not an OpenPGP public key")

// Tags of RFC 9580 that matter here.
const (
	pgpSecretKey = 5
	pgpPublicKey = 6
)

// pgpKeys reads a file of public keys, armored or not. It judges nothing but
// their form: which of them to trust is told by their fingerprints.
func pgpKeys(data []byte) ([]pgpKey, error) {
	data, err := dearmor(data)
	if err != nil {
		return nil, err
	}
	var keys []pgpKey
	for rest := data; len(rest) > 0; {
		tag, body, n, err := pgpPacket(rest)
		if err != nil {
			return nil, err
		}
		switch {
		case tag == pgpSecretKey:
			return nil, errors.New("is a secret key: it belongs to its owner alone")
		case tag == pgpPublicKey:
			print, err := pgpFingerprint(body)
			if err != nil {
				return nil, err
			}
			keys = append(keys, pgpKey{fingerprint: print})
		case len(keys) == 0:
			return nil, errPGP
		}
		k := &keys[len(keys)-1]
		k.packets = append(k.packets, rest[:n]...)
		rest = rest[n:]
	}
	if len(keys) == 0 {
		return nil, errPGP
	}
	return keys, nil
}

// pgpPacket reads the packet that data begins with; n bytes of data are its.
func pgpPacket(data []byte) (tag int, body []byte, n int, err error) {
	head := data[0]
	if head&0x80 == 0 {
		return 0, nil, 0, errPGP
	}
	var size uint64
	if head&0x40 != 0 {
		tag = int(head & 0x3f)
		size, n = newLength(data[1:])
	} else {
		tag = int(head >> 2 & 0x0f)
		size, n = oldLength(head&3, data[1:])
	}
	if n == 0 || size > uint64(len(data)-1-n) {
		return 0, nil, 0, fmt.Errorf("%w: a packet is cut off, or its length is none of a key's", errPGP)
	}
	begin, end := 1+n, 1+n+int(size)
	return tag, data[begin:end], end, nil
}

// newLength reads a length and how many bytes it took, 0 when it is none that
// keys have: they are never sent in parts.
func newLength(b []byte) (size uint64, n int) {
	switch {
	case len(b) >= 1 && b[0] < 192:
		return uint64(b[0]), 1
	case len(b) >= 2 && b[0] >= 192 && b[0] < 224:
		return uint64(b[0]-192)<<8 + uint64(b[1]) + 192, 2
	case len(b) >= 5 && b[0] == 255:
		return uint64(binary.BigEndian.Uint32(b[1:])), 5
	}
	return 0, 0
}

func oldLength(kind byte, b []byte) (size uint64, n int) {
	n = 1 << kind
	if kind == 3 || len(b) < n {
		return 0, 0
	}
	for _, c := range b[:n] {
		size = size<<8 | uint64(c)
	}
	return size, n
}

// pgpFingerprint of a public key packet's body. Older versions than 4 are
// refused: their fingerprints can be forged.
func pgpFingerprint(body []byte) (string, error) {
	if len(body) < 6 {
		return "", errPGP
	}
	var sum []byte
	switch version := body[0]; version {
	case 4:
		if len(body) > 0xffff {
			return "", errPGP
		}
		h := sha1.New()
		h.Write(binary.BigEndian.AppendUint16([]byte{0x99}, uint16(len(body))))
		h.Write(body)
		sum = h.Sum(nil)
	case 6:
		h := sha256.New()
		h.Write(binary.BigEndian.AppendUint32([]byte{0x9b}, uint32(len(body))))
		h.Write(body)
		sum = h.Sum(nil)
	default:
		return "", fmt.Errorf("is a key of version %d, which has no fingerprint to trust", version)
	}
	return strings.ToUpper(hex.EncodeToString(sum)), nil
}

const (
	armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// dearmor gives the bytes of all armored blocks, or data itself when it is not
// armored.
func dearmor(data []byte) ([]byte, error) {
	if len(data) > 0 && data[0]&0x80 != 0 {
		return data, nil
	}
	var all []byte
	rest := strings.ReplaceAll(string(data), "\r\n", "\n")
	for {
		_, block, found := strings.Cut(rest, armorBegin+"\n")
		if !found {
			break
		}
		block, after, ended := strings.Cut(block, armorEnd)
		if !ended {
			return nil, fmt.Errorf("%w: its armor has no end", errPGP)
		}
		b, err := armored(block)
		if err != nil {
			return nil, err
		}
		all, rest = append(all, b...), after
	}
	if len(all) == 0 {
		return nil, errPGP
	}
	return all, nil
}

// armored decodes what stands between the first and the last line of armor:
// headers, an empty line, base64, and a checksum that says nothing a
// fingerprint does not.
func armored(block string) ([]byte, error) {
	var text bytes.Buffer
	body := false
	for line := range strings.Lines(block) {
		switch line = strings.TrimSpace(line); {
		case line == "":
			body = true
		case !body && strings.Contains(line, ": "):
		case strings.HasPrefix(line, "="):
		default:
			body = true
			text.WriteString(line)
		}
	}
	b, err := base64.StdEncoding.DecodeString(text.String())
	if err != nil {
		return nil, fmt.Errorf("%w: its armor is damaged", errPGP)
	}
	return b, nil
}
