package did

import (
	"crypto/ed25519"
	"testing"

	"weft/plugins"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// ledger applies entries one after the other, as a node does.
type ledger struct {
	*plugintest.State
	t      testing.TB
	limits Limits
	now    tangle.Time
	place  tangle.Position
	by     tangle.Member
}

// epoch is when the tests' ledgers begin.
const epoch tangle.Time = 1_800_000_000_000

func newLedger(t testing.TB) *ledger {
	l := &ledger{State: plugintest.NewState(nil), t: t, limits: DefaultLimits(), now: epoch}
	l.limits.MaxCreatesPerMinute = 1000
	l.Begin()
	return l
}

func (l *ledger) apply(entry []byte) error {
	op, err := Decode(testNetwork(), l.limits, entry)
	if err != nil {
		return err
	}
	l.place++
	before := l.Digest()
	writes, err := Next(l, l.limits, op, Place{Time: l.now, Position: l.place, By: l.by})
	l.Commit()
	l.Begin()
	if l.Digest() != before {
		l.t.Fatal("Next writes")
	}
	plugins.Put(l, writes)
	l.Commit()
	l.Begin()
	if defects := l.Defects(); len(defects) > 0 {
		l.t.Fatal(defects)
	}
	return err
}

// want applies an entry and compares the code; "" is accepted.
func (l *ledger) want(code string, entry []byte) {
	l.t.Helper()
	if got := plugintest.Code(l.t, l.apply(entry)); got != code {
		l.t.Fatalf("outcome %q, want %q", got, code)
	}
}

func (l *ledger) head(d DID) Head {
	l.t.Helper()
	h, found, err := ReadHead(l, d)
	if err != nil || !found {
		l.t.Fatalf("head of %s: %v %v", d, found, err)
	}
	return h
}

func keysOf(seeds ...byte) (list []ed25519.PrivateKey) {
	for _, s := range seeds {
		list = append(list, key(s))
	}
	return list
}

func public(seed byte) ed25519.PublicKey { return key(seed).Public().(ed25519.PublicKey) }

func multikeys(seeds ...byte) (list []string) {
	for _, s := range seeds {
		list = append(list, multikey(s))
	}
	return list
}

func hashes(seeds ...byte) (list []string) {
	for _, s := range seeds {
		list = append(list, KeyHash(multikey(s)))
	}
	return list
}

func sign(t testing.TB, body Object, seeds ...byte) []byte {
	t.Helper()
	entry, err := Sign(body, keysOf(seeds...)...)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// create makes a DID and returns its name.
func (l *ledger) create(c Content, seeds ...byte) DID {
	l.t.Helper()
	body, d, err := Create(testNetwork(), [NonceBytes]byte{}, c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.want("", sign(l.t, body, seeds...))
	return d
}

// update is the signed update that follows the head.
func (l *ledger) update(d DID, c Content, seeds ...byte) []byte {
	l.t.Helper()
	return sign(l.t, Update(testNetwork(), d, l.head(d), c), seeds...)
}

func (l *ledger) recover(d DID, c Content, seeds ...byte) []byte {
	l.t.Helper()
	body, err := Recover(testNetwork(), d, l.head(d), c)
	if err != nil {
		l.t.Fatal(err)
	}
	return sign(l.t, body, seeds...)
}

// oneKey is the content of a DID with one key and no pre-rotation.
func oneKey(seed byte) Content {
	return Content{Params: NewParams(multikeys(seed)), Document: simpleDocument(seed)}
}

func simpleDocument(seed byte) Object {
	return Object{
		"verificationMethod": []any{Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": multikey(seed)}},
		"authentication":     []any{"#key-1"}, "assertionMethod": []any{"#key-1"},
	}
}
