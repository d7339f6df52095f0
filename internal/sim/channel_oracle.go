package sim

import (
	"fmt"
	"maps"
	"slices"

	"weft/plugins/identity/did"
	"weft/plugins/streams"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// auditChannels is S16 for the channel of a node that has applied everything: its running hash, events, records, epochs,
// participants and wraps are those of the reference.
func (o *oracles) auditChannels(i *instance) {
	if o.channels == nil || o.world.violation != nil || uint64(i.ledger.Head().Position) != uint64(len(o.log)) {
		return
	}
	x := o.world.tools
	r := o.channels.rooms[x.id.String()]
	if r == nil {
		return
	}
	a := channelAudit{r, at{instance: i, View: i.ledger.PluginView(streams.Name)}}
	var err error
	a.at.channel, a.at.head, err = channel.ReadChannel(a.at.View, x.id)
	for _, look := range []func() error{a.heads, a.events, a.records, a.epochs, a.members} {
		if err = firstOf(err, look()); err != nil {
			o.world.fail("S16", "%s at position %d: %v", i, len(o.log), err)
			return
		}
	}
}

// channelAudit compares the state of a node with the reference.
type channelAudit struct {
	*room
	at at
}

func (a channelAudit) id() channel.ID { return a.at.channel.ID }

func (a channelAudit) heads() error {
	h, active := a.at.head, 0
	for name := range a.room.members {
		if a.holds(name) != nil {
			active++
		}
	}
	return differs("head", fmt.Sprint(h.Event, h.Seq, h.Hash, h.Epoch, h.EpochEvent, h.GraceUntil, h.Active),
		fmt.Sprint(a.event(), len(a.room.records), a.room.heads[a.event()], a.current(), a.now().event, a.now().closes, active))
}

func (a channelAudit) events() (err error) {
	next := uint64(0)
	fault := channel.Events(a.at, a.id(), 0, func(e channel.Event) bool {
		if e.Number != next || next >= uint64(len(a.room.heads)) || e.Head != a.room.heads[next] {
			err = fmt.Errorf("event %d with head %s where event %d is due", e.Number, e.Head, next)
		}
		next++
		return err == nil
	})
	return firstOf(fault, err, differs("events", next, uint64(len(a.room.heads))))
}

// records holds that seq is without gaps.
func (a channelAudit) records() (err error) {
	next := 0
	fault := channel.Records(a.at, a.id(), 1, func(e channel.Event) bool {
		if next >= len(a.room.records) {
			err = fmt.Errorf("record %d, want %d of them", e.Seq, next)
			return false
		}
		want := a.room.records[next]
		next++
		author, fault := channel.ActorOf(a.at, a.id(), e)
		err = firstOf(fault, differs("record", fmt.Sprint(e.Seq, e.Number, e.After, e.Epoch, author, e.Place),
			fmt.Sprint(next, want.event, want.after, want.epoch, want.actor, want.at)))
		return err == nil
	})
	return firstOf(fault, err, differs("records", next, len(a.room.records)))
}

func (a channelAudit) epochs() error {
	list, err := channel.Epochs(a.at, a.id(), 1, 1<<16)
	if err = firstOf(err, differs("epochs", len(list), len(a.room.epochs))); err != nil {
		return err
	}
	for k, e := range list {
		want := a.room.epochs[k]
		if err := differs("epoch", fmt.Sprint(e.Number, e.Event, e.Time), fmt.Sprint(k+1, want.event, want.time)); err != nil {
			return err
		}
		for name := range a.room.members {
			if found := len(channel.WrapEvents(a.at, a.id(), e.Number, name)) > 0; found != want.holders[name] {
				return fmt.Errorf("epoch %d has a wrap to %s: %v", e.Number, name, found)
			}
		}
	}
	return nil
}

func (a channelAudit) members() error {
	n := 0
	err := channel.Participants(a.at, a.id(), "", func(string, channel.Participant) bool { n++; return true })
	if err = firstOf(err, differs("participants", n, len(a.room.members))); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(a.room.members)) {
		want := a.room.members[name]
		p, _, err := channel.ReadParticipant(a.at, a.id(), name)
		err = firstOf(err, differs(name, fmt.Sprint(p.State, p.Event, p.Time, p.Joined),
			fmt.Sprint(want.state, want.last().event, want.last().at.Time, want.joined)))
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *roomMember) last() roomChange { return m.changes[len(m.changes)-1] }

// rights are what a member may do at an event and time, by the change that counts, which is the n-th.
func (m *roomMember) rights(event uint64, t tangle.Time) (rights []string, n int) {
	n = -1
	for k, c := range m.changes {
		if c.event <= event {
			n = k
		}
	}
	if n < 0 || m.changes[n].until != 0 && t >= m.changes[n].until {
		return nil, n
	}
	return m.changes[n].rights, n
}

// auditRecords is what the participants of a channel can say at the end. No record is lost: each that somebody meant to
// write is in exactly once, or its author had no right any more. Every reader opens all that it may, and nobody opens what
// was ordered after its removal, with all keys it has ever had and all bytes of all nodes, but by the grace rule.
func (o *oracles) auditRecords() {
	if o.channels == nil || o.world.violation != nil {
		return
	}
	x := o.world.tools
	r := o.channels.rooms[x.id.String()]
	for _, i := range o.correct() {
		if r == nil || i.down || uint64(i.ledger.Head().Position) != uint64(len(o.log)) {
			continue
		}
		a := recordAudit{tools: x, room: r, at: at{instance: i, View: i.ledger.PluginView(streams.Name), time: i.ledger.Head().Time}}
		a.at.channel, a.at.head, _ = channel.ReadChannel(a.at.View, x.id)
		a.collect()
		a.lost()
		a.readers()
		a.removed()
		return
	}
}

// recordAudit is everything that is known of a channel's records.
type recordAudit struct {
	*tools
	room   *room
	at     at
	opened []channel.OpenedEpoch
	keys   map[uint32]channel.Key // of the epochs, as the owner has them
	ops    []*channel.Operation   // of the records, by seq - 1
	texts  []string               // of the records; "": not sealed with the key of its epoch
	all    []carried              // operations on the ledger, rejected ones too
}

// carried is an operation at its place, whatever became of it.
type carried struct {
	*channel.Operation
	position tangle.Position
	index    int
	accepted bool
}

func (c carried) before(p did.Place) bool {
	return c.position < p.Position || c.position == p.Position && c.index < p.Index
}

func (a *recordAudit) collect() {
	a.opened = a.tools.epochs(a.at, 1)
	a.keys = channel.Walk(a.id, a.opened, a.wrapped(a.at, a.owner, a.opened)).Keys
	for position, l := range a.oracles.log {
		for k, e := range a.oracles.messages[l.id].Entries {
			if _, bad := a.oracles.channels.spoiled[string(e.Data)]; e.Kind == channel.Kind && !bad {
				a.all = append(a.all, carried{a.decode(e.Data), tangle.Position(position), k, l.codes[k] == ""})
			}
		}
	}
	for _, r := range a.room.records {
		data := a.oracles.messages[a.oracles.log[r.at.Position].id].Entries[r.at.Index].Data
		op, text := a.decode(data), ""
		if c, err := channel.Open(a.keys[r.epoch], op); err == nil {
			text = string(c.Payload)
		} else if !a.attacks[string(data)] {
			a.fail("reader", "the owner cannot open record %d under epoch %d: %v", len(a.ops)+1, r.epoch, err)
		}
		a.ops, a.texts = append(a.ops, op), append(a.texts, text)
	}
}

// lost counts each record that was meant.
func (a *recordAudit) lost() {
	count := map[string]int{}
	for _, text := range a.texts {
		count[text]++
	}
	for _, in := range a.intents {
		n := count[in.text]
		switch {
		case n == 1 && in.code == "":
			a.observed["record in"]++
			if in.sent > 1 {
				a.observed["record in after an epoch change"]++
			}
		case n > 1, n == 0 && in.code == "":
			a.fail("lost", "%q of %s is in %d times, sent %d times", in.text, in.by.did, n, in.sent)
		case in.code == "no right":
			rights, _ := a.room.members[in.by.did].rights(in.event, in.time)
			if slices.Contains(rights, "write") {
				a.fail("lost", "%q of %s was given up at event %d, its author had the right", in.text, in.by.did, in.event)
			}
			a.observed["record given up: no right any more"]++
		default: // the reference has confirmed the code
			a.observed["record refused: "+in.code]++
		}
	}
}

// readers open everything that history lets them.
func (a *recordAudit) readers() {
	for _, p := range a.people {
		m := a.room.members[p.did]
		if m == nil {
			continue
		}
		if rights, _ := m.rights(a.room.event(), a.at.time); !reads(rights) {
			continue
		}
		o := channel.Walk(a.id, a.opened, a.wrapped(a.at, p, a.opened))
		for _, err := range o.Faults {
			a.fail("reader", "%s: %v", p.did, err)
		}
		for k, r := range a.room.records {
			if a.texts[k] == "" || a.history != channel.Full && r.epoch < m.joined {
				continue
			}
			if c, err := channel.Open(o.Keys[r.epoch], a.ops[k]); err != nil || string(c.Payload) != a.texts[k] {
				a.fail("reader", "%s cannot open record %d under epoch %d: %v", p.did, k+1, r.epoch, err)
				return
			}
			a.observed["record opened by a reader"]++
		}
	}
}

// removed tries every record on everybody who had no right to read at its place.
func (a *recordAudit) removed() {
	for _, p := range a.people {
		m := a.room.members[p.did]
		if m == nil {
			continue
		}
		stolen := map[int][]channel.Key{}
		for k, r := range a.room.records {
			rights, change := m.rights(r.event, r.at.Time)
			if reads(rights) || change < 0 || a.texts[k] == "" {
				continue
			}
			if _, ok := stolen[change]; !ok {
				stolen[change] = a.stolen(p, m.next(change))
			}
			a.try(p, m.changes[change], k, stolen[change])
		}
	}
}

// next is when a member without the right to read gets it (back); nil: never.
func (m *roomMember) next(n int) *did.Place {
	for _, c := range m.changes[n+1:] {
		if reads(c.rights) {
			return &c.at
		}
	}
	return nil
}

// stolen are all keys that somebody can make of all bytes on the ledger before a place. A key in use that an admin has sent
// to somebody in an operation that did not give the right is not counted: readers can leak, and have.
func (a *recordAudit) stolen(p *party, until *did.Place) (keys []channel.Key) {
	add := func(k channel.Key) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	var chains []*channel.Epoch
	for _, c := range a.all {
		if until != nil && !c.before(*until) {
			break
		}
		if c.Epoch != nil {
			chains = append(chains, c.Epoch)
			for _, w := range c.Epoch.Wraps {
				if w.To == p.to {
					add(a.unwrap(c.Epoch.Number, w, p))
				}
			}
		}
		for _, k := range c.Keys {
			for _, w := range c.WrapsTo(k.Number, p.did) {
				if w.To == p.to && a.took(c, k.Number, p) {
					add(a.unwrap(k.Number, w, p))
				} else {
					a.observed["key sent to one without the right"]++
				}
			}
		}
	}
	for n := -1; n != len(keys); {
		n = len(keys)
		for _, e := range chains {
			for _, k := range slices.Clone(keys) {
				if before, err := k.Unchain(a.id, e.Number, e.Previous); e.Previous != nil && err == nil {
					add(before)
				}
			}
		}
	}
	return keys
}

// took says whether the ledger took a wrap.
func (a *recordAudit) took(c carried, number uint32, p *party) bool {
	for _, event := range channel.WrapEvents(a.at, a.id, number, p.did) {
		if e, err := channel.ReadEvent(a.at, a.id, event); err == nil && e.Position == c.position && e.Index == c.index {
			return true
		}
	}
	return false
}

// try opens a record with every key.
func (a *recordAudit) try(p *party, left roomChange, k int, keys []channel.Key) {
	r := a.room.records[k]
	for _, key := range keys {
		a.observed["key tried by one without the right"]++
		if _, err := channel.Open(key, a.ops[k]); err != nil {
			continue
		}
		now, under := a.room.epochs[r.now-1], a.room.epochs[r.epoch-1]
		had := under.event < left.event || left.until != 0 && under.time < left.until
		switch {
		case had && r.epoch == r.now: // nobody has opened an epoch since: a rekey is due
			a.observed["record open to one without the right: a rekey was due"]++
		case had && r.epoch+1 == r.now && r.after < now.event && r.at.Time < now.closes:
			a.observed["record open to one without the right: grace"]++
		default:
			a.fail("removed", "%s, without the right since event %d, opens record %d of event %d under epoch %d, in force is %d",
				p.did, left.event, k+1, r.event, r.epoch, r.now)
		}
		return
	}
	a.observed["record closed to one without the right"]++
}
