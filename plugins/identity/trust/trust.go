// Package trust holds the ledger's federations: who vouches for whom, for which properties, for how long. Signed operations
// of type weft/trust/1 (entry kind "trust") build them; Evaluate answers whether a DID may state a value of a property at a
// time, with the path from a root to it.
//
// It does not say whom to believe: that is each operator's own list. It judges no credential (package vc asks it), has no
// clock, and changes no state itself: Next returns writes.
package trust

import (
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Type is the member "type" of an operation.
const Type = "weft/trust/1"

// Bounds of operations and federations.
const (
	MaxOperationBytes   = 24 << 10 // with proofs
	MaxOperationDepth   = 8
	MaxNameBytes        = 200
	MaxRoots            = 16 // per federation, with revoked ones
	MaxRootTerms        = 32 // how often a root comes back
	MaxDepth            = 4  // levels of accreditation below a root's own grants
	MaxSteps            = MaxDepth + 1
	MaxGrantProperties  = 16
	MaxFederationPaths  = 256      // properties of a federation, with revoked ones
	MaxCreateProperties = 64       // of them in its create
	MaxPropertyTerms    = 16       // how often the property of one path is set anew
	MaxPropertyBytes    = 64 << 10 // of one path with all its terms: every grant below it reads them
	MaxGrantsPerSubject = 1000
)

// Root is what "under" says of a grant by a root.
const Root = "root"

// Op is what an operation does.
type Op string

// The operations.
const (
	CreateFederation Op = "federation.create"
	MakeGrant        Op = "grant"
	Revoke           Op = "revoke"
	AddRoot          Op = "root.add"
	RevokeRoot       Op = "root.revoke"
	ReinstateRoot    Op = "root.reinstate"
	AddProperty      Op = "property.add"
	RevokeProperty   Op = "property.revoke"
	SetThreshold     Op = "threshold.set"
)

// Kind says what a grant gives: to attest, or to grant on.
type Kind string

// The kinds of grants.
const (
	Attest   Kind = "attest"
	Accredit Kind = "accredit"
)

// FederationTerms are what federation.create and genesis say of a federation.
type FederationTerms struct {
	Name       string     `json:"name"`
	Roots      []string   `json:"roots"`     // ascending
	Threshold  int        `json:"threshold"` // 1, or less than there are roots
	MaxDepth   int        `json:"maxDepth"`
	Properties []Property `json:"properties"` // one of each path
}

// GrantTerms are what a grant says.
type GrantTerms struct {
	Federation string            `json:"federation"`
	Under      string            `json:"under"` // Root, or the id of the parent
	Subject    string            `json:"subject"`
	Kind       Kind              `json:"kind"`
	MaxDepth   int               `json:"maxDepth"` // levels below: 0 for Attest, at least 1 for Accredit
	Properties []Property        `json:"properties"`
	ValidFrom  operation.Instant `json:"validFrom"`
	ValidUntil operation.Instant `json:"validUntil"`
}

// Revoking is what all revocations say. It takes effect at EffectiveAt, or at the commit time if that is later. What was
// made or stated before stands, unless it cascades.
type Revoking struct {
	Cascade     bool
	EffectiveAt operation.Instant
}

// Operation is a decoded operation with good proofs. Members that its Op does not have are zero.
type Operation struct {
	*did.Envelope
	Op         Op
	Actor      string
	Create     FederationTerms
	Grant      GrantTerms
	Revoked    string // the grant that is revoked
	Federation string // of the last six
	Root       string // the root concerned
	Property   Property
	Path       string // of the property that is revoked
	Threshold  int
	Revoking   Revoking
}

// Decode reads an entry: exact members, bounds and signatures, nothing that needs state. The codes are those of
// did.OpenEnvelope, and unknown_field, bad_value, bad_property, depth_exceeded, wrong_network.
func Decode(network tangle.ID, limits did.Limits, entry []byte) (*Operation, error) {
	return did.Verified(DecodeUnverified(network, limits, entry))
}

// DecodeUnverified is Decode without its last step, the signatures: did.VerifyAll takes those of many operations at once.
func DecodeUnverified(network tangle.ID, limits did.Limits, entry []byte) (*Operation, error) {
	op := &Operation{}
	envelope, err := did.ReadEnvelope(network, entry, did.EnvelopeRules{
		Type: Type, MaxBytes: MaxOperationBytes, MaxProofs: limits.MaxProofs, MaxDepth: MaxOperationDepth,
		Shape: func(e *did.Envelope) error { return op.read(network, e) },
	})
	if err != nil {
		return nil, err
	}
	op.Envelope = envelope
	return op, nil
}

func (op *Operation) read(network tangle.ID, e *did.Envelope) error {
	m := operation.Read(e.Body)
	op.Op = Op(e.Op)
	op.Actor = operation.ReadActor(network, m)
	switch op.Op {
	case CreateFederation:
		op.Create = readFederation(network, m)
	case MakeGrant:
		op.Grant = readGrant(network, m)
	case Revoke:
		op.Revoked = m.Hash("grant")
		op.Revoking = readRevoking(m)
	default:
		op.readChange(network, m)
	}
	return m.Done()
}

// readChange reads the six that roots make together.
func (op *Operation) readChange(network tangle.ID, m *operation.Members) {
	op.Federation = m.Hash("federation")
	switch op.Op {
	case AddRoot, ReinstateRoot:
		op.Root = readRoot(network, m)
	case RevokeRoot:
		op.Root = readRoot(network, m)
		op.Revoking = readRevoking(m)
	case AddProperty:
		p, err := readProperty(m.Object("property"))
		m.Judge(err)
		op.Property = p
	case RevokeProperty:
		op.Path = m.Text("path", operation.MaxText)
		op.Revoking = readRevoking(m)
	case SetThreshold:
		op.Threshold = int(m.Integer("threshold", 1, MaxRoots))
	default:
		m.Judge(plugins.Reject("bad_value", "op %.40q is not one of %s", op.Op, Type))
	}
}

func readRoot(network tangle.ID, m *operation.Members) string {
	root := m.Text("root", operation.MaxText)
	m.Judge(operation.CheckActor(network, root))
	return root
}

func readRevoking(m *operation.Members) Revoking {
	return Revoking{Cascade: m.Bool("cascade"), EffectiveAt: m.Instant("effectiveAt")}
}

func readFederation(network tangle.ID, m *operation.Members) FederationTerms {
	f := FederationTerms{
		Name: m.Text("name", MaxNameBytes), Roots: m.Texts("roots", MaxRoots), Threshold: int(m.Integer("threshold", 1, MaxRoots)),
		MaxDepth: int(m.Integer("maxDepth", 0, MaxDepth)), Properties: readProperties(m, 0, MaxCreateProperties),
	}
	for _, root := range f.Roots {
		m.Judge(operation.CheckActor(network, root))
	}
	if !fits(f.Threshold, len(f.Roots)) {
		m.Judge(plugins.Reject("bad_value", "a threshold of %d with %d roots: the others could not remove one", f.Threshold, len(f.Roots)))
	}
	paths := make(map[string]bool, len(f.Properties))
	for _, p := range f.Properties {
		if paths[p.Path] {
			m.Judge(badProperty("%s stands twice", p.Path))
		}
		paths[p.Path] = true
	}
	return f
}

// fits says whether a threshold lets the other roots always remove one.
func fits(threshold, roots int) bool {
	return roots >= 1 && threshold >= 1 && (threshold == 1 || threshold < roots)
}

func readGrant(network tangle.ID, m *operation.Members) GrantTerms {
	g := GrantTerms{
		Federation: m.Hash("federation"), Under: m.Text("under", operation.MaxText), Subject: m.Text("subject", operation.MaxText),
		Kind: Kind(m.Text("kind", operation.MaxText)), MaxDepth: int(m.Integer("maxDepth", 0, did.MaxInteger)),
		Properties: readProperties(m, 1, MaxGrantProperties), ValidFrom: m.Instant("validFrom"), ValidUntil: m.Instant("validUntil"),
	}
	if g.Under != Root {
		m.Judge(operation.CheckHash(g.Under))
	}
	m.Judge(checkSubject(network, g.Subject))
	m.Judge(g.check())
	return g
}

// check judges kind, depth and validity.
func (g GrantTerms) check() error {
	switch {
	case g.Kind != Attest && g.Kind != Accredit:
		return plugins.Reject("bad_value", "kind %.40q is neither attest nor accredit", g.Kind)
	case (g.Kind == Attest) != (g.MaxDepth == 0):
		return plugins.Reject("bad_value", "maxDepth is %d: 0 to attest, at least 1 to accredit", g.MaxDepth)
	case g.MaxDepth > MaxDepth:
		return plugins.Reject("depth_exceeded", "maxDepth is %d, at most %d is possible", g.MaxDepth, MaxDepth)
	case g.window().empty():
		return plugins.Reject("bad_value", "the grant ends before it begins")
	}
	for _, p := range g.Properties {
		if g.window().intersect(p.window()).empty() {
			return badProperty("%s is valid outside the grant's own time only", p.Path)
		}
	}
	return nil
}

func (g GrantTerms) window() window {
	return window{tangle.Time(g.ValidFrom), tangle.Time(g.ValidUntil)}
}

// checkSubject accepts a DID of any method: who only attests needs no key on this ledger.
func checkSubject(network tangle.ID, subject string) error {
	u, err := did.ParseURL(subject)
	if err != nil {
		return err
	}
	if u.DID != subject {
		return plugins.Reject("bad_value", "%.100q is not a DID alone", subject)
	}
	if u.Method == did.MethodName {
		return operation.CheckActor(network, subject)
	}
	return nil
}

// NewFederation is the body of federation.create, to be signed by its actor, which is one of the roots.
func NewFederation(h operation.Header, f FederationTerms) did.Object {
	body := h.Body(Type, string(CreateFederation))
	body["name"], body["roots"], body["threshold"] = f.Name, texts(operation.Sorted(f.Roots)), f.Threshold
	body["maxDepth"], body["properties"] = f.MaxDepth, bodyOf(f.Properties)
	return body
}

// NewGrant is the body of a grant. Its id is its opHash.
func NewGrant(h operation.Header, g GrantTerms) did.Object {
	body := h.Body(Type, string(MakeGrant))
	body["federation"], body["under"], body["subject"] = g.Federation, g.Under, g.Subject
	body["kind"], body["maxDepth"], body["properties"] = string(g.Kind), g.MaxDepth, bodyOf(g.Properties)
	body["validFrom"] = did.FormatTime(tangle.Time(g.ValidFrom))
	body["validUntil"] = did.FormatTime(tangle.Time(g.ValidUntil))
	return body
}

// NewRevoke is the body that revokes a grant.
func NewRevoke(h operation.Header, grant string, r Revoking) did.Object {
	body := h.Body(Type, string(Revoke))
	body["grant"] = grant
	return r.add(body)
}

// NewAddRoot, NewRevokeRoot and NewReinstateRoot are bodies about one root; roots sign them with keys in
// capabilityInvocation.
func NewAddRoot(h operation.Header, federation, root string) did.Object {
	return rootBody(h, AddRoot, federation, root)
}

// NewRevokeRoot takes a root's voice.
func NewRevokeRoot(h operation.Header, federation, root string, r Revoking) did.Object {
	return r.add(rootBody(h, RevokeRoot, federation, root))
}

// NewReinstateRoot gives it back.
func NewReinstateRoot(h operation.Header, federation, root string) did.Object {
	return rootBody(h, ReinstateRoot, federation, root)
}

func rootBody(h operation.Header, op Op, federation, root string) did.Object {
	body := h.Body(Type, string(op))
	body["federation"], body["root"] = federation, root
	return body
}

// NewAddProperty is the body that lets a federation speak of one more property.
func NewAddProperty(h operation.Header, federation string, p Property) did.Object {
	body := h.Body(Type, string(AddProperty))
	body["federation"], body["property"] = federation, p.body()
	return body
}

// NewRevokeProperty is the body that ends the property of a path.
func NewRevokeProperty(h operation.Header, federation, path string, r Revoking) did.Object {
	body := h.Body(Type, string(RevokeProperty))
	body["federation"], body["path"] = federation, path
	return r.add(body)
}

// NewSetThreshold is the body that changes how many roots decide.
func NewSetThreshold(h operation.Header, federation string, threshold int) did.Object {
	body := h.Body(Type, string(SetThreshold))
	body["federation"], body["threshold"] = federation, threshold
	return body
}

func (r Revoking) add(body did.Object) did.Object {
	body["cascade"], body["effectiveAt"] = r.Cascade, did.FormatTime(tangle.Time(r.EffectiveAt))
	return body
}

// texts is a list of strings as a JSON value.
func texts(list []string) []any {
	items := make([]any, 0, len(list))
	for s := range slices.Values(list) {
		items = append(items, s)
	}
	return items
}
