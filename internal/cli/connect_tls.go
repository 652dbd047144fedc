package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
)

// ownCertificate loads the certificate of http.tls; nil where there is none.
func ownCertificate(c *config.Config) (*tls.Certificate, error) {
	if c.HTTP.TLS == nil {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile)
	if err != nil {
		return nil, fault.New(fault.Fatal, "http certificate: %w", err).WithHint("check http.tls.cert_file and http.tls.key_file")
	}
	return &pair, nil
}

// ownTransport reaches a process of this configuration on this machine. It takes
// the very certificate of http.tls, whatever name that is for: it is for the
// name that browsers use, and seldom for 127.0.0.1. Any other certificate, such
// as one that was replaced on the disk since, is verified as usual.
func ownTransport(own *tls.Certificate) *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			leaf := state.PeerCertificates[0]
			if len(own.Certificate) > 0 && bytes.Equal(leaf.Raw, own.Certificate[0]) {
				return nil
			}
			others := x509.NewCertPool()
			for _, other := range state.PeerCertificates[1:] {
				others.AddCert(other)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: state.ServerName, Intermediates: others}); err != nil {
				return fmt.Errorf("not the certificate of http.tls: %w", err)
			}
			return nil
		},
	}}
}
