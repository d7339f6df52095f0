package managed

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"weft/client"
	"weft/client/audit"
	"weft/plugins"
	"weft/plugins/streams/channel"
)

// TestKeysAreDropped after ten minutes without use, and the oldest first when there are too many.
func TestKeysAreDropped(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	o := newOpened(func() time.Time { return now })
	tool := &tool{identity: audit.Identity{DID: "did:weft:siem"}}
	put := func(n byte, event uint64) openedKey {
		id := channel.ID{n}
		o.keep(tool, &audit.Channel{ID: id, Info: client.Channel{LastEvent: event}, Keys: map[uint32]channel.Key{1: {n}}})
		return openedKey{tool.identity.DID, id}
	}
	used, idle := put(1, 5), put(2, 5)
	if put(1, 4); o.find(used).Info.LastEvent != 5 {
		t.Error("what is older has replaced what is newer")
	}
	found := o.find(used)
	found.Keys[1] = channel.Key{9}
	if o.find(used).Keys[1] != (channel.Key{1}) {
		t.Error("a user changed what is kept")
	}
	now = now.Add(MaxIdle / 2)
	o.find(used)
	now = now.Add(MaxIdle/2 + time.Second)
	if o.find(idle) != nil {
		t.Error("an idle channel is still open")
	}
	o.expire()
	if _, kept := o.known[idle]; kept || o.find(used) == nil {
		t.Errorf("kept: %v", o.known)
	}
	for n := range MaxOpened + 1 {
		now = now.Add(time.Millisecond)
		o.keep(tool, &audit.Channel{ID: channel.ID{3, byte(n), byte(n >> 8)}})
	}
	if _, kept := o.known[used]; kept || len(o.known) != MaxOpened {
		t.Errorf("%d channels are open", len(o.known))
	}
}

// TestDoor: an answer of a route is an answer, a refusal a problem with its code, and a fault of the node a fault.
func TestDoor(t *testing.T) {
	fault := errors.New("the disk is gone")
	answers := map[string]error{
		"/good": nil, "/refused": plugins.Reject("right_missing", "no"), "/fault": fault,
		"/final": &plugins.Problem{Rejection: plugins.Rejection{Code: "epoch_closed"}, More: map[string]any{"outcome": "rejected", "receipt": "r"}},
	}
	var routes []plugins.Route
	for path, err := range answers {
		routes = append(routes, plugins.Route{Method: "GET", Path: path, Serve: func(w http.ResponseWriter, r *http.Request) error {
			if who := plugins.CallerOf(r.Context()); who.DID != "did:weft:siem" {
				t.Errorf("%s is called by %+v", path, who)
			}
			_, _ = io.WriteString(w, `{"a":1}`)
			return err
		}})
	}
	tool := &tool{http: &http.Client{Transport: doorFor{newDoor(routes), plugins.Caller{DID: "did:weft:siem"}}}}
	ask := func(path string) error {
		var got struct{ A int }
		err := tool.get(t.Context(), path, "", &got)
		if err == nil && got.A != 1 {
			t.Errorf("%s: got %+v", path, got)
		}
		return refusal(err)
	}
	if err := ask("/good"); err != nil {
		t.Error(err)
	}
	if r := plugins.Rejected(ask("/refused")); r == nil || r.Code != "right_missing" || r.Detail != "no" {
		t.Errorf("refused: %+v", r)
	}
	var p *plugins.Problem
	if !errors.As(ask("/final"), &p) || p.Code != "epoch_closed" || p.More["outcome"] != "rejected" || p.More["receipt"] != "r" {
		t.Errorf("final rejection: %+v", p)
	}
	if err := ask("/fault"); !errors.Is(err, fault) || plugins.Rejected(err) != nil {
		t.Errorf("fault: %v", err)
	}
}
