package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"weft/client"
	"weft/examples/soc/audittrail"
	"weft/testnet"
)

// TestAuditTrail tells the story of examples/soc on four nodes that are processes of their own. No node has seen a plaintext:
// none is in a data folder, a log, the metrics, or in what an operator is answered. The evidence is checked without nodes.
func TestAuditTrail(t *testing.T) {
	n := startTestNetwork(t)
	genesis := filepath.Join(n.Dir, "genesis.json")
	tour := audittrail.Tour{Say: t.Logf}
	for i := range 120 {
		tour.Lines = append(tour.Lines, fmt.Appendf(nil, "line %d of a log", i))
	}
	var err error
	if tour.Genesis, err = os.ReadFile(genesis); err != nil {
		t.Fatal(err)
	}
	var heard traffic
	for _, node := range n.Nodes {
		c, err := client.New(client.Config{URL: node.API, HTTP: &http.Client{Transport: &heard}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tour.Nodes = append(tour.Nodes, c)
	}
	if err := tour.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if heard.size.Load() < 500_000 || heard.plain.Load() > 0 {
		t.Errorf("a plaintext was sent or answered %d times, in %d bytes", heard.plain.Load(), heard.size.Load())
	}
	for _, node := range n.Nodes {
		testBlindness(t, node, tour.Channel())
	}
	for i := range n.Nodes {
		if err := n.Kill(i); err != nil {
			t.Fatal(err)
		}
		testFolder(t, string(n.Nodes[i].Dir))
	}
	testEvidence(t, genesis, tour.Bundle)
}

// traffic looks for plaintexts in what goes over the wire.
type traffic struct{ size, plain atomic.Int64 }

// RoundTrip implements http.RoundTripper.
func (h *traffic) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = h.listen(r.Body)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		a.Body = h.listen(a.Body)
	}
	return a, err
}

func (h *traffic) listen(body io.ReadCloser) io.ReadCloser { return &listener{body, h, nil} }

type listener struct {
	io.ReadCloser
	heard *traffic
	tail  []byte // of what came before
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.tail = append(l.tail, p[:n]...)
	for _, form := range []string{audittrail.Marker, base64.RawURLEncoding.EncodeToString([]byte(audittrail.Marker))} {
		if bytes.Contains(l.tail, []byte(form)) {
			l.heard.plain.Add(1)
		}
	}
	l.tail = l.tail[max(0, len(l.tail)-100):]
	l.heard.size.Add(int64(n))
	return n, err
}

// testBlindness asks a node everything about the channel as its operator does.
func testBlindness(t *testing.T, node *testnet.Node, channel string) {
	t.Helper()
	operator := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", node.Dir.Socket())
		},
	}}
	defer operator.CloseIdleConnections()
	for _, path := range []string{"", "/events?limit=100", "/records?limit=100", "/records/7", "/keys", "/subscriptions", "/export"} {
		body := ask(t, &operator, "/api/v1/channels/"+channel+path)
		if bytes.Contains(body, []byte(audittrail.Marker)) {
			t.Errorf("%s: a plaintext is in the answer to %q", node.Name, path)
		}
	}
	for _, path := range []string{"/metrics", "/api/v1/entries?limit=100", "/api/v1/operator/peers", "/api/v1/node"} {
		if bytes.Contains(ask(t, &operator, path), []byte(audittrail.Marker)) {
			t.Errorf("%s: a plaintext is in the answer to %q", node.Name, path)
		}
	}
}

func ask(t *testing.T, c *http.Client, path string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// testFolder reads every file of a data folder, the node's log among them. The store compresses, so it is opened as well.
func testFolder(t *testing.T, dir string) {
	t.Helper()
	files, ciphertext := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		ciphertext += bytes.Count(whole, []byte(`"contentHash"`))
		if bytes.Contains(whole, []byte(audittrail.Marker)) {
			t.Errorf("a plaintext is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 5 || ciphertext < 100 {
		t.Errorf("%d files with %d records in %s: the test did not look", files, ciphertext, dir)
	}
}

// testEvidence checks the bundle with the command, then with bytes changed and with a record left out.
func testEvidence(t *testing.T, genesis string, bundle []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "evidence.zip")
	if err := os.WriteFile(file, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := weft(t, 0, "", "", "channel", "verify", file, "--genesis", genesis)
	wantText(t, out, "verified: channel", "122 records")
	archive, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := os.CopyFS(dir, archive); err != nil {
		t.Fatal(err)
	}
	weft(t, 0, "", "", "channel", "verify", dir, "--genesis", genesis)
	for _, entry := range archive.File {
		path := filepath.Join(dir, entry.Name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if entry.FileInfo().IsDir() || len(whole) == 0 {
			continue
		}
		changed := bytes.Clone(whole)
		changed[len(changed)/2] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		out, errOut := weft(t, 1, "", "", "channel", "verify", dir, "--genesis", genesis)
		wantText(t, out+errOut, "REFUSED", "refused")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "REFUSED") && strings.Contains(line, "skipped") {
				t.Errorf("%s changed: what was not looked at is called refused: %s", entry.Name, line)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
