package client

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const aDID = "did:weft:t2iac44k:zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"

func TestOperationsSayTheirRoute(t *testing.T) {
	for operation, want := range map[string]string{
		`{"type":"weft/op/1","op":"create","did":"D"}`:                           "POST /api/v1/identities",
		`{"type":"weft/op/1","op":"update","did":"did:weft:a:b"}`:                "PUT /api/v1/identities/did:weft:a:b/document",
		`{"type":"weft/op/1","op":"recover","did":"D"}`:                          "POST /api/v1/identities/D/recover",
		`{"type":"weft/op/1","op":"deactivate","did":"../x"}`:                    "POST /api/v1/identities/..%2Fx/deactivate",
		`{"type":"weft/status/1","op":"create"}`:                                 "POST /api/v1/status-lists",
		`{"type":"weft/status/1","op":"set","list":"zQm"}`:                       "POST /api/v1/status-lists/zQm/operations",
		`{"type":"weft/trust/1","op":"federation.create"}`:                       "POST /api/v1/trust/federations",
		`{"type":"weft/trust/1","op":"grant","federation":"zQm"}`:                "POST /api/v1/trust/federations/zQm/accreditations",
		`{"type":"weft/trust/1","op":"revoke","federation":"zQm","grant":"zQg"}`: "POST /api/v1/trust/accreditations/zQg/revoke",
		`{"type":"weft/trust/1","op":"root.add","federation":"zQm"}`:             "POST /api/v1/trust/federations/zQm/roots",
		`{"type":"weft/trust/1","op":"property.revoke","federation":"zQm"}`:      "POST /api/v1/trust/federations/zQm/properties",
		`{"type":"weft/trust/1","op":"other","federation":"zQm"}`:                "error",
		`{"type":"weft/op/2","op":"create"}`:                                     "error",
		`{"type":"weft/channel/1","op":"create","channel":"c"}`:                  "POST /api/v1/channels",
		`{"type":"weft/channel/1","op":"write","channel":"c/d"}`:                 "POST /api/v1/channels/c%2Fd/operations",
		`[]`: "error",
	} {
		method, path, err := operationRoute([]byte(operation))
		got := method + " " + path
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", operation, got, want)
		}
	}
}

func TestSubmitOperation(t *testing.T) {
	operation := `{"type":"weft/op/1","op":"update","did":"` + aDID + `"}`
	answers := []string{
		`{"opHash":"zQm","messageId":"` + messageB + `","status":"pending"}`,
		`{"did":"` + aDID + `","versionId":"2-zQm","position":7,"time":"2026-11-22T17:00:00Z"}`,
		`{"status":"final","outcome":"accepted","opHash":"zQm","place":{"position":7,"index":0},"result":{"did":"` + aDID + `","versionId":"2-zQm"}}`,
	}
	asked := 0
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != operation || r.Header.Get("If-Match") != `"1-zQm"` || r.URL.RawQuery != "timeout=10s&wait=final" {
			t.Errorf("got %s %s If-Match %s", body, r.URL, r.Header.Get("If-Match"))
		}
		io.WriteString(w, answers[asked])
		asked++
	})
	for i := range answers {
		o, err := node.SubmitOperation(t.Context(), []byte(operation), OperationOptions{Final: 10 * time.Second, IfMatch: "1-zQm"})
		if err != nil {
			t.Fatal(err)
		}
		if final := o.Status == Final && o.Result.VersionID == "2-zQm" && o.Place != nil && o.Place.Position == 7; final != (i > 0) {
			t.Errorf("answer %d: got %+v", i, o)
		}
	}
}

func TestResolveSpeaksBothFormats(t *testing.T) {
	status, body, kind := 200, "", "application/did-resolution"
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/1.0/identifiers/"+aDID || r.Header.Get("Accept") != kind {
			t.Errorf("asked %s, %s", r.URL, r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	body = `{"didDocument":{"id":"` + aDID + `"},"didResolutionMetadata":{},"didDocumentMetadata":{"versionId":"1-zQm"}}`
	r, err := node.Resolve(t.Context(), aDID, ResolveOptions{})
	if err != nil || r.Version.VersionID != "1-zQm" || !strings.Contains(string(r.Document), aDID) {
		t.Errorf("got %+v, %v", r, err)
	}
	status, body = 404, `{"didDocument":null,"didResolutionMetadata":{"error":{"type":"https://www.w3.org/ns/did#NOT_FOUND","title":"Not found","detail":"no such DID"}},"didDocumentMetadata":{}}`
	_, err = node.Resolve(t.Context(), aDID, ResolveOptions{})
	if ProblemCode(err) != "NOT_FOUND" {
		t.Errorf("got %v", err)
	}
	status, body = 410, `{"didDocument":null,"didResolutionMetadata":{},"didDocumentMetadata":{"versionId":"2-zQm","deactivated":true}}`
	r, err = node.Resolve(t.Context(), aDID, ResolveOptions{})
	if err != nil || !r.Version.Deactivated {
		t.Errorf("got %+v, %v", r, err)
	}
	status, body = 502, `<html>`
	if _, err = node.Resolve(t.Context(), aDID, ResolveOptions{}); ProblemCode(err) != "http_502" {
		t.Errorf("got %v", err)
	}
}

func TestARefusedCredentialIsAReport(t *testing.T) {
	body := `{"verified":false,"checks":[{"name":"format","ok":true},{"name":"status","ok":false,"code":"revoked","index":4711}]}`
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/issuers/bank/credentials/verify" {
			t.Errorf("asked %s", r.URL)
		}
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, body)
	})
	r, err := node.Issuer("bank").Verify(t.Context(), json.RawMessage(`{}`), VerifyOptions{})
	if err != nil || r.Verified || len(r.Checks) != 2 || r.Checks[1].Code != "revoked" || *r.Checks[1].Index != 4711 {
		t.Errorf("got %+v, %v", r, err)
	}
	body = `{"title":"bad"}`
	var p *Problem
	if _, err = node.Issuer("bank").Verify(t.Context(), json.RawMessage(`{}`), VerifyOptions{}); !errors.As(err, &p) || p.Status != 400 {
		t.Errorf("got %v", err)
	}
}

func TestLogin(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	audience := ""
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]string
		json.NewDecoder(r.Body).Decode(&body)
		if r.URL.Path == "/api/v1/auth/challenges" {
			if body["audience"] != "" {
				t.Errorf("asked for audience %q", body["audience"])
			}
			json.NewEncoder(w).Encode(Challenge{ID: "c1", Nonce: "n1", Audience: audience})
			return
		}
		parts := strings.Split(body["jws"], ".")
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
		if !ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature) {
			t.Error("the signature does not verify")
		}
		if got, want := string(header), `{"alg":"EdDSA","kid":"`+aDID+`#key-1","typ":"weft-login+jwt"}`; got != want {
			t.Errorf("header %s, want %s", got, want)
		}
		if got, want := string(payload), `{"aud":"`+audience+`","iat":1000,"iss":"`+aDID+`","nonce":"n1"}`; got != want || body["challengeId"] != "c1" {
			t.Errorf("payload %s, want %s", got, want)
		}
		io.WriteString(w, `{"accessToken":"t1","tokenType":"Bearer","expiresIn":900}`)
	})
	key := LoginKey{DID: aDID, Method: aDID + "#key-1", Sign: func(m []byte) ([]byte, error) { return ed25519.Sign(private, m), nil }}
	for _, audience = range []string{node.URL(), "urn:weft:node:" + hashA} {
		token, err := node.Login(t.Context(), key, "", time.Unix(1000, 0))
		if err != nil || token.Token != "t1" {
			t.Errorf("got %+v, %v", token, err)
		}
	}
	audience = "https://bank.example"
	if _, err := node.Login(t.Context(), key, "", time.Unix(1000, 0)); err == nil {
		t.Error("signed for another audience than the one asked for")
	}
}

func TestIdentityLogIsOneOperationALine(t *testing.T) {
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"operation":{"op":"create"},"opHash":"zQa","versionId":"1-zQa","position":3,"time":"2026-11-22T17:00:00Z"}`+"\n"+
			`{"operation":{"op":"update"},"opHash":"zQb","position":4,"time":"2026-11-22T17:00:00Z","code":"conflict"}`+"\n")
	})
	lines, err := node.IdentityLog(t.Context(), aDID, true)
	if err != nil || len(lines) != 2 || lines[0].VersionID != "1-zQa" || lines[1].Code != "conflict" {
		t.Errorf("got %+v, %v", lines, err)
	}
}
