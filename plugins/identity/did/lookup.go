package did

import (
	"slices"
	"sort"
	"strings"

	"weft/plugins"
	"weft/tangle"
)

// Method is a verification method found in a document.
type Method struct {
	ID         string // absolute DID URL
	Controller string // DID
	Type       string // Multikey or JsonWebKey
	Key        PublicKey
	Expires    tangle.Time // 0: never
	Revoked    tangle.Time // 0: not
	VersionID  string      // of the document; "" for computed ones
}

// Lookup finds a verification method by its absolute DID URL, in the relationship ("" is any) and the document as of time
// at, to the second; 0 is the newest. It does not judge Expires and Revoked, nor keys that were compromised later. did:key
// and did:jwk have one document for all times. The codes are bad_value, unknown_did, deactivated, not_entitled; an error
// that is no rejection is a broken invariant.
func Lookup(v plugins.View, url string, rel Relationship, at tangle.Time) (Method, error) {
	u, err := ParseURL(url)
	if err != nil {
		return Method{}, err
	}
	if u.Fragment == "" || u.Path != "" || len(u.Query) > 0 {
		return Method{}, plugins.Reject("bad_value", "%.100q is not the DID URL of a verification method", url)
	}
	doc, version, err := documentAt(v, u, at)
	if err != nil {
		return Method{}, err
	}
	item := find(doc, "verificationMethod", url)
	if item == nil || !lists(doc, rel, url) {
		return Method{}, plugins.Reject("not_entitled", "%.150s is not in %s of its document", url, orAny(rel))
	}
	return newMethod(item, version)
}

func orAny(rel Relationship) string {
	if rel == "" {
		return "verificationMethod"
	}
	return string(rel)
}

// documentAt returns the document of a DID as of a time, in whole seconds.
func documentAt(v plugins.View, u URL, at tangle.Time) (doc Object, version string, err error) {
	if u.Method != MethodName {
		doc, err = computed(u)
		return doc, "", err
	}
	d, err := Parse(u.DID)
	if err != nil {
		return nil, "", err
	}
	head, found, err := ReadHead(v, d)
	if err != nil {
		return nil, "", err
	}
	if !found {
		return nil, "", plugins.Reject("unknown_did", "%s", d)
	}
	n := head.Version
	if at != 0 {
		if n, err = versionAt(v, d, head, at); err != nil {
			return nil, "", err
		}
	}
	if n == 0 {
		return nil, "", plugins.Reject("unknown_did", "%s did not exist at %s", d, FormatTime(at))
	}
	r, op, err := ReadOperation(v, d, n)
	if err != nil {
		return nil, "", err
	}
	if op.Op == OpDeactivate {
		return nil, "", plugins.Reject("deactivated", "%s", d)
	}
	return expand(op.Document, d, op.Params.Controllers), r.VersionID(n), nil
}

// seconds is t floored to seconds.
func seconds(t tangle.Time) int64 { return int64(t) / 1000 }

// versionAt is the last version whose commit time is at most at, both in whole seconds; 0 if there is none. Commit times
// never fall, so it searches by halves.
func versionAt(v plugins.View, d DID, head Head, at tangle.Time) (int, error) {
	if seconds(head.Time) <= seconds(at) {
		return head.Version, nil
	}
	low, high := 0, head.Version // version low is at or before, high after
	for high-low > 1 {
		middle := (low + high) / 2
		r, err := ReadRecord(v, d, middle)
		if err != nil {
			return 0, err
		}
		if seconds(r.Time) <= seconds(at) {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// MaxForeign is how many references of one relationship to methods of other did:weft are followed when the ledger asks who
// holds it, in the order of the document. Each costs every node the reading of another document, at whatever place somebody
// else's operation asks for it.
const MaxForeign = 8

// Holds says whether one of the signers' keys (multikeys) is in the relationship of the actor's current document, and in use
// at time at. The actor is an active did:weft, or a did:key, which holds itself. An error is a broken invariant.
func Holds(v plugins.View, actor string, rel Relationship, signers []string, at tangle.Time) (held bool, err error) {
	err = keysIn(v, actor, rel, at, func(key string) bool {
		held = slices.Contains(signers, key)
		return !held
	})
	return held, unlessRejected(err)
}

// Entitled is Holds with the reason why not: bad_value, unknown_did, deactivated, not_entitled. An error that is no rejection
// is a broken invariant.
func Entitled(v plugins.View, actor string, rel Relationship, signers []string, at tangle.Time) error {
	held := false
	err := keysIn(v, actor, rel, at, func(key string) bool {
		held = slices.Contains(signers, key)
		return !held
	})
	if err == nil && !held {
		err = plugins.Reject("not_entitled", "no proof by a key in %s of %s", rel, actor)
	}
	return err
}

// Held are those of the signers' keys of which Holds is true, in the order of signers.
func Held(v plugins.View, actor string, rel Relationship, signers []string, at tangle.Time) (held []string, err error) {
	var keys []string
	err = keysIn(v, actor, rel, at, func(key string) bool {
		keys = append(keys, key)
		return true
	})
	for _, s := range signers {
		if slices.Contains(keys, s) {
			held = append(held, s)
		}
	}
	return held, unlessRejected(err)
}

// keysIn visits the keys in use in a relationship of the actor's current document, until visit returns false. It rejects what
// is no DID, does not exist or is deactivated.
func keysIn(v plugins.View, actor string, rel Relationship, at tangle.Time, visit func(key string) bool) error {
	u, err := ParseURL(actor)
	if err != nil {
		return err
	}
	if u.DID != actor {
		return plugins.Reject("bad_value", "%.100q is not a DID alone", actor)
	}
	doc, err := currentKeys(v, u)
	if err != nil {
		return err
	}
	foreign := 0
	for _, url := range doc.relationships[rel] {
		if isForeign(url, actor) {
			if foreign++; foreign > MaxForeign {
				continue
			}
		}
		m, err := doc.method(v, url)
		switch {
		case unlessRejected(err) != nil:
			return err
		case err == nil && m.usable(at) && !visit(m.multikey):
			return nil
		}
	}
	return nil
}

// keySet is what one version of a document says of keys, prepared for the ledger, which asks at each operation. A
// deactivated DID has none.
type keySet struct {
	id            string
	deactivated   bool
	methods       map[string]keyMethod      // own ones, by DID URL
	relationships map[Relationship][]string // DID URLs
}

// keyMethod is a method with its key as a multikey, or why it is none.
type keyMethod struct {
	Method
	multikey string
	err      error
}

// currentKeys are those of the newest version. Views keep them, for versions never change.
func currentKeys(v plugins.View, u URL) (keySet, error) {
	if u.Method != MethodName {
		doc, err := computed(u)
		return readKeys(doc), err
	}
	d, err := Parse(u.DID)
	if err != nil {
		return keySet{}, err
	}
	head, err := plugins.Parsed(v, headKey(d), func(b []byte) (Head, error) {
		h, _, err := parseHead(b, d)
		return h, err
	})
	if err != nil {
		return keySet{}, err
	}
	if head.Version == 0 || head.Network != d.Network() {
		return keySet{}, plugins.Reject("unknown_did", "%s", d)
	}
	keys, err := plugins.Parsed(v, logKey(d, head.Version), func(b []byte) (keySet, error) {
		r, err := parseRecord(b)
		if err != nil {
			return keySet{}, err
		}
		op, err := decodeStored(r.Raw)
		if err != nil || op.Op == OpDeactivate {
			return keySet{deactivated: true}, err
		}
		return readKeys(expand(op.Document, d, op.Params.Controllers)), nil
	})
	if err == nil && keys.deactivated {
		err = plugins.Reject("deactivated", "%s", d)
	}
	return keys, err
}

func readKeys(doc Object) keySet {
	k := keySet{methods: map[string]keyMethod{}, relationships: map[Relationship][]string{}}
	k.id, _ = doc["id"].(string)
	items, _ := doc["verificationMethod"].([]any)
	for _, item := range items {
		o, _ := item.(Object)
		url, _ := o["id"].(string)
		if _, there := k.methods[url]; there || o == nil {
			continue // the first one counts, as everywhere
		}
		m, err := newMethod(o, "")
		k.methods[url] = keyMethod{m, m.Key.Multikey(), err}
	}
	for _, rel := range Relationships() {
		references, _ := doc[string(rel)].([]any)
		for _, reference := range references {
			url, _ := reference.(string)
			k.relationships[rel] = append(k.relationships[rel], url)
		}
	}
	return k
}

// method finds a method that a document refers to: its own, or another's in that one's current document.
func (k keySet) method(v plugins.View, url string) (keyMethod, error) {
	if m, own := k.methods[url]; own {
		return m, m.err
	}
	if strings.HasPrefix(url, k.id+"#") {
		return keyMethod{}, plugins.Reject("not_entitled", "%s is not in its document", url)
	}
	m, err := Lookup(v, url, "", 0)
	return keyMethod{m, m.Key.Multikey(), err}, err
}

// Relies names the did:weft whose logs an operation of a log leans on: controllers, and those whose methods its document
// refers to in a relationship ("" is none), as far as Holds follows them.
func Relies(raw []byte, rel Relationship) (list []string, err error) {
	op, err := decodeStored(raw)
	if err != nil || op.Op == OpDeactivate {
		return nil, err
	}
	list = slices.Clone(op.Params.Controllers)
	references, _ := op.Document[string(rel)].([]any)
	foreign := 0
	for _, reference := range references {
		if url, _ := reference.(string); isForeign(url, op.DID.String()) && foreign < MaxForeign {
			lender, _, _ := strings.Cut(url, "#")
			list, foreign = append(list, lender), foreign+1
		}
	}
	return list, nil
}

// isForeign says whether a reference leads to the log of another DID.
func isForeign(url, actor string) bool {
	return strings.HasPrefix(url, methodPrefix) && !strings.HasPrefix(url, actor+"#")
}

// unlessRejected keeps the errors that mean damage.
func unlessRejected(err error) error {
	if plugins.Rejected(err) != nil {
		return nil
	}
	return err
}

func (m Method) usable(at tangle.Time) bool {
	return (m.Revoked == 0 || at < m.Revoked) && (m.Expires == 0 || at < m.Expires)
}

// Compromise is the operation since which a DID's log has named a key as compromised.
type Compromise struct {
	Place
	Version int
}

// FindCompromise returns the first operation of the DID that named the key (a multikey), and whether there is one. The list
// only grows, so it searches by halves.
func FindCompromise(v plugins.View, d DID, multikey string) (c Compromise, found bool, err error) {
	head, known, err := ReadHead(v, d)
	if err != nil || !known || !slices.Contains(head.Compromised, multikey) {
		return c, false, err
	}
	last := head.Version
	if head.Deactivated {
		last-- // it names none
	}
	n := 1 + sort.Search(last-1, func(i int) bool {
		_, op, fault := ReadOperation(v, d, i+1)
		err = firstError(err, fault)
		return fault == nil && slices.Contains(op.Params.Compromised, multikey)
	})
	r, fault := ReadRecord(v, d, n)
	return Compromise{r.Place, n}, true, firstError(err, fault)
}
