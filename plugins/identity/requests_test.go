package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
)

func TestPresentationRequests(t *testing.T) {
	w := start(t, networkOptions{})
	shop, other, root, issuer := w.create(0, "shop"), w.create(0, "other"), w.create(0, "root"), w.create(0, "issuer")
	federation := w.federationOf(root, issuer.did.String())
	holder := holderOf("holder")
	asShop, asOther := []string{"Authorization", "Bearer " + w.login(0, shop)}, []string{"Authorization", "Bearer " + w.login(0, other)}
	const path = "/api/v1/presentation-requests"
	const domain = "https://shop.example"
	pointer := "/credentialSubject/ageOver"
	ask := func(more did.Object) did.Object {
		o := did.Object{
			"purpose": "Buy wine", "audience": domain, "federation": federation, "ttl": 60,
			"requested": []any{did.Object{"template": "AgeOver", "claims": []any{did.Object{"pointer": pointer}}, "expect": []any{did.Object{"pointer": pointer, "equals": 18}}}},
		}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	post := func(more did.Object) reply { return w.call(0, "POST", path, ask(more), asShop...) }
	type made struct{ ID, Nonce, URI, ExpiresAt string }
	fresh := func() (m made) {
		post(nil).into(201, &m)
		return m
	}
	w.call(0, "POST", path, ask(nil)).refused(401, "unauthenticated")
	post(did.Object{"ttl": 601}).refused(422, "bad_value")
	post(did.Object{"requested": []any{}}).refused(422, "bad_value")
	post(did.Object{"requested": []any{did.Object{"template": "AgeOver", "type": "AgeOver"}}}).refused(422, "bad_value")
	post(did.Object{"requested": []any{did.Object{"type": "AgeOver"}}}).refused(422, "bad_value") // asks the federation about nothing
	post(did.Object{"requested": []any{did.Object{"template": "None"}}}).refused(404, "not_found")
	post(did.Object{"federation": "zQmnone"}).refused(404, "unknown_federation")

	credential := w.issue(issuer, unsigned(issuer.did.String(), holder.did(), did.Object{"ageOver": 18, "secret": "canary"}))
	present := func(nonce string, credentials ...any) did.Object {
		return holder.present(t, vc.ProofOptions{Challenge: nonce, Domain: []string{domain}, Created: w.clock.Now()}, credentials...)
	}
	m := fresh()
	if !strings.HasSuffix(m.URI, path+"/"+m.ID) {
		t.Errorf("uri %s", m.URI)
	}
	var asked presentationAsked
	w.call(0, "GET", path+"/"+m.ID, nil).into(200, &asked)
	if asked.Nonce != m.Nonce || asked.Audience != domain || len(asked.Requested) != 1 {
		t.Errorf("asked %+v", asked)
	}
	result := func(m made) (j struct {
		Received, Verified bool
		Report             testReport
		Requested          []struct {
			Satisfied bool
			Claims    map[string]any
			TrustPath []string
		}
	}) {
		r := w.call(0, "GET", path+"/"+m.ID+"/result", nil, asShop...).into(200, &j)
		if strings.Contains(string(r.body), "canary") {
			t.Errorf("a claim that nobody asked for is kept: %s", r.body)
		}
		return j
	}
	if j := result(m); j.Received {
		t.Error("a result before the response")
	}
	answer := func(m made, vp any) reply { return w.call(0, "POST", path+"/"+m.ID+"/responses", vp) }
	answer(m, present("another nonce", credential)).refused(400, "refused") // does not use the request up
	answer(m, `{}`).refused(400, "refused")
	answer(m, present(m.Nonce, credential)).want(200)
	answer(m, present(m.Nonce, credential)).refused(401, "challenge_used")
	j := result(m)
	if !j.Verified || len(j.Requested) != 1 || !j.Requested[0].Satisfied || len(j.Requested[0].TrustPath) != 2 {
		t.Fatalf("result %+v", j)
	}
	if got, _ := json.Marshal(j.Requested[0].Claims); string(got) != `{"/credentialSubject/ageOver":18}` {
		t.Errorf("claims %s", got)
	}
	w.call(0, "GET", path+"/"+m.ID+"/result", nil, asOther...).refused(404, "not_found")
	w.call(0, "GET", path+"/"+m.ID+"/result", nil).refused(401, "unauthenticated")

	for name, credentials := range map[string][]any{
		"no credential":  {},
		"another value":  {w.issue(issuer, unsigned(issuer.did.String(), holder.did(), did.Object{"ageOver": 16}))},
		"another issuer": {w.issue(other, unsigned(other.did.String(), holder.did(), did.Object{"ageOver": 18}))},
	} {
		m := fresh()
		answer(m, present(m.Nonce, credentials...)).want(200)
		if j := result(m); j.Verified || !j.Received || j.Requested[0].Satisfied {
			t.Errorf("%s: %+v", name, j)
		}
	}
	late := fresh()
	w.clock.Forward(61 * time.Second)
	answer(late, present(late.Nonce, credential)).refused(401, "challenge_expired")
	w.clock.Forward(requestKeptFor)
	w.call(0, "GET", path+"/"+m.ID, nil).refused(404, "not_found")
}
