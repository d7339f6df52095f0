package did

import (
	"fmt"
	"strings"
	"testing"

	"weft/plugins"
)

func TestDocumentRules(t *testing.T) {
	self, err := Parse(vectorDID)
	if err != nil {
		t.Fatal(err)
	}
	x25519 := PublicKey{X25519, make([]byte, 32)}
	p256, err := ParseMultikey("zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv")
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := p256.JWK()
	if err != nil {
		t.Fatal(err)
	}
	secp := "zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N"
	method := func(members ...any) Object {
		o := Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": multikey(1)}
		for i := 0; i < len(members); i += 2 {
			if o[members[i].(string)] = members[i+1]; members[i+1] == nil {
				delete(o, members[i].(string))
			}
		}
		return o
	}
	jwkMethod := func(key Object) Object { return Object{"id": "#j", "type": "JsonWebKey", "publicKeyJwk": key} }
	withMember := func(o Object, name string, v any) Object {
		out := Object{name: v}
		for k, old := range o {
			if k != name {
				out[k] = old
			}
		}
		return out
	}
	methods := func(list ...any) Object { return Object{"verificationMethod": list} }
	service := func(kind, endpoint any) Object {
		return Object{"service": []any{Object{"id": "#s", "type": kind, "serviceEndpoint": endpoint}}}
	}
	numbered := func(n int, make func(i int) Object) (list []any) {
		for i := range n {
			list = append(list, make(i))
		}
		return list
	}
	bigEndpoint := "https://example.com/" + strings.Repeat("a", 2<<10)
	for name, c := range map[string]struct {
		doc  Object
		code string
	}{
		"empty":                     {Object{}, ""},
		"default":                   {DefaultDocument(public(1), x25519), ""},
		"id":                        {Object{"id": vectorDID}, "unknown_field"},
		"@context":                  {Object{"@context": []any{baseContext}}, "unknown_field"},
		"controller":                {Object{"controller": vectorDID}, "unknown_field"},
		"methods object":            {Object{"verificationMethod": Object{}}, "bad_document"},
		"method text":               {methods("#key-1"), "bad_document"},
		"method of P-256":           {methods(method("publicKeyMultibase", p256.Multikey())), ""},
		"method of secp256k1":       {methods(method("publicKeyMultibase", secp)), "bad_document"},
		"method off the curve":      {methods(method("publicKeyMultibase", PublicKey{P256, make([]byte, 33)}.Multikey())), "bad_document"},
		"method short":              {methods(method("publicKeyMultibase", PublicKey{Ed25519, make([]byte, 31)}.Multikey())), "bad_document"},
		"method twice":              {methods(method(), method()), "bad_document"},
		"method and service one id": {Object{"verificationMethod": []any{method("id", "#s")}, "service": service("a", "https://a")["service"]}, "bad_document"},
		"absolute id":               {methods(method("id", vectorDID+"#key-1")), "bad_document"},
		"id without #":              {methods(method("id", "key-1")), "bad_document"},
		"empty fragment":            {methods(method("id", "#")), "bad_document"},
		"64 characters":             {methods(method("id", "#"+strings.Repeat("a", 64))), ""},
		"65 characters":             {methods(method("id", "#"+strings.Repeat("a", 65))), "bad_document"},
		"percent in fragment":       {methods(method("id", "#%41")), "bad_document"},
		"no type":                   {methods(method("type", nil)), "bad_document"},
		"retired type":              {methods(method("type", "Ed25519VerificationKey2020")), "bad_document"},
		"no key":                    {methods(method("publicKeyMultibase", nil)), "bad_document"},
		"two keys":                  {methods(method("publicKeyJwk", jwk)), "unknown_field"},
		"unknown member":            {methods(method("x", "y")), "unknown_field"},
		"secret multibase":          {methods(method("secretKeyMultibase", "z")), "bad_document"},
		"secret jwk":                {methods(method("secretKeyJwk", Object{})), "bad_document"},
		"other controller":          {methods(method("controller", "did:web:example.com")), ""},
		"own controller":            {methods(method("controller", vectorDID)), "bad_document"},
		"relative controller":       {methods(method("controller", "#key-1")), "bad_document"},
		"controller with fragment":  {methods(method("controller", "did:web:example.com#a")), "bad_document"},
		"expires and revoked":       {methods(method("expires", "2030-01-01T00:00:00Z", "revoked", "2029-01-01T00:00:00Z")), ""},
		"expires with offset":       {methods(method("expires", "2030-01-01T00:00:00+01:00")), "bad_value"},
		"jwk":                       {methods(jwkMethod(jwk)), ""},
		"jwk with kid":              {methods(jwkMethod(withMember(jwk, "kid", "1"))), ""},
		"jwk with long kid":         {methods(jwkMethod(withMember(jwk, "kid", strings.Repeat("a", 513)))), "bad_document"},
		"jwk with d":                {methods(jwkMethod(withMember(jwk, "d", "AA"))), "bad_document"},
		"jwk with x5c":              {methods(jwkMethod(withMember(jwk, "x5c", []any{}))), "unknown_field"},
		"jwk off the curve":         {methods(jwkMethod(withMember(jwk, "y", jwk["x"]))), "bad_document"},
		"jwk as multikey":           {methods(method("type", "JsonWebKey")), "unknown_field"},
		"64 methods":                {methods(numbered(64, func(i int) Object { return method("id", fmt.Sprintf("#%d", i)) })...), ""},
		"65 methods":                {methods(numbered(65, func(i int) Object { return method("id", fmt.Sprintf("#%d", i)) })...), "too_large"},
		"reference":                 {Object{"verificationMethod": []any{method()}, "keyAgreement": []any{"#key-1", "did:key:z#z"}}, ""},
		"reference to nothing":      {Object{"authentication": []any{"#key-1"}}, "bad_document"},
		"reference to a service":    {Object{"service": service("a", "https://a")["service"], "authentication": []any{"#s"}}, "bad_document"},
		"reference to itself":       {Object{"verificationMethod": []any{method()}, "authentication": []any{vectorDID + "#key-1"}}, "bad_document"},
		"reference to a DID":        {Object{"authentication": []any{"did:web:example.com"}}, "bad_document"},
		"reference twice":           {Object{"verificationMethod": []any{method()}, "authentication": []any{"#key-1", "#key-1"}}, "bad_document"},
		"embedded method":           {Object{"authentication": []any{method()}}, "bad_document"},
		"relationship text":         {Object{"verificationMethod": []any{method()}, "authentication": "#key-1"}, "bad_document"},
		"service":                   {service("LinkedDomains", "https://example.com/"), ""},
		"service types":             {service([]any{"a", "b"}, []any{"https://a", Object{"uri": "x", "n": 1}}), ""},
		"service no type":           {service("", "https://a"), "bad_document"},
		"service empty types":       {service([]any{}, "https://a"), "bad_document"},
		"service type number":       {service(1, "https://a"), "bad_document"},
		"endpoint map":              {service("a", Object{"uri": "https://a"}), ""},
		"endpoint list empty":       {service("a", []any{}), "bad_document"},
		"endpoint number":           {service("a", 1), "bad_document"},
		"endpoint list of lists":    {service("a", []any{[]any{"https://a"}}), "bad_document"},
		"endpoint relative":         {service("a", "/path"), "bad_document"},
		"endpoint with space":       {service("a", "https://a b"), "bad_document"},
		"endpoint with line break":  {service("a", "https://a\r\nSet-Cookie: a"), "bad_document"},
		"endpoint not ASCII":        {service("a", "https://ä.example"), "bad_document"},
		"endpoint too large":        {service("a", bigEndpoint), "too_large"},
		"service more members":      {Object{"service": []any{Object{"id": "#s", "type": "a", "serviceEndpoint": "https://a", "accept": "x"}}}, "unknown_field"},
		"65 services": {Object{"service": numbered(65, func(i int) Object {
			return Object{"id": fmt.Sprintf("#%d", i), "type": "a", "serviceEndpoint": "https://a"}
		})}, "too_large"},
		"document too large": {Object{"service": numbered(10, func(i int) Object {
			return Object{"id": fmt.Sprintf("#%d", i), "type": "a", "serviceEndpoint": bigEndpoint[:1500]}
		})}, "too_large"},
		"alias":            {Object{"alsoKnownAs": []any{"https://example.com/me", "did:web:example.com"}}, ""},
		"alias twice":      {Object{"alsoKnownAs": []any{"https://a", "https://a"}}, "bad_document"},
		"alias mail":       {Object{"alsoKnownAs": []any{"mailto:a@example.com"}}, "bad_document"},
		"alias mail loud":  {Object{"alsoKnownAs": []any{"MailTo:a@example.com"}}, "bad_document"},
		"alias telephone":  {Object{"alsoKnownAs": []any{"tel:+431"}}, "bad_document"},
		"alias no URI":     {Object{"alsoKnownAs": []any{"me"}}, "bad_document"},
		"context":          {Object{"context": []any{"https://example.com/context"}}, ""},
		"context http":     {Object{"context": []any{"http://example.com/context"}}, "bad_document"},
		"context inline":   {Object{"context": []any{Object{}}}, "bad_document"},
		"context the base": {Object{"context": []any{baseContext}}, "bad_document"},
		"five contexts":    {Object{"context": []any{"https://a", "https://b", "https://c", "https://d", "https://e"}}, "too_large"},
	} {
		got := ""
		if r := plugins.Rejected(checkDocument(c.doc, self, DefaultLimits())); r != nil {
			got = r.Code
			if c.code == "" {
				t.Log(r)
			}
		}
		if got != c.code {
			t.Errorf("%s: %q, want %q", name, got, c.code)
		}
	}
}
