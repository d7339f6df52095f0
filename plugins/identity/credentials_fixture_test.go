package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/vc"
	"weft/tangle"
)

// testIssuer is a node's data folder with a keystore, and the settings of the instances that use its one key.
type testIssuer struct {
	dir    string
	public string
}

// newIssuer makes a keystore with one key and its passphrase file.
func newIssuer(t *testing.T) testIssuer {
	t.Helper()
	dir := t.TempDir()
	store, err := keyfile.CreateKeystore(filepath.Join(dir, KeystoreFile), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.Add("issuer")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "passphrase"), []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return testIssuer{dir, key.Public}
}

func (i testIssuer) did() string    { return "did:key:" + i.public }
func (i testIssuer) method() string { return i.did() + "#" + i.public }

// instance is an instance in node.json.
func (i testIssuer) instance(name string, more map[string]any) map[string]any {
	one := map[string]any{"name": name, "did": i.did(), "method": i.method(), "keystoreKey": "issuer", "access": "loopback"}
	for k, v := range more {
		one[k] = v
	}
	return one
}

// options run the keystore's node as node 0, with instances.
func (i testIssuer) options(t *testing.T, nodes int, section map[string]any, instances ...map[string]any) networkOptions {
	t.Helper()
	if section == nil {
		section = map[string]any{}
	}
	section["issuers"] = instances
	if _, given := section["keystorePassphraseFile"]; !given {
		section["keystorePassphraseFile"] = "passphrase"
	}
	raw, err := json.Marshal(section)
	if err != nil {
		t.Fatal(err)
	}
	return networkOptions{
		nodes: nodes,
		settings: func(n int) string {
			if n > 0 {
				return `{}`
			}
			return string(raw)
		},
		dirs: func(n int) string {
			if n > 0 {
				return ""
			}
			return i.dir
		},
	}
}

// unsigned is a credential of an issuer about a subject.
func unsigned(issuer, subject string, claims did.Object) did.Object {
	about := did.Object{"id": subject}
	for k, v := range claims {
		about[k] = v
	}
	return did.Object{
		"@context": []any{vc.ContextV2, did.Object{"@vocab": "urn:weft:test#"}}, "id": newUUID(),
		"type": []any{"VerifiableCredential", "AgeOver"}, "issuer": issuer, "credentialSubject": about,
	}
}

// seal signs a credential or presentation with eddsa-jcs-2022.
func seal(t testing.TB, doc did.Object, o vc.ProofOptions, key ed25519.PrivateKey) did.Object {
	t.Helper()
	o.Cryptosuite = vc.SuiteJCS
	if o.Purpose == "" {
		o.Purpose = "assertionMethod"
	}
	signed, err := vc.AddProof(vc.Config{}, doc, o, func(b []byte) ([]byte, error) { return ed25519.Sign(key, b), nil })
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// issue signs a credential as a person does, now.
func (w *network) issue(p person, doc did.Object) did.Object {
	w.t.Helper()
	return seal(w.t, doc, vc.ProofOptions{VerificationMethod: p.method(), Created: w.clock.Now()}, p.key)
}

// verify asks node i, and returns the report whatever it is.
func (w *network) verify(i int, credential any, options did.Object) (r testReport) {
	w.t.Helper()
	if options == nil {
		options = did.Object{}
	}
	return w.report(w.call(i, "POST", "/credentials/verify", did.Object{"verifiableCredential": credential, "options": options}))
}

func (w *network) verifyPresentation(i int, presentation any, options did.Object) testReport {
	w.t.Helper()
	return w.report(w.call(i, "POST", "/presentations/verify", did.Object{"verifiablePresentation": presentation, "options": options}))
}

// testReport is a report as clients read it.
type testReport struct {
	Verified bool
	Checks   []struct {
		Name, Code, Reason, Source string
		OK, Skipped                bool
	}
	Problems []vc.Problem `json:"problemDetails"`
}

func (w *network) report(r reply) (report testReport) {
	w.t.Helper()
	want := 200
	if err := json.Unmarshal(r.body, &report); err != nil {
		w.t.Fatal(err)
	}
	if !report.Verified {
		want = 400
	}
	r.want(want)
	return report
}

// failures are the codes of the failed checks by name.
func (r testReport) failures() map[string]string {
	failed := map[string]string{}
	for _, c := range r.Checks {
		if !c.OK && !c.Skipped {
			failed[c.Name] = c.Code
		}
	}
	return failed
}

// fails wants exactly one failed check, with its problem.
func (r testReport) fails(t *testing.T, name, check, code string) {
	t.Helper()
	if got := r.failures(); r.Verified || len(got) != 1 || got[check] != code || len(r.Problems) == 0 {
		t.Errorf("%s: verified %v, failures %v, problems %v; want %s %s", name, r.Verified, got, r.Problems, check, code)
	}
}

func (r testReport) passes(t *testing.T, name string) {
	t.Helper()
	if !r.Verified {
		t.Errorf("%s: refused: %+v", name, r.Checks)
	}
}

// header begins an operation.
func (w *network) header(actor string) operation.Header {
	h := operation.Header{Network: w.id, Actor: actor, NotAfter: tangle.TimeOf(w.clock.Now().Add(time.Hour).Truncate(time.Second))}
	rand.Read(h.Nonce[:])
	return h
}

// send signs a status or trust operation and waits on node i until it is final.
func (w *network) send(i int, path string, body did.Object, keys ...ed25519.PrivateKey) reply {
	w.t.Helper()
	raw, err := did.Sign(body, keys...)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.call(i, "POST", path+"?wait=final&timeout=30s", raw)
}

// opHashOf is the hash in the state that a reply shows.
func (r reply) opHashOf() string {
	r.t.Helper()
	var s struct{ OpHash string }
	if err := json.Unmarshal(r.body, &s); err != nil || s.OpHash == "" {
		r.t.Fatalf("%s: no operation: %s", r.name, r.body)
	}
	return s.OpHash
}

// within calls until a reply is as wanted; 5 seconds is what the design allows.
func (w *network) within(limit time.Duration, name string, done func() bool) {
	w.t.Helper()
	until := time.Now().Add(limit)
	for !done() {
		if time.Now().After(until) {
			w.t.Fatalf("%s: not within %s", name, limit)
		}
	}
}

// keyHolder is somebody whose DID is a did:key: it is known before there is a network.
type keyHolder struct{ key ed25519.PrivateKey }

func holderOf(name string) keyHolder { return keyHolder{keyOf("holder " + name)} }

func (k keyHolder) did() string    { return "did:key:" + multikeyOf(k.key) }
func (k keyHolder) method() string { return k.did() + "#" + multikeyOf(k.key) }

func (k keyHolder) sign(t testing.TB, doc did.Object, at time.Time) did.Object {
	t.Helper()
	return seal(t, doc, vc.ProofOptions{VerificationMethod: k.method(), Created: at}, k.key)
}

// present makes a presentation of credentials.
func (k keyHolder) present(t testing.TB, o vc.ProofOptions, credentials ...any) did.Object {
	t.Helper()
	o.VerificationMethod, o.Purpose = k.method(), "authentication"
	return seal(t, did.Object{"@context": []any{vc.ContextV2}, "type": []any{"VerifiablePresentation"}, "verifiableCredential": credentials}, o, k.key)
}

// enter logs in and returns the headers of the token.
func (w *network) enter(i int, k keyHolder) []string {
	w.t.Helper()
	c := w.challenge(i, k.did(), "")
	claims := did.Object{"iss": k.did(), "aud": c.Audience, "nonce": c.Nonce, "iat": w.clock.Now().Unix()}
	jws, err := vc.SignJWS(typeLogin, k.method(), claims, func(b []byte) ([]byte, error) { return ed25519.Sign(k.key, b), nil })
	if err != nil {
		w.t.Fatal(err)
	}
	var a tokenAnswer
	w.call(i, "POST", "/api/v1/auth/tokens", map[string]string{"challengeId": c.ChallengeID, "jws": jws}).into(200, &a)
	return []string{"Authorization", "Bearer " + a.AccessToken}
}

// roleRules is a settings section that gives roles to DIDs: role, DID, role, DID.
func roleRules(pairs ...string) string {
	rules := []map[string]string{}
	for k := 0; k+1 < len(pairs); k += 2 {
		rules = append(rules, map[string]string{"role": pairs[k], "did": pairs[k+1]})
	}
	raw, err := json.Marshal(map[string]any{"roles": rules})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// ready waits until every node hears from a quorum.
func (w *network) ready() *network {
	w.t.Helper()
	for i := range w.Nodes {
		w.within(20*time.Second, "a quorum", func() bool {
			var overview struct{ Quorum bool }
			w.call(i, "GET", "/api/v1/explorer/overview", nil).into(200, &overview)
			return overview.Quorum
		})
	}
	return w
}
