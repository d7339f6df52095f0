package identity

import (
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/trust"
	"weft/plugins/rest"
)

func TestTrustRoutes(t *testing.T) {
	admin := holderOf("admin")
	w := start(t, networkOptions{nodes: 2, settings: func(int) string { return roleRules("orgAdmin", admin.did()) }}).ready()
	root, second, bank := w.create(0, "root"), w.create(0, "second"), w.create(0, "bank")
	federation := w.federationOf(root, bank.did.String())
	path := "/api/v1/trust/federations/" + federation

	ask := func(i int, more did.Object) (a evaluation) {
		o := did.Object{"federation": federation, "attester": bank.did.String(), "property": "person.age_over", "value": 18}
		for k, v := range more {
			o[k] = v
		}
		w.call(i, "POST", "/api/v1/trust/evaluate", o).into(200, &a)
		return a
	}
	w.within(5*time.Second, "trusted on node 1", func() bool { return ask(1, nil).Trusted })
	if a := ask(0, nil); !a.AtIssuance || !a.Now || len(a.Path) != 2 || a.Path[0].DID != root.did.String() || a.Believed {
		t.Errorf("answer %+v", a)
	}
	for _, c := range []struct {
		more   did.Object
		reason trust.Reason
	}{
		{did.Object{"value": 21}, trust.OutOfScope},
		{did.Object{"attester": root.did.String()}, trust.NotAccredited},
		{did.Object{"federation": "zQmnone"}, trust.UnknownFederation},
		{did.Object{"at": "2001-01-01T00:00:00Z"}, trust.NotAccredited},
	} {
		if a := ask(0, c.more); a.Trusted || a.Reason != c.reason {
			t.Errorf("%v: %+v, want %s", c.more, a, c.reason)
		}
	}
	w.call(0, "POST", "/api/v1/trust/evaluate", did.Object{"federation": federation, "attester": bank.did.String(), "property": "person.age_over"}).refused(422, "bad_value")
	w.call(0, "POST", "/api/v1/trust/evaluate", `{"federation":"a","attester":"b","property":"c","value":null}`).refused(422, "bad_value")

	var f struct {
		ID, Name   string
		Roots      []trust.RootRecord
		Properties []trust.PropertyRecord
	}
	w.call(1, "GET", path, nil).into(200, &f)
	if f.ID != federation || f.Name != "ages" || len(f.Roots) != 1 || len(f.Properties) != 1 {
		t.Errorf("federation %+v", f)
	}
	w.call(0, "GET", "/api/v1/trust/federations/zQmnone", nil).refused(404, "unknown_federation")
	w.send(0, path+"/roots", trust.NewAddRoot(w.header(root.did.String()), federation, second.did.String()), root.key, second.key).want(200)
	w.send(0, path+"/properties", trust.NewAddProperty(w.header(root.did.String()), federation, trust.Property{Path: "person.resident", Any: true}), root.key, second.key).want(200)
	w.call(0, "GET", path, nil).into(200, &f)
	if len(f.Roots) != 2 || len(f.Properties) != 2 {
		t.Errorf("with another root and property: %+v", f)
	}
	again := w.federationOf(second, bank.did.String())
	var first, list rest.List[trust.Federation]
	w.call(0, "GET", "/api/v1/trust/federations?limit=1", nil).into(200, &first)
	w.call(0, "GET", "/api/v1/trust/federations?limit=1&cursor="+*first.Next, nil).into(200, &list)
	if len(first.Items) != 1 || len(list.Items) != 1 || list.Next != nil || first.Items[0].ID == list.Items[0].ID {
		t.Errorf("pages %+v %+v", first, list)
	}

	grant := w.grantTo(root, federation, second.did.String())
	var graph rest.List[trust.Grant]
	w.call(0, "GET", path+"/graph", nil).into(200, &graph)
	if len(graph.Items) != 2 || graph.Items[0].Under != trust.Root {
		t.Errorf("graph %+v", graph)
	}
	revoke := func(path string) reply {
		body := trust.NewRevoke(w.header(root.did.String()), grant, trust.Revoking{Cascade: true, EffectiveAt: instant(w.clock.Now().Truncate(time.Second))})
		return w.send(0, path, body, root.key)
	}
	revoke("/api/v1/trust/accreditations/zQmother/revoke").refused(422, "bad_value")
	revoke(path+"/accreditations").refused(422, "bad_value")
	revoke("/api/v1/trust/accreditations/" + grant + "/revoke").want(200)
	if a := ask(0, did.Object{"attester": second.did.String()}); a.Trusted || a.Reason != trust.Revoked {
		t.Errorf("after the revocation: %+v", a)
	}
	var g trust.Grant
	w.call(0, "GET", "/api/v1/trust/accreditations/"+grant, nil).into(200, &g)
	if len(g.Revoked) == 0 {
		t.Errorf("grant %+v", g)
	}
	w.call(0, "GET", "/api/v1/trust/accreditations/zQmnone", nil).refused(404, "unknown_grant")

	asAdmin := w.enter(0, admin)
	believe := func(o did.Object, headers ...string) reply {
		return w.call(0, "PUT", "/api/v1/trust/roots", o, headers...)
	}
	roots := did.Object{"dids": []string{root.did.String()}, "federations": []string{federation}}
	believe(roots).refused(401, "unauthenticated")
	believe(roots, "Authorization", "Bearer "+w.login(0, bank)).refused(403, "forbidden")
	believe(did.Object{"dids": []string{"nobody"}}, asAdmin...).refused(422, "bad_value")
	believe(did.Object{"federations": []string{"zQmnone"}}, asAdmin...).refused(404, "unknown_federation")
	believe(roots, asAdmin...).want(200)
	var b believed
	if w.call(0, "GET", "/api/v1/trust/roots", nil).into(200, &b); len(b.DIDs) != 1 || len(b.Federations) != 1 {
		t.Errorf("believed %+v", b)
	}
	if !ask(0, nil).Believed || ask(0, did.Object{"federation": again}).Believed || ask(1, nil).Believed {
		t.Error("believed is not this node's own list")
	}
}
