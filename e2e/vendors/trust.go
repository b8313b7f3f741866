//go:build linux

package vendors

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// authority certifies the vendors' servers.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority() (*authority, error) {
	a := &authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	der, err := certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "Lab Vendors CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(7 * 24 * time.Hour)}, nil, a.key, a.key)
	if err != nil {
		return nil, err
	}
	a.cert, err = x509.ParseCertificate(der)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a, err
}

// certificate signs what template describes; parent nil means by itself.
func certificate(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) ([]byte, error) {
	var err error
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, err
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if parent == nil {
		parent = template
	}
	return x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
}

// config is for a server at that address. It speaks HTTP/1.1 alone, as apt does, so that breaking off is one thing.
func (a *authority) config(address string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := certificate(&x509.Certificate{Subject: pkix.Name{CommonName: address}, IPAddresses: []net.IP{net.ParseIP(address)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature, NotAfter: a.cert.NotAfter}, a.cert, key, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}, nil
}

// Client is an HTTP client that trusts the vendors, as prepared hosts do.
func (v *Vendors) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(v.ca.cert)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// CA is the certificate that prepared hosts trust, in PEM.
func (v *Vendors) CA() string { return v.ca.pem }

// bundled is a certificate of the kind that programs carry, valid until then.
func bundled(until time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, NotBefore: until.AddDate(-1, 0, 0), NotAfter: until}, nil, key, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// signer has the vendors' OpenPGP key, and another one that nobody was told of.
type signer struct{ own, other *openpgp.Entity }

var pgp = &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}

func newSigner() (*signer, error) {
	own, err := openpgp.NewEntity("Lab Vendor", "", "vendor@lab.test", pgp)
	if err != nil {
		return nil, err
	}
	other, err := openpgp.NewEntity("Somebody Else", "", "else@lab.test", pgp)
	return &signer{own, other}, err
}

func (s *signer) fingerprint() string { return fingerprintOf(s.own) }

func fingerprintOf(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

// clearsigned is text as InRelease has it.
func (s *signer) clearsigned(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, s.own.PrivateKey, pgp)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	b.WriteByte('\n')
	return b.Bytes(), err
}

// keyring is a public key in binary form.
func keyring(e *openpgp.Entity) ([]byte, error) {
	var b bytes.Buffer
	err := e.Serialize(&b)
	return b.Bytes(), err
}

// armored is a public key as vendors publish it.
func armored(e *openpgp.Entity) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := e.Serialize(w); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// Fingerprint is that of the key which signs the repositories.
func (v *Vendors) Fingerprint() string { return v.key.fingerprint() }

// Impostor is the fingerprint of the key that a vendor with Tamper Key serves.
func (v *Vendors) Impostor() string { return fingerprintOf(v.key.other) }
