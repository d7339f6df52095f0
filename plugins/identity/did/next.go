package did

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// Next says what an operation changes at its place in the order (identity.md, section 2.4), or rejects it. It is pure: it
// reads the state as of this entry and writes nothing itself. An error that is no rejection is a broken invariant.
func Next(v plugins.View, l Limits, op *Operation, at Place) ([]Write, error) {
	head, found, err := ReadHead(v, op.DID)
	if err != nil {
		return nil, err
	}
	j := judge{view: v, limits: l, op: op, at: at, head: head, found: found}
	rule, err := j.rule()
	if err != nil {
		return nil, err
	}
	return j.writes(rule)
}

// judge holds what one operation is judged by.
type judge struct {
	view   plugins.View
	limits Limits
	op     *Operation
	at     Place
	head   Head
	found  bool
	quota  []Write
}

// rule finds the rule that lets the operation pass. The order of the checks is part of the method: it decides codes.
func (j *judge) rule() (Rule, error) {
	if err := j.admissible(); err != nil {
		return 0, err
	}
	if j.op.Op == OpCreate {
		return RuleCreate, j.create()
	}
	switch {
	case !j.found:
		return 0, plugins.Reject("unknown_did", "%s", j.op.DID)
	case j.head.Deactivated:
		return 0, plugins.Reject("deactivated", "%s", j.op.DID)
	case j.op.Recovers != "":
		return RuleRecovery, j.recover()
	}
	return j.change()
}

// admissible holds what does not depend on who signed: expiry, repetition, quotas.
func (j *judge) admissible() (err error) {
	if j.op.NotAfter != 0 && j.at.Time > j.op.NotAfter {
		return plugins.Reject("expired", "the commit time %s is after notAfter", j.at.Time)
	}
	if j.view.Get(operationKey(j.op.Hash)) != nil {
		return plugins.Reject("already_exists", "operation %s is in the log", j.op.Hash)
	}
	switch j.op.Op {
	case OpCreate:
		var w Write
		quota := Quota{Name: 'c', Window: time.Minute, Max: j.limits.MaxCreatesPerMinute}
		w, err = quota.Count(j.view, j.at.By[:], j.at.Time)
		j.quota = append(j.quota, w)
	case OpUpdate:
		if j.found && j.head.Day == dayOf(j.at.Time) && j.head.Updates >= j.limits.MaxUpdatesPerDay {
			err = plugins.Reject("rate_limited", "%d updates of %s on this day", j.head.Updates, j.op.DID)
		}
	}
	return err
}

// dayOf counts days since 1970. Updates are counted by it in the head, which every update writes anyway.
func dayOf(t tangle.Time) int64 { return int64(t) / (24 * time.Hour).Milliseconds() }

func (j *judge) create() error {
	if j.found {
		return plugins.Reject("already_exists", "%s", j.op.DID)
	}
	p := j.op.Params
	if n := countKeys(j.op.Signers, p.UpdateKeys); n < p.Threshold {
		return plugins.Reject("threshold", "%d of the update keys sign, want %d", n, p.Threshold)
	}
	return j.consents(&ballot{signers: j.op.Signers}, p.Controllers)
}

// recover holds rule 3. It names the operation that set the recovery set and not the head, so nobody outruns it with
// updates.
func (j *judge) recover() error {
	set := j.head.Recovery
	if set == nil || j.op.Recovers != j.head.RecoverySetter {
		return plugins.Reject("stale_recovery", "operation %s did not set the recovery set", j.op.Recovers)
	}
	if err := tooFew(countHashes(j.op.Signers, set.KeyHashes), set.Threshold); err != nil {
		return err
	}
	if j.op.Op == OpDeactivate {
		return nil
	}
	for _, h := range j.op.Recovery.KeyHashes {
		if slices.Contains(set.KeyHashes, h) {
			return plugins.Reject("bad_value", "recovery key hash %s was in the set before", h)
		}
	}
	if err := j.keepsCompromised(); err != nil {
		return err
	}
	return j.consents(&ballot{signers: j.op.Signers}, j.newControllers())
}

// change holds rules 4 to 8 for operations that follow the head.
func (j *judge) change() (Rule, error) {
	if err := j.follows(); err != nil {
		return 0, err
	}
	if j.op.Op == OpUpdate && j.op.Recovery != nil && j.head.Recovery != nil {
		return 0, plugins.Reject("not_entitled", "only recover may change the recovery set")
	}
	own := ownRule(j.op, ruleKeys{j.head.UpdateKeys, j.head.Threshold, j.head.NextKeyHashes})
	ballot := &ballot{signers: j.op.Signers}
	controllers := j.controllersRule(ballot)
	switch {
	case controllers.err != nil && plugins.Rejected(controllers.err) == nil:
		return 0, controllers.err
	case own.err != nil && controllers.err != nil:
		return 0, neither(own, controllers)
	case j.op.Op == OpDeactivate:
	case j.changesControllers() && controllers.err != nil:
		return 0, plugins.Reject("not_entitled", "the controllers change only with their signatures or by recover")
	default:
		if err := firstError(j.consents(ballot, j.newControllers()), j.keepsCompromised()); err != nil {
			return 0, err
		}
	}
	if own.err != nil || j.op.Op == OpUpdate && j.changesControllers() {
		return RuleControllers, nil
	}
	return RuleOwn, nil
}

// verdict is what a rule says, and how many of its keys signed.
type verdict struct {
	err    error
	signed int
}

// neither chooses the code of an operation that no rule lets pass.
func neither(own, controllers verdict) error {
	if r := plugins.Rejected(own.err); r.Code == "prerotation" {
		return own.err
	}
	if own.signed+controllers.signed > 0 {
		return plugins.Reject("threshold", "%d keys of the DID and %d of its controllers sign, too few", own.signed, controllers.signed)
	}
	return plugins.Reject("not_entitled", "no key that signs may change the DID")
}

// tooFew is nil if n keys reach the threshold.
func tooFew(n, threshold int) error {
	switch {
	case n >= threshold && threshold > 0:
		return nil
	case n == 0:
		return plugins.Reject("not_entitled", "none of the keys signs")
	}
	return plugins.Reject("threshold", "%d keys sign, want %d", n, threshold)
}

// follows holds rule 4. An owner that signs two operations for one place is told apart from a stranger: conflict.
func (j *judge) follows() error {
	if j.op.Seq == j.head.Version+1 && j.op.Prev == j.head.OpHash {
		return nil
	}
	forked, err := j.forks()
	switch {
	case err != nil:
		return err
	case forked:
		return plugins.Reject("conflict", "another operation took place %d of the log", j.op.Seq)
	}
	return plugins.Reject("bad_prev", "the head is %s", j.head.VersionID())
}

// forks says whether the operation could have followed an older one by the own rule there.
func (j *judge) forks() (bool, error) {
	prev, found := FindOperation(j.view, j.op.Prev)
	if !found || prev.DID != j.op.DID || prev.N >= j.head.Version || j.op.Seq != prev.N+1 {
		return false, nil
	}
	_, older, err := ReadOperation(j.view, j.op.DID, prev.N)
	if err != nil {
		return false, err
	}
	p := older.Params
	return ownRule(j.op, ruleKeys{p.UpdateKeys, p.Threshold, p.NextKeyHashes}).err == nil, nil
}

// ruleKeys are the keys that rule a DID at one version.
type ruleKeys struct {
	updateKeys    []string
	threshold     int
	nextKeyHashes []string
}

// ownRule is rule 5.
func ownRule(op *Operation, k ruleKeys) verdict {
	if len(k.nextKeyHashes) == 0 {
		n := countKeys(op.Signers, k.updateKeys)
		return verdict{tooFew(n, k.threshold), n}
	}
	n := countHashes(op.Signers, k.nextKeyHashes)
	if err := tooFew(n, k.threshold); err != nil {
		return verdict{err, n}
	}
	for _, key := range op.Params.UpdateKeys {
		if !slices.Contains(k.nextKeyHashes, KeyHash(key)) {
			return verdict{plugins.Reject("prerotation", "update key %s was not announced", key), n}
		}
	}
	return verdict{nil, n}
}

func countKeys(signers, keys []string) (n int) {
	for _, s := range signers {
		if slices.Contains(keys, s) {
			n++
		}
	}
	return n
}

func countHashes(signers, hashes []string) (n int) {
	for _, s := range signers {
		if slices.Contains(hashes, KeyHash(s)) {
			n++
		}
	}
	return n
}

// ballot counts signatures for controllers, each key for one of them.
type ballot struct {
	signers []string
	used    []string
}

// take says whether a controller signs: active, and with its own threshold of its current update keys that no controller
// before it used. Controllers of controllers do not count, so cycles do no harm.
func (b *ballot) take(v plugins.View, controller string) (signs bool, signed int, err error) {
	d, err := Parse(controller)
	if err != nil {
		return false, 0, nil
	}
	head, found, err := ReadHead(v, d)
	if err != nil || !found || head.Deactivated {
		return false, 0, err
	}
	var keys []string
	for _, s := range b.signers {
		if slices.Contains(head.UpdateKeys, s) && !slices.Contains(b.used, s) {
			keys = append(keys, s)
		}
	}
	if head.Threshold == 0 || len(keys) < head.Threshold {
		return false, len(keys), nil
	}
	b.used = append(b.used, keys[:head.Threshold]...)
	return true, len(keys), nil
}

// controllersRule is rule 6. It stops at the threshold, so that the other keys stay free for consents.
func (j *judge) controllersRule(b *ballot) verdict {
	var sum verdict
	sign := 0
	for _, c := range slices.Sorted(slices.Values(j.head.Controllers)) {
		if sign == j.head.ControllerThreshold {
			break
		}
		signs, signed, err := b.take(j.view, c)
		if err != nil {
			return verdict{err: err}
		}
		sum.signed += signed
		if signs {
			sign++
		}
	}
	if sign == 0 || sign < j.head.ControllerThreshold {
		sum.err = plugins.Reject("threshold", "%d controllers sign, want %d", sign, j.head.ControllerThreshold)
	}
	return sum
}

// consents wants the signature of every DID that is newly named as a controller.
func (j *judge) consents(b *ballot, controllers []string) error {
	for _, c := range slices.Sorted(slices.Values(controllers)) {
		signs, _, err := b.take(j.view, c)
		if err != nil {
			return err
		}
		if !signs {
			return plugins.Reject("consent_missing", "controller %s does not sign", c)
		}
	}
	return nil
}

// newControllers are those that the head does not name.
func (j *judge) newControllers() (list []string) {
	for _, c := range j.op.Params.Controllers {
		if !slices.Contains(j.head.Controllers, c) {
			list = append(list, c)
		}
	}
	return list
}

// changesControllers says whether an update changes who the controllers are, or how many of them are needed, while there
// are any.
func (j *judge) changesControllers() bool {
	if len(j.head.Controllers) == 0 {
		return false
	}
	p := j.op.Params
	return len(p.Controllers) != len(j.head.Controllers) || len(j.newControllers()) > 0 || p.ControllerThreshold != j.head.ControllerThreshold
}

func (j *judge) keepsCompromised() error {
	for _, key := range j.head.Compromised {
		if !slices.Contains(j.op.Params.Compromised, key) {
			return plugins.Reject("bad_value", "compromised lacks %s, and it only grows", key)
		}
	}
	return nil
}

// writes are the log record, the head, the index and the quota of an accepted operation.
func (j *judge) writes(rule Rule) ([]Write, error) {
	h := j.next()
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	place := binary.BigEndian.AppendUint32([]byte(j.op.DID.text), uint32(h.Version))
	return append([]Write{
		{Key: headKey(j.op.DID), Value: head},
		{Key: logKey(j.op.DID, h.Version), Value: Record{j.at, rule, j.op.Hash, j.op.Raw}.bytes()},
		{Key: operationKey(j.op.Hash), Value: place},
	}, j.quota...), nil
}

// next is the head after the operation.
func (j *judge) next() Head {
	h, p := j.head, j.op.Params
	h.Network = j.op.DID.Network()
	h.Version++
	h.OpHash, h.Time, h.Position = j.op.Hash, j.at.Time, j.at.Position
	if j.op.Op == OpDeactivate {
		h.Deactivated = true
		return h
	}
	h.UpdateKeys, h.Threshold, h.NextKeyHashes = p.UpdateKeys, p.Threshold, p.NextKeyHashes
	h.Controllers, h.ControllerThreshold, h.Compromised = p.Controllers, p.ControllerThreshold, p.Compromised
	if j.op.Recovery != nil {
		h.Recovery, h.RecoverySetter = j.op.Recovery, j.op.Hash
	}
	if j.op.Op == OpUpdate {
		if day := dayOf(j.at.Time); h.Day != day {
			h.Day, h.Updates = day, 0
		}
		h.Updates++
	}
	return h
}

// ReadOperation returns the n-th operation of a DID, from 1, decoded. That it is there is the caller's knowledge: an error is
// a broken invariant.
func ReadOperation(v plugins.View, d DID, n int) (Record, *Operation, error) {
	r, err := ReadRecord(v, d, n)
	if err != nil {
		return r, nil, err
	}
	op, err := decodeStored(r.Raw)
	return r, op, err
}
