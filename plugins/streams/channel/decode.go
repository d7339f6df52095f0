package channel

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Operation is a decoded operation with a good proof, or one that Restore has made of what is left of it. Members that its Op
// does not have are zero.
type Operation struct {
	*did.Envelope
	Op       Op
	Restored bool // an accepted write whose body is gone: Actor is empty, and of Record only what the state keeps is there
	Channel  ID
	Actor    string
	Author   DIDHash // of Actor
	Nonce    Nonce
	Created  tangle.Time // the actor's claim
	After    After       // not in create

	Access       Access   // create
	Profile      Profile  // create
	Settings     Settings // create, configure
	Asked        Asked    // request
	Grants       []Grant  // create, authorize
	Participants []string // reject, revoke
	Reason       string   // reject, revoke, rekey, erase
	Epoch        *Epoch   // create, authorize, revoke, rekey
	Keys         []Keys   // create, authorize, keyload
	Record       Record   // write
	Lock         LockMode
	Until        tangle.Time // lock
	Seq          uint64      // erase
}

// NotAfter is when the operation ends to be good.
func (op *Operation) NotAfter() tangle.Time { return op.Envelope.NotAfter }

// wraps calls visit for each wrap of the operation.
func (op *Operation) wraps(visit func(number uint32, w Wrap)) {
	if op.Epoch != nil {
		for _, w := range op.Epoch.Wraps {
			visit(op.Epoch.Number, w)
		}
	}
	for _, k := range op.Keys {
		for _, w := range k.Wraps {
			visit(k.Number, w)
		}
	}
}

// Decode reads an entry: canonical form, exact members, bounds and the proof, nothing that needs state. The codes are
// too_large, not_canonical, unknown_field, bad_value, wrong_network, bad_signature.
func Decode(network tangle.ID, entry []byte) (*Operation, error) {
	return did.Verified(DecodeUnverified(network, entry))
}

// DecodeUnverified is Decode without its last step, the proof: did.VerifyAll takes those of many operations at once.
func DecodeUnverified(network tangle.ID, entry []byte) (*Operation, error) {
	op := &Operation{}
	envelope, err := did.ReadEnvelope(network, entry, did.EnvelopeRules{
		Type: Type, MaxBytes: MaxOperationBytes, MaxProofs: MaxProofs, MaxDepth: MaxDepth,
		Purpose: did.Authentication, TypeCode: "unknown_field", ProofCode: "bad_signature",
		Shape: func(e *did.Envelope) error { return op.read(network, e) },
	})
	if r := plugins.Rejected(err); r != nil && r.Code == "too_large" && len(entry) <= MaxOperationBytes {
		return nil, reject("bad_value", "%s", r.Detail) // nested too deep
	}
	if err != nil {
		return nil, err
	}
	op.Envelope = envelope
	return op, nil
}

// reader reads the members of one operation.
type reader struct {
	*operation.Members
	network tangle.ID
}

func (op *Operation) read(network tangle.ID, e *did.Envelope) error {
	if len(e.Signers) != 1 {
		return reject("bad_signature", "%d proofs, there is one", len(e.Signers))
	}
	op.Op = Op(e.Op)
	if !slices.Contains(Ops(), op.Op) {
		return reject("unknown_field", "op %.40q is not one of %s", e.Op, Type)
	}
	m := reader{operation.Read(e.Body), network}
	op.readHeader(m)
	op.readTerms(m)
	if err := m.Done(); err != nil {
		return err
	}
	n := 0
	op.wraps(func(uint32, Wrap) { n++ })
	if n > MaxWraps {
		return reject("bad_value", "%d wraps, at most %d are possible", n, MaxWraps)
	}
	return nil
}

func (op *Operation) readHeader(m reader) {
	for _, name := range []string{"type", "op", "network", "notAfter"} { // package did has judged them
		m.Text(name, operation.MaxText)
	}
	op.Channel = ID(m.hash("channel"))
	copy(op.Nonce[:], m.Bytes("nonce", NonceBytes))
	op.Actor = m.actor("actor")
	op.Author = HashDID(op.Actor)
	op.Created = m.millis("created")
	if op.Op == Create {
		return
	}
	a := m.inner("after")
	op.After = After{Event: a.number("event", 0), Head: a.hash("head")}
	m.Judge(a.Done())
}

func (op *Operation) readTerms(m reader) {
	switch op.Op {
	case Create:
		op.readCreate(m)
	case Configure:
		set := m.inner("set")
		op.Settings = set.settings()
		if len(m.Object("set")) == 0 {
			m.Judge(reject("bad_value", "nothing is set"))
		}
		m.Judge(set.Done())
	case Request:
		op.readRequest(m)
	case Authorize:
		op.Grants = m.grants(1)
		op.Keys, op.Epoch = m.keys(false), m.epoch(false)
	case Reject:
		op.Participants, op.Reason = m.participants(), m.optional("reason", MaxWord)
	case Revoke:
		op.Participants, op.Reason, op.Epoch = m.participants(), m.optional("reason", MaxWord), m.epoch(false)
		op.checkRevoke(m)
	case Rekey:
		op.Reason, op.Epoch = m.optional("reason", MaxWord), m.epoch(true)
	case Keyload:
		op.Keys = m.keys(true)
	case Write:
		op.Record = m.record()
	case Lock:
		op.readLock(m)
	case Erase:
		op.Seq, op.Reason = m.number("seq", 1), m.Text("reason", MaxWord)
	}
}

func (op *Operation) readCreate(m reader) {
	op.Access, op.Profile = Private, Stream
	if m.Has("access") {
		op.Access = oneOf(m, "access", Private, Public)
	}
	if m.Has("profile") {
		op.Profile = oneOf(m, "profile", Stream, AuditProfile)
	}
	op.Settings = m.settings()
	op.Grants, op.Keys, op.Epoch = m.grants(0), m.keys(false), m.epoch(false)
	if err := op.checkCreate(m.network); err != nil {
		m.Judge(err)
	}
}

// checkCreate judges what create says as a whole.
func (op *Operation) checkCreate(network tangle.ID) error {
	s := op.Settings
	hidden := s.Hidden != nil && *s.Hidden
	switch {
	case strings.HasPrefix(op.Actor, "did:key:"):
		return reject("bad_value", "a did:key cannot own a channel")
	case op.Channel != NewID(network, op.Actor, op.Nonce):
		return reject("bad_value", "the channel's id does not follow from actor and nonce")
	case s.Owner != nil || s.Archived != nil:
		return reject("unknown_field", "owner and archived are for configure")
	case op.Access == Public && (op.Epoch != nil || op.Keys != nil || hidden):
		return reject("bad_value", "a public channel has no keys and is not hidden")
	case op.Access == Private && (op.Epoch == nil || op.Epoch.Number != 1):
		return reject("bad_value", "a private channel begins with epoch 1")
	case op.Profile == AuditProfile && s.Description == nil && !hidden:
		return reject("bad_value", "an audit channel says what it is for")
	}
	if err := s.checkHidden(hidden); err != nil {
		return err
	}
	if slices.ContainsFunc(op.Grants, func(g Grant) bool { return g.Participant == op.Actor && !g.declares() }) {
		return reject("bad_value", "the owner needs no grant, but to say that a node holds its keys")
	}
	for _, k := range op.Keys {
		if k.Number != 0 || !hidden {
			return reject("bad_value", "create has wraps of epoch 1, and of epoch 0 if the channel is hidden")
		}
	}
	return op.checkPrevious(hidden)
}

// checkHidden holds that a hidden channel has a sealed profile in place of what stands in it.
func (s Settings) checkHidden(hidden bool) error {
	plain := s.Name != nil || s.Description != nil || s.Topics != nil || s.Status != nil
	switch {
	case hidden && (plain || s.SealedProfile == nil):
		return reject("bad_value", "a hidden channel has a sealedProfile and no name, description, topics, status")
	case !hidden && (s.SealedProfile != nil || s.Name == nil):
		return reject("bad_value", "a channel that is not hidden has a name and no sealedProfile")
	}
	return nil
}

// checkPrevious: epoch 1 has a key before it only in a hidden channel with full history.
func (op *Operation) checkPrevious(hidden bool) error {
	if op.Epoch == nil {
		return nil
	}
	full := op.Settings.History == nil || *op.Settings.History == Full
	if (op.Epoch.Previous != nil) != (hidden && full) {
		return reject("bad_value", "epoch 1 has previous in a hidden channel with history full, and only there")
	}
	return nil
}

func (op *Operation) checkRevoke(m reader) {
	op.wraps(func(_ uint32, w Wrap) {
		if slices.Contains(op.Participants, w.DID()) {
			m.Judge(reject("bad_value", "a wrap to %s, who is revoked", w.DID()))
		}
	})
}

func (op *Operation) readRequest(m reader) {
	op.Asked = Asked{Rights: m.rights("rights"), Custody: m.custody()}
	if m.Has("roles") {
		op.Asked.Roles = m.words("roles", MaxRoles)
	}
	op.Asked.Agreement = m.agreement(op.Actor)
	switch {
	case op.Asked.Rights == 0 && len(op.Asked.Roles) == 0:
		m.Judge(reject("bad_value", "the request asks for nothing"))
	case op.Asked.Rights&Admin != 0 && strings.HasPrefix(op.Actor, "did:key:"):
		m.Judge(reject("bad_value", "a did:key cannot rotate and never gets admin"))
	}
	if !m.Has("enclosure") {
		return
	}
	size := 0
	for _, item := range m.List("enclosure", MaxEnclosures) {
		in := m.of(item)
		in.target("to")
		size += len(in.base64("ct", MaxEnclosure))
		m.Judge(in.Done())
	}
	if size > MaxEnclosure {
		m.Judge(reject("bad_value", "the enclosure has %d bytes, at most %d are possible", size, MaxEnclosure))
	}
}

func (op *Operation) readLock(m reader) {
	op.Lock = oneOf(m, "lock", Unlocked, Until, Forever)
	if op.Lock == Until {
		op.Until = tangle.Time(m.Instant("until"))
	}
}

func (m reader) of(item any) reader {
	o, ok := item.(did.Object)
	if !ok {
		m.Judge(reject("bad_value", "an item is not an object"))
	}
	return reader{operation.Read(o), m.network}
}

func (m reader) inner(name string) reader { return m.of(m.Object(name)) }

func (m reader) hash(name string) tangle.Hash {
	h, err := tangle.ParseHash(m.Text(name, operation.MaxText))
	if err != nil {
		m.Judge(reject("bad_value", "%s: %v", name, err))
	}
	return h
}

func (m reader) number(name string, least int64) uint64 {
	return uint64(m.Integer(name, least, did.MaxInteger))
}

func (m reader) optional(name string, max int) string {
	if !m.Has(name) {
		return ""
	}
	return m.Text(name, max)
}

func (m reader) actor(name string) string {
	s := m.Text(name, operation.MaxText)
	m.Judge(operation.CheckActor(m.network, s))
	return s
}

// createdLayout is the form of created: always with three decimals.
const createdLayout = "2006-01-02T15:04:05.000Z"

func (m reader) millis(name string) tangle.Time {
	s := m.Text(name, operation.MaxText)
	t, err := time.Parse(createdLayout, s)
	if err != nil || t.Format(createdLayout) != s || t.Unix() <= 0 {
		m.Judge(reject("bad_value", "%s: %.40q is not a time such as 2026-12-01T00:00:00.000Z", name, s))
		return 0
	}
	return tangle.TimeOf(t)
}

// maxCreated is the last moment that created can name: the end of the year 9999, in milliseconds.
const maxCreated tangle.Time = 253_402_300_799_999

// base64 reads 1 to max bytes in base64url.
func (m reader) base64(name string, max int) []byte {
	s := m.Text(name, base64.RawURLEncoding.EncodedLen(max))
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
		m.Judge(reject("bad_value", "%s is not base64url", name))
	}
	return b
}

func (m reader) words(name string, max int) []string {
	list := m.Texts(name, max)
	for _, s := range list {
		if len(s) > MaxWord {
			m.Judge(reject("bad_value", "%s: %.80q has more than %d bytes", name, s, MaxWord))
		}
	}
	return list
}

func oneOf[T ~string](m reader, name string, values ...T) T {
	s := T(m.Text(name, MaxWord))
	if !slices.Contains(values, s) {
		m.Judge(reject("bad_value", "%s: %q is none of %q", name, s, values))
	}
	return s
}

func (m reader) rights(name string) (r Rights) {
	for _, item := range m.List(name, len(rightNames())) {
		word, _ := item.(string)
		i := slices.Index(rightNames(), word)
		if i < 0 || r&(1<<i) != 0 {
			m.Judge(reject("bad_value", "%s: %.40q is no right or stands twice", name, word))
			return 0
		}
		r |= 1 << i
	}
	return r
}

func (m reader) custody() Custody {
	if !m.Has("custody") {
		return CustodySelf
	}
	return oneOf(m, "custody", CustodySelf, CustodyNode)
}

// agreement reads the key of a participant without a document.
func (m reader) agreement(participant string) string {
	if !m.Has("agreement") {
		return ""
	}
	s := m.Text("agreement", did.MaxMultikey)
	if key, err := did.ParseMultikey(s); err != nil || key.Type != did.X25519 || !strings.HasPrefix(participant, "did:key:") {
		m.Judge(reject("bad_value", "agreement is an X25519 multikey of a did:key"))
	}
	return s
}

func (m reader) settings() (s Settings) {
	s.Name, s.Description, s.Status = m.text("name", MaxName), m.text("description", MaxDescription), m.text("status", MaxWord)
	if m.Has("sealedProfile") {
		text := m.Text("sealedProfile", MaxSealedProfile)
		if b := m.base64("sealedProfile", MaxSealedProfile); len(b) < tagBytes+2 {
			m.Judge(reject("bad_value", "sealedProfile is too short"))
		}
		s.SealedProfile = &text
	}
	s.Hidden, s.Archived = m.flag("hidden"), m.flag("archived")
	s.Topics, s.Roles = m.topics(), m.roles()
	if m.Has("tags") {
		tags := m.words("tags", MaxTags)
		s.Tags = &tags
	}
	if m.Has("history") {
		h := oneOf(m, "history", Full, FromJoin, None)
		s.History = &h
	}
	s.GraceSeconds, s.RetentionDays = m.count("graceSeconds", MaxGraceSeconds), m.count("retentionDays", MaxRetentionDays)
	if m.Has("custody") {
		c := oneOf(m, "custody", CustodyAny, CustodySelf)
		s.Custody = &c
	}
	if m.Has("owner") {
		owner := m.actor("owner")
		s.Owner = &owner
	}
	return s
}

func (m reader) text(name string, max int) *string {
	if !m.Has(name) {
		return nil
	}
	s := m.Text(name, max)
	return &s
}

func (m reader) flag(name string) *bool {
	if !m.Has(name) {
		return nil
	}
	b := m.Bool(name)
	return &b
}

func (m reader) count(name string, max int64) *int {
	if !m.Has(name) {
		return nil
	}
	n := int(m.Integer(name, 0, max))
	return &n
}

func (m reader) topic(item any) Topic {
	in := m.of(item)
	t := Topic{in.Text("type", MaxWord), in.Text("source", MaxWord)}
	m.Judge(in.Done())
	return t
}

func (m reader) topics() *[]Topic {
	if !m.Has("topics") {
		return nil
	}
	list := []Topic{}
	for _, item := range m.List("topics", MaxTopics) {
		t := m.topic(item)
		if slices.Contains(list, t) {
			m.Judge(reject("bad_value", "a topic stands twice"))
		}
		list = append(list, t)
	}
	return &list
}

func (m reader) roles() *map[string]Role {
	if !m.Has("roles") {
		return nil
	}
	object := m.Object("roles")
	if len(object) > MaxRoles {
		m.Judge(reject("bad_value", "%d roles, at most %d are possible", len(object), MaxRoles))
	}
	list := make(map[string]Role, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		in := m.of(object[name])
		r := Role{Rights: in.rights("rights")}
		if in.Has("tags") {
			r.Tags = in.words("tags", MaxTags)
		}
		m.Judge(in.Done())
		if name == "" || len(name) > MaxWord || r.Rights&^(Read|Order) != 0 {
			m.Judge(reject("bad_value", "role %.70q: a name of 1 to %d bytes, and no rights but read and write", name, MaxWord))
		}
		list[name] = r
	}
	return &list
}

func (m reader) participants() (list []string) {
	items := m.List("participants", MaxGrants)
	for _, item := range items {
		s, _ := item.(string)
		m.Judge(operation.CheckActor(m.network, s))
		if slices.Contains(list, s) {
			m.Judge(reject("bad_value", "participant %.100q stands twice", s))
		}
		list = append(list, s)
	}
	if len(items) == 0 {
		m.Judge(reject("bad_value", "no participants"))
	}
	return list
}

func (m reader) grants(least int) (list []Grant) {
	if !m.Has("grants") && least == 0 {
		return nil
	}
	for _, item := range m.List("grants", MaxGrants) {
		g := m.grant(item)
		if slices.ContainsFunc(list, func(h Grant) bool { return h.Participant == g.Participant }) {
			m.Judge(reject("bad_value", "two grants of one participant"))
		}
		list = append(list, g)
	}
	if len(list) < least {
		m.Judge(reject("bad_value", "no grants"))
	}
	return list
}

func (m reader) grant(item any) Grant {
	in := m.of(item)
	g := Grant{Participant: in.actor("participant"), Rights: in.rights("rights"), Custody: in.custody()}
	if in.Has("roles") {
		g.Roles = in.words("roles", MaxRoles)
	}
	if in.Has("tags") {
		g.Tags = in.words("tags", MaxTags)
	}
	if in.Has("validFrom") {
		g.ValidFrom = tangle.Time(in.Instant("validFrom"))
	}
	if in.Has("validUntil") {
		g.ValidUntil = tangle.Time(in.Instant("validUntil"))
	}
	if in.Has("maxRecords") {
		g.MaxRecords = in.Integer("maxRecords", 1, did.MaxInteger)
	}
	g.Agreement = in.agreement(g.Participant)
	m.Judge(in.Done())
	m.Judge(g.check())
	return g
}

// declares says whether a grant gives an owner what it has anyway, and says that a node holds its keys.
func (g Grant) declares() bool {
	return g.Custody == CustodyNode && g.Rights == All && len(g.Roles)+len(g.Tags) == 0 && g.ValidFrom == 0 && g.ValidUntil == 0 && g.MaxRecords == 0
}

// check judges a grant by itself.
func (g Grant) check() error {
	switch {
	case g.Rights == 0 && len(g.Roles) == 0:
		return reject("bad_value", "the grant for %s gives nothing", g.Participant)
	case g.ValidUntil != 0 && g.ValidUntil <= g.ValidFrom:
		return reject("bad_value", "the grant for %s ends before it begins", g.Participant)
	case g.Rights&Audit != 0 && (g.ValidUntil == 0 || g.Rights&Order != 0):
		return reject("bad_value", "audit has an end and no right to write")
	case g.Rights&Admin != 0 && strings.HasPrefix(g.Participant, "did:key:"):
		return reject("bad_value", "a did:key cannot rotate and never gets admin")
	}
	return nil
}

func (m reader) target(name string) string {
	s := m.Text(name, MaxTarget)
	reader, fragment, _ := strings.Cut(s, "#")
	m.Judge(operation.CheckActor(m.network, reader))
	if u, err := did.ParseURL(s); err != nil || fragment == "" || u.Fragment != fragment {
		m.Judge(reject("bad_value", "%s: %.100q is not the DID URL of a key", name, s))
	}
	return s
}

func (m reader) wraps() (list []Wrap) {
	for _, item := range m.List("wraps", MaxWraps) {
		in := m.of(item)
		w := Wrap{in.target("to"), in.Bytes("ct", WrapBytes)}
		m.Judge(in.Done())
		list = append(list, w)
	}
	sorted := slices.SortedFunc(slices.Values(list), func(a, b Wrap) int { return strings.Compare(a.To, b.To) })
	for i := range sorted[:max(0, len(sorted)-1)] {
		if sorted[i].To == sorted[i+1].To {
			m.Judge(reject("bad_value", "two wraps to %s", sorted[i].To))
		}
	}
	return list
}

func (m reader) keys(must bool) (list []Keys) {
	if !m.Has("keys") && !must {
		return nil
	}
	for _, item := range m.List("keys", MaxWraps) {
		in := m.of(item)
		k := Keys{uint32(in.Integer("number", 0, 1<<32-1)), in.wraps()}
		m.Judge(in.Done())
		if n := len(list); n > 0 && list[n-1].Number >= k.Number || len(k.Wraps) == 0 {
			m.Judge(reject("bad_value", "keys are not in ascending order of number, or without wraps"))
		}
		list = append(list, k)
	}
	if len(list) == 0 {
		m.Judge(reject("bad_value", "no keys"))
	}
	return list
}

func (m reader) epoch(must bool) *Epoch {
	if !m.Has("epoch") && !must {
		return nil
	}
	in := m.inner("epoch")
	e := &Epoch{Number: uint32(in.Integer("number", 1, 1<<32-1)), Commit: in.hash("commit")}
	copy(e.PublicKey[:], in.Bytes("publicKey", len(e.PublicKey)))
	if in.Has("previous") {
		e.Previous = in.Bytes("previous", PreviousBytes)
	}
	e.Wraps = in.wraps()
	m.Judge(in.Done())
	return e
}

func (m reader) record() (r Record) {
	if m.Has("epoch") {
		r.Epoch = uint32(m.Integer("epoch", 1, 1<<32-1))
	}
	r.RecordType, r.Tag = m.optional("recordType", MaxWord), m.optional("tag", MaxWord)
	if m.Has("topic") {
		t := m.topic(m.Object("topic"))
		r.Topic = &t
	}
	if m.Has("public") {
		text, err := did.Canonical(m.Object("public"))
		m.Judge(err)
		if r.PublicBytes = len(text); len(text) > MaxPublicPublic {
			m.Judge(reject("bad_value", "public has %d bytes, at most %d are possible", len(text), MaxPublicPublic))
		}
	}
	if m.Has("supersedes") {
		r.Supersedes = m.number("supersedes", 1)
	}
	if m.Has("contentHash") {
		r.ContentHash = m.hash("contentHash")
	}
	r.Body = m.body()
	m.Judge(r.check(m.Has("contentHash")))
	return r
}

// check judges a record as a whole, as far as that does not depend on the channel.
func (r Record) check(hashed bool) error {
	switch {
	case r.Body == nil && r.PublicBytes == 0:
		return reject("bad_value", "a record without body and public")
	case (r.Body != nil) != hashed:
		return reject("bad_value", "contentHash stands with a body and only with one")
	case r.Body == nil && r.Epoch != 0:
		return reject("bad_value", "an epoch without a body")
	case r.Body != nil && r.Epoch == 0 && (r.Body.Ciphertext != nil || r.Body.Key != nil):
		return reject("bad_value", "a ciphertext or key without an epoch")
	}
	return nil
}

func (m reader) body() *Body {
	if !m.Has("body") {
		return nil
	}
	in := m.inner("body")
	b := &Body{}
	if in.Has("blob") == in.Has("ciphertext") {
		m.Judge(reject("bad_value", "a body is either a ciphertext or a blob"))
	}
	if in.Has("ciphertext") {
		b.Ciphertext = in.base64("ciphertext", maxInline)
		if n := len(b.Ciphertext) - tagBytes; n <= 0 || n%padding != 0 {
			m.Judge(reject("bad_value", "a ciphertext of %d bytes", len(b.Ciphertext)))
		}
	}
	if in.Has("blob") {
		b.Blob = in.inner("blob").blob(m)
	}
	if in.Has("key") {
		b.Key = in.Bytes("key", KeyBytes)
	}
	m.Judge(in.Done())
	return b
}

func (m reader) blob(outer reader) *Blob {
	b := &Blob{Root: m.hash("root"), Size: m.Integer("size", 1, MaxBlob), Chunks: int(m.Integer("chunks", 1, MaxBlob/ChunkBytes))}
	outer.Judge(m.Done())
	if !b.isPossible() {
		outer.Judge(reject("bad_value", "%d bytes are not %d chunks", b.Size, b.Chunks))
	}
	return b
}

func (b *Blob) isPossible() bool {
	return b.Size >= 1 && b.Size <= MaxBlob && int64(b.Chunks) == (b.Size+ChunkBytes-1)/ChunkBytes
}
