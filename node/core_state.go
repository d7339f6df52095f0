package node

import (
	"bytes"
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	"weft/internal/store"
	"weft/plugins"
)

// pluginState is one of a plugin's key spaces while entries are applied: the writes of this entry over those of this Step
// over the store. Nobody else writes there, so what was read is kept: entries that follow each other ask for the same
// things. It implements plugins.State and plugins.Index.
type pluginState struct {
	prefix []byte
	store  store.Store
	peers  func(name string) plugins.View
	agreed plugins.View // of an index: the state beside which it stands
	step   map[string]stepWrite
	entry  map[string][]byte      // nil value: deleted
	known  map[string]*knownValue // read from the store, and as it is there
	size   int                    // of known
	err    error                  // the store failed: the node must stop
}

// knownValue is a value of the store, and what Parsed has made of it; nil: nobody asked.
type knownValue struct {
	value  []byte
	parsed any
}

// stepWrite is a write of a Step: its value, nil if deleted, and what it was counted with in a commit.
type stepWrite struct {
	value  []byte
	commit uint64
	bytes  int
}

// maxKnownBytes bounds what is kept of one key space.
const maxKnownBytes = 4 << 20

func newPluginState(s store.Store, prefix []byte, peers func(string) plugins.View) *pluginState {
	return &pluginState{
		prefix: prefix, store: s, peers: peers,
		step: map[string]stepWrite{}, entry: map[string][]byte{}, known: map[string]*knownValue{},
	}
}

// spaceOf is where a plugin's keys of one sort live.
func spaceOf(sort store.Prefix, plugin string) []byte {
	return store.Key(sort, []byte{byte(len(plugin))}, []byte(plugin))
}

func (p *pluginState) key(key []byte) []byte { return slices.Concat(p.prefix, key) }

// Get implements plugins.View.
func (p *pluginState) Get(key []byte) []byte {
	v, _ := p.get(key)
	return v
}

// State implements plugins.Index.
func (p *pluginState) State() plugins.View { return p.agreed }

// get also returns what is known of the key, if its value is that of the store.
func (p *pluginState) get(key []byte) ([]byte, *knownValue) {
	if v, ok := p.entry[string(key)]; ok {
		return v, nil
	}
	if w, ok := p.step[string(key)]; ok {
		return w.value, nil
	}
	if k, ok := p.known[string(key)]; ok {
		return k.value, k
	}
	v := storeGet(p.store, p.key(key), &p.err)
	if v == nil {
		return nil, nil
	}
	return v, p.keep(string(key), v)
}

// Parsed is for plugins.Parsed.
func (p *pluginState) Parsed(key []byte, parse func([]byte) (any, error)) (any, error) {
	v, known := p.get(key)
	if known == nil {
		return parse(v)
	}
	if known.parsed != nil {
		return known.parsed, nil
	}
	made, err := parse(v)
	if err == nil {
		known.parsed = made
	}
	return made, err
}

// keep remembers what the store has, or begins anew when that is too much. What is made of a value takes some times its
// size.
func (p *pluginState) keep(key string, value []byte) *knownValue {
	if p.size += knownBytes(key, value); p.size > maxKnownBytes {
		clear(p.known)
		p.size = knownBytes(key, value)
	}
	k := &knownValue{value: value}
	p.known[key] = k
	return k
}

func knownBytes(key string, value []byte) int { return writeBytes(key, value) + 4*len(value) }

// Set implements plugins.State.
func (p *pluginState) Set(key, value []byte) {
	v := make([]byte, len(value)) // never nil, which means deleted
	copy(v, value)
	p.entry[string(key)] = v
}

// Delete implements plugins.State.
func (p *pluginState) Delete(key []byte) { p.entry[string(key)] = nil }

// Peek implements plugins.State.
func (p *pluginState) Peek(plugin string) plugins.View { return p.peers(plugin) }

// Scan implements plugins.View: it merges what is written but not stored yet with the store.
func (p *pluginState) Scan(from, to []byte, visit func(key, value []byte) bool) {
	over := p.written(string(from), string(to), to == nil)
	keys := slices.Sorted(maps.Keys(over))
	emit := func(upto string, all bool) bool { // overlay keys below upto
		for len(keys) > 0 && (all || keys[0] < upto) {
			k := keys[0]
			keys = keys[1:]
			if v := over[k]; v != nil && !visit([]byte(k), v) {
				return false
			}
		}
		return true
	}
	going := true
	err := p.store.Scan(p.key(from), p.scanEnd(to), func(key, value []byte) bool {
		k := string(key[len(p.prefix):])
		if going = emit(k, false); !going {
			return false
		}
		if _, hidden := over[k]; !hidden {
			going = visit(bytes.Clone(key[len(p.prefix):]), bytes.Clone(value))
		}
		return going
	})
	if err != nil && p.err == nil {
		p.err = err
	}
	if going {
		emit("", true)
	}
}

// written are the writes that the store does not have yet, from a key on and before another one.
func (p *pluginState) written(from, to string, noEnd bool) map[string][]byte {
	over := map[string][]byte{}
	within := func(k string) bool { return k >= from && (noEnd || k < to) }
	for k, w := range p.step { // copying the whole of it would cost more than most scans
		if within(k) {
			over[k] = w.value
		}
	}
	for k, v := range p.entry {
		if within(k) {
			over[k] = v
		}
	}
	return over
}

func (p *pluginState) scanEnd(to []byte) []byte {
	if to == nil {
		return store.PrefixEnd(p.prefix)
	}
	return p.key(to)
}

func writeBytes(key string, value []byte) int { return len(key) + len(value) + writeOverheadBytes }

// writeOverheadBytes is what a write is counted with beyond its key and value, as the store counts it.
const writeOverheadBytes = 96

// rollback forgets the entry's writes.
func (p *pluginState) rollback() { clear(p.entry) }

// hashWrites adds the entry's writes to a digest, in key order.
func (p *pluginState) hashWrites(h hash.Hash) {
	for _, k := range slices.Sorted(maps.Keys(p.entry)) {
		v := p.entry[k]
		b := binary.BigEndian.AppendUint32(nil, uint32(len(k)))
		b = append(b, k...)
		if v == nil {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		}
		h.Write(b)
		h.Write(v)
	}
}

// take moves the entry's writes into the Step's, and returns what they add to those of a commit, in bytes as the store
// counts them: a key that several entries of it write counts once. A commit is executed in one Step, so all nodes count alike.
func (p *pluginState) take(commit uint64) (more int) {
	for k, v := range p.entry {
		w := stepWrite{v, commit, len(p.prefix) + writeBytes(k, v)}
		before := p.step[k]
		if before.commit != commit {
			before.bytes = 0
		}
		w.bytes = max(w.bytes, before.bytes)
		more += w.bytes - before.bytes
		p.step[k] = w
	}
	clear(p.entry)
	return more
}

// write puts the Step's writes into the batch: each key once, however many entries have written it.
func (p *pluginState) write(b *store.Batch) {
	for k, w := range p.step {
		if w.value == nil {
			b.Delete(p.key([]byte(k)))
		} else {
			b.Set(p.key([]byte(k)), w.value)
		}
	}
}

// applied forgets the Step's writes: the store has them.
func (p *pluginState) applied() {
	for k, w := range p.step {
		before, ok := p.known[k]
		if !ok {
			continue
		}
		p.size -= knownBytes(k, before.value)
		delete(p.known, k)
		if w.value != nil {
			p.keep(k, w.value)
		}
	}
	clear(p.step)
}

// storeView reads a plugin's durable state. It implements plugins.View.
type storeView struct {
	prefix []byte
	store  store.Store
}

func (v storeView) Get(key []byte) []byte {
	var err error
	return storeGet(v.store, slices.Concat(v.prefix, key), &err)
}

func (v storeView) Scan(from, to []byte, visit func(key, value []byte) bool) {
	end := store.PrefixEnd(v.prefix)
	if to != nil {
		end = slices.Concat(v.prefix, to)
	}
	_ = v.store.Scan(slices.Concat(v.prefix, from), end, func(key, value []byte) bool {
		return visit(bytes.Clone(key[len(v.prefix):]), bytes.Clone(value))
	})
}

// onceViews read a key once, for whoever judges many entries that ask for the same things.
type onceViews struct {
	open func(plugin string) plugins.View
	all  map[string]onceView // by plugin
}

func newOnceViews(open func(plugin string) plugins.View) onceViews {
	return onceViews{open, map[string]onceView{}}
}

func (o onceViews) of(plugin string) onceView {
	v, ok := o.all[plugin]
	if !ok {
		v = onceView{o.open(plugin), map[string]*knownValue{}, o}
		o.all[plugin] = v
	}
	return v
}

// onceView is that of one plugin. It implements plugins.Reader.
type onceView struct {
	plugins.View
	read   map[string]*knownValue
	others onceViews
}

func (v onceView) get(key []byte) *knownValue {
	k, ok := v.read[string(key)]
	if !ok {
		k = &knownValue{value: v.View.Get(key)}
		v.read[string(key)] = k
	}
	return k
}

// Get implements plugins.View.
func (v onceView) Get(key []byte) []byte { return v.get(key).value }

// Parsed is for plugins.Parsed.
func (v onceView) Parsed(key []byte, parse func([]byte) (any, error)) (any, error) {
	k := v.get(key)
	if k.parsed != nil {
		return k.parsed, nil
	}
	made, err := parse(k.value)
	if err == nil {
		k.parsed = made
	}
	return made, err
}

// Peek implements plugins.Reader.
func (v onceView) Peek(plugin string) plugins.View {
	if other := v.others.of(plugin); other.View != nil {
		return other
	}
	return nil
}
