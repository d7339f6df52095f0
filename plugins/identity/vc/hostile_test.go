package vc

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
)

// knot is a subject of blank nodes that all know each other, so that no canonical order is found soon.
func knot(id string, nodes int) did.Object {
	var list []any
	for i := range nodes {
		var others []any
		for j := range nodes {
			if i != j {
				others = append(others, did.Object{"id": fmt.Sprintf("_:b%d", j)})
			}
		}
		list = append(list, did.Object{"id": fmt.Sprintf("_:b%d", i), "knows": others})
	}
	return did.Object{"id": id, "n": list}
}

func TestPoisonGraph(t *testing.T) {
	s := newScene(t)
	s.config.Contexts = contexts(t)
	o := proofBy(s.issuer)
	o.Cryptosuite = SuiteRDFC
	good := signed(t, s.config, credentialOf(s.issuer.did, s.holder.did), s.issuer, o)
	poison := clone(t, with(good, did.Object{"credentialSubject": knot(s.holder.did, 10)}))
	r := Verify(s.config, text(t, poison), Options{})
	only(t, r, CheckSignature, "bad_signature")
	if c, _ := r.Check(CheckSignature); !strings.Contains(c.Reason, "too much work") {
		t.Errorf("a poison graph is refused for another reason: %s", c.Reason)
	}
	var many []did.Object
	for range MaxCredentials {
		many = append(many, poison)
	}
	r = s.verify(t, s.present(t, presentedBy(s.holder), many...))
	only(t, r, CheckSignature, "bad_signature")
	if len(r.Credentials) != 1 {
		t.Errorf("%d credentials were worked on, want the first alone", len(r.Credentials))
	}
}

func TestCredentialOfTheOldModel(t *testing.T) {
	c := newWorld().config()
	c.Contexts = contexts(t)
	issuer := newParty(1)
	doc := did.Object{
		"@context": []any{ContextV1, jsonld.DataIntegrityV2, did.Object{"over": "urn:x:over"}}, "id": "urn:x:1", "type": []any{"VerifiableCredential"},
		"issuer": issuer.did, "issuanceDate": "2026-01-01T00:00:00Z", "credentialSubject": did.Object{"id": "urn:x:2", "over": json.Number("18")},
	}
	o := proofBy(issuer)
	o.Cryptosuite = SuiteRDFC
	good := signed(t, c, doc, issuer, o)
	passes(t, Verify(c, text(t, good), Options{}))
	only(t, Verify(c, text(t, with(good, did.Object{"issuanceDate": "2025-01-01T00:00:00Z"})), Options{}), CheckSignature, "bad_signature")
	only(t, Verify(c, text(t, with(good, did.Object{"issuanceDate": nil})), Options{}), CheckFormat, "format_invalid")
}
