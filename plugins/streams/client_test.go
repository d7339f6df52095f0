package streams

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// session is somebody with the client of this repository at node i.
func (w *network) session(i int, p *person) *audit.Session {
	w.t.Helper()
	node, err := client.New(client.Config{URL: "http://" + w.Nodes[i].APIAddr()})
	if err != nil {
		w.t.Fatal(err)
	}
	return audit.NewSession(audit.Config{Node: node, Network: w.id, Identity: audit.Identity{
		DID: p.did, Method: p.method(), Public: multikeyOf(p.key), Sign: func(b []byte) ([]byte, error) { return ed25519.Sign(p.key, b), nil },
		Agreements: []audit.Agreement{{To: p.to, Public: p.multikey(), Private: p.agreement}},
	}})
}

// TestWithTheClient goes through a life of a channel with the client, each person at another node.
func TestWithTheClient(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader", "sensor")
	owner, reader, sensor := w.session(0, people[0]), w.session(1, people[1]), w.session(2, people[2])
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	name := "incidents"
	change, id, err := owner.Create(ctx, audit.Creation{CreateTerms: channel.CreateTerms{
		Access: channel.Private, Profile: channel.Stream, Settings: channel.Settings{Name: &name},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Submit(ctx, change.Body); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	open := func(s *audit.Session) *audit.Channel {
		t.Helper()
		c, err := s.Open(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open(owner)
	grants := []channel.Grant{
		{Participant: people[1].did, Rights: channel.Read, ValidUntil: tangle.TimeOf(time.Now().Add(time.Hour).Truncate(time.Second))},
		{Participant: people[2].did, Rights: channel.Order},
	}
	if _, err := c.Do(ctx, func() (*audit.Change, error) { return c.Authorize(ctx, grants) }); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	if _, err := open(sensor).Write(ctx, audit.Record{Body: true, Payload: []byte("alert")}, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("0123456789abcdef"), 30_000)
	if _, err := c.WriteDetached(ctx, audit.Record{}, nil, bytes.NewReader(payload), int64(len(payload)), 30*time.Second, func(*audit.Upload, error) error { return nil }, nil); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	w.readsAll(ctx, open(reader), payload)
	if _, err := c.Do(ctx, func() (*audit.Change, error) { return c.Revoke(ctx, []string{people[1].did}, "over") }); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	list, err := open(owner).Subscriptions(ctx, channel.Revoked)
	if err != nil || len(list) != 1 {
		t.Errorf("revoked: %+v %v", list, err)
	}
	var bundle bytes.Buffer
	if _, err := open(owner).Export(ctx, 0, &bundle); err != nil || !w.verify(bundle.Bytes()).Verified {
		t.Errorf("bundle: %v", err)
	}
	if covered, err := open(owner).Events(ctx, func(client.ChannelEvent, *channel.Operation) error { return nil }); err != nil || covered == 0 {
		t.Errorf("events: covered %d, %v", covered, err)
	}
}

// readsAll reads a channel of an alert and a payload beside the ledger.
func (w *network) readsAll(ctx context.Context, c *audit.Channel, payload []byte) {
	w.t.Helper()
	var got []string
	err := c.Records(ctx, client.RecordFilter{}, client.Page{}, func(e audit.Entry) error {
		if e.Content != nil {
			got = append(got, string(e.Content.Payload))
			return nil
		}
		var b bytes.Buffer
		if _, err := c.OpenBlob(ctx, e, &b); err != nil {
			return err
		}
		got = append(got, b.String())
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"alert", string(payload)}) {
		w.t.Errorf("%d records, %v", len(got), err)
	}
}
