package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// suiteNode is a running `weft conformance` as a suite sees it: by what it prints.
type suiteNode struct {
	t        *testing.T
	web      *http.Client
	Contexts bool
	DIDs     struct{ Active, Deactivated, NotFound, VersionID string }

	Certificate string
	Issuers     []suiteDescription
	Verifiers   []suiteDescription
	VPVerifiers []suiteDescription `json:"vpVerifiers"`
	Resolvers   []suiteDescription `json:"didResolvers"`
}

type suiteDescription struct {
	ID, Endpoint  string
	Options       map[string]any
	Tags          []string
	SupportedDIDs struct {
		Valid                 []struct{ DID string }
		Deactivated, NotFound string
	}
}

// startConformance runs the command until the test ends, and returns once it has printed its description.
func startConformance(t *testing.T, args ...string) *suiteNode {
	t.Helper()
	program, err := exec.LookPath("weft")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, append([]string{"conformance", "--folder", t.TempDir(), "--listen", freeAddress(t)}, args...)...)
	var problems bytes.Buffer
	c.Stderr = &problems
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil {
			t.Errorf("%v\n%s", err, problems.String())
		}
	})
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer late.Stop()
	n := &suiteNode{t: t}
	if err := json.NewDecoder(out).Decode(n); err != nil {
		t.Fatalf("%v\n%s", err, problems.String())
	}
	n.trust()
	return n
}

// freeAddress is one that nobody listens at now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// trust takes the certificate that the description names, as NODE_EXTRA_CA_CERTS does.
func (n *suiteNode) trust() {
	n.t.Helper()
	cert, err := os.ReadFile(n.Certificate)
	if err != nil {
		n.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	n.web = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	n.t.Cleanup(n.web.CloseIdleConnections)
}

// ask sends a request and returns status and body.
func (n *suiteNode) ask(method, address, accept string, body any) (int, map[string]any) {
	n.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			n.t.Fatal(err)
		}
	}
	q, err := http.NewRequest(method, address, bytes.NewReader(raw))
	if err != nil {
		n.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", accept)
	a, err := n.web.Do(q)
	if err != nil {
		n.t.Fatal(err)
	}
	defer a.Body.Close()
	answer := map[string]any{}
	if err := json.NewDecoder(a.Body).Decode(&answer); err != nil && err != io.EOF {
		n.t.Fatal(err)
	}
	return a.StatusCode, answer
}

// TestConformanceNode follows the description that the command prints, as suites do.
func TestConformanceNode(t *testing.T) {
	folder := t.TempDir()
	n := startConformance(t, "--did-core", folder)
	for _, issuer := range n.Issuers {
		credential := map[string]any{
			"@context": []any{"https://www.w3.org/ns/credentials/v2"}, "type": []any{"VerifiableCredential"}, "issuer": issuer.ID,
			"credentialSubject": map[string]any{"id": "did:example:somebody", "name": "Ada"},
		}
		status, a := n.ask("POST", issuer.Endpoint, "application/json", map[string]any{"credential": credential, "options": issuer.Options})
		if status != 201 {
			t.Fatalf("%s: HTTP %d %v", issuer.Endpoint, status, a)
		}
		status, a = n.ask("POST", n.Verifiers[0].Endpoint, "application/json", map[string]any{"verifiableCredential": a["verifiableCredential"], "options": n.Verifiers[0].Options})
		if status != 200 {
			t.Errorf("a credential of %s: HTTP %d %v", issuer.Endpoint, status, a)
		}
	}
	if policy, _ := n.VPVerifiers[0].Options["policy"].(map[string]any); policy["holder"] != "any" {
		t.Errorf("options of presentations: %v", n.VPVerifiers[0].Options)
	}
	resolver := n.Resolvers[0]
	for id, want := range map[string]int{resolver.SupportedDIDs.Valid[0].DID: 200, resolver.SupportedDIDs.Deactivated: 410, resolver.SupportedDIDs.NotFound: 404} {
		if status, a := n.ask("GET", resolver.Endpoint+"/"+id, "application/did-resolution", nil); status != want {
			t.Errorf("%s: HTTP %d, want %d: %v", id, status, want, a)
		}
	}
	testDIDCoreFiles(t, folder, n.DIDs.Active)
}

// testDIDCoreFiles holds the captured answers to the names of DID Core 1.0.
func testDIDCoreFiles(t *testing.T, folder, active string) {
	t.Helper()
	for name, parts := range map[string][]string{
		"did-weft.json":          {active, `"application/did+json"`, `"representation"`, `"didDocumentDataModel"`, `"versionTime"`},
		"resolver-weft.json":     {`"invalidDid"`, `"notFound"`, `"resolveRepresentation"`, `"didDocumentStream"`},
		"dereferencer-weft.json": {`"invalidDidUrl"`, `"notFound"`, `"contentStream": ""`, active + "#key-1"},
	} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, string(text), parts...)
		if strings.Contains(string(text), "ns/did#") {
			t.Errorf("%s has errors of DID Resolution", name)
		}
	}
}
