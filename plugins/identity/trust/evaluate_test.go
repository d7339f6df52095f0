package trust

import (
	"encoding/json"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// chain is a federation of root 1 whose subject 10 accredited 11, who lets 12 attest.
type chain struct {
	*ledger
	federation, top, middle, leaf string
}

func newChain(t *testing.T) *chain {
	c := &chain{ledger: newLedger()}
	c.federation = c.found(t, 1, ages(), 1, 2)
	c.top = c.must(t, NewGrant(c.header(actor(1)), accredit(c.federation, 10, 2)), 1)
	c.at(10)
	g := accredit(c.federation, 11, 1)
	g.Under = c.top
	c.middle = c.must(t, NewGrant(c.header(actor(10)), g), 10)
	c.at(20)
	g = grant(c.federation, 12)
	g.Under = c.middle
	c.leaf = c.must(t, NewGrant(c.header(actor(11)), g), 11)
	return c
}

func TestEvaluate(t *testing.T) {
	c := newChain(t)
	a := c.ask(t, c.federation, 12, 30, 30, 30)
	if !a.Trusted || !a.AtIssuance || !a.Now || !equal(pathOf(a), actor(1), actor(10), actor(11), actor(12)) {
		t.Errorf("%+v", a)
	}
	if a.Path[0].Kind != Root || a.Path[0].ValidUntil != nil || a.Path[3].Grant != c.leaf || *a.Path[3].ValidUntil != second(1000) {
		t.Errorf("path %+v", a.Path)
	}
	q := Question{Federation: c.federation, Attester: actor(12), Property: "person.age_over", Value: json.Number("18"), Now: tangle.Time(second(30))}
	for _, step := range []struct {
		name   string
		change func(*Question)
		want   Reason
	}{
		{"times default to now", func(*Question) {}, ""},
		{"another value", func(q *Question) { q.Value = 19 }, OutOfScope},
		{"no value", func(q *Question) { q.Value = nil }, OutOfScope},
		{"the value as text", func(q *Question) { q.Value = "18" }, OutOfScope},
		{"another property", func(q *Question) { q.Property = "person.age" }, OutOfScope},
		{"a longer property", func(q *Question) { q.Property = "person.age_over.x" }, OutOfScope},
		{"no property", func(q *Question) { q.Property = "" }, OutOfScope},
		{"a pattern", func(q *Question) { q.Property = "person.*" }, OutOfScope},
		{"another attester", func(q *Question) { q.Attester = actor(13) }, NotAccredited},
		{"the beginning of its name", func(q *Question) { q.Attester = q.Attester[:20] }, NotAccredited},
		{"the accredited do not attest", func(q *Question) { q.Attester = actor(11) }, NotAccredited},
		{"nor does the root", func(q *Question) { q.Attester = actor(1) }, NotAccredited},
		{"another federation", func(q *Question) { q.Federation = foreign }, UnknownFederation},
		{"before the grant was made", func(q *Question) { q.At = tangle.Time(second(20)) - 1 }, NotAccredited},
		{"when it was made", func(q *Question) { q.At = tangle.Time(second(20)) }, ""},
		{"at its end", func(q *Question) { q.At = tangle.Time(second(1000)) }, ""},
		{"after its end", func(q *Question) { q.At = tangle.Time(second(1000)) + 1 }, NotAccredited},
		{"now after its end", func(q *Question) { q.At, q.Now = tangle.Time(second(30)), tangle.Time(second(1001)) }, ""},
		{"and both wanted", func(q *Question) { q.At, q.Now, q.Both = tangle.Time(second(30)), tangle.Time(second(1001)), true }, NotAccredited},
	} {
		asked := q
		step.change(&asked)
		if a := c.evaluate(t, asked); a.Reason != step.want || a.Trusted != (step.want == "") {
			t.Errorf("%s: %+v, want %q", step.name, a, step.want)
		}
	}
}

// what is trusted at (issuance, asOf), both followed by whether it is.
type instance struct {
	at, asOf int
	want     bool
}

func (c *chain) wantAll(t *testing.T, name string, list ...instance) {
	t.Helper()
	for _, i := range list {
		if a := c.ask(t, c.federation, 12, i.at, i.asOf, i.asOf); a.Trusted != i.want || !i.want && a.Reason != Revoked {
			t.Errorf("%s: stated at %d, as of %d: %+v, want %t", name, i.at, i.asOf, a, i.want)
		}
	}
}

func TestRevocations(t *testing.T) {
	revoke := func(c *chain, by byte, grant string, cascade bool, effective int) {
		c.must(t, NewRevoke(c.header(actor(by)), grant, Revoking{cascade, second(effective)}), by)
	}
	t.Run("of the attester's grant", func(t *testing.T) {
		c := newChain(t)
		c.at(40)
		revoke(c, 11, c.leaf, false, 50)
		c.wantAll(t, "plain", instance{30, 60, true}, instance{49, 49, true}, instance{50, 50, false}, instance{60, 60, false})
		c.at(70)
		revoke(c, 11, c.leaf, true, 0) // from the commit time, not before
		c.wantAll(t, "then with cascade", instance{30, 69, true}, instance{30, 70, false}, instance{30, 80, false})
	})
	t.Run("of a grant above", func(t *testing.T) {
		c := newChain(t)
		c.at(40)
		revoke(c, 1, c.top, false, 0)
		c.wantAll(t, "plain: what was granted stands", instance{30, 60, true}, instance{60, 60, true})
		c.at(70)
		revoke(c, 1, c.top, true, 80)
		c.wantAll(t, "with cascade", instance{30, 79, true}, instance{30, 80, false}, instance{90, 90, false}, instance{30, 60, true})
	})
	t.Run("of the root", func(t *testing.T) {
		c := newChain(t)
		c.at(40)
		c.must(t, NewRevokeRoot(c.header(actor(2)), c.federation, actor(1), Revoking{false, second(0)}), 2)
		c.wantAll(t, "plain", instance{60, 60, true})
		c.at(70)
		c.must(t, NewRevokeRoot(c.header(actor(2)), c.federation, actor(1), Revoking{true, second(0)}), 2)
		c.wantAll(t, "with cascade", instance{30, 69, true}, instance{30, 70, false}, instance{75, 75, false})
		c.at(90)
		c.must(t, NewReinstateRoot(c.header(actor(2)), c.federation, actor(1)), 2)
		c.wantAll(t, "reinstated", instance{30, 89, false}, instance{30, 90, true}, instance{75, 95, true})
	})
	t.Run("of the property", func(t *testing.T) {
		c := newChain(t)
		c.at(40)
		c.must(t, NewRevokeProperty(c.header(actor(2)), c.federation, "person.age_over", Revoking{false, second(50)}), 2)
		c.wantAll(t, "plain", instance{30, 60, true}, instance{49, 60, true}, instance{50, 60, false})
		c.at(70)
		c.must(t, NewRevokeProperty(c.header(actor(2)), c.federation, "person.age_over", Revoking{true, second(0)}), 2)
		c.wantAll(t, "with cascade", instance{30, 60, true}, instance{30, 70, false})
		c.at(80)
		anew := ages()[0]
		anew.ValidUntil = second(85)
		c.must(t, NewAddProperty(c.header(actor(2)), c.federation, anew), 2)
		c.wantAll(t, "anew", instance{30, 90, false}, instance{79, 90, false}, instance{80, 90, true}, instance{85, 90, true})
		if a := c.ask(t, c.federation, 12, 86, 90, 90); a.Reason != OutOfScope {
			t.Errorf("after the new property's end: %+v", a)
		}
	})
}

func TestGraph(t *testing.T) {
	c := newChain(t)
	c.found(t, 1, ages(), 3)
	var seen []string
	for next, more := "", true; more; more = next != "" {
		list, following, err := Graph(c.state, c.federation, next, 2)
		if err != nil || len(list) == 0 || len(list) > 2 {
			t.Fatalf("%d grants, %v", len(list), err)
		}
		for _, g := range list {
			seen = append(seen, g.ID)
		}
		next = following
	}
	if len(seen) != 3 {
		t.Errorf("grants %v", seen)
	}
	list, err := GrantsOf(c.state, c.federation, actor(12))
	if err != nil || len(list) != 1 || list[0].ID != c.leaf || list[0].Grantor != actor(11) {
		t.Errorf("%+v, %v", list, err)
	}
	all, err := Federations(c.state, "", 10)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d federations, %v", len(all), err)
	}
	if rest, err := Federations(c.state, all[1].ID, 10); err != nil || len(rest) != 1 || rest[0].ID != all[1].ID {
		t.Errorf("%+v, %v", rest, err)
	}
	if first, err := Federations(c.state, "", 1); err != nil || len(first) != 1 || first[0].ID != all[0].ID {
		t.Errorf("%+v, %v", first, err)
	}
}

func TestGenesis(t *testing.T) {
	l := newLedger()
	one := did.Object{"name": "First", "roots": []any{actor(1)}, "threshold": 1, "maxDepth": 2, "properties": bodyOf(ages())}
	founded := func(list ...any) json.RawMessage {
		b, err := did.Canonical(list)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	writes, err := Genesis(founded(one))
	if err != nil {
		t.Fatal(err)
	}
	plugins.Put(l.state, writes)
	canonical, _ := did.Canonical(one)
	f, err := ReadFederation(l.state, did.Multihash(canonical))
	if err != nil || f.Name != "First" || f.Created != 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	l.must(t, NewGrant(l.header(actor(1)), grant(f.ID, 12)), 1)
	if a := l.ask(t, f.ID, 12, 1, 1, 1); !a.Trusted {
		t.Errorf("%+v", a)
	}
	root := l.createDID(t, 30, 31, 32)
	l.must(t, NewAddRoot(l.header(actor(1)), f.ID, root), 1)
	l.must(t, NewRevokeRoot(l.header(root), f.ID, actor(1), Revoking{EffectiveAt: operation.Instant(l.place.Time)}), 32)

	for _, empty := range []string{"", `[]`} {
		if writes, err := Genesis(json.RawMessage(empty)); err != nil || len(writes) != 0 {
			t.Errorf("%q: %d writes, %v", empty, len(writes), err)
		}
	}
	weft := did.Object{"name": "First", "roots": []any{root}, "threshold": 1, "maxDepth": 2, "properties": []any{}}
	for name, bad := range map[string]json.RawMessage{
		"twice": founded(one, one), "a did:weft root": founded(weft), "no object": founded("x"), "no list": json.RawMessage(`{}`),
		"a member too many": founded(did.Object{"name": "x", "roots": []any{actor(1)}, "threshold": 1, "maxDepth": 2, "properties": []any{}, "id": "x"}),
		"no JSON":           json.RawMessage(`[`),
	} {
		if _, err := Genesis(bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	l := newLedger()
	f := l.found(b, 1, ages(), 1)
	under, subject := Root, byte(1)
	for depth := 2; depth >= 1; depth-- {
		g := accredit(f, subject+1, depth)
		g.Under = under
		under = l.must(b, NewGrant(l.header(actor(subject)), g), subject)
		subject++
	}
	g := grant(f, 12)
	g.Under = under
	entry := sign(b, NewGrant(l.header(actor(subject)), g), subject)
	l.must(b, NewGrant(l.header(actor(subject)), g), subject)
	l.state.Commit()
	l.state.Begin()
	b.Run("Evaluate", func(b *testing.B) {
		q := Question{Federation: f, Attester: actor(12), Property: "person.age_over", Value: 18, Now: tangle.Time(second(30))}
		for b.Loop() {
			if a, err := Evaluate(l.state, q); err != nil || !a.Trusted {
				b.Fatal(a, err)
			}
		}
	})
	b.Run("Decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decode(network(), did.DefaultLimits(), entry); err != nil {
				b.Fatal(err)
			}
		}
	})
	op, err := Decode(network(), did.DefaultLimits(), entry)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Next", func(b *testing.B) {
		for b.Loop() {
			if _, err := Next(l.state, did.DefaultLimits(), op, l.place); err != nil {
				b.Fatal(err)
			}
		}
	})
}
