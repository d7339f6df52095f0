package trust

import (
	"slices"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Next decides an operation at its place in the order and returns what it writes. A rejection carries one of: expired,
// replayed, bad_value, not_entitled, threshold, unknown_did, deactivated, unknown_federation, unknown_grant, grant_revoked,
// already_exists, not_attenuated, depth_exceeded, bad_property, rate_limited. Any other error means damaged state.
func Next(v plugins.View, _ did.Limits, op *Operation, at did.Place) ([]did.Write, error) {
	if err := operation.CheckTime(v, op.Envelope, at.Time); err != nil {
		return nil, err
	}
	writes, err := op.next(v, at)
	if err != nil {
		return nil, err
	}
	return operation.Remembered(v, op.Envelope, at.Time, writes), nil
}

func (op *Operation) next(v plugins.View, at did.Place) ([]did.Write, error) {
	switch op.Op {
	case CreateFederation:
		return op.create(v, at)
	case MakeGrant:
		return op.grant(v, at)
	case Revoke:
		return op.revoke(v, at)
	}
	f, err := ReadFederation(v, op.Federation)
	if err != nil {
		return nil, err
	}
	if err := f.vote(v, op.Envelope, op.Actor, op.Root, at.Time); err != nil {
		return nil, err
	}
	switch op.Op {
	case AddProperty:
		return op.addProperty(v, at)
	case RevokeProperty:
		return op.revokeProperty(v, at)
	}
	if err := op.change(v, f, at); err != nil {
		return nil, err
	}
	return []did.Write{write(keyFederation+f.ID, f)}, nil
}

// create wants the creator among the roots, so that nobody speaks for roots that have nothing to do with it.
func (op *Operation) create(v plugins.View, at did.Place) ([]did.Write, error) {
	if err := operation.CheckSigned(v, op.Envelope, op.Actor, did.AssertionMethod, at.Time); err != nil {
		return nil, err
	}
	if !slices.Contains(op.Create.Roots, op.Actor) {
		return nil, plugins.Reject("not_entitled", "%s is not one of the roots", op.Actor)
	}
	for _, root := range op.Create.Roots {
		if err := checkActive(v, root); err != nil {
			return nil, err
		}
	}
	if v.Get([]byte(keyFederation+op.Envelope.Hash)) != nil {
		return nil, plugins.Reject("already_exists", "federation %s", op.Envelope.Hash)
	}
	return op.Create.found(op.Envelope.Hash, op.Actor, at), nil
}

// found makes the records of a new federation.
func (t FederationTerms) found(id, creator string, at did.Place) []did.Write {
	now := operation.Instant(at.Time)
	f := Federation{ID: id, Name: t.Name, Creator: creator, Threshold: t.Threshold, MaxDepth: t.MaxDepth, Created: now, Position: at.Position}
	for _, root := range t.Roots {
		f.Roots = append(f.Roots, RootRecord{root, []Term{{From: now}}})
	}
	writes := []did.Write{write(keyFederation+id, f)}
	for _, p := range t.Properties {
		record := PropertyRecord{p.Path, []PropertyTerm{{p, Term{From: now}}}}
		writes = append(writes, write(keyProperty+id+p.Path, record))
	}
	return writes
}

// checkActive refuses a root that could never speak.
func checkActive(v plugins.View, root string) error {
	d, err := did.Parse(root)
	if err != nil {
		return nil // a did:key, as Decode has seen
	}
	head, found, err := did.ReadHead(v, d)
	switch {
	case err != nil:
		return err
	case !found:
		return plugins.Reject("unknown_did", "%s", root)
	case head.Deactivated:
		return plugins.Reject("deactivated", "%s", root)
	}
	return nil
}

func (op *Operation) grant(v plugins.View, at did.Place) ([]did.Write, error) {
	f, err := ReadFederation(v, op.Grant.Federation)
	if err != nil {
		return nil, err
	}
	if err := operation.CheckSigned(v, op.Envelope, op.Actor, did.AssertionMethod, at.Time); err != nil {
		return nil, err
	}
	if op.Grant.Under == Root {
		err = op.checkUnderRoot(v, f, at.Time)
	} else {
		err = op.checkUnderGrant(v, f, at.Time)
	}
	if err != nil {
		return nil, err
	}
	return op.keepGrant(v, at)
}

func (op *Operation) keepGrant(v plugins.View, at did.Place) ([]did.Write, error) {
	prefix := indexPrefix(op.Grant.Federation, op.Grant.Subject)
	if len(scanIndex(v, prefix, "", MaxGrantsPerSubject)) == MaxGrantsPerSubject {
		return nil, plugins.Reject("rate_limited", "%s has %d grants, the most there may be", op.Grant.Subject, MaxGrantsPerSubject)
	}
	g := Grant{
		ID: op.Envelope.Hash, Grantor: op.Actor, GrantTerms: op.Grant,
		Granted: operation.Instant(at.Time), Position: at.Position,
	}
	index := did.Write{Key: []byte(prefix + g.ID), Value: []byte(g.Kind)}
	return []did.Write{write(keyGrant+g.ID, g), index}, nil
}

// checkUnderRoot judges what a root grants, alone.
func (op *Operation) checkUnderRoot(v plugins.View, f *Federation, t tangle.Time) error {
	if i := f.root(op.Actor); i < 0 || !f.Roots[i].hasVoice() {
		return plugins.Reject("not_entitled", "%s is not an active root", op.Actor)
	}
	if op.Grant.MaxDepth > f.MaxDepth {
		return plugins.Reject("depth_exceeded", "maxDepth is %d, the federation's %d", op.Grant.MaxDepth, f.MaxDepth)
	}
	current, err := f.current(v, op.Grant.Properties, t)
	if err != nil {
		return err
	}
	return op.Grant.attenuates(always(), current)
}

// current are the federation's properties in force of which one could cover one of those asked for. Only these are read: a
// federation may have many, and large ones.
func (f *Federation) current(v plugins.View, asked []Property, t tangle.Time) (list []Property, err error) {
	read := map[string]bool{}
	for _, p := range asked {
		for _, pattern := range patterns(p.Path) {
			if read[pattern] {
				continue
			}
			read[pattern] = true
			var record PropertyRecord
			if found, err := get(v, keyProperty+f.ID+pattern, &record); err != nil {
				return nil, err
			} else if !found {
				continue
			}
			if term := record.termAt(t); term != nil && term.inForce(t) {
				list = append(list, term.Property)
			}
		}
	}
	return list, nil
}

// checkUnderGrant judges what the subject of a grant grants on.
func (op *Operation) checkUnderGrant(v plugins.View, f *Federation, t tangle.Time) error {
	parent, err := ReadGrant(v, op.Grant.Under)
	if err != nil {
		return err
	}
	if parent.Federation != f.ID {
		return plugins.Reject("unknown_grant", "%s is of another federation", parent.ID)
	}
	if parent.Subject != op.Actor {
		return plugins.Reject("not_entitled", "%s was not granted to %s", parent.ID, op.Actor)
	}
	stands, err := stands(v, f, parent, t)
	switch {
	case err != nil:
		return err
	case !stands:
		return plugins.Reject("grant_revoked", "%s, or a grant above it", parent.ID)
	case !parent.window().holds(t):
		return plugins.Reject("not_attenuated", "%s is not in force", parent.ID)
	case op.Grant.MaxDepth > parent.MaxDepth-1:
		return plugins.Reject("depth_exceeded", "maxDepth is %d, the parent's %d", op.Grant.MaxDepth, parent.MaxDepth)
	}
	return op.Grant.attenuates(parent.GrantTerms.window(), parent.Properties)
}

// stands says whether a grant is unrevoked at t, and none above it revoked with all below.
func stands(v plugins.View, f *Federation, g *Grant, t tangle.Time) (bool, error) {
	_, whole, err := walk(v, f, g, t)
	return whole && !g.Revoked.effective(t), err
}

// attenuates refuses a grant that reaches beyond what it was made from: its whole time inside the parent's, and each
// property, in the time in which it counts, inside one of the parent's.
func (g GrantTerms) attenuates(time window, properties []Property) error {
	if !time.covers(g.window()) {
		return plugins.Reject("not_attenuated", "validity reaches beyond the parent's")
	}
	for _, p := range g.Properties {
		inside := func(q Property) bool {
			return q.covers(p) && q.window().intersect(time).covers(p.window().intersect(g.window()))
		}
		if !slices.ContainsFunc(properties, inside) {
			return plugins.Reject("not_attenuated", "%s is not inside one property of the parent", p.Path)
		}
	}
	return nil
}

func (op *Operation) revoke(v plugins.View, at did.Place) ([]did.Write, error) {
	g, err := ReadGrant(v, op.Revoked)
	if err != nil {
		return nil, err
	}
	f, err := ReadFederation(v, g.Federation)
	if err != nil {
		return nil, damaged(err)
	}
	above, err := isAbove(v, f, g, op.Actor, at.Time)
	if err != nil {
		return nil, err
	}
	unsigned := operation.CheckSigned(v, op.Envelope, op.Actor, did.AssertionMethod, at.Time)
	if unsigned != nil && plugins.Rejected(unsigned) == nil {
		return nil, unsigned
	}
	if !above || unsigned != nil {
		if err := f.vote(v, op.Envelope, op.Actor, "", at.Time); err != nil {
			return nil, err
		}
	}
	revoked, changed := g.Revoked.add(op.Actor, op.Revoking, at)
	if !changed {
		return nil, plugins.Reject("grant_revoked", "%s is revoked already", g.ID)
	}
	g.Revoked = revoked
	return []did.Write{write(keyGrant+g.ID, g)}, nil
}

// isAbove says whether the actor made a grant, or one above it, by an authority that it still has: who has lost it could
// only do harm.
func isAbove(v plugins.View, f *Federation, g *Grant, actor string, t tangle.Time) (bool, error) {
	for range MaxSteps {
		if g.Under == Root {
			i := f.root(actor)
			return g.Grantor == actor && i >= 0 && f.Roots[i].hasVoice(), nil
		}
		parent, err := ReadGrant(v, g.Under)
		if err != nil {
			return false, damaged(err)
		}
		if g.Grantor == actor {
			if ok, err := stands(v, f, parent, t); ok || err != nil {
				return ok, err
			}
		}
		g = parent
	}
	return false, errDepth
}

// keyOf finds the first key with which a root speaks; -1 if it does not.
func keyOf(v plugins.View, root string, keys []string, t tangle.Time) (int, error) {
	held, err := did.Held(v, root, did.CapabilityInvocation, keys, t)
	if err != nil || len(held) == 0 {
		return -1, err
	}
	return slices.Index(keys, held[0]), nil
}

// vote wants the threshold of roots that have a voice, without the one concerned, the actor among them. One key counts for
// one root; roots take keys in ascending order.
func (f *Federation) vote(v plugins.View, e *did.Envelope, actor, concerned string, t tangle.Time) error {
	free := slices.Clone(e.Signers)
	count, actorCounts := 0, false
	for _, r := range f.Roots {
		if !r.hasVoice() || r.DID == concerned {
			continue
		}
		if count >= f.Threshold && actorCounts {
			return nil
		}
		i, err := keyOf(v, r.DID, free, t)
		if err != nil {
			return err
		}
		if i >= 0 {
			free = slices.Delete(free, i, i+1)
			count++
			actorCounts = actorCounts || r.DID == actor
		}
	}
	switch {
	case !actorCounts:
		return plugins.Reject("not_entitled", "%s did not sign as a root that has a voice in this", actor)
	case count < f.Threshold:
		return plugins.Reject("threshold", "%d roots signed, %d are needed", count, f.Threshold)
	}
	return nil
}

// change executes the operations that write nothing but the federation.
func (op *Operation) change(v plugins.View, f *Federation, at did.Place) error {
	switch op.Op {
	case AddRoot:
		return f.addRoot(v, op.Root, at)
	case RevokeRoot:
		return f.revokeRoot(op.Root, op.Actor, op.Revoking, at)
	case ReinstateRoot:
		return f.reinstateRoot(op.Root, at)
	}
	if !fits(op.Threshold, f.voices()) {
		return plugins.Reject("bad_value", "a threshold of %d with %d active roots: the others could not remove one", op.Threshold, f.voices())
	}
	f.Threshold = op.Threshold
	return nil
}

func (f *Federation) addRoot(v plugins.View, root string, at did.Place) error {
	i, found := slices.BinarySearchFunc(f.Roots, root, func(r RootRecord, root string) int { return strings.Compare(r.DID, root) })
	if found {
		return plugins.Reject("already_exists", "%s is a root; one that was revoked is reinstated", root)
	}
	if len(f.Roots) == MaxRoots {
		return plugins.Reject("rate_limited", "%d roots, the most there may be", MaxRoots)
	}
	if err := checkActive(v, root); err != nil {
		return err
	}
	f.Roots = slices.Insert(f.Roots, i, RootRecord{root, []Term{{From: operation.Instant(at.Time)}}})
	return nil
}

// revokeRoot lowers the threshold where it must, so that the others can remove another one: were they to lower it first,
// the one they want to remove could act alone in between.
func (f *Federation) revokeRoot(root, by string, asked Revoking, at did.Place) error {
	i := f.root(root)
	if i < 0 {
		return plugins.Reject("bad_value", "%s is not a root", root)
	}
	revoked, changed := f.Roots[i].last().Revoked.add(by, asked, at)
	if !changed {
		return plugins.Reject("grant_revoked", "%s is revoked already", root)
	}
	f.Roots[i].last().Revoked = revoked
	f.Threshold = max(1, min(f.Threshold, f.voices()-1))
	return nil
}

func (f *Federation) reinstateRoot(root string, at did.Place) error {
	i := f.root(root)
	switch {
	case i < 0:
		return plugins.Reject("bad_value", "%s is not a root", root)
	case f.Roots[i].hasVoice():
		return plugins.Reject("already_exists", "%s is an active root", root)
	case len(f.Roots[i].Terms) == MaxRootTerms:
		return plugins.Reject("rate_limited", "%s came back %d times, the most it may", root, MaxRootTerms-1)
	}
	f.Roots[i].Terms = append(f.Roots[i].Terms, Term{From: operation.Instant(at.Time)})
	return nil
}

func (op *Operation) addProperty(v plugins.View, at did.Place) ([]did.Write, error) {
	key := keyProperty + op.Federation + op.Property.Path
	p := PropertyRecord{Path: op.Property.Path}
	found, err := get(v, key, &p)
	switch {
	case err != nil:
		return nil, err
	case !found && len(scanIndex(v, keyProperty+op.Federation, "", MaxFederationPaths)) == MaxFederationPaths:
		return nil, plugins.Reject("rate_limited", "%d properties, the most there may be", MaxFederationPaths)
	case found && !p.Terms[len(p.Terms)-1].Revoked.effective(at.Time):
		return nil, plugins.Reject("already_exists", "%s: revoke it first", p.Path)
	case len(p.Terms) == MaxPropertyTerms:
		return nil, plugins.Reject("rate_limited", "%s was set %d times, the most it may", p.Path, MaxPropertyTerms)
	}
	p.Terms = append(p.Terms, PropertyTerm{op.Property, Term{From: operation.Instant(at.Time)}})
	w := write(key, p)
	if found && len(w.Value) > MaxPropertyBytes {
		return nil, plugins.Reject("rate_limited", "%s would have %d bytes with all that it was, at most %d may be", p.Path, len(w.Value), MaxPropertyBytes)
	}
	return []did.Write{w}, nil
}

func (op *Operation) revokeProperty(v plugins.View, at did.Place) ([]did.Write, error) {
	key := keyProperty + op.Federation + op.Path
	var p PropertyRecord
	found, err := get(v, key, &p)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, badProperty("%.100q is not a property of the federation", op.Path)
	}
	last := &p.Terms[len(p.Terms)-1]
	revoked, changed := last.Revoked.add(op.Actor, op.Revoking, at)
	if !changed {
		return nil, badProperty("%s is revoked already", op.Path)
	}
	last.Revoked = revoked
	return []did.Write{write(key, p)}, nil
}
