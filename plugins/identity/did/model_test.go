package did

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weft/plugins"
)

// The reference model: a DID's rules in the words of identity.md, section 2.4, over small numbers instead of keys and with
// the whole history in memory. It shares no code with Next.
type modelDID struct {
	name    string
	history []modelState
	dead    bool
}

type modelState struct {
	hash        string
	keys, next  []byte
	threshold   int
	controllers []string
	needed      int
	recovery    []byte
	recoverable int
	setter      string
}

type modelOperation struct {
	op, did, hash, prev, recovers string
	seq                           int
	content                       modelState // what it sets
	signers                       []byte
}

type model struct {
	dids map[string]*modelDID
	seen map[string]bool
}

func (m *model) apply(o modelOperation) string {
	if m.seen[o.hash] {
		return "already_exists"
	}
	d := m.dids[o.did]
	if o.op == OpCreate {
		switch {
		case d != nil:
			return "already_exists"
		case within(o.signers, o.content.keys) < o.content.threshold:
			return "threshold"
		case !m.all(o.content.controllers, o.signers):
			return "consent_missing"
		}
		m.dids[o.did] = &modelDID{name: o.did}
		m.push(o)
		return ""
	}
	if d == nil {
		return "unknown_did"
	}
	if d.dead {
		return "deactivated"
	}
	head := d.history[len(d.history)-1]
	code := m.follow(d, head, o)
	if o.recovers != "" {
		code = m.recover(head, o)
	}
	if code == "" {
		m.push(o)
	}
	return code
}

func (m *model) recover(head modelState, o modelOperation) string {
	if head.recovery == nil || head.setter != o.recovers {
		return "stale_recovery"
	}
	if n := within(o.signers, head.recovery); n == 0 {
		return "not_entitled"
	} else if n < head.recoverable {
		return "threshold"
	}
	if o.op == OpDeactivate {
		return ""
	}
	if within(o.content.recovery, head.recovery) > 0 {
		return "bad_value"
	}
	if !m.all(newly(o.content.controllers, head.controllers), o.signers) {
		return "consent_missing"
	}
	return ""
}

func (m *model) follow(d *modelDID, head modelState, o modelOperation) string {
	n := len(d.history)
	if o.seq != n+1 || o.prev != head.hash {
		if o.seq >= 2 && o.seq <= n && d.history[o.seq-2].hash == o.prev && ownSigned(d.history[o.seq-2], o) == "" {
			return "conflict"
		}
		return "bad_prev"
	}
	if o.op == OpUpdate && o.content.recovery != nil && head.recovery != nil {
		return "not_entitled"
	}
	own := ownSigned(head, o)
	used := map[byte]bool{}
	yes, some := 0, false
	for _, c := range sorted(head.controllers) {
		if yes == head.needed {
			break
		}
		signs, any := m.signs(c, o.signers, used)
		some = some || any
		if signs {
			yes++
		}
	}
	controlled := head.needed > 0 && yes == head.needed
	partly := own == "threshold" || some
	switch {
	case own != "" && !controlled && own == "prerotation":
		return "prerotation"
	case own != "" && !controlled && partly:
		return "threshold"
	case own != "" && !controlled:
		return "not_entitled"
	case o.op == OpDeactivate:
		return ""
	}
	same := slices.Equal(sorted(head.controllers), sorted(o.content.controllers)) && head.needed == o.content.needed
	if len(head.controllers) > 0 && !same && !controlled {
		return "not_entitled"
	}
	for _, c := range sorted(newly(o.content.controllers, head.controllers)) {
		if signs, _ := m.signs(c, o.signers, used); !signs {
			return "consent_missing"
		}
	}
	return ""
}

// ownSigned is the code by which the own rule refuses, "" if it lets pass.
func ownSigned(s modelState, o modelOperation) string {
	keys := s.keys
	if len(s.next) > 0 {
		keys = s.next
	}
	n := within(o.signers, keys)
	switch {
	case n == 0:
		return "not_entitled"
	case n < s.threshold:
		return "threshold"
	case len(s.next) > 0 && within(o.content.keys, s.next) < len(o.content.keys):
		return "prerotation"
	}
	return ""
}

func (m *model) all(controllers []string, signers []byte) bool {
	used := map[byte]bool{}
	for _, c := range sorted(controllers) {
		if signs, _ := m.signs(c, signers, used); !signs {
			return false
		}
	}
	return true
}

func (m *model) signs(name string, signers []byte, used map[byte]bool) (signs, some bool) {
	d := m.dids[name]
	if d == nil || d.dead {
		return false, false
	}
	head := d.history[len(d.history)-1]
	var free []byte
	for _, s := range signers { // ascending by multikey
		if slices.Contains(head.keys, s) && !used[s] {
			free = append(free, s)
		}
	}
	if head.threshold == 0 || len(free) < head.threshold {
		return false, len(free) > 0
	}
	for _, s := range free[:head.threshold] {
		used[s] = true
	}
	return true, true
}

func (m *model) push(o modelOperation) {
	m.seen[o.hash] = true
	d := m.dids[o.did]
	next := o.content
	next.hash = o.hash
	if len(d.history) > 0 {
		head := d.history[len(d.history)-1]
		if o.op == OpDeactivate {
			d.dead = true
			next = head
			next.hash = o.hash
		} else if o.content.recovery == nil {
			next.recovery, next.recoverable, next.setter = head.recovery, head.recoverable, head.setter
		}
	}
	if o.content.recovery != nil {
		next.setter = o.hash
	}
	d.history = append(d.history, next)
}

func within(list, set []byte) (n int) {
	for _, b := range list {
		if slices.Contains(set, b) {
			n++
		}
	}
	return n
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func newly(list, old []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(old, s) {
			out = append(out, s)
		}
	}
	return out
}

// script draws operations and holds the ledger against the model.
type script struct {
	*rapid.T
	ledger  *ledger
	model   *model
	names   []DID
	entries []modelOperation
	raw     [][]byte
	drafted DID // of the newest create
	count   byte
}

// TestRandomOperations runs random sequences of operations, most of them nearly right, through Next and the model.
func TestRandomOperations(t *testing.T) {
	outcomes := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		s := &script{T: rt, ledger: newLedger(t), model: &model{map[string]*modelDID{}, map[string]bool{}}}
		s.ledger.limits.MaxUpdatesPerDay = 1000
		for range rapid.IntRange(1, 40).Draw(rt, "operations") {
			o, raw := s.operation()
			want := s.model.apply(o)
			got := ""
			if err := s.ledger.apply(raw); err != nil {
				r := plugins.Rejected(err)
				if r == nil {
					rt.Fatalf("not a rejection: %v", err)
				}
				got = r.Code
			}
			if got != want {
				rt.Fatalf("%s of %s by %v: %q, want %q", o.op, o.did, o.signers, got, want)
			}
			outcomes[o.op+" "+got]++
			if o.op == OpCreate && len(s.names) < 4 && !slices.Contains(s.names, s.drafted) && (got == "" || rapid.IntRange(0, 30).Draw(rt, "unknown") == 0) {
				s.names = append(s.names, s.drafted)
			}
		}
		s.compare()
	})
	t.Log(outcomes)
}

// compare holds the state against the model, and every version against the log.
func (s *script) compare() {
	for name, d := range s.model.dids {
		id, err := Parse(name)
		if err != nil {
			s.Fatal(err)
		}
		head, found, err := ReadHead(s.ledger, id)
		last := d.history[len(d.history)-1]
		if err != nil || !found || head.Version != len(d.history) || head.OpHash != last.hash || head.Deactivated != d.dead || head.RecoverySetter != last.setter {
			s.Fatalf("%s: head %+v, want %+v (%v)", name, head, last, err)
		}
		for i, version := range d.history {
			if r := Resolve(s.ledger, fmt.Sprintf("%s?versionId=%d-%s", name, i+1, version.hash), Options{}); r.Error != nil || r.Version != i+1 {
				s.Fatalf("%s version %d: %+v", name, i+1, r)
			}
		}
	}
}

func (s *script) subset(label string, low, high int, seeds ...byte) []byte {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(seeds), low, high, rapid.ID[byte]).Draw(s.T, label)
}

// content draws what an operation sets: few keys, so that they meet again.
func (s *script) content(recovery bool) modelState {
	c := modelState{keys: s.subset("keys", 0, 3, 1, 2, 3, 4)}
	for _, d := range s.names {
		if rapid.IntRange(0, 3).Draw(s.T, "controller") == 0 && len(c.controllers) < 3 {
			c.controllers = append(c.controllers, d.String())
		}
	}
	if len(c.keys) == 0 && len(c.controllers) == 0 {
		c.keys = []byte{1}
	}
	if len(c.controllers) > 0 {
		c.needed = rapid.IntRange(1, len(c.controllers)).Draw(s.T, "needed")
	}
	if len(c.keys) > 0 {
		c.next = s.subset("next", 0, 4, 1, 2, 3, 4)
		limit := len(c.keys)
		if len(c.next) > 0 {
			limit = min(limit, len(c.next))
		}
		c.threshold = rapid.IntRange(1, limit).Draw(s.T, "threshold")
	}
	if recovery {
		c.recovery = s.subset("recovery", 1, 2, 5, 6, 7, 8)
		c.recoverable = rapid.IntRange(1, len(c.recovery)).Draw(s.T, "recoverable")
	}
	return c
}

func (c modelState) built(document byte) Content {
	out := Content{
		Params: Params{
			UpdateKeys: multikeys(c.keys...), Threshold: c.threshold, NextKeyHashes: hashes(c.next...), Controllers: c.controllers,
			ControllerThreshold: c.needed, TTL: int(document),
		},
		Document: simpleDocument(1),
	}
	if c.recovery != nil {
		out.Recovery = &RecoverySet{hashes(c.recovery...), c.recoverable}
	}
	return out
}

// operation draws an operation on a DID there is, a new one, or an earlier entry once more.
func (s *script) operation() (modelOperation, []byte) {
	if len(s.entries) > 0 && rapid.IntRange(0, 15).Draw(s.T, "again") == 0 {
		i := rapid.IntRange(0, len(s.entries)-1).Draw(s.T, "which")
		return s.entries[i], s.raw[i]
	}
	s.count++
	o := modelOperation{op: OpCreate}
	if len(s.names) > 0 {
		o.op = rapid.SampledFrom([]string{OpCreate, OpUpdate, OpUpdate, OpUpdate, OpUpdate, OpUpdate, OpRecover, OpRecover, OpDeactivate}).Draw(s.T, "op")
	}
	body := s.body(&o)
	o.signers = s.subset("signers", rapid.SampledFrom([]int{1, 2, 6, 8}).Draw(s.T, "at least"), 8, 1, 2, 3, 4, 5, 6, 7, 8)
	slices.SortFunc(o.signers, func(a, b byte) int {
		if multikey(a) < multikey(b) {
			return -1
		}
		return 1
	})
	raw, err := Sign(body, keysOf(o.signers...)...)
	if err != nil {
		s.Fatal(err)
	}
	o.hash, err = OpHash(body)
	if err != nil {
		s.Fatal(err)
	}
	o.did = body["did"].(string)
	s.entries, s.raw = append(s.entries, o), append(s.raw, raw)
	return o, raw
}

func (s *script) body(o *modelOperation) Object {
	if o.op == OpCreate {
		o.content = s.content(rapid.Bool().Draw(s.T, "with recovery"))
		body, d, err := Create(testNetwork(), [NonceBytes]byte{s.count}, o.content.built(s.count))
		if err != nil {
			s.Fatal(err)
		}
		s.drafted = d
		return body
	}
	d := rapid.SampledFrom(s.names).Draw(s.T, "did")
	h := Head{Version: 1, OpHash: Multihash([]byte(d.text)), RecoverySetter: Multihash([]byte(d.text))}
	if known := s.model.dids[d.String()]; known != nil {
		at := len(known.history)
		if rapid.IntRange(0, 5).Draw(s.T, "fork") == 0 {
			at = rapid.IntRange(1, at).Draw(s.T, "at")
		}
		version := known.history[at-1]
		h.Version, h.OpHash = at, version.hash
		if version.setter != "" {
			h.RecoverySetter = version.setter
		}
	}
	byRecovery := o.op == OpRecover || o.op == OpDeactivate && rapid.Bool().Draw(s.T, "by recovery")
	if byRecovery {
		o.recovers = h.RecoverySetter
	} else {
		o.seq, o.prev = h.Version+1, h.OpHash
	}
	if o.op == OpDeactivate {
		if byRecovery {
			return DeactivateByRecovery(testNetwork(), d, h, 0)
		}
		return Deactivate(testNetwork(), d, h, 0)
	}
	o.content = s.content(o.op == OpRecover || rapid.IntRange(0, 3).Draw(s.T, "with recovery") == 0)
	o.content.controllers = slices.DeleteFunc(o.content.controllers, func(c string) bool { return c == d.String() })
	if o.content.needed = min(o.content.needed, len(o.content.controllers)); len(o.content.controllers) == 0 && len(o.content.keys) == 0 {
		o.content.keys, o.content.threshold, o.content.next = []byte{1}, 1, nil
	}
	if o.op == OpUpdate {
		return Update(testNetwork(), d, h, o.content.built(s.count))
	}
	h.Recovery = &RecoverySet{}
	body, err := Recover(testNetwork(), d, h, o.content.built(s.count))
	if err != nil {
		s.Fatal(err)
	}
	return body
}
