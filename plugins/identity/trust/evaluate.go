package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Question asks whether an attester may state a value of a property.
type Question struct {
	Federation string
	Attester   string
	Property   string      // a path
	Value      any         // as package did decodes JSON; nil is trusted to nobody
	At         tangle.Time // when it was stated; 0: Now
	AsOf       tangle.Time // what was known then; 0: Now
	Now        tangle.Time
	Both       bool // trusted only if it could be stated now, too
}

// Answer is Trusted if the statement was allowed when it was made, as far as was known at AsOf; with Both, if it would be
// allowed now as well. Path is the one at issuance, from the root to the attester.
type Answer struct {
	Trusted    bool   `json:"trusted"`
	Path       []Step `json:"path"`
	AtIssuance bool   `json:"atIssuance"`
	Now        bool   `json:"now"`
	Reason     Reason `json:"reason,omitempty"`
}

// Step is one DID of a path. Of the root, Grant is empty and Kind is "root".
type Step struct {
	DID        string             `json:"did"`
	Grant      string             `json:"grant,omitempty"`
	Kind       Kind               `json:"kind"`
	ValidUntil *operation.Instant `json:"validUntil,omitempty"`
}

// Reason says why an answer is no; "" if it is yes.
type Reason string

// The reasons. The later ones say more, and win.
const (
	UnknownFederation Reason = "unknown_federation"
	NotAccredited     Reason = "not_accredited" // no grant was in force
	OutOfScope        Reason = "out_of_scope"   // one was, for something else
	Revoked           Reason = "revoked"        // one was for this, and it, what it stood on, or the property is revoked
)

func (r Reason) rank() int {
	return slices.Index([]Reason{"", UnknownFederation, NotAccredited, OutOfScope, Revoked}, r)
}

// errDepth is a chain of grants that no operation could have made.
var errDepth = errors.New("trust: grants below each other without a root")

// damaged turns a rejection into an error that stops the node: what the state names is not in it.
func damaged(err error) error { return fmt.Errorf("trust: damaged state: %v", err) }

// Evaluate answers a question. An error means damaged state; every other fault is a reason.
func Evaluate(v plugins.View, q Question) (Answer, error) {
	if q.At == 0 {
		q.At = q.Now
	}
	if q.AsOf == 0 {
		q.AsOf = q.Now
	}
	f, err := ReadFederation(v, q.Federation)
	if plugins.Rejected(err) != nil {
		return Answer{Reason: UnknownFederation}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	issued, err := q.decide(v, f, q.At, q.AsOf)
	if err != nil {
		return Answer{}, err
	}
	now, err := q.decide(v, f, q.Now, q.Now)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Path: issued.path, AtIssuance: issued.reason == "", Now: now.reason == "", Reason: issued.reason}
	a.Trusted = a.AtIssuance && (a.Now || !q.Both)
	if a.AtIssuance && !a.Trusted {
		a.Reason = now.reason
	}
	return a, nil
}

// verdict is a path, or the reason why there is none.
type verdict struct {
	path   []Step
	reason Reason
}

// decide looks for a grant that allowed the statement at a time, as far as was known at another.
func (q Question) decide(v plugins.View, f *Federation, at, asOf tangle.Time) (verdict, error) {
	grants, err := GrantsOf(v, f.ID, q.Attester)
	if err != nil {
		return verdict{}, err
	}
	best := verdict{reason: NotAccredited}
	for i := range grants {
		found, err := q.try(v, f, &grants[i], at, asOf)
		if err != nil || found.reason == "" {
			return found, err
		}
		if found.reason.rank() > best.reason.rank() {
			best = found
		}
	}
	return best, nil
}

func (q Question) try(v plugins.View, f *Federation, g *Grant, at, asOf tangle.Time) (verdict, error) {
	if g.Kind != Attest || !g.window().holds(at) {
		return verdict{reason: NotAccredited}, nil
	}
	if !allows(g.Properties, q.Property, q.Value, at) {
		return verdict{reason: OutOfScope}, nil
	}
	if g.Revoked.effective(at) {
		return verdict{reason: Revoked}, nil
	}
	path, whole, err := walk(v, f, g, asOf)
	if err != nil {
		return verdict{}, err
	}
	if !whole {
		return verdict{reason: Revoked}, nil
	}
	reason, err := f.speaksOf(v, q.Property, q.Value, at, asOf)
	if err != nil || reason != "" {
		return verdict{reason: reason}, err
	}
	return verdict{path: path}, nil
}

func allows(list []Property, path string, value any, at tangle.Time) bool {
	return slices.ContainsFunc(list, func(p Property) bool { return p.window().holds(at) && p.Allows(path, value) })
}

// speaksOf says whether a property of the federation allowed a value at a time: one that was in force then, and is not
// revoked with all that was stated before.
func (f *Federation) speaksOf(v plugins.View, path string, value any, at, asOf tangle.Time) (Reason, error) {
	reason := OutOfScope
	for _, pattern := range patterns(path) {
		var p PropertyRecord
		if found, err := get(v, keyProperty+f.ID+pattern, &p); err != nil {
			return "", err
		} else if !found {
			continue
		}
		term := p.termAt(at)
		switch {
		case term == nil || !term.Property.Allows(path, value) || !term.Property.window().holds(at):
		case term.Revoked.effective(at) || term.Revoked.cascades(asOf):
			reason = Revoked
		default:
			return "", nil
		}
	}
	return reason, nil
}

// patterns are the names under which a property may stand: itself, then "*" below each of what is above it.
func patterns(path string) []string {
	list := []string{path}
	for i := strings.LastIndexByte(path, '.'); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		list = append(list, path[:i]+".*")
	}
	return list
}

// walk goes from a grant up to its root. whole is false if something on the way, the grant and the root included, was
// revoked with all below it as of a time.
func walk(v plugins.View, f *Federation, g *Grant, asOf tangle.Time) (path []Step, whole bool, err error) {
	whole = true
	for range MaxSteps {
		until := g.ValidUntil
		path = append(path, Step{g.Subject, g.ID, g.Kind, &until})
		whole = whole && !g.Revoked.cascades(asOf)
		if g.Under == Root {
			i := f.root(g.Grantor)
			if i < 0 {
				return nil, false, errDepth
			}
			path = append(path, Step{DID: g.Grantor, Kind: Root})
			slices.Reverse(path)
			return path, whole && !f.Roots[i].cascades(asOf), nil
		}
		if g, err = ReadGrant(v, g.Under); err != nil {
			return nil, false, damaged(err)
		}
	}
	return nil, false, errDepth
}
