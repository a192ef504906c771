package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"

	"usvs/health"
)

// secured is a connection within this one, whose handshake as a whole has the
// time of a step.
func (c *conn) secured(config *tls.Config) (net.Conn, error) {
	secure := tls.Client(c, config)
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, os.ErrDeadlineExceeded
	}
	return secure, err
}

// tlsConfig verifies no certificate, as keepalived does not: the check is about
// the page.
func tlsConfig(p *health.Probe) (*tls.Config, error) {
	config := &tls.Config{
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS10, // a check talks to whatever is there
		CipherSuites:       allCiphers(),
	}
	if p.HTTP.SNI {
		config.ServerName = p.HTTP.ServerName
		if config.ServerName == "" {
			config.ServerName = p.HTTP.URL.Virtualhost
		}
	}
	if t := p.HTTP.TLS; t != nil && t.Certificate != "" {
		certificate, err := loadCertificate(t)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

func allCiphers() (ids []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}

// loadCertificate reads the client's certificate and key. Who verifies no
// certificate needs no CA.
func loadCertificate(t *health.TLS) (tls.Certificate, error) {
	certificate, err := os.ReadFile(t.Certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	name := t.Key
	if name == "" {
		name = t.Certificate
	}
	key, err := os.ReadFile(name)
	if err != nil {
		return tls.Certificate{}, err
	}
	if key, err = decrypted(key, t.Password); err != nil {
		return tls.Certificate{}, fmt.Errorf("key %s: %w", name, err)
	}
	return tls.X509KeyPair(certificate, key)
}

// decrypted opens a key that a password protects in the way of PEM. It is an
// old and weak way, but the one that the configuration's password is for.
func decrypted(key []byte, password string) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errors.New("no key in PEM form, or in PKCS #8's encrypted form, which is not supported")
	}
	//lint:ignore SA1019 see above
	if !x509.IsEncryptedPEMBlock(block) {
		return key, nil
	}
	//lint:ignore SA1019 see above
	plain, err := x509.DecryptPEMBlock(block, []byte(password))
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: plain}), nil
}
