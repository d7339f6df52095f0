package streams

import (
	"encoding/base64"
	"net/http"
	"slices"

	"weft/plugins"
	"weft/plugins/streams/channel"
)

// subscriptionView is where a DID stands in a channel.
type subscriptionView struct {
	DID        string          `json:"did"`
	State      channel.State   `json:"state"`
	Event      uint64          `json:"event"` // of its last change
	Time       string          `json:"time"`  // of that
	Grant      *grantView      `json:"grant,omitempty"`
	Asked      *channel.Asked  `json:"asked,omitempty"` // while requested
	Rights     channel.Rights  `json:"rights"`          // now
	Custody    channel.Custody `json:"custody,omitempty"`
	KeyMissing bool            `json:"keyMissing,omitempty"`
	Joined     uint32          `json:"joined,omitempty"`
	Records    int64           `json:"records,omitempty"`
	Rejections int             `json:"rejections,omitempty"`
}

// grantView is a grant with its times in words.
type grantView struct {
	channel.Grant
	ValidFrom  *string `json:"validFrom,omitempty"`
	ValidUntil *string `json:"validUntil,omitempty"`
}

func (s *streams) viewSubscription(x *reader, p channel.Participant) subscriptionView {
	v := subscriptionView{
		DID: p.DID, State: p.State, Event: p.Event, Time: p.Time.String(), Asked: p.Asked, Rights: x.Effective(&p, x.now),
		KeyMissing: channel.KeyMissing(s.state(), &x.Channel, x.head, &p, x.now), Joined: p.Joined, Records: p.Records, Rejections: p.Rejections,
	}
	if p.Grant != nil {
		v.Grant = &grantView{*p.Grant, timeText(p.Grant.ValidFrom), timeText(p.Grant.ValidUntil)}
		v.Custody = p.Grant.Custody
	} else if p.Asked != nil {
		v.Custody = p.Asked.Custody
	}
	return v
}

// listSubscriptions is GET /api/v1/channels/{id}/subscriptions: all for admins and auditors, else the caller's own.
func (s *streams) listSubscriptions(w http.ResponseWriter, r *http.Request) error {
	now := s.asOf()
	x, err := s.open(r)
	if err != nil {
		return err
	}
	state := channel.State(r.URL.Query().Get("state"))
	if state != "" && !slices.Contains([]channel.State{channel.Requested, channel.Active, channel.Rejected, channel.Left, channel.Revoked}, state) {
		return plugins.Reject("bad_parameter", "state: %.40q is none", state)
	}
	asked, err := readPage(r)
	if err != nil {
		return err
	}
	p := page[subscriptionView]{asked: asked}
	if !x.oversees() {
		if x.part != nil && (state == "" || x.part.State == state) {
			p.add(s.viewSubscription(x, *x.part), "")
		}
		return answer(w, http.StatusOK, listOf(&p, now))
	}
	if err := s.collectSubscriptions(&p, x, state); err != nil {
		return err
	}
	return answer(w, http.StatusOK, listOf(&p, now))
}

func (s *streams) collectSubscriptions(p *page[subscriptionView], x *reader, state channel.State) error {
	from := ""
	if p.After != "" {
		b, err := base64.RawURLEncoding.DecodeString(p.After)
		if err != nil || len(b) != 32 {
			return plugins.Reject("bad_cursor", "this is no cursor of this list")
		}
		from = string(append(b, 0)) // the first key behind it
	}
	scanned := 0
	err := channel.Participants(s.state(), x.ID, from, func(key string, one channel.Participant) bool {
		cursor := encode([]byte(key))
		if scanned++; scanned > maxScanned {
			p.more = true
			return false
		}
		if state != "" && one.State != state {
			p.last = cursor
			return true
		}
		return p.add(s.viewSubscription(x, one), cursor)
	})
	s.damaged(err)
	return err
}

// showSubscription is GET /api/v1/channels/{id}/subscriptions/{did}.
func (s *streams) showSubscription(w http.ResponseWriter, r *http.Request) error {
	x, err := s.open(r)
	if err != nil {
		return err
	}
	did := r.PathValue("did")
	if did != x.did && !x.oversees() {
		return plugins.Reject("forbidden", "only admins and auditors see other participants")
	}
	p, found, err := channel.ReadParticipant(s.state(), x.ID, did)
	s.damaged(err)
	if err == nil && !found {
		err = plugins.Reject("not_found", "%.200q never asked for anything here", did)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, s.viewSubscription(x, p))
}
