package sim

import (
	"time"

	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/trust"
)

// granted is a grant that was sent.
type granted struct {
	id    string
	actor string
	trust.GrantTerms
}

// actOnTrust does something to a federation.
func (x *wallets) actOnTrust(v plugins.View) {
	actor, key := x.actor(v)
	switch k := x.random.IntN(20); {
	case k < 2 || len(x.unions) == 0:
		x.found(v, actor, key)
	case k < 5:
		x.grantAsRoot(v, actor, key)
	case k < 11:
		x.grantOn(v, actor, key)
	case k < 14:
		x.revoke(v, actor, key)
	default:
		x.govern(v)
	}
}

// union draws a federation.
func (x *wallets) union(v plugins.View) string {
	return drawKnown(x, x.unions, func(id string) bool { _, err := trust.ReadFederation(v, id); return err == nil })
}

// parent draws a grant.
func (x *wallets) parent(v plugins.View) granted {
	return drawKnown(x, x.granted, func(g granted) bool { _, err := trust.ReadGrant(v, g.id); return err == nil })
}

func (x *wallets) found(v plugins.View, actor, key string) {
	f := trust.FederationTerms{Name: "union", Roots: []string{actor}, Threshold: 1, MaxDepth: x.random.IntN(4)}
	for range x.random.IntN(4) {
		root, _ := x.actor(v)
		if x.chance(0.5) {
			root = draw(x, x.people)
		}
		f.Roots = append(f.Roots, root)
	}
	if x.chance(0.05) {
		f.Roots = []string{draw(x, x.people)}
	}
	f.Roots = operation.Sorted(f.Roots)
	if n := len(f.Roots); n > 2 {
		f.Threshold = 1 + x.random.IntN(n-1)
	}
	for _, path := range some(x, paths(), 3) {
		f.Properties = append(f.Properties, x.property(path))
	}
	x.unions = append(x.unions, x.send(identity.KindTrust, trust.NewFederation(x.header(actor), f), key))
}

// paths are a few of which some cover others.
func paths() []string { return []string{"a.b", "a.c", "a.*", "b.x.y", "b.x.*"} }

// property draws a constraint.
func (x *wallets) property(path string) trust.Property {
	p := trust.Property{Path: path}
	low := int64(x.random.IntN(4))
	text := draw(x, []string{"a", "ab", "abc", "b", "bc"})
	switch x.random.IntN(7) {
	case 0, 1:
		p.Any = true
	case 2:
		p.Range = &trust.Range{Min: low, Max: low + int64(x.random.IntN(6))}
	case 3:
		p.Values = some(x, []trust.Value{trust.Integer(1), trust.Integer(3), trust.Text("abc"), trust.Text("b")}, 1+x.random.IntN(3))
	case 4:
		p.StartsWith = text
	case 5:
		p.EndsWith = text
	case 6:
		p.Contains = text
	}
	return p
}

// narrowed is mostly inside a property.
func (x *wallets) narrowed(p trust.Property) trust.Property {
	if p.Path == "a.*" && x.chance(0.5) {
		p.Path = "a.b"
	}
	switch {
	case p.Any && x.chance(0.5):
		return x.property(p.Path)
	case p.Values != nil:
		p.Values = some(x, p.Values, 1)
	case p.Range != nil && x.chance(0.5):
		p.Values, p.Range = []trust.Value{trust.Integer(p.Range.Max)}, nil
	case p.StartsWith != "" && x.chance(0.3):
		p.StartsWith += "c"
	}
	if x.chance(0.1) {
		return x.property(draw(x, paths()))
	}
	return p
}

// grantAsRoot grants below a federation.
func (x *wallets) grantAsRoot(v plugins.View, actor, key string) {
	id := x.union(v)
	g := trust.GrantTerms{Federation: id, Under: trust.Root, ValidUntil: operation.Instant(x.clock().Add(24 * time.Hour))}
	if f, err := trust.ReadFederation(v, id); err == nil {
		if x.chance(0.9) {
			actor = draw(x, f.Roots).DID
			key = x.voice(v, actor)
		}
		g.MaxDepth = x.random.IntN(f.MaxDepth + 1)
	}
	list, err := trust.Properties(v, id)
	if err != nil {
		panic(err)
	}
	for _, p := range some(x, list, 2) {
		g.Properties = append(g.Properties, x.narrowed(p.Terms[len(p.Terms)-1].Property))
	}
	x.grant(v, g, actor, key)
}

// grantOn grants below a grant that was sent before.
func (x *wallets) grantOn(v plugins.View, actor, key string) {
	if len(x.granted) == 0 {
		return
	}
	parent := x.parent(v)
	if x.chance(0.9) {
		actor = parent.Subject
		key = x.voice(v, actor)
	}
	g := trust.GrantTerms{Federation: parent.Federation, Under: parent.id, ValidFrom: parent.ValidFrom, ValidUntil: parent.ValidUntil}
	if x.chance(0.05) {
		g.Federation = draw(x, x.unions)
	}
	g.MaxDepth = min(trust.MaxDepth, max(0, parent.MaxDepth-1-x.random.IntN(2)+x.random.IntN(10)/8))
	for _, p := range parent.Properties {
		g.Properties = append(g.Properties, x.narrowed(p))
	}
	x.grant(v, g, actor, key)
}

// grant completes the terms of a grant and sends it.
func (x *wallets) grant(v plugins.View, g trust.GrantTerms, actor, key string) {
	if g.Subject, _ = x.actor(v); x.chance(0.2) && g.Under != trust.Root {
		g.Subject = actor
	}
	if g.Kind = trust.Accredit; g.MaxDepth == 0 {
		g.Kind = trust.Attest
	}
	if g.ValidFrom == 0 {
		g.ValidFrom = operation.Instant(x.clock())
	}
	switch x.random.IntN(12) {
	case 0:
		g.ValidFrom = operation.Instant(x.soon())
	case 1:
		g.ValidUntil = operation.Instant(x.clock().Add(time.Duration(1+x.random.IntN(2)) * time.Second))
	case 2:
		g.ValidUntil += 1000
	}
	g.ValidFrom, g.ValidUntil = g.ValidFrom/1000*1000, g.ValidUntil/1000*1000
	if g.ValidFrom > g.ValidUntil {
		g.ValidFrom = g.ValidUntil
	}
	if len(g.Properties) == 0 {
		g.Properties = []trust.Property{x.property("a.b")}
	}
	id := x.send(identity.KindTrust, trust.NewGrant(x.header(actor), g), key)
	x.granted = append(x.granted, granted{id, actor, g})
}

func (x *wallets) revoking() trust.Revoking {
	r := trust.Revoking{Cascade: x.chance(0.5), EffectiveAt: operation.Instant(x.clock())}
	if x.chance(0.2) {
		r.EffectiveAt = operation.Instant(x.soon())
	}
	return r
}

// revoke ends a grant: its grantor, one above, the roots together, or somebody who may not.
func (x *wallets) revoke(v plugins.View, actor, key string) {
	if len(x.granted) == 0 {
		return
	}
	g := x.parent(v)
	keys := []string{key}
	switch x.random.IntN(8) {
	case 0:
	case 1, 2:
		actor, keys = x.roots(v, g.Federation, "")
	case 3, 4:
		for _, above := range x.granted {
			if above.id == g.Under {
				actor, keys = above.actor, []string{x.voice(v, above.actor)}
			}
		}
	default:
		actor, keys = g.actor, []string{x.voice(v, g.actor)}
	}
	x.send(identity.KindTrust, trust.NewRevoke(x.header(actor), g.id, x.revoking()), keys...)
}

// roots are an actor and keys of as many roots as must sign, or one less.
func (x *wallets) roots(v plugins.View, id, concerned string) (actor string, keys []string) {
	f, err := trust.ReadFederation(v, id)
	if err != nil {
		return x.somebody(v)
	}
	n := f.Threshold
	if x.chance(0.1) {
		n--
	}
	for _, k := range x.random.Perm(len(f.Roots)) {
		if root := f.Roots[k].DID; len(keys) < n && (root != concerned || x.chance(0.2)) {
			actor, keys = root, append(keys, x.voice(v, root))
		}
	}
	if actor == "" {
		return x.somebody(v)
	}
	return actor, keys
}

// somebody is an actor with the one key that it needs.
func (x *wallets) somebody(v plugins.View) (string, []string) {
	actor, key := x.actor(v)
	return actor, []string{key}
}

// govern changes roots, properties or the threshold of a federation.
func (x *wallets) govern(v plugins.View) {
	id := x.union(v)
	if x.chance(0.03) {
		id = did.Multihash(nil)
	}
	root, _ := x.actor(v)
	if f, err := trust.ReadFederation(v, id); err == nil && x.chance(0.6) {
		root = draw(x, f.Roots).DID
	}
	concerned := ""
	choice := x.random.IntN(7)
	if choice < 4 {
		concerned = root
	}
	actor, keys := x.roots(v, id, concerned)
	h, path := x.header(actor), draw(x, paths())
	body := did.Object{}
	switch choice {
	case 0:
		body = trust.NewAddRoot(h, id, root)
	case 1:
		body = trust.NewRevokeRoot(h, id, root, x.revoking())
	case 2, 3:
		body = trust.NewReinstateRoot(h, id, root)
	case 4:
		body = trust.NewAddProperty(h, id, x.property(path))
	case 5:
		body = trust.NewRevokeProperty(h, id, path, x.revoking())
	case 6:
		body = trust.NewSetThreshold(h, id, 1+x.random.IntN(3))
	}
	x.send(identity.KindTrust, body, keys...)
}
