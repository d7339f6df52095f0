package sim

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// identities is the sequential reference of the identity plugin: its rules written down a second time, as plainly as
// possible, over maps in memory. It shares no rule with did.Next, status.Next and trust.Next, nor Check: what Check must
// refuse is known from the wallet that spoiled it. Only hashes and the names of keys come from package did.
type identities struct {
	limits      did.Limits
	spoiled     map[string]string // code by entry data
	subjects    map[string]*subject
	accepted    map[string]bool // opHashes
	lists       map[string]*statusList
	spent       map[string]singular
	anchored    map[string]singular
	federations map[string]*federation
	grants      map[string]*grant
	time        tangle.Time    // of the entry that is being executed
	seen        map[string]int // outcomes by operation and code
}

func newIdentities(limits did.Limits) *identities {
	m := &identities{
		limits: limits, spoiled: map[string]string{}, subjects: map[string]*subject{}, accepted: map[string]bool{},
		lists: map[string]*statusList{}, spent: map[string]singular{}, anchored: map[string]singular{},
		federations: map[string]*federation{}, grants: map[string]*grant{}, seen: map[string]int{},
	}
	m.foundGenesis(genesisUnion())
	return m
}

func isIdentity(k tangle.Kind) bool {
	return k == identity.KindDID || k == identity.KindStatus || k == identity.KindTrust
}

// signed is an operation of any of the three kinds. encoding/json finds members whatever the case of their first letter.
type signed struct {
	Type, Op, Network, DID, Actor, Nonce string
	Seq                                  int
	Prev, Recovers                       string
	NotAfter                             time.Time
	Params                               params
	Recovery                             *did.RecoverySet
	Doc                                  document
	Proof                                []struct{ VerificationMethod string }

	List, Purpose, Secret, Commitment string
	Size                              int
	Writers                           []string
	On, Off                           []int

	Name, Federation, Under, Subject, Kind, Grant, Root, Path string
	Roots                                                     []string
	Threshold, MaxDepth                                       int
	Properties                                                []property
	Property                                                  property
	ValidFrom, ValidUntil, EffectiveAt                        time.Time
	Cascade                                                   bool

	hash    string
	signers []string // multikeys, ascending
}

type params struct {
	UpdateKeys, NextKeyHashes, Controllers, Compromised []string
	Threshold, ControllerThreshold                      int
}

type document struct {
	VerificationMethod []struct {
		ID, PublicKeyMultibase string
		Revoked, Expires       time.Time
	}
	AssertionMethod, CapabilityInvocation []string
}

// singular is what happened once only: a spend, an anchor.
type singular struct {
	did.Place
	hash, actor string
}

// subject is a DID with its log.
type subject struct {
	log         []version
	now         *signed // the newest operation with parameters and document
	deactivated bool
	recovery    *did.RecoverySet
	setter      string // opHash of the operation that set recovery
}

type version struct {
	did.Place
	op   *signed
	rule did.Rule
}

func (s *subject) head() *signed { return s.log[len(s.log)-1].op }

// outcome executes an entry at its place and returns its code.
func (m *identities) outcome(e tangle.Entry, at did.Place) string {
	if code, ok := m.spoiled[string(e.Data)]; ok {
		m.seen["spoiled "+code]++
		return code
	}
	op := parseSigned(e.Data)
	m.time = at.Time
	code := m.execute(e.Kind, op, at)
	if code == "" {
		m.accepted[op.hash] = true
	}
	m.seen[strings.TrimSuffix(op.Type[len("weft/"):], "/1")+"."+op.Op+" "+code]++
	return code
}

// parseSigned reads an operation of which a wallet has made sure that Check accepts it.
func parseSigned(data []byte) *signed {
	op, body := &signed{}, did.Object{}
	if json.Unmarshal(data, op) != nil || json.Unmarshal(data, &body) != nil {
		panic("a wallet has made no JSON")
	}
	delete(body, "proof")
	op.hash, _ = did.OpHash(body)
	for _, p := range op.Proof {
		_, key, _ := strings.Cut(p.VerificationMethod, "#")
		op.signers = append(op.signers, key)
	}
	return op
}

func (m *identities) execute(k tangle.Kind, op *signed, at did.Place) string {
	if !op.NotAfter.IsZero() && at.Time > tangle.TimeOf(op.NotAfter) {
		return "expired"
	}
	switch k {
	case identity.KindDID:
		if m.accepted[op.hash] {
			return "already_exists"
		}
		return m.identify(op, at)
	case identity.KindStatus:
		return m.once(op, at, m.status)
	default:
		return m.once(op, at, m.trust)
	}
}

// once holds what operations of lists and trust have in common.
func (m *identities) once(op *signed, at did.Place, do func(*signed, did.Place) string) string {
	switch {
	case tangle.TimeOf(op.NotAfter).Sub(at.Time) > 7*24*time.Hour:
		return "bad_value"
	case m.accepted[op.hash]:
		return "replayed"
	}
	return do(op, at)
}

// identify is an operation of a DID.
func (m *identities) identify(op *signed, at did.Place) string {
	s := m.subjects[op.DID]
	rule, code := did.RuleRecovery, ""
	switch {
	case op.Op == "create" && m.creates(at) >= m.limits.MaxCreatesPerMinute:
		return "rate_limited"
	case op.Op == "update" && s.updates(at.Time) >= m.limits.MaxUpdatesPerDay:
		return "rate_limited"
	case op.Op == "create":
		rule, code = did.RuleCreate, m.create(s, op)
	case s == nil:
		return "unknown_did"
	case s.deactivated:
		return "deactivated"
	case op.Recovers != "":
		code = m.recover(s, op)
	default:
		rule, code = m.change(s, op)
	}
	if code == "" {
		m.write(op, at, rule)
	}
	return code
}

// creates counts the DIDs that a member has carried in this minute.
func (m *identities) creates(at did.Place) (n int) {
	for _, s := range m.subjects {
		if first := s.log[0]; first.By == at.By && first.Time/60_000 == at.Time/60_000 {
			n++
		}
	}
	return n
}

// updates counts the updates of a DID on this day.
func (s *subject) updates(t tangle.Time) (n int) {
	if s == nil {
		return 0
	}
	for _, v := range s.log {
		if v.op.Op == "update" && v.Time/86_400_000 == t/86_400_000 {
			n++
		}
	}
	return n
}

func (m *identities) write(op *signed, at did.Place, rule did.Rule) {
	s := m.subjects[op.DID]
	if s == nil {
		s = &subject{}
		m.subjects[op.DID] = s
	}
	s.log = append(s.log, version{at, op, rule})
	if op.Op == "deactivate" {
		s.deactivated = true
		return
	}
	s.now = op
	if op.Recovery != nil {
		s.recovery, s.setter = op.Recovery, op.hash
	}
}

func (m *identities) create(s *subject, op *signed) string {
	switch {
	case s != nil:
		return "already_exists"
	case count(op.signers, op.Params.UpdateKeys) < op.Params.Threshold:
		return "threshold"
	}
	return m.consent(op.Params.Controllers, op.signers, map[string]bool{})
}

func (m *identities) recover(s *subject, op *signed) string {
	if s.recovery == nil || op.Recovers != s.setter {
		return "stale_recovery"
	}
	if n := count(hashed(op.signers), s.recovery.KeyHashes); n == 0 {
		return "not_entitled"
	} else if n < s.recovery.Threshold {
		return "threshold"
	}
	if op.Op == "deactivate" {
		return ""
	}
	if count(op.Recovery.KeyHashes, s.recovery.KeyHashes) > 0 || !contains(op.Params.Compromised, s.now.Params.Compromised) {
		return "bad_value"
	}
	return m.consent(without(op.Params.Controllers, s.now.Params.Controllers), op.signers, map[string]bool{})
}

// change is what follows the head: update and deactivate.
func (m *identities) change(s *subject, op *signed) (did.Rule, string) {
	if op.Prev != s.head().hash || op.Seq != len(s.log)+1 {
		return 0, s.misses(op)
	}
	if op.Recovery != nil && s.recovery != nil {
		return 0, "not_entitled"
	}
	old, used := s.now.Params, map[string]bool{}
	own, controlled := old.own(op), m.controlled(old, op, used)
	if own != "" && !controlled {
		return 0, m.neither(own, old, op)
	}
	rule := did.RuleOwn
	if own != "" {
		rule = did.RuleControllers
	}
	if op.Op == "deactivate" {
		return rule, ""
	}
	if len(old.Controllers) > 0 && (!contains(old.Controllers, op.Params.Controllers) ||
		!contains(op.Params.Controllers, old.Controllers) || old.ControllerThreshold != op.Params.ControllerThreshold) {
		if !controlled {
			return 0, "not_entitled"
		}
		rule = did.RuleControllers
	}
	if code := m.consent(without(op.Params.Controllers, old.Controllers), op.signers, used); code != "" {
		return 0, code
	}
	if !contains(op.Params.Compromised, old.Compromised) {
		return 0, "bad_value"
	}
	return rule, ""
}

// misses tells an owner's second signature on one place from everything else that does not follow the head.
func (s *subject) misses(op *signed) string {
	for k, v := range s.log[:len(s.log)-1] {
		if v.op.hash == op.Prev && op.Seq == k+2 && v.op.Params.own(op) == "" {
			return "conflict"
		}
	}
	return "bad_prev"
}

// own says whether the keys of these parameters let an operation pass.
func (p params) own(op *signed) string {
	n := count(op.signers, p.UpdateKeys)
	if len(p.NextKeyHashes) > 0 {
		n = count(hashed(op.signers), p.NextKeyHashes)
	}
	switch {
	case p.Threshold == 0 || n < p.Threshold:
		return "threshold"
	case len(p.NextKeyHashes) > 0 && !contains(p.NextKeyHashes, hashed(op.Params.UpdateKeys)):
		return "prerotation"
	}
	return ""
}

// controlled says whether enough controllers sign. Keys that count are used up.
func (m *identities) controlled(p params, op *signed, used map[string]bool) bool {
	n := 0
	for _, c := range slices.Sorted(slices.Values(p.Controllers)) {
		if n < p.ControllerThreshold && m.signs(c, op.signers, used) {
			n++
		}
	}
	return n > 0 && n >= p.ControllerThreshold
}

// signs says whether a controller's own threshold of current keys signs, and uses them up.
func (m *identities) signs(controller string, signers []string, used map[string]bool) bool {
	var keys []string
	for _, key := range signers {
		if !used[key] && slices.Contains(m.keysOf(controller), key) {
			keys = append(keys, key)
		}
	}
	s := m.subjects[controller]
	if len(keys) == 0 || len(keys) < s.now.Params.Threshold {
		return false
	}
	for _, key := range keys[:s.now.Params.Threshold] {
		used[key] = true
	}
	return true
}

// keysOf are the update keys of an active DID.
func (m *identities) keysOf(controller string) []string {
	if s := m.subjects[controller]; s != nil && !s.deactivated {
		return s.now.Params.UpdateKeys
	}
	return nil
}

func (m *identities) consent(controllers, signers []string, used map[string]bool) string {
	for _, c := range slices.Sorted(slices.Values(controllers)) {
		if !m.signs(c, signers, used) {
			return "consent_missing"
		}
	}
	return ""
}

// neither is the code where neither the DID's own keys nor its controllers suffice.
func (m *identities) neither(own string, p params, op *signed) string {
	if own == "prerotation" {
		return own
	}
	n := count(op.signers, p.UpdateKeys)
	if len(p.NextKeyHashes) > 0 {
		n = count(hashed(op.signers), p.NextKeyHashes)
	}
	for _, c := range p.Controllers {
		n += count(op.signers, m.keysOf(c))
	}
	if n > 0 {
		return "threshold"
	}
	return "not_entitled"
}

// speaks says whether one of the keys is in a relationship of the current document of who acts.
func (m *identities) speaks(actor, relationship string, keys []string) bool {
	if key, ok := strings.CutPrefix(actor, "did:key:"); ok {
		return slices.Contains(keys, key)
	}
	s := m.subjects[actor]
	if s == nil || s.deactivated {
		return false
	}
	list := s.now.Doc.AssertionMethod
	if relationship == "capabilityInvocation" {
		list = s.now.Doc.CapabilityInvocation
	}
	return slices.ContainsFunc(list, func(url string) bool {
		key := m.method(actor, url)
		return key != "" && slices.Contains(keys, key)
	})
}

// method is the key at a DID URL, relative ones in the document of base; "" if it is not there or over.
func (m *identities) method(base, url string) string {
	owner, fragment, _ := strings.Cut(url, "#")
	if owner == "" {
		owner = base
	}
	s := m.subjects[owner]
	if s == nil || s.deactivated {
		return ""
	}
	for _, v := range s.now.Doc.VerificationMethod {
		if v.ID == "#"+fragment && m.lasts(v.Revoked) && m.lasts(v.Expires) {
			return v.PublicKeyMultibase
		}
	}
	return ""
}

// lasts says whether an end has not come yet; zero is none.
func (m *identities) lasts(end time.Time) bool { return end.IsZero() || m.time < tangle.TimeOf(end) }

// count is how many of some are among others.
func count(some, others []string) (n int) {
	for _, s := range some {
		if slices.Contains(others, s) {
			n++
		}
	}
	return n
}

// contains says whether all of some are in a set.
func contains(set, some []string) bool { return count(some, set) == len(some) }

func without(list, less []string) (rest []string) {
	for _, s := range list {
		if !slices.Contains(less, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

func hashed(keys []string) (hashes []string) {
	for _, key := range keys {
		hashes = append(hashes, did.KeyHash(key))
	}
	return hashes
}
