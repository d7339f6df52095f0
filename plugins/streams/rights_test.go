package streams

import (
	"sync"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// cast is who stands how in the channels of TestEveryRightAndOperation.
type cast map[string]*person

// roles are the actors in the order in which they act: the owner last, whose lock is for ever.
func roles() []string {
	return []string{"admin", "reader", "writer", "both", "auditor", "asker", "gone", "nobody", "owner"}
}

func (w *network) castGrants(c cast) (grants []channel.Grant) {
	until := tangle.TimeOf(w.clock.Now().Add(time.Hour).Truncate(time.Second))
	for name, rights := range map[string]channel.Rights{
		"admin": channel.Admin, "reader": channel.Read, "writer": channel.Order, "both": channel.Read | channel.Order, "auditor": channel.Audit,
		"gone": channel.Order, "target1": channel.Order, "target2": channel.Order, "admin2": channel.Admin,
	} {
		g := channel.Grant{Participant: c[name].did, Rights: rights}
		if rights == channel.Audit {
			g.ValidUntil = until
		}
		grants = append(grants, g)
	}
	return grants
}

// attempt is an operation that everybody tries in turn, and what comes of it.
type attempt struct {
	name string
	body func(who string, h channel.Header) did.Object
	want map[string]string // by role; "" is accepted
}

// outcomes gives one code to the participants without the right, another to strangers, and others by name.
func outcomes(without, strangers string, others map[string]string) map[string]string {
	m := map[string]string{"asker": strangers, "gone": strangers, "nobody": strangers}
	for _, name := range []string{"owner", "admin", "reader", "writer", "both", "auditor"} {
		m[name] = without
	}
	for name, code := range others {
		m[name] = code
	}
	return m
}

func (w *network) attempts(c cast) []attempt {
	managers := outcomes("right_missing", "not_participant", map[string]string{"owner": "", "admin": ""})
	owners := outcomes("right_missing", "not_participant", map[string]string{"owner": "", "admin": "owner_only"})
	pick := func(who, owner, others string) string {
		if who == "owner" {
			return c[owner].did
		}
		return c[others].did
	}
	seconds := func(d time.Duration) tangle.Time { return tangle.TimeOf(w.clock.Now().Add(d).Truncate(time.Second)) }
	return []attempt{
		{"configure", func(who string, h channel.Header) did.Object {
			return channel.NewConfigure(h, channel.Settings{Status: ptr("status by " + who)})
		}, managers},
		{"configure history", func(_ string, h channel.Header) did.Object {
			return channel.NewConfigure(h, channel.Settings{History: ptr(channel.FromJoin)})
		}, owners},
		{"request", func(_ string, h channel.Header) did.Object {
			return channel.NewRequest(h, channel.Asked{Rights: channel.Read}, nil)
		}, outcomes("wrong_state", "", map[string]string{"asker": "wrong_state"})},
		{"authorize", func(who string, h channel.Header) did.Object {
			return channel.NewAuthorize(h, []channel.Grant{{Participant: pick(who, "asker", "asker2"), Rights: channel.Order}}, nil, nil)
		}, managers},
		{"authorize admin", func(_ string, h channel.Header) did.Object {
			return channel.NewAuthorize(h, []channel.Grant{{Participant: c["asker"].did, Rights: channel.Admin}},
				[]channel.Keys{{Number: 1, Wraps: w.wraps(h.Channel, 1, c["asker"])}}, nil)
		}, owners},
		{"reject", func(who string, h channel.Header) did.Object {
			return channel.NewReject(h, []string{pick(who, "asker", "asker2")}, "no")
		}, managers},
		{"revoke", func(who string, h channel.Header) did.Object {
			return channel.NewRevoke(h, []string{pick(who, "target1", "target2")}, "over", nil)
		}, managers},
		{"revoke an admin", func(_ string, h channel.Header) did.Object {
			return channel.NewRevoke(h, []string{c["admin2"].did}, "over", w.epoch(h.Channel, 2, true, c["owner"]))
		}, owners},
		{"revoke the owner", func(_ string, h channel.Header) did.Object {
			return channel.NewRevoke(h, []string{c["owner"].did}, "over", w.epoch(h.Channel, 2, true, c["admin"]))
		}, outcomes("right_missing", "not_participant", map[string]string{"owner": "owner_only", "admin": "owner_only"})},
		{"leave", func(_ string, h channel.Header) did.Object { return channel.NewLeave(h) },
			outcomes("", "wrong_state", map[string]string{"owner": "owner_only", "asker": ""})},
		{"rekey", func(_ string, h channel.Header) did.Object {
			return channel.NewRekey(h, "scheduled", w.epoch(h.Channel, w.head(h.Channel).Epoch+1, true, c["owner"]))
		}, managers},
		{"keyload", func(_ string, h channel.Header) did.Object {
			return channel.NewKeyload(h, []channel.Keys{{Number: 1, Wraps: w.wraps(h.Channel, 1, c["reader"])}})
		}, managers},
		{"write", func(who string, h channel.Header) did.Object {
			return w.sealedUnder(h, 1, "by "+who, channel.RecordTerms{})
		}, outcomes("right_missing", "not_participant", map[string]string{"owner": "", "writer": "", "both": ""})},
		{"lock", func(who string, h channel.Header) did.Object {
			if who == "owner" {
				return channel.NewLock(h, channel.Until, seconds(2*time.Hour))
			}
			return channel.NewLock(h, channel.Until, seconds(time.Hour))
		}, managers},
		{"lock for ever", func(_ string, h channel.Header) did.Object { return channel.NewLock(h, channel.Forever, 0) }, owners},
		{"erase", func(who string, h channel.Header) did.Object {
			seq := map[string]uint64{"owner": 1, "admin": 2, "both": 3}[who]
			return channel.NewErase(h, max(seq, 1), "gdpr_art17")
		}, outcomes("right_missing", "not_participant", map[string]string{"owner": "", "admin": "", "both": ""})},
	}
}

// TestEveryRightAndOperation lets everybody try everything, at each of four nodes: the verdict and the code are the same.
func TestEveryRightAndOperation(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	names := append(roles(), "asker2", "target1", "target2", "admin2")
	c := cast{}
	for i, p := range w.people(names...) {
		c[names[i]] = p
	}
	attempts := w.attempts(c)
	ids := w.castChannels(c, len(attempts))
	for i, a := range attempts {
		for _, who := range roles() {
			body := a.body(who, w.header(c[who], ids[i]))
			w.sameEverywhere(a.name+" by "+who, ids[i], w.sign(c[who], body), a.want[who])
		}
	}
}

// castChannels makes channels in which everybody stands as their name says, and both has written three records.
func (w *network) castChannels(c cast, n int) []channel.ID {
	w.t.Helper()
	ids := make([]channel.ID, n)
	for i := range ids {
		h := w.header(c["owner"], channel.ID{})
		ids[i] = channel.NewID(w.id, c["owner"].did, h.Nonce)
		terms := channel.CreateTerms{
			Access: channel.Private, Profile: channel.Stream, Grants: w.castGrants(c), Settings: channel.Settings{Name: ptr(ids[i].String())},
			Epoch: w.epoch(ids[i], 1, false, c["owner"], c["admin"], c["reader"], c["both"], c["auditor"], c["admin2"]),
		}
		w.call(i%len(w.Nodes), "POST", "/api/v1/channels", w.sign(c["owner"], channel.NewCreate(h, terms))).want(202)
	}
	w.final(ids, 0)
	for _, id := range ids {
		list := [][]byte{
			w.sign(c["asker"], channel.NewRequest(w.header(c["asker"], id), channel.Asked{Rights: channel.Read}, nil)),
			w.sign(c["asker2"], channel.NewRequest(w.header(c["asker2"], id), channel.Asked{Rights: channel.Read}, nil)),
			w.sign(c["owner"], channel.NewRevoke(w.header(c["owner"], id), []string{c["gone"].did}, "over", nil)),
		}
		for range 3 {
			list = append(list, w.sign(c["both"], w.sealed(c["both"], id, "a record", channel.RecordTerms{})))
		}
		for _, entry := range list {
			w.call(0, "POST", "/api/v1"+channelPath(id, "/operations"), entry).want(202)
		}
	}
	w.final(ids, 6)
	return ids
}

// final waits until every node has an event of all channels, and what was before it is final.
func (w *network) final(ids []channel.ID, event uint64) {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	for i, n := range w.Nodes {
		for _, id := range ids {
			for {
				changed := n.Changed()
				if _, h, err := channel.ReadChannel(w.view(i), id); err == nil && h.Event >= event {
					break
				}
				select {
				case <-changed:
				case <-deadline:
					w.t.Fatalf("node %d: channel %s never came to event %d", i, id, event)
				}
			}
		}
	}
	w.Settle()
}

// sameEverywhere posts an entry to all nodes at once.
func (w *network) sameEverywhere(what string, id channel.ID, entry []byte, want string) {
	w.t.Helper()
	replies := make([]reply, len(w.Nodes))
	var group sync.WaitGroup
	for i := range w.Nodes {
		group.Go(func() { replies[i] = w.postEntry(i, id, entry) })
	}
	group.Wait()
	for i, r := range replies {
		code := ""
		if r.status != 200 {
			code = r.code()
		}
		if code != want {
			w.t.Errorf("%s at node %d: HTTP %d %q, want %q: %.300s", what, i, r.status, code, want, r.body)
		}
		if r.status != replies[0].status {
			w.t.Errorf("%s: HTTP %d at node %d and %d at node 0", what, r.status, i, replies[0].status)
		}
	}
	if want == "" {
		w.Settle()
	}
}
