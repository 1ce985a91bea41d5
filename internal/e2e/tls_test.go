package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// certify writes a certificate for loopback and its key, and gives who trusts it.
func certify(t *testing.T, dir string) (*x509.CertPool, []string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	made, err := x509.ParseCertificate(der)
	must(err)
	trusted := x509.NewCertPool()
	trusted.AddCert(made)
	return trusted, []string{"AICLI_TLS_CERT=" + certFile, "AICLI_TLS_KEY=" + keyFile}
}

func TestTLS(t *testing.T) {
	trusted, env := certify(t, t.TempDir())
	h := newHome(t, env...)
	s := h.start()
	token := s.token("ann")
	config := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.address+"/graphql", strings.NewReader(`{"query":"{ viewer { id } }"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || !strings.Contains(string(body), `"id":"ann"`) {
		t.Errorf("got %s, %v", body, err)
	}
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, TLSClientConfig: config}
	ws, upgraded, err := dialer.DialContext(t.Context(), "wss://"+s.address+"/graphql", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = upgraded.Body.Close()
	defer func() { _ = ws.Close() }()
	var ack struct{ Type string }
	if err := ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]any{"Authorization": "Bearer " + token}}); err != nil {
		t.Fatal(err)
	}
	if err := ws.ReadJSON(&ack); err != nil || ack.Type != "connection_ack" {
		t.Errorf("got %+v, %v", ack, err)
	}
	if old, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: trusted, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("it speaks TLS 1.1")
		_ = old.Close()
	}
	if strings.Contains(s.log.String(), "in clear") {
		t.Error("it warns of what is not so")
	}
	t.Run("files that are no pair are said so", func(t *testing.T) {
		_, other := certify(t, t.TempDir())
		bad := &home{T: t, env: append(h.env, "AICLI_DATA_DIR="+t.TempDir(), "AICLI_TLS_KEY="+strings.TrimPrefix(other[1], "AICLI_TLS_KEY="))}
		if out, code := bad.run(); code != 1 || !strings.Contains(out, "AICLI_TLS_CERT and AICLI_TLS_KEY") {
			t.Errorf("%d: %s", code, out)
		}
	})
	t.Run("an address that others can reach, without TLS, is warned of", func(t *testing.T) {
		s := newHome(t, "AICLI_ADDR=0.0.0.0:0").start()
		waitUntil(t, func() bool { return strings.Contains(s.log.String(), "tokens travel to it in clear") })
		if s := newHome(t).start(); strings.Contains(s.log.String(), "in clear") {
			t.Error("of loopback too")
		}
	})
}
