package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"weft/internal/store"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

// keptStore is a node's store that the test can look into.
type keptStore struct{ store store.Store }

func newKeptStore() *keptStore { return &keptStore{store.NewMemory()} }

func (s *keptStore) open(int) store.Store { return s.store }

func (s *keptStore) contains(t *testing.T, text []byte) (found bool) {
	t.Helper()
	err := s.store.Scan(nil, nil, func(key, value []byte) bool {
		found = bytes.Contains(key, text) || bytes.Contains(value, text)
		return !found
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (w *network) patch(who person, token string, change any) reply {
	w.t.Helper()
	return w.call(0, "PATCH", who.path("/profile"), change, bearer(token)...)
}

func TestProfiles(t *testing.T) {
	s := newKeptStore()
	w := start(t, networkOptions{store: s.open})
	anna, ben := w.create(0, "anna"), w.create(0, "ben")
	a, b := w.login(0, anna), w.login(0, ben)
	var v identityView
	w.patch(anna, a, map[string]any{"username": "Anna", "type": "person", "claims": map[string]any{"motto": "canary-4711"}}).into(200, &v)
	if v.Username != "Anna" || v.Type != "person" || v.VersionID == "" || v.Created == "" {
		t.Errorf("%+v", v)
	}
	w.patch(anna, b, map[string]any{"username": "x"}).refused(403, "forbidden")
	w.patch(ben, b, map[string]any{"username": "anna"}).refused(409, "username_taken")
	w.patch(ben, b, map[string]any{"username": "no spaces"}).refused(422, "bad_value")
	w.patch(ben, b, map[string]any{"other": 1}).refused(422, "unknown_field")
	w.patch(ben, b, map[string]any{"claims": "text"}).want(400)
	w.patch(anna, a, map[string]any{"username": "anna2"}).into(200, &v)
	if string(v.Claims) == "" {
		t.Errorf("a change of the name took the claims: %+v", v)
	}
	w.patch(ben, b, map[string]any{"username": "anna"}).into(200, &v) // free again
	w.call(0, "GET", anna.path(""), nil, bearer(b)...).into(200, &v)
	if v.Username != "anna2" {
		t.Errorf("%+v", v)
	}
	w.call(0, "GET", anna.path(""), nil).refused(401, "unauthenticated")

	w.patch(anna, a, map[string]any{"hidden": true}).want(200)
	v = identityView{}
	w.call(0, "GET", anna.path(""), nil, bearer(b)...).into(200, &v)
	if v.Username != "" || v.Claims != nil || v.Hidden {
		t.Errorf("hidden, and shown: %+v", v)
	}
	w.call(0, "GET", anna.path(""), nil, bearer(a)...).into(200, &v)
	if v.Username != "anna2" || !v.Hidden {
		t.Errorf("%+v", v)
	}

	if !s.contains(t, []byte("canary-4711")) {
		t.Error("the canary is not where it is looked for")
	}
	w.call(0, "DELETE", anna.path("/profile"), nil, bearer(b)...).refused(403, "forbidden")
	w.call(0, "DELETE", anna.path("/profile"), nil, bearer(a)...).want(204)
	w.call(0, "DELETE", anna.path("/profile"), nil, bearer(a)...).want(204)
	for _, text := range []string{"canary-4711", "anna2"} {
		if s.contains(t, []byte(text)) {
			t.Errorf("%s is still in the store", text)
		}
	}
	w.call(0, "GET", identifiers(anna.did.String())+"?proof=true", nil).want(200)
}

// TestAPIKeysOnlyRead: a key with a DID is served what the DID is, and changes nothing in its name.
func TestAPIKeysOnlyRead(t *testing.T) {
	w := start(t, networkOptions{})
	anna := w.create(0, "anna")
	w.patch(anna, w.login(0, anna), map[string]any{"username": "anna", "hidden": true}).want(200)
	key := w.apiKey(anna.did.String(), "identities:read", "ledger:submit", "channels:managed", "channels:read", "credentials:issue")
	var v identityView
	if w.call(0, "GET", anna.path(""), nil, key...).into(200, &v); v.Username != "anna" {
		t.Errorf("the key sees %+v", v)
	}
	w.call(0, "PATCH", anna.path("/profile"), map[string]any{"hidden": false}, key...).refused(403, "forbidden")
	w.call(0, "DELETE", anna.path("/profile"), nil, key...).refused(403, "forbidden")
	w.call(0, "POST", "/api/v1/devices/enrolments", map[string]string{}, key...).refused(403, "forbidden")
	w.call(0, "PATCH", anna.path("/profile"), map[string]any{"hidden": false}, w.apiKey(anna.did.String(), "identities:read", "admin")...).want(200)
}

// TestAdminsAndKeysOnly: an org admin changes others' profiles; a did:key has one too.
func TestAdminsAndKeysOnly(t *testing.T) {
	admin := keyDID("admin")
	w := start(t, networkOptions{
		settings: func(int) string { return fmt.Sprintf(`{"roles":[{"role":"orgAdmin","did":%q}]}`, admin) },
	})
	key := person{name: "admin", update: keyOf("admin key"), key: keyOf("admin key")}
	c := w.challenge(0, admin, "")
	var token tokenAnswer
	w.call(0, "POST", "/api/v1/auth/tokens", map[string]string{"challengeId": c.ChallengeID, "jws": key.signAs(t, admin, c, w)}).into(200, &token)
	anna := w.create(0, "anna")
	w.patch(anna, token.AccessToken, map[string]any{"username": "anna", "hidden": true}).want(200)
	own := "/api/v1/identities/" + admin
	var v identityView
	w.call(0, "PATCH", own+"/profile", map[string]any{"username": "root", "type": "person"}, bearer(token.AccessToken)...).into(200, &v)
	if v.Username != "root" || v.Created == "" || v.VersionID != "" {
		t.Errorf("%+v", v)
	}
	var list rest.List[identityView]
	w.call(0, "GET", "/api/v1/identities", nil, bearer(token.AccessToken)...).into(200, &list)
	if len(list.Items) != 2 || list.Items[1].DID != admin {
		t.Errorf("%+v", list)
	}
	w.call(0, "PATCH", "/api/v1/identities/did:key:zNone/profile", map[string]any{}, bearer(token.AccessToken)...).refused(404, "unknown_did")
	stranger, _ := w.newPerson("stranger")
	w.patch(stranger, token.AccessToken, map[string]any{}).refused(404, "unknown_did")
	var first rest.List[identityView]
	w.call(0, "GET", "/api/v1/identities?q=ROOT", nil, bearer(w.login(0, anna))...).into(200, &first)
	if len(first.Items) != 1 {
		t.Errorf("%+v", first)
	}
}

// keyDID is the did:key of a name's key.
func keyDID(name string) string { return "did:key:" + multikeyOf(keyOf(name+" key")) }

func (p person) signAs(t *testing.T, who string, c loginChallenge, w *network) string {
	t.Helper()
	claims := did.Object{"iss": who, "aud": c.Audience, "nonce": c.Nonce, "iat": w.clock.Now().Unix()}
	jws, err := vc.SignJWS(typeLogin, who+"#"+who[len("did:key:"):], claims, signerOf(p))
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func TestIdentityList(t *testing.T) {
	w := start(t, networkOptions{})
	var all []person
	for i := range 7 {
		all = append(all, w.create(0, fmt.Sprint("person ", i)))
	}
	token := w.login(0, all[0])
	for i, p := range all {
		kind := []string{"device", "person"}[i%2]
		w.patch(p, w.login(0, p), map[string]any{"username": fmt.Sprint("name", i), "type": kind, "hidden": i == 3}).want(200)
	}
	read := func(query string) (dids []string) {
		t.Helper()
		for cursor := ""; ; {
			var page rest.List[identityView]
			w.call(0, "GET", "/api/v1/identities?limit=2"+query+cursor, nil, bearer(token)...).into(200, &page)
			for _, v := range page.Items {
				dids = append(dids, v.DID)
			}
			if page.Next == nil {
				return dids
			}
			if len(page.Items) != 2 {
				t.Errorf("a short page: %+v", page)
			}
			cursor = "&cursor=" + *page.Next
		}
	}
	want := func(query string, places ...int) {
		t.Helper()
		var list []string
		for _, i := range places {
			list = append(list, all[i].did.String())
		}
		if got := read(query); fmt.Sprint(got) != fmt.Sprint(list) {
			t.Errorf("%s: %v, want %v", query, got, list)
		}
	}
	want("", 0, 1, 2, 4, 5, 6)
	want("&type=person", 1, 5)
	want("&type=device", 0, 2, 4, 6)
	want("&q=NAME5", 5)
	want("&q=.%2A")
	want("&q="+all[6].did.SCID()[10:20], 6)
	want("&createdAfter=2001-01-01T00:00:00Z", 0, 1, 2, 4, 5, 6)
	want("&createdAfter=2101-01-01T00:00:00Z")
	for query, code := range map[string]string{"limit=0": "bad_parameter", "limit=201": "bad_parameter", "cursor=eA": "bad_cursor", "createdAfter=x": "bad_parameter", "x=y": "bad_parameter"} {
		w.call(0, "GET", "/api/v1/identities?"+query, nil, bearer(token)...).refused(400, code)
	}
}

// TestClaimsFitTheirSchema: a type that has a template has its schema.
func TestClaimsFitTheirSchema(t *testing.T) {
	o := openOffline(t, "")
	r := &records{local: o.local, now: o.clock.Now}
	schema := `{"properties":{"credentialSubject":{"$ref":"#/$defs/s"}},"$defs":{"s":{"type":"object","required":["serial"],
		"properties":{"id":{"type":"string"},"serial":{"type":"string"}},"additionalProperties":false}}}`
	for version := range 2 {
		made := template{Name: "meter", Version: version + 1, Schema: json.RawMessage([]string{`{"type":"object"}`, schema}[version])}
		if err := r.put(sortTemplate, templateID("meter", version+1), "", o.clock.Now().AddDate(1, 0, 0), made); err != nil {
			t.Fatal(err)
		}
	}
	p := &profiles{identity: &identity{records: r}}
	for claims, fits := range map[string]bool{`{"serial":"x"}`: true, `{}`: false, `{"serial":7}`: false, `{"serial":"x","more":1}`: false} {
		if err := p.checkClaims("did:key:x", "meter", json.RawMessage(claims)); (err == nil) != fits {
			t.Errorf("%s: %v", claims, err)
		}
	}
	if err := p.checkClaims("did:key:x", "other", json.RawMessage(`{"free":true}`)); err != nil {
		t.Error(err)
	}
}

// TestWhoHasAKey asks for DIDs by a key, also one that was taken out of the document since.
func TestWhoHasAKey(t *testing.T) {
	w := start(t, networkOptions{})
	anna := w.create(0, "anna")
	old := multikeyOf(anna.key)
	w.update(0, anna, content(anna.update, keyOf("anna's new key"))).want(200)
	anna.key = keyOf("anna's new key")
	token := w.login(0, anna)
	for key, want := range map[string]int{old: 1, multikeyOf(anna.key): 1, multikeyOf(keyOf("nobody's")): 0} {
		var list rest.List[identityView]
		w.call(0, "GET", "/api/v1/identities?key="+key, nil, bearer(token)...).into(200, &list)
		if len(list.Items) != want || want == 1 && list.Items[0].DID != anna.did.String() {
			t.Errorf("%s: %+v", key, list.Items)
		}
	}
	w.call(0, "GET", "/api/v1/identities?key=x", nil, bearer(token)...).refused(400, "bad_parameter")
}
