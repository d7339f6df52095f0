package sim

import (
	"fmt"
	"maps"
	"slices"

	"weft/node"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// identityLooks is after how many catch-ups the whole state of a node is compared. Outcomes are compared at every commit.
const identityLooks = 12

// compareOutcomes is S16 for one message: a correct node's codes are those of the reference.
func (o *oracles) compareOutcomes(i *instance, m *tangle.Message, want logged, got node.Settled) {
	for k, e := range m.Entries {
		if k < len(got.Codes) && (isIdentity(e.Kind) || e.Kind == channel.Kind) && got.Codes[k] != want.codes[k] {
			o.world.fail("S16", "%s: entry %d at position %d is %q, the reference says %q: %s", i, k, got.Position, got.Codes[k], want.codes[k], e.Data)
		}
	}
}

// auditIdentities is S16 for the state of a node that has applied everything: heads, logs, bits, spends, federations and
// grants are those of the reference, and there is nothing else.
func (o *oracles) auditIdentities(i *instance) {
	if o.identities == nil || o.world.violation != nil || uint64(i.ledger.Head().Position) != uint64(len(o.log)) {
		return
	}
	a := &identityAudit{identities: o.identities, view: i.ledger.PluginView(identity.Name)}
	for _, look := range []func() error{a.subjects, a.lists, a.events, a.federations, a.grants, a.nothingElse} {
		if err := look(); err != nil {
			o.world.fail("S16", "%s at position %d: %v", i, len(o.log), err)
			return
		}
	}
}

// identityAudit compares a plugin's state with the reference.
type identityAudit struct {
	*identities
	view plugins.View
}

// differs makes the error of a difference.
func differs[T any](what string, got, want T) error {
	g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want)
	if g == w {
		return nil
	}
	return fmt.Errorf("%s:\ngot  %s\nwant %s", what, g, w)
}

func (a *identityAudit) subjects() error {
	for _, name := range slices.Sorted(maps.Keys(a.identities.subjects)) {
		d, err := did.Parse(name)
		if err != nil {
			return err
		}
		s := a.identities.subjects[name]
		head, found, err := did.ReadHead(a.view, d)
		if err != nil || !found {
			return fmt.Errorf("head of %s: %v %v", name, found, err)
		}
		head.Day, head.Updates = 0, 0 // counted by the outcomes
		if err := differs("head of "+name, show(head), show(s.wantHead(d))); err != nil {
			return err
		}
		if err := a.history(d, s); err != nil {
			return err
		}
	}
	return nil
}

// show is a head with its recovery set instead of a pointer to it.
func show(h did.Head) string {
	set := h.Recovery
	h.Recovery = nil
	return fmt.Sprintf("%+v %+v", h, set)
}

func (s *subject) wantHead(d did.DID) did.Head {
	newest, p := s.log[len(s.log)-1], s.now.Params
	return did.Head{
		Network: d.Network(), Version: len(s.log), OpHash: newest.op.hash, Time: newest.Time, Position: newest.Position,
		Deactivated: s.deactivated, UpdateKeys: p.UpdateKeys, Threshold: p.Threshold, NextKeyHashes: p.NextKeyHashes,
		Controllers: p.Controllers, ControllerThreshold: p.ControllerThreshold, Compromised: p.Compromised,
		Recovery: s.recovery, RecoverySetter: s.setter,
	}
}

// history compares the records of a log: place, carrier, rule and name of each operation.
func (a *identityAudit) history(d did.DID, s *subject) (err error) {
	n := 0
	fault := did.Log(a.view, d, 1, func(k int, r did.Record) bool {
		if n++; n > len(s.log) || k != n {
			err = fmt.Errorf("%s has a record %d, want %d of them", d, k, len(s.log))
			return false
		}
		want := s.log[n-1]
		err = differs(fmt.Sprintf("record %d of %s", k, d), fmt.Sprint(r.Place, r.Rule, r.OpHash), fmt.Sprint(want.Place, want.rule, want.op.hash))
		return err == nil
	})
	if fault == nil && err == nil && n != len(s.log) {
		err = fmt.Errorf("%s has %d records, want %d", d, n, len(s.log))
	}
	return firstOf(fault, err)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *identityAudit) lists() error {
	for _, id := range slices.Sorted(maps.Keys(a.identities.lists)) {
		want := a.identities.lists[id]
		l, err := status.ReadList(a.view, id)
		if err != nil {
			return err
		}
		bits, err := status.Bits(a.view, id)
		if err != nil {
			return err
		}
		err = differs("list "+id,
			fmt.Sprint(l.Issuer, l.Purpose, l.Size, l.Version, l.Closed != nil, l.Position, l.Created, l.Changed, ones(bits)),
			fmt.Sprint(want.Actor, want.Purpose, want.Size, want.versions, want.closed, want.position, instant(want.created), instant(want.changed),
				slices.Sorted(maps.Keys(want.on))))
		if err != nil {
			return err
		}
	}
	return nil
}

// ones are the indexes of the set bits, the left-most bit being 0.
func ones(bits []byte) (list []int) {
	for k, b := range bits {
		for bit := 0; b != 0; bit++ {
			if b&0x80 != 0 {
				list = append(list, 8*k+bit)
			}
			b <<= 1
		}
	}
	return list
}

func (a *identityAudit) events() error {
	for _, nullifier := range slices.Sorted(maps.Keys(a.spent)) {
		e, _, err := status.ReadSpend(a.view, nullifier)
		if err = firstOf(err, differs("spend "+nullifier, e, a.spent[nullifier].want())); err != nil {
			return err
		}
	}
	for _, commitment := range slices.Sorted(maps.Keys(a.anchored)) {
		e, _, err := status.ReadAnchor(a.view, commitment)
		if err = firstOf(err, differs("anchor "+commitment, e, a.anchored[commitment].want())); err != nil {
			return err
		}
	}
	return nil
}

func instant(t tangle.Time) operation.Instant { return operation.Instant(t) }

func (e singular) want() status.Event {
	return status.Event{Time: instant(e.Time), Position: e.Position, OpHash: e.hash, Actor: e.actor}
}

func (a *identityAudit) federations() error {
	for _, id := range slices.Sorted(maps.Keys(a.identities.federations)) {
		want := a.identities.federations[id]
		f, err := trust.ReadFederation(a.view, id)
		if err != nil {
			return err
		}
		got, wanted := []string{fmt.Sprint("threshold ", f.Threshold)}, []string{fmt.Sprint("threshold ", want.threshold)}
		for _, r := range f.Roots {
			got = append(got, fmt.Sprint(r.DID, len(r.Terms), r.Terms))
		}
		for _, root := range slices.Sorted(maps.Keys(want.roots)) {
			wanted = append(wanted, fmt.Sprint(root, len(want.roots[root]), wantTerms(want.roots[root])))
		}
		if err := differs("federation "+id, got, wanted); err != nil {
			return err
		}
		if err := a.properties(id, want); err != nil {
			return err
		}
	}
	return nil
}

func (a *identityAudit) properties(id string, want *federation) error {
	list, err := trust.Properties(a.view, id)
	if err != nil {
		return err
	}
	var got, wanted []string
	for _, p := range list {
		var terms []trust.Term
		for _, t := range p.Terms {
			terms = append(terms, t.Term)
		}
		got = append(got, fmt.Sprint(p.Path, terms))
	}
	for _, path := range slices.Sorted(maps.Keys(want.properties)) {
		wanted = append(wanted, fmt.Sprint(path, wantTerms(want.properties[path])))
	}
	return differs("properties of "+id, got, wanted)
}

func wantTerms(terms []term) (list []trust.Term) {
	for _, t := range terms {
		list = append(list, trust.Term{From: instant(t.from), Revoked: wantRevocations(t.revoked)})
	}
	return list
}

func wantRevocations(list []revocation) (want trust.Revocations) {
	for _, r := range list {
		want = append(want, trust.Revocation{Known: instant(r.known), Effective: instant(r.effective), Cascade: r.cascade, By: r.by})
	}
	return want
}

func (a *identityAudit) grants() error {
	for _, id := range slices.Sorted(maps.Keys(a.identities.grants)) {
		want := a.identities.grants[id]
		g, err := trust.ReadGrant(a.view, id)
		if err != nil {
			return err
		}
		err = differs("grant "+id,
			fmt.Sprint(g.Federation, g.Under, g.Grantor, g.Subject, g.Kind, g.MaxDepth, g.Granted, g.Position, len(g.Properties), g.Revoked),
			fmt.Sprint(want.Federation, want.Under, want.Actor, want.Subject, want.Kind, want.MaxDepth, instant(want.at.Time), want.at.Position,
				len(want.Properties), wantRevocations(want.revoked)))
		if err != nil {
			return err
		}
	}
	return nil
}

// nothingElse counts the records of each sort by the first byte of their keys.
func (a *identityAudit) nothingElse() error {
	operations, properties := 0, 0
	for _, s := range a.identities.subjects {
		operations += len(s.log)
	}
	for _, f := range a.identities.federations {
		properties += len(f.properties)
	}
	counts := map[string]int{
		"d": len(a.identities.subjects), "o": operations, "h": operations,
		"sz": len(a.identities.lists), "s/": len(a.identities.lists), "n": len(a.spent), "t": len(a.anchored),
		"f": len(a.identities.federations), "p": properties, "g": len(a.identities.grants), "i": len(a.identities.grants),
	}
	for _, prefix := range slices.Sorted(maps.Keys(counts)) {
		n := 0
		a.view.Scan([]byte(prefix), []byte(prefix[:len(prefix)-1]+string(prefix[len(prefix)-1]+1)), func(_, _ []byte) bool {
			n++
			return true
		})
		if n != counts[prefix] {
			return fmt.Errorf("%d records under %q, want %d", n, prefix, counts[prefix])
		}
	}
	return nil
}
