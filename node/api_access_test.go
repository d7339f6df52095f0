package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft/config"
	"weft/internal/store"
)

// TestEveryRouteHasItsCallers calls each route as each kind of caller: who is not let in gets 401, 403 or 404.
func TestEveryRouteHasItsCallers(t *testing.T) {
	c := apiConfig()
	c.Read, c.Submit = config.AccessToken, config.AccessToken
	n := runNode(t, c)
	callers := map[string]string{"nobody": ""}
	for _, scope := range []string{scopeRead, scopeSubmit, scopeAdmin} {
		callers[scope] = n.newKey(t, scope)
	}
	for _, r := range apiRoutes() {
		if r.streams() && r.auth != authRead {
			continue
		}
		path := strings.NewReplacer(":id", strings.Repeat("0", 64), ":hash", strings.Repeat("0", 64), ":n", "0", "*", "x").Replace(r.path)
		for who, key := range callers {
			want := 0 // let in
			switch {
			case r.auth == authOperator:
				want = 404
			case r.auth == authOpen || who == r.scope:
			case who == "nobody":
				want = 401
			default:
				want = 403
			}
			query := ""
			if want == 0 && r.streams() {
				query = "?nothing" // let in, and refused for this
			}
			got := n.call(r.method, path+query, "", "X-API-Key", key)
			refused := got.status == 401 || got.status == 403 || (want == 404 && got.status == 404)
			if refused != (want != 0) || (want != 0 && got.status != want) {
				t.Errorf("%s %s as %s: HTTP %d, want %d (0: let in)", r.method, r.path, who, got.status, want)
			}
			if got.status == 401 && got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: 401 without WWW-Authenticate", r.method, r.path)
			}
		}
		if got := callDoor(n.api.operator, r.method, path+"?nothing", ""); got.status == 401 || got.status == 403 {
			t.Errorf("%s %s as operator: HTTP %d", r.method, r.path, got.status)
		}
	}
}

func TestAPIKeys(t *testing.T) {
	c := apiConfig()
	c.Read = config.AccessToken
	n := runNode(t, c)
	key := n.newKey(t, scopeRead)
	read := func(key string) int { return n.call("GET", "/api/v1/node", "", "X-API-Key", key).status }
	if got := read(key); got != 200 {
		t.Fatalf("key: HTTP %d", got)
	}
	for _, bad := range []string{"x", "weft_", key + "x", key[:len(key)-1], strings.Replace(key, "weft_", "weft_0", 1), strings.Repeat("_", 100)} {
		if r := n.call("GET", "/api/v1/node", "", "X-API-Key", bad); r.code(t) != "bad_api_key" {
			t.Errorf("key %q: HTTP %d", bad, r.status)
		}
	}
	if r := n.call("GET", "/api/v1/node", "", "Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."); r.code(t) != "bad_token" {
		t.Errorf("token: HTTP %d", r.status)
	}
	var list struct{ Items []keyView }
	callDoor(n.api.operator, "GET", "/api/v1/admin/api-keys", "").into(t, 200, &list)
	if len(list.Items) != 1 || list.Items[0].Key != "" || list.Items[0].Name != "test" {
		t.Fatalf("list %+v", list.Items)
	}
	reopened, err := openKeyring(n.config.Store)
	if err != nil || reopened.find(key) == nil {
		t.Fatalf("after a restart the key is unknown: %v", err)
	}
	err = n.config.Store.Scan(nil, nil, func(_, value []byte) bool {
		if strings.Contains(string(value), key[len(key)-43:]) {
			t.Error("the store holds a key in the clear")
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Items[0].ID
	if r := callDoor(n.api.operator, "DELETE", "/api/v1/admin/api-keys/"+id, ""); r.status != 204 {
		t.Fatalf("revoke: HTTP %d", r.status)
	}
	if got := read(key); got != 401 {
		t.Errorf("revoked key: HTTP %d", got)
	}
	if r := callDoor(n.api.operator, "DELETE", "/api/v1/admin/api-keys/"+id, ""); r.code(t) != "not_found" {
		t.Errorf("revoke again: HTTP %d", r.status)
	}
	var elsewhere keyView
	callDoor(n.api.operator, "POST", "/api/v1/admin/api-keys", `{"name":"n","scopes":["ledger:read"],"cidrs":["192.0.2.0/24"]}`).into(t, 201, &elsewhere)
	if got := read(elsewhere.Key); got != 401 {
		t.Errorf("key of another address: HTTP %d", got)
	}
	for body, code := range map[string]string{
		`{"name":"","scopes":["admin"]}`: "bad_value", `{"name":"n","scopes":[]}`: "bad_value", `{"name":"n","scopes":["all"]}`: "bad_value",
		`{"name":"n","scopes":["admin","admin"]}`: "bad_value", `{"name":"n"}`: "bad_value", `{"name":"n","scopes":["admin"],"cidrs":["x"]}`: "bad_value",
		`{"name":"n","scopes":["admin"],"expiresAt":"2001-01-01T00:00:00Z"}`: "bad_value", `{"name":"n","scopes":["admin"],"expiresAt":"2999-01-01T00:00:00Z"}`: "bad_value",
		`{"name":"n","scopes":["admin"],"secret":"x"}`: "unknown_field", `{"name":"n","scopes":["admin"],"did":"bank"}`: "bad_value",
		`{"name":"n","scopes":["admin"],"did":"did:weft:a b"}`: "bad_value", `{"name":"n","scopes":["admin"],"did":"did:` + strings.Repeat("x", MaxKeyDIDBytes) + `"}`: "bad_value",
	} {
		if r := callDoor(n.api.operator, "POST", "/api/v1/admin/api-keys", body); r.code(t) != code {
			t.Errorf("%s: HTTP %d %s", body, r.status, r.body)
		}
	}
}

func TestKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := openKeyring(store.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		k := &apiKey{Name: "n", Scopes: []string{scopeRead}, ExpiresAt: time.Now().Add(time.Hour)}
		shown, err := ring.add(k)
		if err != nil || ring.find(shown) != k || !ring.valid(k) {
			t.Fatal("a fresh key is not found", err)
		}
		synctestWait(time.Hour)
		if ring.find(shown) != nil || ring.valid(k) {
			t.Error("the key holds on")
		}
	})
}

// synctestWait lets virtual time pass.
func synctestWait(d time.Duration) { <-time.After(d) }

func TestOperatorToken(t *testing.T) {
	c := apiConfig()
	c.Read, c.OperatorToken = config.AccessToken, "the operator's secret"
	n := runNode(t, c)
	level := func(header ...string) reply {
		return n.call("PUT", "/api/v1/operator/log-level", `{"level":"debug"}`, header...)
	}
	if r := level(); r.code(t) != "not_found" {
		t.Errorf("without token: HTTP %d", r.status)
	}
	if r := level("Authorization", "Bearer wrong"); r.code(t) != "not_found" {
		t.Errorf("wrong token: HTTP %d", r.status)
	}
	if r := level("Authorization", "Bearer "+c.OperatorToken); r.status != 200 || c.Level.Level().String() != "DEBUG" {
		t.Errorf("token: HTTP %d %s, level %s", r.status, r.body, c.Level.Level())
	}
	for _, bad := range []string{`{"level":"loud"}`, `{"level":1}`, `{}`} {
		if r := n.call("PUT", "/api/v1/operator/log-level", bad, "Authorization", "Bearer "+c.OperatorToken); r.code(t) != "bad_value" {
			t.Errorf("%s: HTTP %d", bad, r.status)
		}
	}
}

func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := newRateTable(config.DefaultRates())
		count := func(class rateClass, caller string) (n int) {
			for rates.take(class, caller) == nil {
				n++
			}
			return n
		}
		for class, want := range map[rateClass]int{rateRead: 100, rateWrite: 200, rateVerify: 20, rateAnonymous: 40} {
			if got := count(class, "a"); got != want {
				t.Errorf("%s: a burst of %d, want %d", class, got, want)
			}
		}
		synctestWait(time.Second)
		if got := count(rateRead, "a"); got != 50 {
			t.Errorf("a second later %d reads, want 50", got)
		}
		if got := count(rateRead, "b"); got != 100 {
			t.Errorf("another caller has %d", got)
		}
		p := problemOf(rates.take(rateRead, "a"))
		if p.Code != "rate_limited" || p.status() != 429 || len(p.Header) != 3 {
			t.Errorf("problem %+v", p)
		}
		for i := range 3 * MaxRateBuckets {
			_ = rates.take(rateRead, fmt.Sprint(i))
		}
		if len(rates.buckets) > MaxRateBuckets {
			t.Errorf("%d buckets", len(rates.buckets))
		}
		if none := newRateTable(config.Limits{}); none.take(rateWrite, "a") != nil || len(none.buckets) != 0 {
			t.Error("a lifted limit limits")
		}
	})
}

func TestRateLimitAnswer(t *testing.T) {
	c := apiConfig()
	c.Limits = config.Limits{ReadsPerSecond: 1}
	n := runNode(t, c)
	var last reply
	for range 4 {
		last = n.call("GET", "/api/v1/genesis", "")
	}
	if last.code(t) != "rate_limited" || last.status != 429 || last.header.Get("Retry-After") == "" || last.header.Get("RateLimit-Policy") == "" || last.header.Get("RateLimit") == "" {
		t.Errorf("HTTP %d %v", last.status, last.header)
	}
	if r := callDoor(n.api.operator, "GET", "/api/v1/genesis", ""); r.status != 200 {
		t.Errorf("the operator is limited: HTTP %d", r.status)
	}
}

func TestCORS(t *testing.T) {
	c := apiConfig()
	c.CORS = []string{"https://good.example"}
	n := runNode(t, c)
	allowed := func(method, path, origin string, header ...string) string {
		return n.call(method, path, "", append([]string{"Origin", origin}, header...)...).header.Get("Access-Control-Allow-Origin")
	}
	for _, test := range []struct{ path, origin, want string }{
		{"/api/v1/node", "https://evil.example", ""},
		{"/api/v1/node", "https://good.example", "https://good.example"},
		{"/api/v1/node", "null", ""},
		{"/log/checkpoint", "https://evil.example", "*"},
	} {
		if got := allowed("GET", test.path, test.origin); got != test.want {
			t.Errorf("%s from %s: %q", test.path, test.origin, got)
		}
	}
	if got := allowed("OPTIONS", "/api/v1/messages", "https://evil.example", "Access-Control-Request-Method", "POST"); got != "" {
		t.Errorf("preflight of a stranger: %q", got)
	}
	r := n.call("OPTIONS", "/api/v1/messages", "", "Origin", "https://good.example", "Access-Control-Request-Method", "POST")
	if r.status != 204 || !strings.Contains(r.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: HTTP %d %v", r.status, r.header)
	}
	if r := n.call("GET", "/api/v1/node", ""); r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Set-Cookie") != "" {
		t.Errorf("headers %v", r.header)
	}
}

func TestOperatorSocket(t *testing.T) {
	c := apiConfig()
	c.Listen, c.Socket = "", filepath.Join(t.TempDir(), "api.sock")
	if l, err := net.Listen("unix", c.Socket); err != nil { // as a killed node leaves it
		t.Fatal(err)
	} else {
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	n := runNode(t, c)
	if n.APIAddr() != "" {
		t.Errorf("a public listener at %s", n.APIAddr())
	}
	info, err := os.Stat(c.Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v %v", info.Mode(), err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
	}
	transport := &http.Transport{DialContext: dial}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("http://node/api/v1/peers")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Errorf("HTTP %d", answer.StatusCode)
	}
	if _, err := socketListener(c.Socket); err == nil {
		t.Error("a second node takes the socket")
	}
}

func TestPlainHTTPOffLoopback(t *testing.T) {
	a := &api{apiParts: apiParts{Config: APIConfig{API: config.API{Listen: "0.0.0.0:0"}}}}
	a.closing, a.close = context.WithCancel(t.Context())
	if err := a.listen(); err == nil {
		a.Close()
		t.Error("plain HTTP on every address is served without api.insecure")
	}
	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "0.0.0.0:1": false, "192.0.2.1:1": false, ":1": false, "x": false} {
		if got := isLoopback(address); got != want {
			t.Errorf("%s on loopback: %v", address, got)
		}
	}
}

func TestTLS(t *testing.T) {
	c := apiConfig()
	pool := x509.NewCertPool()
	c.TLSCert, c.TLSKey = selfSigned(t, pool)
	n := runNode(t, c)
	get := func(settings *tls.Config) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: settings}
		defer transport.CloseIdleConnections()
		return (&http.Client{Transport: transport}).Get("https://" + n.APIAddr() + "/health")
	}
	answer, err := get(&tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 || answer.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("HTTP %d %v", answer.StatusCode, answer.Header)
	}
	if old, err := get(&tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12}); err == nil {
		old.Body.Close()
		t.Error("TLS 1.2 is spoken")
	}
}

// selfSigned writes a certificate for 127.0.0.1 and trusts it.
func selfSigned(t *testing.T, pool *x509.CertPool) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(cert)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, content := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestNothingSecretIsTold sends marked secrets everywhere: neither the log nor a problem may hold them.
func TestNothingSecretIsTold(t *testing.T) {
	const canary = "canary5b7a94628c1d"
	c := apiConfig()
	c.Read, c.OperatorToken = config.AccessToken, canary+"-operator"
	var log sharedText
	n := runNodeTelling(t, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), c)
	key := n.newKey(t, scopeRead, scopeSubmit)
	secret := key[len(key)-43:]
	for _, r := range []reply{
		n.call("POST", "/api/v1/messages", submission(canary, canary), "X-API-Key", key, "Idempotency-Key", canary+"-key"),
		n.call("POST", "/api/v1/messages", `{"entries":[{"kind":"`+canary+`","data":""}]}`, "X-API-Key", key),
		n.call("POST", "/api/v1/messages", `{"entries":[{"kind":"data","data":{"tag":"`+strings.Repeat(canary, 9)+`","bytes":"`+canary+`="}}]}`, "X-API-Key", key),
		n.call("GET", "/api/v1/node", "", "X-API-Key", key),
		n.call("GET", "/api/v1/node?cursor="+canary, "", "X-API-Key", key),
		n.call("GET", "/api/v1/node", "", "X-API-Key", "weft_"+canary+"_"+canary),
		n.call("GET", "/api/v1/node", "", "Authorization", "Bearer "+canary),
		n.call("PUT", "/api/v1/operator/log-level", `{"level":"`+canary+`"}`, "Authorization", "Bearer "+c.OperatorToken),
	} {
		if text := string(r.body); strings.Contains(text, canary) || strings.Contains(text, secret) {
			t.Errorf("HTTP %d tells %s", r.status, text)
		}
	}
	if text := log.String(); !strings.Contains(text, "msg=request") || strings.Contains(text, canary) || strings.Contains(text, secret) {
		t.Errorf("log %s", text)
	}
}

// sharedText is a text that several goroutines write and read.
type sharedText struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *sharedText) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
