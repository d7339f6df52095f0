package sim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// federation is the reference's federation.
type federation struct {
	*signed
	threshold  int
	roots      map[string][]term
	properties map[string][]term
}

// term is a time of office of a root, or of force of a property.
type term struct {
	from     tangle.Time
	property property
	revoked  []revocation
}

type revocation struct {
	known, effective tangle.Time
	cascade          bool
	by               string
}

type grant struct {
	*signed
	at      did.Place
	revoked []revocation
}

// property is a path with its one constraint. A value is kept as its JSON text.
type property struct {
	Path                           string
	Values                         []json.RawMessage
	Range                          *struct{ Min, Max int }
	StartsWith, EndsWith, Contains string
	Any                            bool
}

// trust is an operation of a federation.
func (m *identities) trust(op *signed, at did.Place) string {
	switch op.Op {
	case "federation.create":
		return m.found(op, at)
	case "grant":
		return m.grant(op, at)
	case "revoke":
		return m.revoke(op, at)
	}
	f := m.federations[op.Federation]
	if f == nil {
		return "unknown_federation"
	}
	if code := m.vote(f, op, op.Root); code != "" {
		return code
	}
	return m.govern(f, op, at)
}

func (m *identities) found(op *signed, at did.Place) string {
	if !m.speaks(op.Actor, "assertionMethod", op.signers) || !slices.Contains(op.Roots, op.Actor) {
		return "not_entitled"
	}
	for _, root := range op.Roots {
		if code := m.alive(root); code != "" {
			return code
		}
	}
	m.begin(op, at.Time)
	return ""
}

func (m *identities) begin(op *signed, t tangle.Time) {
	f := &federation{signed: op, threshold: op.Threshold, roots: map[string][]term{}, properties: map[string][]term{}}
	for _, root := range op.Roots {
		f.roots[root] = []term{{from: t}}
	}
	for _, p := range op.Properties {
		f.properties[p.Path] = []term{{from: t, property: p}}
	}
	m.federations[op.hash] = f
}

// foundGenesis begins with a federation of genesis, whose name is the hash of what stands there.
func (m *identities) foundGenesis(f did.Object) {
	text, err := did.Canonical(f)
	op := &signed{hash: did.Multihash(text)}
	if err != nil || json.Unmarshal(text, op) != nil {
		panic("genesis has a federation that is no JSON")
	}
	m.begin(op, 0)
}

// alive says why a root could never speak.
func (m *identities) alive(root string) string {
	s := m.subjects[root]
	switch {
	case strings.HasPrefix(root, "did:key:"):
		return ""
	case s == nil:
		return "unknown_did"
	case s.deactivated:
		return "deactivated"
	}
	return ""
}

func last(terms []term) *term { return &terms[len(terms)-1] }

// active says whether a root has a voice.
func (f *federation) active(root string) bool {
	terms := f.roots[root]
	return len(terms) > 0 && len(last(terms).revoked) == 0
}

func (f *federation) voices() (roots []string) {
	for root := range f.roots {
		if f.active(root) {
			roots = append(roots, root)
		}
	}
	slices.Sort(roots)
	return roots
}

// vote wants a threshold of the active roots but the one concerned, the actor among them, each with a key of its own.
func (m *identities) vote(f *federation, op *signed, concerned string) string {
	keys := slices.Clone(op.signers)
	var voted []string
	for _, root := range f.voices() {
		if root == concerned {
			continue
		}
		for k, key := range keys {
			if m.speaks(root, "capabilityInvocation", []string{key}) {
				keys = slices.Delete(keys, k, k+1)
				voted = append(voted, root)
				break
			}
		}
	}
	switch {
	case !slices.Contains(voted, op.Actor):
		return "not_entitled"
	case len(voted) < f.threshold:
		return "threshold"
	}
	return ""
}

// govern is one of the six operations that the roots make together.
func (m *identities) govern(f *federation, op *signed, at did.Place) string {
	switch op.Op {
	case "property.add", "property.revoke":
		return f.speakOf(op, at)
	case "root.add":
		if f.roots[op.Root] != nil {
			return "already_exists"
		}
		if code := m.alive(op.Root); code != "" {
			return code
		}
		f.roots[op.Root] = []term{{from: at.Time}}
	case "root.revoke":
		if f.roots[op.Root] == nil {
			return "bad_value"
		}
		if !end(&last(f.roots[op.Root]).revoked, op, at) {
			return "grant_revoked"
		}
		f.threshold = max(1, min(f.threshold, len(f.voices())-1))
	case "root.reinstate":
		if f.roots[op.Root] == nil {
			return "bad_value"
		}
		if f.active(op.Root) {
			return "already_exists"
		}
		f.roots[op.Root] = append(f.roots[op.Root], term{from: at.Time})
	default:
		if n := len(f.voices()); op.Threshold != 1 && op.Threshold >= n || n == 0 {
			return "bad_value"
		}
		f.threshold = op.Threshold
	}
	return ""
}

func (f *federation) speakOf(op *signed, at did.Place) string {
	if op.Op == "property.add" {
		terms := f.properties[op.Property.Path]
		if len(terms) > 0 && !effective(last(terms).revoked, at.Time) {
			return "already_exists"
		}
		f.properties[op.Property.Path] = append(terms, term{from: at.Time, property: op.Property})
		return ""
	}
	terms := f.properties[op.Path]
	if len(terms) == 0 || !end(&last(terms).revoked, op, at) {
		return "bad_property"
	}
	return ""
}

// end adds a revocation, unless it would change nothing: only a cascading one may follow one that does not cascade.
func end(list *[]revocation, op *signed, at did.Place) bool {
	for _, r := range *list {
		if r.cascade || !op.Cascade {
			return false
		}
	}
	*list = append(*list, revocation{at.Time, max(at.Time, tangle.TimeOf(op.EffectiveAt)), op.Cascade, op.Actor})
	return true
}

func effective(list []revocation, t tangle.Time) bool {
	return slices.ContainsFunc(list, func(r revocation) bool { return r.effective <= t })
}

func cascades(list []revocation, t tangle.Time) bool {
	return slices.ContainsFunc(list, func(r revocation) bool { return r.cascade && r.effective <= t })
}

func (m *identities) grant(op *signed, at did.Place) string {
	f := m.federations[op.Federation]
	switch {
	case f == nil:
		return "unknown_federation"
	case !m.speaks(op.Actor, "assertionMethod", op.signers):
		return "not_entitled"
	}
	code := ""
	if op.Under == "root" {
		code = f.grants(op, at)
	} else {
		code = m.passesOn(f, op, at)
	}
	if code == "" {
		m.grants[op.hash] = &grant{signed: op, at: at}
	}
	return code
}

// grants judges what a root grants alone.
func (f *federation) grants(op *signed, at did.Place) string {
	var now []property
	for _, terms := range f.properties {
		if t := last(terms); !effective(t.revoked, at.Time) {
			now = append(now, t.property)
		}
	}
	switch {
	case !f.active(op.Actor):
		return "not_entitled"
	case op.MaxDepth > f.MaxDepth:
		return "depth_exceeded"
	case !attenuated(op.Properties, now):
		return "not_attenuated"
	}
	return ""
}

// passesOn judges what the subject of a grant grants on.
func (m *identities) passesOn(f *federation, op *signed, at did.Place) string {
	parent := m.grants[op.Under]
	switch {
	case parent == nil || parent.Federation != op.Federation:
		return "unknown_grant"
	case parent.Subject != op.Actor:
		return "not_entitled"
	case !m.stands(f, parent, at.Time):
		return "grant_revoked"
	case at.Time < max(parent.at.Time, tangle.TimeOf(parent.ValidFrom)) || at.Time > tangle.TimeOf(parent.ValidUntil):
		return "not_attenuated"
	case op.MaxDepth >= parent.MaxDepth:
		return "depth_exceeded"
	case before(op.ValidFrom, parent.ValidFrom) || before(parent.ValidUntil, op.ValidUntil):
		return "not_attenuated"
	case !attenuated(op.Properties, parent.Properties):
		return "not_attenuated"
	}
	return ""
}

func before(a, b time.Time) bool { return a.Before(b) }

// stands says whether a grant is unrevoked, and nothing above it revoked with all below.
func (m *identities) stands(f *federation, g *grant, t tangle.Time) bool {
	if effective(g.revoked, t) {
		return false
	}
	for g.Under != "root" {
		if g = m.grants[g.Under]; cascades(g.revoked, t) {
			return false
		}
	}
	return !cascades(last(f.roots[g.Actor]).revoked, t)
}

func (m *identities) revoke(op *signed, at did.Place) string {
	g := m.grants[op.Grant]
	if g == nil {
		return "unknown_grant"
	}
	f := m.federations[g.Federation]
	if !m.above(f, g, op.Actor, at.Time) || !m.speaks(op.Actor, "assertionMethod", op.signers) {
		if code := m.vote(f, op, ""); code != "" {
			return code
		}
	}
	if !end(&g.revoked, op, at) {
		return "grant_revoked"
	}
	return ""
}

// above says whether somebody has made a grant, or one above it, by an authority that still stands.
func (m *identities) above(f *federation, g *grant, actor string, t tangle.Time) bool {
	for {
		if g.Under == "root" {
			return g.Actor == actor && f.active(actor)
		}
		parent := m.grants[g.Under]
		if g.Actor == actor && m.stands(f, parent, t) {
			return true
		}
		g = parent
	}
}

// attenuated says whether each property is contained in one of the others.
func attenuated(list, others []property) bool {
	for _, p := range list {
		if !slices.ContainsFunc(others, p.inside) {
			return false
		}
	}
	return true
}

// inside says whether all that p allows is surely allowed by another: the table of the design, row by row.
func (p property) inside(outer property) bool {
	if above, star := strings.CutSuffix(outer.Path, "*"); star && !strings.HasPrefix(p.Path, above) || !star && p.Path != outer.Path {
		return false
	}
	switch {
	case outer.Any:
		return true
	case p.Any:
		return false
	case p.Values != nil:
		return !slices.ContainsFunc(p.Values, func(v json.RawMessage) bool { return !outer.allows(string(v)) })
	case p.Range != nil:
		return outer.Range != nil && outer.Range.Min <= p.Range.Min && p.Range.Max <= outer.Range.Max
	case outer.StartsWith != "":
		return strings.HasPrefix(p.StartsWith, outer.StartsWith)
	case outer.EndsWith != "":
		return strings.HasSuffix(p.EndsWith, outer.EndsWith)
	case outer.Contains != "":
		return strings.Contains(p.StartsWith+p.EndsWith+p.Contains, outer.Contains)
	}
	return false
}

// allows judges one value by its JSON text.
func (p property) allows(value string) bool {
	text, err := strconv.Unquote(value)
	if err != nil {
		n, _ := strconv.Atoi(value)
		return p.Range != nil && p.Range.Min <= n && n <= p.Range.Max || p.lists(value)
	}
	return p.lists(value) || p.StartsWith != "" && strings.HasPrefix(text, p.StartsWith) ||
		p.EndsWith != "" && strings.HasSuffix(text, p.EndsWith) || p.Contains != "" && strings.Contains(text, p.Contains)
}

func (p property) lists(value string) bool {
	return slices.ContainsFunc(p.Values, func(v json.RawMessage) bool { return string(v) == value })
}
