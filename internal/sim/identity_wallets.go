package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weft/config/genesis"
	"weft/node"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// identityLimits are narrow, so that quotas are reached.
func identityLimits() did.Limits {
	l := did.DefaultLimits()
	l.MaxStatusLists, l.MaxCreatesPerMinute, l.MaxSpendsPerMinute, l.MaxUpdatesPerDay = 3, 5, 5, 6
	return l
}

func identityInGenesis() genesis.Plugin {
	section, err := json.Marshal(map[string]any{"limits": identityLimits(), "federations": []any{genesisUnion()}})
	if err != nil {
		panic(err) // plain numbers and texts
	}
	return genesis.Plugin{Name: identity.Name, Config: section}
}

// genesisUnion is a federation that the network begins with. Three people are its roots.
func genesisUnion() did.Object {
	x, roots := wallets{keys: map[string]ed25519.PrivateKey{}}, []any{}
	for _, root := range slices.Sorted(slices.Values(x.newKeys(3))) {
		roots = append(roots, "did:key:"+root)
	}
	return did.Object{
		"name": "genesis", "roots": roots, "threshold": 2, "maxDepth": 3, "properties": []any{did.Object{"path": "a.*", "any": true}},
	}
}

// identityPlugin is the ledger part of the plugin. Check looks at its arguments only, so its answers are kept: seven nodes
// verify the same signatures. Every eighth is asked for again.
func (w *World) identityPlugin() plugins.Plugin {
	p, err := identity.Ledger(w.network, identityInGenesis().Config)
	if err != nil {
		panic(err) // our own genesis
	}
	p.Check = w.remember(p.Check)
	return p
}

// remember keeps the answers of a plugin's Check.
func (w *World) remember(check checkFunc) checkFunc {
	return func(k tangle.Kind, data []byte) (plugins.Op, error) { return w.wallets.checkOnce(k, data, check) }
}

type checkFunc = func(tangle.Kind, []byte) (plugins.Op, error)

func (x *wallets) checkOnce(k tangle.Kind, data []byte, check checkFunc) (plugins.Op, error) {
	name := string(binary.BigEndian.AppendUint16(nil, uint16(k))) + string(data)
	known, ok := x.checked[name]
	if x.checks++; !ok || x.checks%8 == 0 {
		known.op, known.err = check(k, data)
		x.checked[name] = known
	}
	return known.op, known.err
}

type checked struct {
	op  plugins.Op
	err error
}

// wallets are the clients of the identity plugin. They hold everybody's keys, read heads in the view of a random correct
// node, which may be old, and sign what mostly keeps the rules. What they send is not known to have any effect: that is the
// reference's business.
type wallets struct {
	*World
	checked map[string]checked
	checks  uint64

	keys    map[string]ed25519.PrivateKey // by multikey, and by the hash of that
	people  []string                      // did:keys that act
	dids    []did.DID
	lists   []string
	secrets [][status.SecretBytes]byte
	unions  []string // federations
	granted []granted
	history []sentOperation
}

// sentOperation is something that can be sent again.
type sentOperation struct {
	kind tangle.Kind
	data []byte
}

func newWallets(w *World) *wallets {
	x := &wallets{World: w, checked: map[string]checked{}, keys: map[string]ed25519.PrivateKey{}}
	for range 4 {
		x.people = append(x.people, "did:key:"+x.newKey()) // the first three are roots in genesis
	}
	for id := range w.oracles.identities.federations {
		x.unions = append(x.unions, id)
	}
	for range 6 {
		x.secrets = append(x.secrets, [status.SecretBytes]byte(x.bytes(status.SecretBytes)))
	}
	return x
}

// loadIdentities lets wallets act again and again until the load is stopped.
func (w *World) loadIdentities(mean time.Duration) {
	w.after(time.Duration(w.random.ExpFloat64()*float64(mean)), func() {
		if w.clients.stopped {
			return
		}
		w.wallets.act()
		w.loadIdentities(mean)
	})
}

// act is one thing that somebody does.
func (x *wallets) act() {
	v := x.view()
	if v == nil {
		return
	}
	switch k := x.random.IntN(100); {
	case k < 10 || len(x.dids) < 3:
		x.create(v)
	case k < 20:
		x.follow(v)
	case k < 28:
		x.fork(v)
	case k < 33:
		x.late(v)
	case k < 38:
		x.race(v)
	case k < 42:
		x.recover(v)
	case k < 44:
		x.deactivate(v)
	case k < 50:
		x.transfer(v)
	case k < 53:
		x.intrude(v)
	case k < 58:
		x.repeat()
	case k < 78:
		x.actOnStatus(v)
	default:
		x.actOnTrust(v)
	}
}

// view is what a random correct node that is up knows; nil if none is.
func (x *wallets) view() plugins.View {
	var up []*instance
	for _, i := range x.instances {
		if i.correct() && !i.down {
			up = append(up, i)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return draw(x, up).ledger.PluginView(identity.Name)
}

func (x *wallets) chance(p float64) bool { return x.random.Float64() < p }

// draw returns one of a list.
func draw[T any](x *wallets, list []T) T { return list[x.random.IntN(len(list))] }

// some returns a few of a list, in order, at most limit of them.
func some[T any](x *wallets, list []T, limit int) (few []T) {
	for k, v := range list {
		if left := len(list) - k; len(few) < limit && (left <= limit-len(few) || x.chance(0.5)) {
			few = append(few, v)
		}
	}
	return few
}

// drawKnown draws one that a view knows, if it finds one soon.
func drawKnown[T any](x *wallets, list []T, known func(T) bool) (one T) {
	for range 8 {
		if one = draw(x, list); known(one) || x.chance(0.01) {
			break
		}
	}
	return one
}

func (x *wallets) bytes(n int) []byte {
	var b []byte
	for len(b) < n {
		b = binary.BigEndian.AppendUint64(b, x.random.Uint64())
	}
	return b[:n]
}

// newKey makes a key and returns its multikey.
func (x *wallets) newKey() string {
	seed := sha256.Sum256(fmt.Appendf(nil, "weft/sim/wallet/%d", len(x.keys)))
	key := ed25519.NewKeyFromSeed(seed[:])
	name := did.Ed25519Key(key.Public().(ed25519.PublicKey)).Multikey()
	x.keys[name], x.keys[did.KeyHash(name)] = key, key
	return name
}

func (x *wallets) newKeys(n int) (names []string) {
	for range n {
		names = append(names, x.newKey())
	}
	return names
}

// keyOf is the key that a did:key is.
func keyOf(person string) string { return person[len("did:key:"):] }

func (x *wallets) newHashes(n int) []string { return hashed(x.newKeys(n)) }

// revealed are the multikeys behind key hashes.
func (x *wallets) revealed(hashes []string) (names []string) {
	for _, h := range hashes {
		names = append(names, did.Ed25519Key(x.keys[h].Public().(ed25519.PublicKey)).Multikey())
	}
	return names
}

// clock is the time that wallets know.
func (x *wallets) clock() tangle.Time { return x.startTime().Add(x.now) }

// soon is a time that lies about where what is sent now will be committed, to the second.
func (x *wallets) soon() tangle.Time {
	return x.clock().Add(time.Duration(x.random.IntN(2500)) * time.Millisecond)
}

// header begins an operation of a list or of trust.
func (x *wallets) header(actor string) operation.Header {
	h := operation.Header{Network: x.network, Actor: actor, Nonce: [operation.NonceBytes]byte(x.bytes(operation.NonceBytes)), NotAfter: x.clock().Add(time.Hour)}
	switch x.random.IntN(20) {
	case 0, 1:
		h.NotAfter = x.soon()
	case 2:
		h.NotAfter = x.clock().Add(operation.MaxAhead + time.Hour)
	}
	return h
}

// actor is somebody who acts, and the key to do so. Few use a wrong one.
func (x *wallets) actor(v plugins.View) (name, key string) {
	if name = draw(x, x.people); len(x.dids) > 0 && x.chance(0.6) {
		if d, _, ok := x.known(v); ok {
			name = d.String()
		}
	}
	return name, x.voice(v, name)
}

// voice is the key of who acts.
func (x *wallets) voice(v plugins.View, name string) string {
	if x.chance(0.05) {
		return x.newKey()
	}
	url := name + "#key-1"
	if u, err := did.ParseURL(name); err == nil && u.Method == "key" {
		url = name + "#" + keyOf(name)
	}
	m, err := did.Lookup(v, url, "", 0)
	if err != nil {
		return x.newKey()
	}
	return m.Key.Multikey()
}

// sign makes an entry's data and its name.
func (x *wallets) sign(body did.Object, signers ...string) (data []byte, hash string) {
	var keys []ed25519.PrivateKey
	for _, s := range signers {
		keys = append(keys, x.keys[s])
	}
	if len(keys) == 0 {
		keys = append(keys, x.keys[x.newKey()])
	}
	data, err := did.Sign(body, keys...)
	if err != nil {
		panic(err) // our own keys
	}
	hash, _ = did.OpHash(body)
	return data, hash
}

// send signs an operation and has it carried.
func (x *wallets) send(k tangle.Kind, body did.Object, signers ...string) (hash string) {
	data, hash := x.sign(body, signers...)
	x.post(k, data)
	return hash
}

// maxHistory bounds what is sent again.
const maxHistory = 200

// post has an operation carried: by one member, by two, or by one that misbehaves and owes no answer. Some is spoiled.
func (x *wallets) post(k tangle.Kind, data []byte) {
	if x.chance(0.05) {
		data = x.spoil(k, data)
	}
	if len(x.history) < maxHistory {
		x.history = append(x.history, sentOperation{k, data})
	}
	e := x.entry(k, data)
	bad := x.instances[x.random.IntN(len(x.instances))]
	if !bad.correct() && x.chance(0.5) {
		x.put(bad, node.Input{Submit: &node.Submission{Entries: []tangle.Entry{e}}})
		return
	}
	x.submit(x.World.correctMember(), []tangle.Entry{e})
	if x.chance(0.15) {
		if x.chance(0.5) {
			e = x.entry(k, data)
		}
		x.submit(x.World.correctMember(), []tangle.Entry{e})
	}
}

func (x *wallets) entry(k tangle.Kind, data []byte) tangle.Entry {
	var lasting []byte
	if k == channel.Kind {
		if op, err := channel.DecodeUnverified(x.network, data); err == nil {
			lasting = op.Lasting()
		}
	}
	return tangle.NewErasable(k, lasting, tangle.Salt(x.bytes(len(tangle.Salt{}))), data)
}

// repeat sends something old again.
func (x *wallets) repeat() {
	if len(x.history) > 0 {
		old := draw(x, x.history)
		x.post(old.kind, old.data)
	}
}

// spoil makes of a good operation one that Check must refuse, and tells the reference with which code.
func (x *wallets) spoil(k tangle.Kind, data []byte) []byte {
	if _, already := x.oracles.identities.spoiled[string(data)]; already {
		return data
	}
	o, err := did.DecodeObject(data, did.JSONLimits{})
	if err != nil {
		panic(err)
	}
	bad, code := x.spoiled(k, o)
	if bad == nil {
		bad = append(append([]byte{}, data...), ' ')
	}
	x.oracles.identities.spoiled[string(bad)] = code
	return bad
}

func (x *wallets) spoiled(k tangle.Kind, o did.Object) (bad []byte, code string) {
	proofs := o["proof"].([]any)
	switch x.random.IntN(6) {
	case 0:
		return nil, "not_canonical"
	case 1:
		o["extra"], code = 1, "unknown_field"
	case 2:
		o["network"], code = tangle.ID{1}.String(), "wrong_network"
	case 3:
		o["proof"], code = append(proofs, proofs[0]), "bad_value"
	case 4:
		o["notAfter"], code = nil, "bad_value"
	case 5:
		o["notAfter"], code = did.FormatTime(x.clock().Add(30*time.Hour)), "bad_signature"
		if k == identity.KindDID && o["op"] == "create" {
			code = "bad_scid"
		}
	}
	bad, err := did.Canonical(o)
	if err != nil {
		panic(err)
	}
	return bad, code
}
