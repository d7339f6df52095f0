package trust

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// forest drives Next with operations whose signatures are not in question, and keeps what was accepted.
type forest struct {
	*ledger
	federation string
	grants     []Grant
	refused    map[string]int
}

// lastSecond is the end of all times that a forest draws.
const lastSecond = 24

func (f *forest) do(r *rapid.T, op *Operation, signers ...byte) (hash string, accepted bool) {
	f.nonce++
	op.Envelope = &did.Envelope{Hash: did.Multihash(fmt.Append(nil, f.nonce)), NotAfter: f.place.Time + 3_600_000}
	for _, seed := range signers {
		op.Envelope.Signers = append(op.Envelope.Signers, multikey(seed))
	}
	op.Actor = actor(signers[0])
	writes, err := Next(f.state, did.DefaultLimits(), op, f.place)
	if err != nil {
		rejection := plugins.Rejected(err)
		if rejection == nil {
			r.Fatalf("%s: %v", op.Op, err)
		}
		f.refused[rejection.Code]++
		return "", false
	}
	plugins.Put(f.state, writes)
	return op.Envelope.Hash, true
}

func drawForest(r *rapid.T) *forest {
	f := &forest{ledger: newLedger(), refused: map[string]int{}}
	terms := FederationTerms{Name: "x", Threshold: 1, MaxDepth: rapid.IntRange(0, MaxDepth).Draw(r, "depth"), Roots: operation.Sorted([]string{actor(1), actor(2)})}
	paths := map[string]bool{}
	for range rapid.IntRange(1, 4).Draw(r, "properties") {
		if p := drawTimed(r); !paths[p.Path] {
			paths[p.Path] = true
			terms.Properties = append(terms.Properties, p)
		}
	}
	id, _ := f.do(r, &Operation{Op: CreateFederation, Create: terms}, 1)
	f.federation = id
	for range rapid.IntRange(5, 25).Draw(r, "operations") {
		f.place.Time += tangle.Time(rapid.IntRange(0, 1500).Draw(r, "later"))
		f.drawOperation(r)
	}
	return f
}

func drawTimed(r *rapid.T) Property {
	p := drawProperty(r)
	if rapid.IntRange(0, 3).Draw(r, "timed") == 0 {
		p.ValidFrom = second(rapid.IntRange(0, 8).Draw(r, "from"))
		p.ValidUntil = second(rapid.IntRange(8, lastSecond).Draw(r, "until"))
	}
	return p
}

func (f *forest) drawOperation(r *rapid.T) {
	revoking := Revoking{rapid.Bool().Draw(r, "cascade"), second(rapid.IntRange(0, lastSecond).Draw(r, "effective"))}
	root := byte(rapid.IntRange(1, 2).Draw(r, "root"))
	switch kind := rapid.IntRange(0, 19).Draw(r, "operation"); {
	case kind == 0:
		f.do(r, &Operation{Op: RevokeRoot, Federation: f.federation, Root: actor(3 - root), Revoking: revoking}, root)
	case kind == 1:
		f.do(r, &Operation{Op: ReinstateRoot, Federation: f.federation, Root: actor(3 - root)}, root)
	case kind == 2:
		path := drawProperty(r).Path
		f.do(r, &Operation{Op: RevokeProperty, Federation: f.federation, Path: path, Revoking: revoking}, root)
	case kind == 3:
		f.do(r, &Operation{Op: AddProperty, Federation: f.federation, Property: drawTimed(r)}, root)
	case kind <= 6 && len(f.grants) > 0:
		g := rapid.SampledFrom(f.grants).Draw(r, "revoked")
		f.do(r, &Operation{Op: Revoke, Revoked: g.ID, Revoking: revoking}, seedOf(g.Grantor))
	default:
		f.drawGrant(r)
	}
}

// drawGrant grants under a root or an earlier grant, mostly something that has a chance.
func (f *forest) drawGrant(r *rapid.T) {
	g := GrantTerms{Federation: f.federation, Under: Root, Kind: Attest, Subject: actor(byte(rapid.IntRange(3, 7).Draw(r, "subject")))}
	grantor, within := byte(rapid.IntRange(1, 2).Draw(r, "grantor")), window{tangle.Time(second(0)), tangle.Time(second(lastSecond))}
	if all, _ := Properties(f.state, f.federation); len(all) > 0 {
		g.Properties = []Property{rapid.SampledFrom(all).Draw(r, "from").Terms[0].Property}
	}
	g.MaxDepth = rapid.IntRange(0, MaxDepth).Draw(r, "depth")
	if len(f.grants) > 0 && rapid.IntRange(0, 3).Draw(r, "deeper") > 0 {
		parent := rapid.SampledFrom(f.grants).Draw(r, "parent")
		g.Under, grantor, within = parent.ID, seedOf(parent.Subject), parent.GrantTerms.window()
		g.Properties = []Property{rapid.SampledFrom(parent.Properties).Draw(r, "inherited")}
		g.MaxDepth = max(0, parent.MaxDepth-rapid.IntRange(0, 2).Draw(r, "step"))
	}
	if rapid.Bool().Draw(r, "other") {
		g.Properties = append(g.Properties, drawTimed(r))[rapid.IntRange(0, 1).Draw(r, "drop"):]
	}
	if g.MaxDepth > 0 {
		g.Kind = Accredit
	}
	g.ValidFrom = operation.Instant(within.from) + operation.Instant(rapid.IntRange(-1, 3).Draw(r, "later"))*1000
	g.ValidUntil = operation.Instant(within.until) - operation.Instant(rapid.IntRange(-1, 3).Draw(r, "sooner"))*1000
	if g.check() != nil || len(g.Properties) == 0 {
		return // Decode would refuse it
	}
	if hash, accepted := f.do(r, &Operation{Op: MakeGrant, Grant: g}, grantor); accepted {
		kept, err := ReadGrant(f.state, hash)
		if err != nil {
			r.Fatal(err)
		}
		f.grants = append(f.grants, *kept)
	}
}

func seedOf(name string) byte {
	for seed := byte(1); ; seed++ {
		if actor(seed) == name {
			return seed
		}
	}
}

// states says whether a grant in itself allows a statement at a time.
func (g Grant) states(path string, value any, at tangle.Time) bool {
	if at < tangle.Time(max(g.Granted, g.ValidFrom)) || at > tangle.Time(g.ValidUntil) {
		return false
	}
	for _, p := range g.Properties {
		inTime := at >= tangle.Time(p.ValidFrom) && (p.ValidUntil == 0 || at <= tangle.Time(p.ValidUntil))
		if inTime && p.Allows(path, value) {
			return true
		}
	}
	return false
}

// TestWhateverAGrantAllowsItsParentAllowed looks at every grant that was accepted: values, shape, time and depth.
func TestWhateverAGrantAllowsItsParentAllowed(t *testing.T) {
	children := 0
	rapid.Check(t, func(r *rapid.T) {
		f := drawForest(r)
		byID := map[string]Grant{}
		for _, g := range f.grants {
			byID[g.ID] = g
		}
		federation, err := ReadFederation(f.state, f.federation)
		if err != nil {
			r.Fatal(err)
		}
		for _, g := range f.grants {
			if g.Under == Root {
				if g.MaxDepth > federation.MaxDepth || federation.root(g.Grantor) < 0 {
					r.Fatalf("under the root: %+v", g)
				}
				continue
			}
			children++
			parent := byID[g.Under]
			if g.Grantor != parent.Subject || g.MaxDepth >= parent.MaxDepth {
				r.Fatalf("%+v under %+v", g, parent)
			}
			compareGrants(r, g, parent)
		}
	})
	if children == 0 {
		t.Error("no grant under another was drawn")
	}
}

func compareGrants(r *rapid.T, g, parent Grant) {
	paths, values := probes()
	for n := -1; n <= lastSecond+2; n++ {
		at := start + tangle.Time(n*1000)
		for _, path := range paths {
			for _, value := range values {
				if g.states(path, value, at) && !parent.states(path, value, at) {
					r.Fatalf("%s = %v at %s: %+v allows it, %+v does not", path, value, at, g, parent)
				}
			}
		}
	}
}

// TestEvaluateAgainstAllPaths asks everything that can be asked of a small forest, and compares with a search that knows
// no index and trusts no attenuation: every grant on the way must allow the statement itself.
func TestEvaluateAgainstAllPaths(t *testing.T) {
	yes := 0
	rapid.Check(t, func(r *rapid.T) {
		f := drawForest(r)
		paths, values := probes()
		for range 30 {
			q := Question{
				Federation: f.federation, Attester: actor(byte(rapid.IntRange(3, 7).Draw(r, "attester"))),
				Property: rapid.SampledFrom(paths).Draw(r, "path"), Value: rapid.SampledFrom(values).Draw(r, "value"),
				At: start + tangle.Time(rapid.IntRange(0, lastSecond*1000).Draw(r, "at")), Now: start + lastSecond*1000,
			}
			q.AsOf = q.At + tangle.Time(rapid.IntRange(0, lastSecond*1000).Draw(r, "asOf"))
			if len(f.grants) > 0 && rapid.Bool().Draw(r, "aimed") {
				q.Attester = rapid.SampledFrom(f.grants).Draw(r, "grant").Subject
			}
			got, err := Evaluate(f.state, q)
			if err != nil {
				r.Fatal(err)
			}
			if want := f.search(r, q); got.Trusted != want {
				r.Fatalf("%+v: %+v, want %t", q, got, want)
			}
			if got.Trusted {
				yes++
			}
		}
	})
	if yes == 0 {
		t.Error("nothing was ever trusted")
	}
}

func (f *forest) search(r *rapid.T, q Question) bool {
	byID := map[string]*Grant{}
	for _, g := range f.grants {
		kept, err := ReadGrant(f.state, g.ID)
		if err != nil {
			r.Fatal(err)
		}
		byID[g.ID] = kept
	}
	for _, g := range byID {
		if g.Subject != q.Attester || g.Kind != Attest || revoked(g.Revoked, q.At, false) {
			continue
		}
		if f.chainAllows(r, byID, g, q) && f.federationAllows(r, q) {
			return true
		}
	}
	return false
}

func (f *forest) chainAllows(r *rapid.T, byID map[string]*Grant, g *Grant, q Question) bool {
	for ; ; g = byID[g.Under] {
		if !g.states(q.Property, q.Value, q.At) || revoked(g.Revoked, q.AsOf, true) {
			return false
		}
		if g.Under == Root {
			break
		}
	}
	federation, err := ReadFederation(f.state, f.federation)
	if err != nil {
		r.Fatal(err)
	}
	failed := false
	for _, term := range federation.Roots[federation.root(g.Grantor)].Terms {
		if tangle.Time(term.From) <= q.AsOf {
			failed = revoked(term.Revoked, q.AsOf, true)
		}
	}
	return !failed
}

func (f *forest) federationAllows(r *rapid.T, q Question) bool {
	all, err := Properties(f.state, f.federation)
	if err != nil {
		r.Fatal(err)
	}
	for _, p := range all {
		for i, term := range p.Terms {
			current := tangle.Time(term.From) <= q.At && (i+1 == len(p.Terms) || tangle.Time(p.Terms[i+1].From) > q.At)
			as := Grant{Granted: term.From, GrantTerms: GrantTerms{ValidUntil: second(1000), Properties: []Property{term.Property}}}
			if current && as.states(q.Property, q.Value, q.At) && !revoked(term.Revoked, q.At, false) && !revoked(term.Revoked, q.AsOf, true) {
				return true
			}
		}
	}
	return false
}

func revoked(list Revocations, at tangle.Time, cascading bool) bool {
	for _, r := range list {
		if tangle.Time(r.Effective) <= at && tangle.Time(r.Known) <= at && (r.Cascade || !cascading) {
			return true
		}
	}
	return false
}
