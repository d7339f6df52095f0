package streams

import (
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

func TestLifeOfAChannel(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "reader", "stranger")
	owner, reader, stranger := people[0], people[1], people[2]
	id := w.create(owner)
	w.grant(owner, id, channel.Read|channel.Order, reader)
	w.done(reader, id, w.sealed(reader, id, "hello", channel.RecordTerms{RecordType: "note", Public: did.Object{"category": "<b>x</b>"}}))

	var l pageOf[eventView]
	w.as(0, reader, "GET", channelPath(id, "/events"), nil).into(200, &l)
	if len(l.Items) != 3 || l.Items[2].Seq != 1 || !l.Items[2].Final {
		t.Fatalf("events %+v", l.Items)
	}
	var keys pageOf[epochView]
	w.as(0, reader, "GET", channelPath(id, "/keys"), nil).into(200, &keys)
	if len(keys.Items) != 1 || len(keys.Items[0].Wraps) != 1 || keys.Items[0].Wraps[0].To != reader.to {
		t.Fatalf("keys %+v", keys.Items)
	}
	op, err := channel.Decode(w.id, l.Items[2].Operation)
	if err != nil {
		t.Fatal(err)
	}
	content, err := channel.Open(epochKeyOf(id, 1), op)
	if err != nil || string(content.Payload) != "hello" {
		t.Fatalf("opened %q %v", content.Payload, err)
	}
	w.as(0, stranger, "GET", channelPath(id, "/events"), nil).refused(403, "not_participant")
	w.as(0, nil, "GET", channelPath(id, "/events"), nil).refused(401, "unauthenticated")
	var c struct {
		Owner   string
		LastSeq uint64
		Rights  []string
	}
	w.as(0, stranger, "GET", channelPath(id), nil).into(200, &c)
	if c.Owner != owner.did || c.LastSeq != 1 || len(c.Rights) != 0 {
		t.Errorf("channel %+v", c)
	}
	var subs pageOf[subscriptionView]
	w.as(0, owner, "GET", channelPath(id, "/subscriptions"), nil).into(200, &subs)
	if len(subs.Items) != 2 {
		t.Errorf("subscriptions %+v", subs.Items)
	}
	w.as(0, reader, "GET", channelPath(id, "/subscriptions"), nil).into(200, &subs)
	if len(subs.Items) != 1 || subs.Items[0].DID != reader.did {
		t.Errorf("own subscription %+v", subs.Items)
	}
	w.as(0, stranger, "GET", channelPath(id, "/subscriptions/"+owner.did), nil).refused(403, "forbidden")
}
