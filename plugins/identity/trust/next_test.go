package trust

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// foreign is a hash that names nothing.
const foreign = "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"

func TestDecodeRefuses(t *testing.T) {
	l := newLedger()
	h := func() operation.Header { return l.header(actor(1)) }
	federation := func(change func(*FederationTerms)) did.Object {
		f := FederationTerms{Name: "x", Roots: []string{actor(1), actor(2), actor(3)}, Threshold: 2, MaxDepth: 4, Properties: ages()}
		change(&f)
		return NewFederation(h(), f)
	}
	granted := func(change func(*GrantTerms)) did.Object {
		g := grant(foreign, 2)
		change(&g)
		return NewGrant(h(), g)
	}
	with := func(body did.Object, name string, value any) did.Object {
		if body[name] = value; value == nil {
			delete(body, name)
		}
		return body
	}
	revoking := Revoking{EffectiveAt: second(0)}
	for _, c := range []struct {
		name string
		body did.Object
		want string
	}{
		{"federation", federation(func(f *FederationTerms) {}), ""},
		{"federation without properties", federation(func(f *FederationTerms) { f.Properties = nil }), ""},
		{"no name", federation(func(f *FederationTerms) { f.Name = "" }), "bad_value"},
		{"a long name", federation(func(f *FederationTerms) { f.Name = strings.Repeat("x", MaxNameBytes+1) }), "bad_value"},
		{"no roots", federation(func(f *FederationTerms) { f.Roots, f.Threshold = nil, 1 }), "bad_value"},
		{"all roots needed", federation(func(f *FederationTerms) { f.Threshold = 3 }), "bad_value"},
		{"threshold 0", federation(func(f *FederationTerms) { f.Threshold = 0 }), "bad_value"},
		{"one root", federation(func(f *FederationTerms) { f.Roots, f.Threshold = f.Roots[:1], 1 }), ""},
		{"two of two", federation(func(f *FederationTerms) { f.Roots = f.Roots[:2] }), "bad_value"},
		{"too deep", federation(func(f *FederationTerms) { f.MaxDepth = 5 }), "bad_value"},
		{"negative depth", federation(func(f *FederationTerms) { f.MaxDepth = -1 }), "bad_value"},
		{"a path twice", federation(func(f *FederationTerms) { f.Properties = append(ages(), ages()[0]) }), "bad_property"},
		{"a property without a constraint", federation(func(f *FederationTerms) { f.Properties = []Property{{Path: "a"}} }), "bad_value"},
		{"a root that cannot sign", federation(func(f *FederationTerms) { f.Roots[0] = "did:web:example.org" }), "bad_value"},
		{"roots unsorted", with(federation(func(f *FederationTerms) {}), "roots", []any{"did:key:z2", "did:key:z1"}), "bad_value"},
		{"root twice", with(federation(func(f *FederationTerms) { f.Threshold = 1 }), "roots", []any{actor(1), actor(1)}), "bad_value"},

		{"grant", granted(func(g *GrantTerms) {}), ""},
		{"accredit", granted(func(g *GrantTerms) { g.Kind, g.MaxDepth = Accredit, 4 }), ""},
		{"attest with depth", granted(func(g *GrantTerms) { g.MaxDepth = 1 }), "bad_value"},
		{"accredit without depth", granted(func(g *GrantTerms) { g.Kind = Accredit }), "bad_value"},
		{"accredit too deep", granted(func(g *GrantTerms) { g.Kind, g.MaxDepth = Accredit, 5 }), "depth_exceeded"},
		{"another kind", granted(func(g *GrantTerms) { g.Kind = "delegate" }), "bad_value"},
		{"no properties", granted(func(g *GrantTerms) { g.Properties = nil }), "bad_value"},
		{"17 properties", granted(func(g *GrantTerms) { g.Properties = slices.Repeat(g.Properties, 17) }), "bad_value"},
		{"16 properties", granted(func(g *GrantTerms) { g.Properties = slices.Repeat(g.Properties, 16) }), ""},
		{"a pattern", granted(func(g *GrantTerms) { g.Properties[0].Path = "person.*" }), ""},
		{"no path", granted(func(g *GrantTerms) { g.Properties[0].Path = "person.*.x" }), "bad_property"},
		{"ends before it begins", granted(func(g *GrantTerms) { g.ValidUntil = second(-1) }), "bad_value"},
		{"a property outside the grant's time", granted(func(g *GrantTerms) { g.Properties[0].ValidFrom = second(1001) }), "bad_property"},
		{"under nothing", granted(func(g *GrantTerms) { g.Under = "top" }), "bad_value"},
		{"under a grant", granted(func(g *GrantTerms) { g.Under = foreign }), ""},
		{"a subject of another method", granted(func(g *GrantTerms) { g.Subject = "did:web:example.org" }), ""},
		{"a subject that is a URL", granted(func(g *GrantTerms) { g.Subject = "did:web:example.org#key" }), "bad_value"},
		{"a subject of another network", granted(func(g *GrantTerms) { g.Subject = "did:weft:t2iac44k:" + foreign }), "wrong_network"},
		{"a broken did:weft", granted(func(g *GrantTerms) { g.Subject = "did:weft:x" }), "bad_value"},
		{"no validUntil", with(granted(func(g *GrantTerms) {}), "validUntil", nil), "bad_value"},
		{"cascade in a grant", with(granted(func(g *GrantTerms) {}), "cascade", true), "unknown_field"},

		{"revoke", NewRevoke(h(), foreign, revoking), ""},
		{"revoke without cascade", with(NewRevoke(h(), foreign, revoking), "cascade", nil), "bad_value"},
		{"revoke with a text", with(NewRevoke(h(), foreign, revoking), "cascade", "true"), "bad_value"},
		{"revoke without a time", with(NewRevoke(h(), foreign, revoking), "effectiveAt", nil), "bad_value"},
		{"revoke no grant", NewRevoke(h(), "root", revoking), "bad_value"},
		{"root.add", NewAddRoot(h(), foreign, actor(2)), ""},
		{"root.add did:web", NewAddRoot(h(), foreign, "did:web:example.org"), "bad_value"},
		{"root.revoke", NewRevokeRoot(h(), foreign, actor(2), revoking), ""},
		{"root.reinstate", NewReinstateRoot(h(), foreign, actor(2)), ""},
		{"root.reinstate with cascade", with(NewReinstateRoot(h(), foreign, actor(2)), "cascade", false), "unknown_field"},
		{"property.add", NewAddProperty(h(), foreign, ages()[0]), ""},
		{"property.add of nothing", with(NewAddProperty(h(), foreign, ages()[0]), "property", did.Object{}), "bad_value"},
		{"property.revoke", NewRevokeProperty(h(), foreign, "a", revoking), ""},
		{"threshold.set", NewSetThreshold(h(), foreign, 2), ""},
		{"threshold.set 0", NewSetThreshold(h(), foreign, 0), "bad_value"},
		{"another op", with(NewSetThreshold(h(), foreign, 2), "op", "threshold.get"), "bad_value"},
		{"another type", with(NewSetThreshold(h(), foreign, 2), "type", "weft/status/1"), "bad_value"},
		{"another network", with(NewSetThreshold(h(), foreign, 2), "network", tangle.ID{8}.String()), "wrong_network"},
	} {
		_, err := Decode(network(), did.DefaultLimits(), sign(t, c.body, 1))
		if got := plugintest.Code(t, err); got != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.name, got, err, c.want)
		}
	}
	entry := sign(t, NewSetThreshold(h(), foreign, 2), 1)
	entry = bytes.Replace(entry, []byte(`"threshold":2`), []byte(`"threshold":1`), 1)
	if _, err := Decode(network(), did.DefaultLimits(), entry); plugintest.Code(t, err) != "bad_signature" {
		t.Errorf("a changed body: %v", err)
	}
}

func TestGrants(t *testing.T) {
	l := newLedger()
	f := l.found(t, 1, ages(), 1, 2)
	other := l.found(t, 1, ages(), 1)
	deep := l.must(t, NewGrant(l.header(actor(1)), accredit(f, 10, 2)), 1)
	leaf := l.must(t, NewGrant(l.header(actor(1)), grant(f, 11)), 1)
	elsewhere := l.must(t, NewGrant(l.header(actor(1)), accredit(other, 10, 1)), 1)
	later := accredit(f, 10, 1)
	later.ValidFrom = second(500)
	later.Under = Root
	asleep := l.must(t, NewGrant(l.header(actor(1)), later), 1)

	under := func(parent string, g GrantTerms, change func(*GrantTerms)) GrantTerms {
		g.Under = parent
		change(&g)
		return g
	}
	none := func(*GrantTerms) {}
	values := func(list ...Value) func(*GrantTerms) {
		return func(g *GrantTerms) { g.Properties[0].Values = list }
	}
	l.at(10)
	for _, c := range []struct {
		name string
		by   byte
		g    GrantTerms
		want string
	}{
		{"another root", 2, grant(f, 12), ""},
		{"no root", 3, grant(f, 12), "not_entitled"},
		{"as deep as the federation allows", 1, accredit(f, 12, 2), ""},
		{"deeper", 1, accredit(f, 12, 3), "depth_exceeded"},
		{"more than the federation's property", 1, under(Root, grant(f, 12), values(Integer(100))), "not_attenuated"},
		{"a path of the federation's pattern", 1, under(Root, grant(f, 12), func(g *GrantTerms) { g.Properties[0].Path = "meter.serial" }), ""},
		{"a path that only begins like it", 1, under(Root, grant(f, 12), func(g *GrantTerms) { g.Properties[0].Path = "meters.serial" }), "not_attenuated"},
		{"no such federation", 1, grant(foreign, 12), "unknown_federation"},
		{"by the accredited", 10, under(deep, grant(f, 12), none), ""},
		{"accredit further", 10, under(deep, accredit(f, 12, 1), none), ""},
		{"by somebody else", 11, under(deep, grant(f, 12), none), "not_entitled"},
		{"a root under a grant of another", 1, under(deep, grant(f, 12), none), "not_entitled"},
		{"the same depth", 10, under(deep, accredit(f, 12, 2), none), "depth_exceeded"},
		{"under an attest grant", 11, under(leaf, grant(f, 12), none), "depth_exceeded"},
		{"a value more", 10, under(deep, grant(f, 12), values(Integer(18), Integer(19))), "not_attenuated"},
		{"any", 10, under(deep, grant(f, 12), func(g *GrantTerms) { g.Properties = []Property{{Path: "person.age_over", Any: true}} }), "not_attenuated"},
		{"another path", 10, under(deep, grant(f, 12), func(g *GrantTerms) { g.Properties[0].Path = "person.age_over.x" }), "not_attenuated"},
		{"a second later", 10, under(deep, grant(f, 12), func(g *GrantTerms) { g.ValidUntil = second(1001) }), "not_attenuated"},
		{"a second earlier", 10, under(deep, grant(f, 12), func(g *GrantTerms) { g.ValidFrom = second(-1) }), "not_attenuated"},
		{"under a grant of another federation", 10, under(elsewhere, grant(f, 12), none), "unknown_grant"},
		{"under nothing", 10, under(foreign, grant(f, 12), none), "unknown_grant"},
		{"under a grant that is not in force yet", 10, under(asleep, grant(f, 12), func(g *GrantTerms) { g.ValidFrom = second(500) }), "not_attenuated"},
	} {
		if _, code := l.apply(t, NewGrant(l.header(actor(c.by)), c.g), c.by); code != c.want {
			t.Errorf("%s: got %q, want %q", c.name, code, c.want)
		}
	}
	if _, code := l.apply(t, NewGrant(l.header(actor(1)), grant(f, 12)), 2); code != "not_entitled" {
		t.Errorf("signed by another root: %q", code)
	}
	l.must(t, NewRevoke(l.header(actor(1)), deep, Revoking{EffectiveAt: second(20)}), 1)
	if _, code := l.apply(t, NewGrant(l.header(actor(10)), under(deep, grant(f, 13), none)), 10); code != "" {
		t.Errorf("before the revocation takes effect: %q", code)
	}
	l.at(20)
	if _, code := l.apply(t, NewGrant(l.header(actor(10)), under(deep, grant(f, 13), none)), 10); code != "grant_revoked" {
		t.Errorf("after it: %q", code)
	}
}

// A property's own validity counts inside the grant's.
func TestPropertyTimes(t *testing.T) {
	l := newLedger()
	f := l.found(t, 1, ages(), 1)
	g := accredit(f, 10, 1)
	g.Properties[0].ValidFrom, g.Properties[0].ValidUntil = second(100), second(200)
	parent := l.must(t, NewGrant(l.header(actor(1)), g), 1)
	for _, c := range []struct {
		from, until int // of the grant
		pFrom       int // of the property, 0: none
		want        string
	}{{0, 1000, 0, "not_attenuated"}, {100, 200, 0, ""}, {0, 200, 100, ""}, {0, 201, 100, "not_attenuated"}, {99, 200, 0, "not_attenuated"}} {
		child := grant(f, 11)
		child.Under, child.ValidFrom, child.ValidUntil = parent, second(c.from), second(c.until)
		if c.pFrom != 0 {
			child.Properties[0].ValidFrom = second(c.pFrom)
		}
		if _, code := l.apply(t, NewGrant(l.header(actor(10)), child), 10); code != c.want {
			t.Errorf("%+v: got %q", c, code)
		}
	}
	wide := grant(f, 11)
	wide.Under, wide.ValidUntil = parent, second(2000)
	wide.Properties[0].ValidFrom, wide.Properties[0].ValidUntil = second(100), second(200)
	if _, code := l.apply(t, NewGrant(l.header(actor(10)), wide), 10); code != "not_attenuated" {
		t.Errorf("a property in time in a grant that is not: %q", code)
	}
	l.at(50)
	for now, want := range map[int]bool{99: false, 100: true, 200: true, 201: false} {
		if a := l.ask(t, f, 11, now, now, now); a.Trusted != want {
			t.Errorf("at %d: %+v", now, a)
		}
	}
}

func TestManyGrants(t *testing.T) {
	l := newLedger()
	f := l.found(t, 1, ages(), 1)
	prefix := indexPrefix(f, actor(12))
	for i := range MaxGrantsPerSubject - 1 {
		l.state.Set([]byte(prefix+did.Multihash([]byte{byte(i), byte(i >> 8)})), []byte(Attest))
	}
	for i, want := range []string{"", "rate_limited"} {
		if _, code := l.apply(t, NewGrant(l.header(actor(1)), grant(f, 12)), 1); code != want {
			t.Errorf("%d: %q", i, code)
		}
	}
	if _, code := l.apply(t, NewGrant(l.header(actor(1)), grant(f, 13)), 1); code != "" {
		t.Errorf("another subject: %q", code)
	}
}

func TestRevokers(t *testing.T) {
	l := newLedger()
	f := l.found(t, 2, ages(), 1, 2, 3)
	now := Revoking{EffectiveAt: second(0)}
	middle := l.must(t, NewGrant(l.header(actor(1)), accredit(f, 10, 2)), 1)
	g := accredit(f, 11, 1)
	g.Under = middle
	low := l.must(t, NewGrant(l.header(actor(10)), g), 10)
	leaf := func() string {
		g := grant(f, 12)
		g.Under = low
		return l.must(t, NewGrant(l.header(actor(11)), g), 11)
	}
	for _, c := range []struct {
		name  string
		actor byte
		seeds []byte
		want  string
	}{
		{"the grantor", 11, []byte{11}, ""},
		{"the grantor above", 10, []byte{10}, ""},
		{"the root above", 1, []byte{1}, ""},
		{"another root", 2, []byte{2}, "threshold"},
		{"two other roots", 2, []byte{2, 3}, ""},
		{"two roots, the actor not among them", 2, []byte{1, 3}, "not_entitled"},
		{"the subject", 12, []byte{12}, "not_entitled"},
		{"the grantor's name, another's key", 11, []byte{12}, "not_entitled"},
	} {
		if _, code := l.apply(t, NewRevoke(l.header(actor(c.actor)), leaf(), now), c.seeds...); code != c.want {
			t.Errorf("%s: got %q, want %q", c.name, code, c.want)
		}
	}
	left := leaf()
	l.must(t, NewRevoke(l.header(actor(10)), low, now), 10)
	if _, code := l.apply(t, NewRevoke(l.header(actor(11)), left, Revoking{true, second(0)}), 11); code != "not_entitled" {
		t.Errorf("a grantor that lost its own grant: %q", code)
	}
	for _, c := range []struct {
		cascade bool
		want    string
	}{{false, ""}, {false, "grant_revoked"}, {true, ""}, {true, "grant_revoked"}, {false, "grant_revoked"}} {
		if _, code := l.apply(t, NewRevoke(l.header(actor(10)), left, Revoking{c.cascade, second(0)}), 10); code != c.want {
			t.Errorf("cascade %t: got %q, want %q", c.cascade, code, c.want)
		}
	}
	if _, code := l.apply(t, NewRevoke(l.header(actor(1)), foreign, now), 1); code != "unknown_grant" {
		t.Errorf("no grant: %q", code)
	}
	l.must(t, NewRevokeRoot(l.header(actor(2)), f, actor(1), now), 2, 3)
	if _, code := l.apply(t, NewRevoke(l.header(actor(1)), middle, now), 1); code != "not_entitled" {
		t.Errorf("a revoked root: %q", code)
	}
}

func TestRoots(t *testing.T) {
	l := newLedger()
	f := l.found(t, 2, ages(), 1, 2, 3)
	now := Revoking{EffectiveAt: second(0)}
	for _, c := range []struct {
		name  string
		body  func(operation.Header) did.Object
		actor byte
		seeds []byte
		want  string
	}{
		{"one root adds", func(h operation.Header) did.Object { return NewAddRoot(h, f, actor(4)) }, 1, []byte{1}, "threshold"},
		{"with the new one's key", func(h operation.Header) did.Object { return NewAddRoot(h, f, actor(4)) }, 1, []byte{1, 4}, "threshold"},
		{"a stranger", func(h operation.Header) did.Object { return NewAddRoot(h, f, actor(4)) }, 5, []byte{1, 2, 5}, "not_entitled"},
		{"two add", func(h operation.Header) did.Object { return NewAddRoot(h, f, actor(4)) }, 1, []byte{1, 2}, ""},
		{"again", func(h operation.Header) did.Object { return NewAddRoot(h, f, actor(4)) }, 1, []byte{1, 2}, "already_exists"},
		{"a threshold of 3 of 4", func(h operation.Header) did.Object { return NewSetThreshold(h, f, 3) }, 1, []byte{1, 2}, ""},
		{"of 4 of 4", func(h operation.Header) did.Object { return NewSetThreshold(h, f, 4) }, 1, []byte{1, 2, 3}, "bad_value"},
		{"the one concerned does not count", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(4), now) }, 1, []byte{1, 2, 4}, "threshold"},
		{"nor acts", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(4), now) }, 4, []byte{1, 2, 3, 4}, "not_entitled"},
		{"the others remove it", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(4), now) }, 1, []byte{1, 2, 3}, ""},
		{"it has no voice", func(h operation.Header) did.Object { return NewSetThreshold(h, f, 1) }, 4, []byte{1, 2, 4}, "not_entitled"},
		{"and grants nothing", func(h operation.Header) did.Object { return NewGrant(h, grant(f, 12)) }, 4, []byte{4}, "not_entitled"},
		{"and adds nothing", func(h operation.Header) did.Object { return NewSetThreshold(h, f, 1) }, 1, []byte{1, 4}, "threshold"},
		{"it cannot bring itself back", func(h operation.Header) did.Object { return NewReinstateRoot(h, f, actor(4)) }, 4, []byte{1, 2, 4}, "not_entitled"},
		{"removed twice", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(4), now) }, 1, []byte{1, 2}, "grant_revoked"},
		{"added anew", func(h operation.Header) did.Object { return NewAddRoot(h, f, actor(4)) }, 1, []byte{1, 2}, "already_exists"},
		{"the others remove one of three", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(3), now) }, 1, []byte{1, 2}, ""},
		{"one of two", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(2), now) }, 1, []byte{1}, ""},
		{"the last stays", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(1), now) }, 1, []byte{1}, "not_entitled"},
		{"one brings another back", func(h operation.Header) did.Object { return NewReinstateRoot(h, f, actor(2)) }, 1, []byte{1}, ""},
		{"once", func(h operation.Header) did.Object { return NewReinstateRoot(h, f, actor(2)) }, 1, []byte{1}, "already_exists"},
		{"no root", func(h operation.Header) did.Object { return NewReinstateRoot(h, f, actor(9)) }, 1, []byte{1}, "bad_value"},
		{"revoke no root", func(h operation.Header) did.Object { return NewRevokeRoot(h, f, actor(9), now) }, 1, []byte{1}, "bad_value"},
		{"no federation", func(h operation.Header) did.Object { return NewSetThreshold(h, foreign, 1) }, 1, []byte{1}, "unknown_federation"},
	} {
		if _, code := l.apply(t, c.body(l.header(actor(c.actor))), c.seeds...); code != c.want {
			t.Errorf("%s: got %q, want %q", c.name, code, c.want)
		}
		now, err := ReadFederation(l.state, f)
		if err != nil || !fits(now.Threshold, now.voices()) {
			t.Fatalf("%s: threshold %d of %d, %v", c.name, now.Threshold, now.voices(), err)
		}
	}
	for seed := byte(20); ; seed++ {
		if _, code := l.apply(t, NewAddRoot(l.header(actor(1)), f, actor(seed)), 1); code != "" {
			kept, _ := ReadFederation(l.state, f)
			if code != "rate_limited" || len(kept.Roots) != MaxRoots {
				t.Errorf("%q with %d roots", code, len(kept.Roots))
			}
			break
		}
	}
}

func TestProperties(t *testing.T) {
	l := newLedger()
	f := l.found(t, 2, nil, 1, 2, 3)
	now := Revoking{EffectiveAt: second(0)}
	add := func(p Property, seeds ...byte) string {
		_, code := l.apply(t, NewAddProperty(l.header(actor(seeds[0])), f, p), seeds...)
		return code
	}
	revoke := func(path string, r Revoking, seeds ...byte) string {
		_, code := l.apply(t, NewRevokeProperty(l.header(actor(seeds[0])), f, path, r), seeds...)
		return code
	}
	granted := func() string {
		_, code := l.apply(t, NewGrant(l.header(actor(1)), grant(f, 12)), 1)
		return code
	}
	got := []string{
		granted(), add(ages()[0], 1), add(ages()[0], 1, 2), add(ages()[0], 1, 2), granted(),
		revoke("person", now, 1, 2), revoke("person.age_over", now, 1), revoke("person.age_over", now, 1, 3), granted(),
		revoke("person.age_over", now, 1, 3), revoke("person.age_over", Revoking{true, second(0)}, 1, 3),
		add(Property{Path: "person.age_over", Values: []Value{Integer(18)}}, 2, 3), granted(),
	}
	want := []string{
		"not_attenuated", "threshold", "", "already_exists", "",
		"bad_property", "threshold", "", "not_attenuated",
		"bad_property", "",
		"", "",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	list, err := Properties(l.state, f)
	if err != nil || len(list) != 1 || len(list[0].Terms) != 2 || len(list[0].Terms[0].Revoked) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

// counting counts what is read through it.
type counting struct {
	plugins.View
	bytes int
}

func (c *counting) Get(key []byte) []byte {
	b := c.View.Get(key)
	c.bytes += len(b)
	return b
}

func (c *counting) Scan(from, to []byte, visit func(key, value []byte) bool) {
	c.View.Scan(from, to, func(key, value []byte) bool {
		c.bytes += len(value)
		return visit(key, value)
	})
}

// A grant reads the properties that it could be made from, and no others: whoever founds a federation decides how many it
// has, and every node pays for reading them.
func TestGrantsReadFewProperties(t *testing.T) {
	l := newLedger()
	f := l.found(t, 1, ages(), 1)
	long := strings.Repeat("x", MaxTextBytes-2)
	large := Property{Values: make([]Value, 60)}
	for i := range large.Values {
		large.Values[i] = Text(fmt.Sprintf("%02d%s", i, long))
	}
	for i := range 40 {
		large.Path = fmt.Sprintf("other.p%d", i)
		l.must(t, NewAddProperty(l.header(actor(1)), f, large), 1)
	}
	op, err := Decode(network(), did.DefaultLimits(), sign(t, NewGrant(l.header(actor(1)), grant(f, 12)), 1))
	if err != nil {
		t.Fatal(err)
	}
	v := &counting{View: l.state}
	if _, err := Next(v, did.DefaultLimits(), op, l.place); err != nil {
		t.Fatal(err)
	}
	if v.bytes > 8<<10 {
		t.Errorf("%d bytes of state are read for one grant", v.bytes)
	}
}

// A record of the state that grew without bound would stop every node once its store refuses the value. The text is one that
// JSON writes with six bytes for each.
func TestOnePropertyStaysSmall(t *testing.T) {
	for _, fill := range []string{"x", "<"} {
		testPropertyStaysSmall(t, fill)
	}
}

func testPropertyStaysSmall(t *testing.T, fill string) {
	l := newLedger()
	f := l.found(t, 1, nil, 1)
	large := Property{Path: "x", Values: make([]Value, 80)}
	for i := range large.Values {
		large.Values[i] = Text(fmt.Sprintf("%02d%s", i, strings.Repeat(fill, MaxTextBytes-2)))
	}
	got := []string{}
	for range 2 * MaxPropertyTerms {
		_, code := l.apply(t, NewAddProperty(l.header(actor(1)), f, large), 1)
		got = append(got, code)
		l.apply(t, NewRevokeProperty(l.header(actor(1)), f, "x", Revoking{EffectiveAt: second(0)}), 1)
	}
	if got[0] != "" || got[len(got)-1] != "rate_limited" {
		t.Errorf("%s: got %q", fill, got)
	}
	l.state.Scan(nil, nil, func(key, value []byte) bool {
		if len(value) > 256<<10 {
			t.Errorf("%s: %d bytes are under %q", fill, len(value), key)
		}
		return true
	})
}

func TestCreators(t *testing.T) {
	l := newLedger()
	root := l.createDID(t, 30, 31, 32)
	unknown := "did:weft:" + did.NetworkLabel(network()) + ":" + foreign
	terms := func(roots ...string) FederationTerms {
		return FederationTerms{Name: "x", Roots: roots, Threshold: 1, Properties: ages()}
	}
	for _, c := range []struct {
		name  string
		actor string
		f     FederationTerms
		seed  byte
		want  string
	}{
		{"a did:weft", root, terms(root, actor(1)), 31, ""},
		{"its key of another relationship", root, terms(root), 32, "not_entitled"},
		{"its update key", root, terms(root), 30, "not_entitled"},
		{"not a root", actor(2), terms(root), 2, "not_entitled"},
		{"a root that does not exist", actor(2), terms(actor(2), unknown), 2, "unknown_did"},
	} {
		if _, code := l.apply(t, NewFederation(l.header(c.actor), c.f), c.seed); code != c.want {
			t.Errorf("%s: got %q, want %q", c.name, code, c.want)
		}
	}
}

// A did:weft root grants with a key in assertionMethod and changes the federation with one in capabilityInvocation.
func TestRootsWithDocuments(t *testing.T) {
	l := newLedger()
	root := l.createDID(t, 30, 31, 32)
	f := l.found(t, 1, ages(), 1)
	if _, code := l.apply(t, NewAddRoot(l.header(actor(1)), f, "did:weft:"+did.NetworkLabel(network())+":"+foreign), 1); code != "unknown_did" {
		t.Errorf("a root that does not exist: %q", code)
	}
	l.must(t, NewAddRoot(l.header(actor(1)), f, root), 1)
	for _, c := range []struct {
		name string
		body did.Object
		seed byte
		want string
	}{
		{"grant", NewGrant(l.header(root), grant(f, 12)), 31, ""},
		{"grant with the key for changes", NewGrant(l.header(root), grant(f, 12)), 32, "not_entitled"},
		{"change with the key for grants", NewRevokeRoot(l.header(root), f, actor(1), Revoking{EffectiveAt: second(0)}), 31, "not_entitled"},
		{"the did:key retires", NewRevokeRoot(l.header(root), f, actor(1), Revoking{EffectiveAt: second(0)}), 32, ""},
	} {
		if _, code := l.apply(t, c.body, c.seed); code != c.want {
			t.Errorf("%s: got %q, want %q", c.name, code, c.want)
		}
	}
	l.deactivate(t, root, 30)
	if _, code := l.apply(t, NewGrant(l.header(root), grant(f, 12)), 31); code != "not_entitled" {
		t.Errorf("a deactivated root: %q", code)
	}
	other := l.found(t, 1, ages(), 1)
	if _, code := l.apply(t, NewAddRoot(l.header(actor(1)), other, root), 1); code != "deactivated" {
		t.Errorf("adding a deactivated root: %q", code)
	}
}

// Two roots that share a key are one voice.
func TestOneKeyIsOneVoice(t *testing.T) {
	l := newLedger()
	x, y := l.createDID(t, 30, 31, 40), l.createDID(t, 33, 34, 40)
	f := l.found(t, 1, ages(), 1)
	l.must(t, NewAddRoot(l.header(actor(1)), f, x), 1)
	l.must(t, NewAddRoot(l.header(actor(1)), f, y), 1)
	l.must(t, NewSetThreshold(l.header(actor(1)), f, 2), 1)
	first := min(x, y)
	if _, code := l.apply(t, NewSetThreshold(l.header(first), f, 1), 40); code != "threshold" {
		t.Errorf("one key for two roots: %q", code)
	}
	if _, code := l.apply(t, NewSetThreshold(l.header(first), f, 1), 1, 40); code != "" {
		t.Errorf("two keys: %q", code)
	}
}

func TestReplays(t *testing.T) {
	l := newLedger()
	f := l.found(t, 1, ages(), 1)
	body := NewGrant(l.header(actor(1)), grant(f, 12))
	l.must(t, body, 1)
	if _, code := l.apply(t, body, 1); code != "replayed" {
		t.Errorf("again: %q", code)
	}
	if _, code := l.apply(t, body, 1, 2); code != "replayed" {
		t.Errorf("with another proof: %q", code)
	}
	l.place.Time += 3_600_001
	if _, code := l.apply(t, body, 1); code != "expired" {
		t.Errorf("later: %q", code)
	}
}

func FuzzDecode(f *testing.F) {
	l := newLedger()
	h := l.header(actor(1))
	revoking := Revoking{EffectiveAt: second(0)}
	for _, body := range []did.Object{
		NewFederation(h, FederationTerms{Name: "x", Roots: []string{actor(1)}, Threshold: 1, Properties: ages()}),
		NewGrant(h, grant(foreign, 2)), NewRevoke(h, foreign, revoking), NewAddRoot(h, foreign, actor(2)),
		NewRevokeRoot(h, foreign, actor(2), revoking), NewAddProperty(h, foreign, ages()[0]),
		NewRevokeProperty(h, foreign, "a", revoking), NewSetThreshold(h, foreign, 1),
	} {
		f.Add(sign(f, body, 1))
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		op, err := Decode(network(), did.DefaultLimits(), entry)
		if err != nil {
			plugintest.Code(t, err)
			return
		}
		l := newLedger()
		_, err = Next(l.state, did.DefaultLimits(), op, did.Place{Time: op.Envelope.NotAfter})
		plugintest.Code(t, err)
	})
}
