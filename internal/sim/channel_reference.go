package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// channels is the sequential reference of the streams plugin for one private channel: its rules written down a second time,
// over maps in memory. It shares no rule with channel.Next.
type channels struct {
	identities *identities
	spoiled    map[string]string // code by entry data
	keys       map[string]string // multikey by actor
	rooms      map[string]*room
	seen       map[string]int // outcomes by operation and code
}

// channelOp is an operation. Epoch is a number in a write, else an object.
type channelOp struct {
	Op, Channel, Actor, Nonce, History string
	GraceSeconds                       int
	NotAfter                           time.Time
	After                              struct {
		Event uint64
		Head  string
	}
	Set          struct{ GraceSeconds int }
	Grants       []roomGrant
	Epoch        json.RawMessage
	Keys         []roomKeys
	Participants []string
	Proof        []struct{ VerificationMethod string }
}

type roomGrant struct {
	Participant           string
	Rights                []string
	ValidFrom, ValidUntil time.Time
}

type roomKeys struct {
	Number uint32
	Wraps  []struct{ To string }
}

// room is a channel.
type room struct {
	owner, history string
	grace          time.Duration
	heads          []tangle.Hash // by event
	members        map[string]*roomMember
	nonces         map[string]bool
	epochs         []roomEpoch // from 1
	records        []roomRecord
	at             did.Place // of the operation that is being executed
	pending        []func()  // its effects
}

type roomMember struct {
	state   channel.State
	grant   roomGrant
	joined  uint32
	changes []roomChange
}

// roomChange is what a member may do from an event on.
type roomChange struct {
	event  uint64
	at     did.Place
	rights []string
	until  tangle.Time // 0: no end
}

type roomEpoch struct {
	event   uint64
	time    tangle.Time
	closes  tangle.Time // the epoch before
	holders map[string]bool
	records int // ordered under it while it was current
}

type roomRecord struct {
	event uint64
	after uint64
	epoch uint32
	now   uint32 // epoch in force
	actor string
	at    did.Place
}

func newChannels(i *identities) *channels {
	return &channels{identities: i, spoiled: map[string]string{}, keys: map[string]string{}, rooms: map[string]*room{}, seen: map[string]int{}}
}

func reads(rights []string) bool {
	return slices.Contains(rights, "read") || slices.Contains(rights, "admin") || slices.Contains(rights, "audit")
}

// outcome executes an entry at its place and returns its code.
func (m *channels) outcome(e tangle.Entry, at did.Place) string {
	if code, ok := m.spoiled[string(e.Data)]; ok {
		m.seen["spoiled "+code]++
		return code
	}
	op := &channelOp{}
	if json.Unmarshal(e.Data, op) != nil {
		panic("a tool has made no JSON")
	}
	code := m.execute(op, at)
	m.seen[op.Op+" "+code]++
	return code
}

func (m *channels) execute(op *channelOp, at did.Place) string {
	r := m.rooms[op.Channel]
	_, signer, _ := strings.Cut(op.Proof[0].VerificationMethod, "#")
	switch {
	case at.Time > tangle.TimeOf(op.NotAfter):
		return "expired"
	case r == nil && op.Op != "create":
		return "unknown_channel"
	case r != nil && (op.Op == "create" || r.nonces[op.Actor+op.Nonce]):
		return "replayed"
	case strings.HasPrefix(op.Actor, "did:weft:") && m.identities.subjects[op.Actor] == nil:
		return "unknown_did"
	case m.keys[op.Actor] != signer:
		return "not_entitled"
	case r == nil:
		r = m.create(op, at)
	case op.After.Event >= uint64(len(r.heads)) || r.heads[op.After.Event].String() != op.After.Head:
		return "bad_after"
	default:
		r.at, r.pending = at, nil
		if code := r.judge(op); code != "" {
			return code
		}
		r.follow(op, at)
	}
	for _, do := range r.pending {
		do()
	}
	r.nonces[op.Actor+op.Nonce] = true
	return ""
}

func (m *channels) create(op *channelOp, at did.Place) *room {
	id, err := channel.ParseID(op.Channel)
	if err != nil {
		panic(err)
	}
	r := &room{
		owner: op.Actor, history: op.History, grace: time.Duration(op.GraceSeconds) * time.Second, members: map[string]*roomMember{}, nonces: map[string]bool{},
		heads: []tangle.Hash{sha256.Sum256(append([]byte("weft/channel/head/1"), id[:]...))}, at: at,
	}
	m.rooms[op.Channel] = r
	r.activate(roomGrant{Participant: op.Actor, Rights: []string{"read", "write", "admin"}}, 1)
	for _, g := range op.Grants {
		r.activate(g, 1)
	}
	r.open(op.epoch())
	return r
}

// follow adds the head of an operation that is accepted.
func (r *room) follow(op *channelOp, at did.Place) {
	seq := uint64(0)
	if op.Op == "write" {
		seq = uint64(len(r.records)) + 1
	}
	before := r.heads[len(r.heads)-1]
	b := slices.Concat([]byte("weft/channel/head/1"), before[:], be64(uint64(len(r.heads))), be64(seq), at.Entry[:], be64(uint64(at.Position)))
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, uint32(at.Index)), uint64(at.Time))
	r.heads = append(r.heads, sha256.Sum256(b))
}

func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func (op *channelOp) epoch() (e roomKeys) {
	if op.Epoch != nil && json.Unmarshal(op.Epoch, &e) != nil {
		panic("a tool has made an epoch that is none")
	}
	return e
}

func (r *room) event() uint64    { return uint64(len(r.heads)) - 1 }
func (r *room) current() uint32  { return uint32(len(r.epochs)) }
func (r *room) now() roomEpoch   { return r.epochs[len(r.epochs)-1] }
func (r *room) do(effect func()) { r.pending = append(r.pending, effect) }

func (r *room) holds(who string) []string {
	if m := r.members[who]; m != nil && m.state == channel.Active {
		return m.grant.Rights
	}
	return nil
}

func (r *room) valid(who string) bool {
	g := r.members[who].grant
	return (g.ValidFrom.IsZero() || r.at.Time >= tangle.TimeOf(g.ValidFrom)) && (g.ValidUntil.IsZero() || r.at.Time < tangle.TimeOf(g.ValidUntil))
}

func (r *room) reads(who string) bool { return reads(r.holds(who)) && r.valid(who) }

func (r *room) need(who, right string) string {
	switch m := r.members[who]; {
	case m == nil || m.state != channel.Active:
		return "not_participant"
	case !slices.Contains(m.grant.Rights, right):
		return "right_missing"
	case !r.valid(who):
		return "not_valid_now"
	}
	return ""
}

func (r *room) judge(op *channelOp) string {
	right := "admin"
	switch op.Op {
	case "leave":
		return r.leave(op)
	case "write":
		right = "write"
	}
	if code := r.need(op.Actor, right); code != "" {
		return code
	}
	switch op.Op {
	case "write":
		return r.write(op)
	case "configure":
		r.do(func() { r.grace = time.Duration(op.Set.GraceSeconds) * time.Second })
		return ""
	case "authorize":
		return r.authorize(op)
	case "revoke":
		return r.revoke(op)
	case "rekey":
		return r.rekey(op.epoch())
	case "keyload":
		return r.keyload(op.Keys)
	}
	panic("the reference does not know " + op.Op)
}

// write holds the grace rule.
func (r *room) write(op *channelOp) string {
	var epoch uint32
	if json.Unmarshal(op.Epoch, &epoch) != nil {
		panic("a tool has made a write without an epoch")
	}
	opened := r.now()
	switch {
	case epoch > r.current():
		return "epoch_unknown"
	case epoch == r.current():
	case epoch+1 < r.current(), op.After.Event >= opened.event, r.at.Time >= opened.closes:
		return "epoch_closed"
	}
	at, after := r.at, op.After.Event
	r.do(func() {
		if epoch == r.current() {
			r.epochs[epoch-1].records++
		}
		r.records = append(r.records, roomRecord{r.event(), after, epoch, r.current(), op.Actor, at})
	})
	return ""
}

func (r *room) authorize(op *channelOp) string {
	must := false
	for _, g := range op.Grants {
		before := r.holds(g.Participant)
		switch {
		case g.Participant == r.owner, op.Actor != r.owner && (slices.Contains(before, "admin") || slices.Contains(g.Rights, "admin")):
			return "owner_only"
		case reads(before) && !reads(g.Rights):
			must = true
		case reads(g.Rights) && !r.reads(g.Participant) && !r.fresh():
			must = true
		}
	}
	epoch := op.epoch()
	if must && epoch.Number == 0 {
		return "new_epoch_required"
	}
	r.do(func() {
		for _, g := range op.Grants {
			joined := r.current() + 1
			if r.reads(g.Participant) {
				joined = r.members[g.Participant].joined
			} else if r.fresh() && epoch.Number != joined {
				joined = r.current()
			}
			r.activate(g, joined)
		}
		r.openIfGood(epoch)
		for _, k := range op.Keys {
			if r.goodKeys(k) == "" {
				r.add(k)
			}
		}
	})
	return ""
}

// fresh says whether who joins now may have the current key whatever is history.
func (r *room) fresh() bool { return r.history == "full" || r.now().records == 0 }

func (r *room) activate(g roomGrant, joined uint32) {
	m := r.members[g.Participant]
	if m == nil {
		m = &roomMember{}
		r.members[g.Participant] = m
	}
	m.state, m.grant, m.joined = channel.Active, g, joined
	until := tangle.Time(0)
	if !g.ValidUntil.IsZero() {
		until = tangle.TimeOf(g.ValidUntil)
	}
	m.changes = append(m.changes, roomChange{r.event(), r.at, g.Rights, until})
}

func (r *room) end(who string, s channel.State) {
	m := r.members[who]
	m.state = s
	m.changes = append(m.changes, roomChange{event: r.event(), at: r.at})
}

func (r *room) revoke(op *channelOp) string {
	var gone []string
	reader := false
	for _, who := range op.Participants {
		rights := r.holds(who)
		switch {
		case who == r.owner:
			return "owner_only"
		case rights == nil:
			continue
		case slices.Contains(rights, "admin") && op.Actor != r.owner:
			return "owner_only"
		}
		reader = reader || reads(rights)
		gone = append(gone, who)
	}
	epoch := op.epoch()
	switch {
	case len(gone) == 0:
		return "wrong_state"
	case reader && epoch.Number == 0:
		return "new_epoch_required"
	}
	r.do(func() {
		for _, who := range gone {
			r.end(who, channel.Revoked)
		}
		r.openIfGood(epoch)
	})
	return ""
}

func (r *room) leave(op *channelOp) string {
	switch {
	case op.Actor == r.owner:
		return "owner_only"
	case r.holds(op.Actor) == nil:
		return "wrong_state"
	}
	r.do(func() { r.end(op.Actor, channel.Left) })
	return ""
}

func (r *room) rekey(e roomKeys) string {
	switch {
	case e.Number != r.current()+1:
		return "epoch_conflict"
	case !r.allRead(e):
		return "wrap_target"
	}
	r.do(func() { r.open(e) })
	return ""
}

func (r *room) keyload(list []roomKeys) string {
	for _, k := range list {
		if code := r.goodKeys(k); code != "" {
			return code
		}
		r.do(func() { r.add(k) })
	}
	return ""
}

func (r *room) goodKeys(k roomKeys) string {
	switch {
	case k.Number == 0 || k.Number > r.current():
		return "epoch_conflict"
	case !r.allRead(k):
		return "wrap_target"
	}
	for _, w := range k.Wraps {
		if r.history != "full" && k.Number < r.members[who(w.To)].joined {
			return "history_policy"
		}
	}
	return ""
}

func who(to string) string {
	name, _, _ := strings.Cut(to, "#")
	return name
}

func (r *room) allRead(k roomKeys) bool {
	return !slices.ContainsFunc(k.Wraps, func(w struct{ To string }) bool { return !r.reads(who(w.To)) })
}

func (r *room) openIfGood(e roomKeys) {
	if e.Number == r.current()+1 && r.allRead(e) {
		r.open(e)
	}
}

func (r *room) open(e roomKeys) {
	r.epochs = append(r.epochs, roomEpoch{event: r.event(), time: r.at.Time, closes: r.at.Time.Add(r.grace), holders: map[string]bool{}})
	r.add(e)
}

func (r *room) add(k roomKeys) {
	for _, w := range k.Wraps {
		r.epochs[k.Number-1].holders[who(w.To)] = true
	}
}
