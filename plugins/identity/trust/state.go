package trust

import (
	"encoding/json"
	"fmt"
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Keys of the state: a letter, then ids, which are multihashes of one length.
const (
	keyFederation = "f" // federation
	keyProperty   = "p" // federation path
	keyGrant      = "g" // grant
	keyIndex      = "i" // federation subject 0 grant
)

// Federation is a federation as of the newest applied position.
type Federation struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Creator   string            `json:"creator,omitempty"` // "": genesis
	Threshold int               `json:"threshold"`
	MaxDepth  int               `json:"maxDepth"`
	Roots     []RootRecord      `json:"roots"` // ascending
	Created   operation.Instant `json:"created"`
	Position  tangle.Position   `json:"position"`
}

// RootRecord is a root with its times of office, oldest first.
type RootRecord struct {
	DID   string `json:"did"`
	Terms []Term `json:"terms"`
}

// Term is a span of time in which something is in force: from From until its revocation takes effect.
type Term struct {
	From    operation.Instant `json:"from"`
	Revoked Revocations       `json:"revoked,omitempty"`
}

// Revocation is one that was accepted at Known and takes effect at Effective.
type Revocation struct {
	Known     operation.Instant `json:"known"`
	Effective operation.Instant `json:"effectiveAt"`
	Cascade   bool              `json:"cascade"`
	By        string            `json:"by"`
}

// Revocations are none, one, or one and a cascading one that was added.
type Revocations []Revocation

// PropertyRecord is a property of a federation with its times, oldest first: a path may get another constraint after
// its property was revoked.
type PropertyRecord struct {
	Path  string         `json:"path"`
	Terms []PropertyTerm `json:"terms"`
}

// PropertyTerm is one property in force.
type PropertyTerm struct {
	Property Property `json:"property"`
	Term
}

// Grant is a grant with what became of it. It is in force from the later of Granted and ValidFrom.
type Grant struct {
	ID      string `json:"id"`
	Grantor string `json:"grantor"`
	GrantTerms
	Granted  operation.Instant `json:"granted"` // commit time
	Position tangle.Position   `json:"position"`
	Revoked  Revocations       `json:"revoked,omitempty"`
}

// effective says whether a revocation has taken effect at t.
func (r Revocations) effective(t tangle.Time) bool {
	return slices.ContainsFunc(r, func(r Revocation) bool { return tangle.Time(r.Effective) <= t })
}

// cascades says whether a cascading one was known and in effect as of t. No effect precedes its commit time.
func (r Revocations) cascades(t tangle.Time) bool {
	return slices.ContainsFunc(r, func(r Revocation) bool { return r.Cascade && tangle.Time(r.Effective) <= t })
}

// add records a revocation. It refuses one that would change nothing.
func (r Revocations) add(by string, asked Revoking, at did.Place) (Revocations, bool) {
	if len(r) > 0 && (r[len(r)-1].Cascade || !asked.Cascade) {
		return nil, false
	}
	now := operation.Instant(at.Time)
	return append(slices.Clone(r), Revocation{now, max(now, asked.EffectiveAt), asked.Cascade, by}), true
}

// termAt returns the term that had begun last at t; nil before the first.
func (r RootRecord) termAt(t tangle.Time) *Term {
	for i := len(r.Terms) - 1; i >= 0; i-- {
		if tangle.Time(r.Terms[i].From) <= t {
			return &r.Terms[i]
		}
	}
	return nil
}

// hasVoice says whether a root grants and counts. A revocation takes that at once; when it takes effect matters only for
// what the root granted before.
func (r RootRecord) hasVoice() bool { return len(r.last().Revoked) == 0 }

// cascades says whether all that a root ever granted fails as of t. Reinstating it ends that.
func (r RootRecord) cascades(t tangle.Time) bool {
	term := r.termAt(t)
	return term != nil && term.Revoked.cascades(t)
}

// last is the newest term.
func (r RootRecord) last() *Term { return &r.Terms[len(r.Terms)-1] }

// root returns the index of a root, -1 if the federation has none of that DID.
func (f *Federation) root(name string) int {
	return slices.IndexFunc(f.Roots, func(r RootRecord) bool { return r.DID == name })
}

// voices counts the roots that have one.
func (f *Federation) voices() (n int) {
	for _, r := range f.Roots {
		if r.hasVoice() {
			n++
		}
	}
	return n
}

// termAt returns the term of a property that had begun last at t; nil before the first.
func (p *PropertyRecord) termAt(t tangle.Time) *PropertyTerm {
	for i := len(p.Terms) - 1; i >= 0; i-- {
		if tangle.Time(p.Terms[i].From) <= t {
			return &p.Terms[i]
		}
	}
	return nil
}

// inForce says whether a property may be stated, and granted, at t.
func (p *PropertyTerm) inForce(t tangle.Time) bool {
	return p.Property.window().holds(t) && !p.Revoked.effective(t)
}

// window is when a grant is in force, unless it is revoked.
func (g *Grant) window() window {
	w := g.GrantTerms.window()
	w.from = max(w.from, tangle.Time(g.Granted))
	return w
}

// ReadFederation returns a federation, or rejects with unknown_federation.
func ReadFederation(v plugins.View, id string) (*Federation, error) {
	f := &Federation{}
	switch found, err := get(v, keyFederation+id, f); {
	case err != nil:
		return nil, err
	case !found:
		return nil, plugins.Reject("unknown_federation", "%.60q", id)
	}
	return f, nil
}

// ReadGrant returns a grant, or rejects with unknown_grant.
func ReadGrant(v plugins.View, id string) (*Grant, error) {
	g := &Grant{}
	switch found, err := get(v, keyGrant+id, g); {
	case err != nil:
		return nil, err
	case !found:
		return nil, plugins.Reject("unknown_grant", "%.60q", id)
	}
	return g, nil
}

// Federations returns federations in the order of their ids, limit of them from the first id that is not before from.
func Federations(v plugins.View, from string, limit int) (list []Federation, err error) {
	v.Scan([]byte(keyFederation+from), after(keyFederation), func(_, value []byte) bool {
		var f Federation
		if len(list) == limit {
			return false
		}
		err = parse(value, &f)
		list = append(list, f)
		return err == nil
	})
	return list, err
}

// Properties returns the properties of a federation in the order of their paths, revoked ones too.
func Properties(v plugins.View, federation string) (list []PropertyRecord, err error) {
	prefix := keyProperty + federation
	v.Scan([]byte(prefix), after(prefix), func(_, value []byte) bool {
		var p PropertyRecord
		err = parse(value, &p)
		list = append(list, p)
		return err == nil
	})
	return list, err
}

// GrantsOf returns all grants that a subject ever had in a federation, at most MaxGrantsPerSubject.
func GrantsOf(v plugins.View, federation, subject string) ([]Grant, error) {
	return readAll(v, scanIndex(v, indexPrefix(federation, subject), "", MaxGrantsPerSubject))
}

// Graph returns the grants of a federation by subject, limit of them, and where to go on: "" if there are no more. Under
// and Subject of each are the edges.
func Graph(v plugins.View, federation, from string, limit int) (list []Grant, next string, err error) {
	keys := scanIndex(v, keyIndex+federation, from, limit+1)
	if len(keys) > limit {
		next = keys[limit][len(keyIndex)+len(federation):]
		keys = keys[:limit]
	}
	list, err = readAll(v, keys)
	return list, next, err
}

// scanIndex returns up to limit keys that begin with prefix, from the first that is not before prefix and from together.
func scanIndex(v plugins.View, prefix, from string, limit int) (keys []string) {
	v.Scan([]byte(prefix+from), after(prefix), func(key, _ []byte) bool {
		if len(keys) < limit {
			keys = append(keys, string(key))
		}
		return len(keys) < limit
	})
	return keys
}

// readAll reads the grants of index keys.
func readAll(v plugins.View, keys []string) ([]Grant, error) {
	list := make([]Grant, 0, len(keys))
	for _, key := range keys {
		g, err := ReadGrant(v, key[len(key)-hashLength:])
		if err != nil {
			return nil, fmt.Errorf("trust: index %q: %v", key, err) // no rejection: the state is damaged
		}
		list = append(list, *g)
	}
	return list, nil
}

// hashLength is the length of a multihash as text.
const hashLength = 47

// indexPrefix is what the index keys of one subject begin with. No DID holds a zero byte, so that no subject is found by
// the beginning of its name.
func indexPrefix(federation, subject string) string { return keyIndex + federation + subject + "\x00" }

// after is the first key behind all that begin with prefix, which does not end with 0xff.
func after(prefix string) []byte {
	b := []byte(prefix)
	b[len(b)-1]++
	return b
}

func get(v plugins.View, key string, into any) (bool, error) {
	b := v.Get([]byte(key))
	if b == nil {
		return false, nil
	}
	return true, parse(b, into)
}

// parse reads a record. An error is no rejection: the state is damaged, and the node must stop.
func parse(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("trust: record: %w", err)
	}
	return nil
}

func write(key string, record any) did.Write {
	return did.Write{Key: []byte(key), Value: operation.Record(record)}
}
