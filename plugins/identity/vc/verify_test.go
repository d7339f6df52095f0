package vc

import (
	"crypto/ed25519"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/internal/vectors"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
	"weft/tangle"
)

// contexts installs the public contexts of the vectors.
func contexts(t testing.TB) *jsonld.Contexts {
	t.Helper()
	c := jsonld.NewContexts()
	for _, pin := range jsonld.Optional() {
		if err := c.Pin(pin.URL, pin.File); err != nil {
			t.Fatal(err)
		}
	}
	for url, name := range map[string]string{
		jsonld.CredentialsV2: "credentials-v2", jsonld.CredentialsV1: "credentials-v1", jsonld.DataIntegrityV2: "data-integrity-v2",
		jsonld.ExamplesV2: "examples-v2", jsonld.Ed25519V1: "ed25519-2020-v1",
	} {
		if err := c.Add(url, vectors.File(t, "contexts/"+name+".jsonld")); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func readObject(t testing.TB, raw []byte) did.Object {
	t.Helper()
	o, err := did.DecodeObject(raw, did.JSONLimits{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func text(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := did.Canonical(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// clone copies a document through its text, so that numbers are as a reader has them.
func clone(t testing.TB, o did.Object) did.Object { return readObject(t, text(t, o)) }

// party is somebody with an Ed25519 key and the did:key of it.
type party struct {
	did, method string
	key         ed25519.PrivateKey
}

func newParty(seed byte) party {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), 32)))
	multikey := did.Ed25519Key(key.Public().(ed25519.PublicKey)).Multikey()
	return party{did: "did:key:" + multikey, method: "did:key:" + multikey + "#" + multikey, key: key}
}

// as is the same key under a method of another DID.
func (p party) as(did string) party {
	p.did, p.method = did, did+"#key-1"
	return p
}

func (p party) sign(input []byte) ([]byte, error) { return ed25519.Sign(p.key, input), nil }

// now is the time of all tests that do not say otherwise.
func now() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// world is a resolver: did:key as it is, other DIDs as their methods are listed.
type world struct {
	methods     map[string]did.Method // by URL
	begins      map[string]time.Time  // of the method
	ends        map[string]time.Time  // of the method: taken from the document
	relations   map[string][]string   // of the method; nil: all
	deactivated map[string]time.Time
	compromised map[string]time.Time // by multikey
	anchors     map[[32]byte]time.Time
}

func newWorld() *world {
	return &world{methods: map[string]did.Method{}, begins: map[string]time.Time{}, ends: map[string]time.Time{}, relations: map[string][]string{},
		deactivated: map[string]time.Time{}, compromised: map[string]time.Time{}, anchors: map[[32]byte]time.Time{}}
}

func (w *world) add(p party) {
	w.methods[p.method] = did.Method{ID: p.method, Controller: p.did, Type: "Multikey", Key: did.Ed25519Key(p.key.Public().(ed25519.PublicKey)), VersionID: "3-zQmVersion"}
}

func (w *world) resolve(url string, rel did.Relationship, at time.Time) (did.Method, error) {
	if name, _, found := strings.Cut(strings.TrimPrefix(url, "did:key:"), "#"); found && strings.HasPrefix(url, "did:key:") {
		key, err := did.ParseMultikey(name)
		return did.Method{ID: url, Controller: "did:key:" + name, Type: "Multikey", Key: key}, err
	}
	m, known := w.methods[url]
	if end, ended := w.ends[url]; !known || at.Before(w.begins[url]) || ended && !at.Before(end) {
		return m, plugins.Reject("unknown_did", "no method %s at %s", url, formatTime(at))
	}
	if list := w.relations[url]; rel != "" && list != nil && !slices.Contains(list, string(rel)) {
		return did.Method{}, plugins.Reject("not_entitled", "%s is not in %s", url, rel)
	}
	return m, nil
}

func (w *world) config() Config {
	return Config{
		Now:     now(),
		Resolve: w.resolve,
		Compromised: func(m did.Method) (time.Time, bool) {
			t, named := w.compromised[m.Key.Multikey()]
			return t, named
		},
		Deactivated: func(d string) (time.Time, bool) {
			t, gone := w.deactivated[d]
			return t, gone
		},
		Anchored: func(c [32]byte) (time.Time, bool) {
			t, found := w.anchors[c]
			return t, found
		},
	}
}

func milliseconds(t time.Time) tangle.Time { return tangle.Time(t.UnixMilli()) }

// credentialOf is an unsigned credential of an issuer about a subject.
func credentialOf(issuer, subject string) did.Object {
	return did.Object{
		"@context": []any{ContextV2, did.Object{"@vocab": "urn:weft:template:AgeOver:1#"}}, "id": "urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",
		"type": []any{"VerifiableCredential", "AgeOver"}, "issuer": issuer, "validFrom": "2026-01-01T00:00:00Z", "validUntil": "2027-01-01T00:00:00Z",
		"credentialSubject": did.Object{"id": subject, "over": json.Number("18")},
	}
}

func presentationOf(holder string, credentials ...did.Object) did.Object {
	list := []any{}
	for _, c := range credentials {
		list = append(list, c)
	}
	return did.Object{"@context": []any{ContextV2}, "type": []any{"VerifiablePresentation"}, "holder": holder, "verifiableCredential": list}
}

func proofBy(p party) ProofOptions {
	return ProofOptions{Cryptosuite: SuiteJCS, VerificationMethod: p.method, Purpose: "assertionMethod", Created: now().Add(-time.Hour)}
}

func presentedBy(p party) ProofOptions {
	return ProofOptions{Cryptosuite: SuiteJCS, VerificationMethod: p.method, Purpose: "authentication", Created: now(), Challenge: "c-1", Domain: []string{"gate.example"}}
}

func signed(t testing.TB, c Config, doc did.Object, p party, o ProofOptions) did.Object {
	t.Helper()
	out, err := AddProof(c, doc, o, p.sign)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// only expects that exactly one check failed, with this code, and that the report says so everywhere.
func only(t *testing.T, r Report, name, code string) {
	t.Helper()
	if got := r.Failures(); !slices.Equal(got, []string{name}) {
		t.Fatalf("failed checks: got %v, want %s alone; %s", got, name, reportText(r))
	}
	if c, _ := r.Check(name); c.Code != code {
		t.Errorf("code of %s: got %q, want %q (%s)", name, c.Code, code, c.Reason)
	}
	if r.Verified || len(r.Problems) != 1 {
		t.Errorf("verified %v with %d problems, want false with one", r.Verified, len(r.Problems))
	}
}

func passes(t *testing.T, r Report) {
	t.Helper()
	if !r.Verified || len(r.Failures()) != 0 || len(r.Problems) != 0 {
		t.Errorf("got %s, want every check to pass", reportText(r))
	}
}

func reportText(r Report) string {
	raw, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// with returns a copy that has other members; nil takes one away.
func with(o did.Object, members did.Object) did.Object {
	o = maps.Clone(o)
	for name, value := range members {
		if o[name] = value; value == nil {
			delete(o, name)
		}
	}
	return o
}
