package streams

import (
	"context"
	"net/http"

	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// reader is a caller before a channel that it may know of: what it is served follows from the ledger alone.
type reader struct {
	channel.Channel
	head channel.Head
	did  string               // empty: nobody proved a DID
	part *channel.Participant // nil: never was one
	now  tangle.Time
}

func pathID(r *http.Request) (channel.ID, error) {
	id, err := channel.ParseID(r.PathValue("id"))
	if err != nil {
		return id, plugins.Reject("bad_parameter", "a channel is named by 64 lower-case hex digits")
	}
	return id, nil
}

// open finds the channel of the path for the caller. A hidden one that is none of the caller's business is not there.
func (s *streams) open(r *http.Request) (*reader, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	return s.openFor(r.Context(), id, plugins.CallerOf(r.Context()))
}

// openPart is open for who takes part.
func (s *streams) openPart(r *http.Request) (*reader, error) {
	x, err := s.open(r)
	if err != nil {
		return nil, err
	}
	return x, x.takesPart()
}

func (s *streams) openFor(ctx context.Context, id channel.ID, caller plugins.Caller) (*reader, error) {
	c, h, err := s.channelOf(ctx, id)
	if err != nil {
		return nil, err
	}
	x, err := s.readerOf(c, h, caller.DID)
	switch {
	case err != nil:
		return nil, err
	case c.Hidden && !s.knows(x):
		return nil, plugins.Reject("unknown_channel", "%s", id)
	case c.Access == channel.Private && isNobody(caller):
		return nil, plugins.Reject("unauthenticated", "the channel is private: log in with a DID")
	}
	return x, nil
}

// isNobody says that a caller has proved nothing: such see public channels alone, and those where api.read is open.
func isNobody(caller plugins.Caller) bool {
	return caller.DID == "" && len(caller.Scopes) == 0 && !caller.Operator
}

func (s *streams) readerOf(c channel.Channel, h channel.Head, did string) (*reader, error) {
	x := &reader{Channel: c, head: h, did: did, now: tangle.TimeOf(s.now())}
	if did == "" {
		return x, nil
	}
	p, found, err := channel.ReadParticipant(s.state(), c.ID, did)
	s.damaged(err)
	if found {
		x.part = &p
	}
	return x, err
}

// knows says whether the caller has the key of a hidden channel's profile, or takes part in it.
func (s *streams) knows(x *reader) bool {
	if x.did == "" {
		return false
	}
	takesPart := x.part != nil && (x.part.State == channel.Active || x.part.State == channel.Requested)
	return takesPart || len(channel.WrapEvents(s.state(), x.ID, 0, x.did)) > 0
}

// public says whether anybody may read.
func (x *reader) public() bool { return x.Access == channel.Public }

// takesPart refuses who is no participant of a private channel now, or not yet. Whoever's grant has ended is served what was
// before that end.
func (x *reader) takesPart() error {
	switch {
	case x.public():
		return nil
	case x.part == nil || x.part.State != channel.Active || x.Holds(x.part) == 0:
		return plugins.Reject("not_participant", "the channel is private")
	case x.part.Grant.ValidFrom > x.now:
		return plugins.Reject("not_valid_now", "the grant begins at %s", x.part.Grant.ValidFrom)
	}
	return nil
}

// reads refuses whoever has no right to read, whatever of the channel.
func (x *reader) reads() error {
	if err := x.takesPart(); err != nil || x.public() {
		return err
	}
	if !x.Holds(x.part).Reads() {
		return plugins.Reject("right_missing", "this needs the right to read")
	}
	return nil
}

// sees says whether an event is served to the caller.
func (x *reader) sees(e channel.Event) bool {
	return x.public() || x.Sees(x.head, x.part, e)
}

// rights are the caller's now.
func (x *reader) rights() channel.Rights { return x.Effective(x.part, x.now) }

// oversees says whether the caller may see who takes part.
func (x *reader) oversees() bool { return x.rights()&(channel.Admin|channel.Audit) != 0 }
