package streams

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// maxScanned bounds what one page of a list looks at.
const maxScanned = 10_000

// channelView is a channel as a caller sees it. A list leaves out what only one channel's own page says.
type channelView struct {
	ID           channel.ID      `json:"channel"`
	Owner        string          `json:"owner"`
	Creator      string          `json:"creator"`
	Created      string          `json:"created"` // commit time
	Access       channel.Access  `json:"access"`
	Profile      channel.Profile `json:"profile"`
	Hidden       bool            `json:"hidden,omitempty"`
	Name         string          `json:"name,omitempty"`
	Status       string          `json:"status,omitempty"`
	Archived     bool            `json:"archived,omitempty"`
	Epoch        uint32          `json:"epoch,omitempty"`
	PublicKey    string          `json:"publicKey,omitempty"`
	LastEvent    uint64          `json:"lastEvent"`
	LastSeq      uint64          `json:"lastSeq"`
	Head         tangle.Hash     `json:"head"`
	LastRecordAt *string         `json:"lastRecordAt,omitempty"`
	RekeyDue     bool            `json:"rekeyDue,omitempty"`
	State        channel.State   `json:"state,omitempty"`
	Rights       channel.Rights  `json:"rights"`

	*sealedProfile
	*channelDetails
}

// sealedProfile is what a hidden channel is called, with all that opening it needs.
type sealedProfile struct {
	SealedProfile string     `json:"sealedProfile"`
	ProfileEvent  uint64     `json:"profileEvent"`
	ProfileActor  string     `json:"profileActor,omitempty"`
	ProfileNonce  string     `json:"profileNonce,omitempty"`
	ProfileWraps  []wrapView `json:"profileWraps,omitempty"` // the caller's, of epoch 0
}

// channelDetails are what only the page of one channel says.
type channelDetails struct {
	Description   string                  `json:"description,omitempty"`
	Topics        []channel.Topic         `json:"topics,omitempty"`
	Tags          []string                `json:"tags,omitempty"`
	Roles         map[string]channel.Role `json:"roles,omitempty"`
	History       channel.History         `json:"history"`
	GraceSeconds  int                     `json:"graceSeconds"`
	RetentionDays int                     `json:"retentionDays"`
	Custody       channel.Custody         `json:"custody"`
	Lock          channel.LockMode        `json:"lock"`
	LockUntil     *string                 `json:"lockUntil,omitempty"`
	KeyMissing    bool                    `json:"keyMissing,omitempty"` // the caller may read and has no key of the current epoch
	Admins        []string                `json:"admins,omitempty"`     // the owner among them, if they are asked for and the channel is not hidden
}

// viewChannel is what a list says of a channel.
func (s *streams) viewChannel(x *reader) (channelView, error) {
	c, h := x.Channel, x.head
	v := channelView{
		ID: c.ID, Owner: c.Owner, Creator: c.Creator, Created: c.Created.String(), Access: c.Access, Profile: c.Profile, Hidden: c.Hidden,
		Name: c.Name, Status: c.Status, Archived: c.Archived, Epoch: h.Epoch, LastEvent: h.Event, LastSeq: h.Seq, Head: h.Hash,
		LastRecordAt: timeText(h.RecordTime), Rights: x.rights(),
	}
	if x.part != nil {
		v.State = x.part.State
	}
	if c.Hidden {
		v.sealedProfile = s.viewProfile(x)
	}
	var err error
	if v.RekeyDue, err = s.rekeyDue(x); err != nil || h.Epoch == 0 {
		return v, err
	}
	epochs, err := channel.Epochs(s.state(), c.ID, h.Epoch, 1)
	if err == nil && len(epochs) == 1 {
		v.PublicKey = encode(epochs[0].PublicKey[:])
	}
	s.damaged(err)
	return v, err
}

func (s *streams) viewProfile(x *reader) *sealedProfile {
	p := &sealedProfile{SealedProfile: x.SealedProfile, ProfileEvent: x.ProfileEvent, ProfileWraps: s.wrapsOf(x.ID, 0, x.did)}
	if op := s.operationAt(x.ID, x.ProfileEvent); op != nil {
		p.ProfileActor, p.ProfileNonce = op.Actor, encode(op.Nonce[:])
	}
	return p
}

// operationAt decodes the operation of an event; nil if it is gone.
func (s *streams) operationAt(id channel.ID, event uint64) *channel.Operation {
	e, err := channel.ReadEvent(s.state(), id, event)
	if err != nil {
		s.damaged(err)
		return nil
	}
	op, err := channel.Decode(s.host.Network, s.host.Data(e.Position, e.Index))
	if err != nil {
		return nil
	}
	return op
}

// showChannel is GET /api/v1/channels/{id}.
func (s *streams) showChannel(w http.ResponseWriter, r *http.Request) error {
	x, err := s.open(r)
	if err != nil {
		return err
	}
	v, err := s.viewChannel(x)
	if err != nil {
		return err
	}
	c := x.Channel
	v.channelDetails = &channelDetails{
		Description: c.Description, Topics: c.Topics, Tags: c.Tags, Roles: c.Roles, History: c.History, GraceSeconds: c.GraceSeconds,
		RetentionDays: c.RetentionDays, Custody: c.Custody, Lock: lockOf(x.head, x.now),
	}
	if v.Lock == channel.Until {
		v.LockUntil = timeText(x.head.LockUntil)
	}
	v.KeyMissing = x.part != nil && channel.KeyMissing(s.state(), &c, x.head, x.part, x.now)
	if r.URL.Query().Get("admins") == "true" && !c.Hidden {
		if v.Admins, err = channel.Admins(s.state(), &c, x.now, maxAdmins); err != nil {
			s.damaged(err)
			return err
		}
	}
	body, err := marshal(v)
	if err != nil {
		return err
	}
	tag := tagOf(x.head.Event, body)
	w.Header().Set("ETag", strconv.Quote(tag))
	w.Header().Set("Cache-Control", "private, no-cache")
	if rest.MatchesTag(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return rest.AnswerBytes(w, http.StatusOK, rest.TypeJSON, body)
}

// maxAdmins bounds the admins that are named: those to whom a request's note is sealed.
const maxAdmins = 16

// tagOf is the entity tag of a channel: its newest event, and what else the caller sees, such as rights that have ended since.
func tagOf(event uint64, body []byte) string {
	sum := sha256.Sum256(body)
	return strconv.FormatUint(event, 10) + "." + hex.EncodeToString(sum[:6])
}

// eventOfTag reduces the tags of If-Match to the events that they begin with.
func eventOfTag(header string) string {
	var events []string
	for one := range strings.SplitSeq(header, ",") {
		event, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(one), `"`), ".")
		events = append(events, event)
	}
	return strings.Join(events, ",")
}

func lockOf(h channel.Head, now tangle.Time) channel.LockMode {
	switch {
	case h.LockForever:
		return channel.Forever
	case h.Locked(now):
		return channel.Until
	}
	return channel.Unlocked
}

// channelFilter says which channels a list is about.
type channelFilter struct {
	text, owner, participant, requestedBy string
	access, profile, status               string
	topicType, topicSource                string
	createdFrom, createdTo, activeAfter   tangle.Time // 0: any
	archived, hidden                      bool        // also those; else not
	publicOnly                            bool        // who asks has not said who it is
}

func channelQuery() []string {
	return rest.PageQuery("q", "owner", "participant", "requestedBy", "access", "profile", "status", "topicType", "topicSource",
		"createdFrom", "createdTo", "activeAfter", "archived", "hidden")
}

func readChannelFilter(r *http.Request) (f channelFilter, err error) {
	q := r.URL.Query()
	f = channelFilter{
		text: strings.ToLower(q.Get("q")), owner: q.Get("owner"), participant: q.Get("participant"), requestedBy: q.Get("requestedBy"),
		access: q.Get("access"), profile: q.Get("profile"), status: q.Get("status"), topicType: q.Get("topicType"), topicSource: q.Get("topicSource"),
		hidden: true,
	}
	for name, to := range map[string]*tangle.Time{"createdFrom": &f.createdFrom, "createdTo": &f.createdTo, "activeAfter": &f.activeAfter} {
		if *to, err = timeOf(r, name); err != nil {
			return f, err
		}
	}
	for name, to := range map[string]*bool{"archived": &f.archived, "hidden": &f.hidden} {
		if text := q.Get(name); text != "" {
			if *to = text == "true"; text != "true" && text != "false" {
				return f, plugins.Reject("bad_parameter", "%s is true or false", name)
			}
		}
	}
	return f, nil
}

// timeOf reads a time parameter; 0 without one.
func timeOf(r *http.Request, name string) (tangle.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 {
		return 0, plugins.Reject("bad_parameter", "%s: want a time such as 2026-11-22T17:00:00Z", name)
	}
	return tangle.TimeOf(t), nil
}

// takes judges what the channel's settings say.
func (f channelFilter) takes(c *channel.Channel) bool {
	topic := func(t channel.Topic) bool {
		return (f.topicType == "" || t.Type == f.topicType) && (f.topicSource == "" || t.Source == f.topicSource)
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.owner, c.Owner) && is(f.access, string(c.Access)) && is(f.profile, string(c.Profile)) && is(f.status, c.Status) &&
		(!f.publicOnly || c.Access == channel.Public) && (f.archived || !c.Archived) && (f.hidden || !c.Hidden) && (f.createdFrom == 0 || c.Created >= f.createdFrom) && (f.createdTo == 0 || c.Created < f.createdTo) &&
		((f.topicType == "" && f.topicSource == "") || slices.ContainsFunc(c.Topics, topic)) &&
		(f.text == "" || strings.Contains(strings.ToLower(c.Name+"\x00"+c.Description), f.text))
}

// listChannels is GET /api/v1/channels, in the order of ids. Without a login or key it has public ones alone. Hidden ones are listed for those who have their profile's key or
// take part.
func (s *streams) listChannels(w http.ResponseWriter, r *http.Request) error {
	now := s.asOf()
	f, err := readChannelFilter(r)
	if err != nil {
		return err
	}
	asked, err := readPage(r)
	if err != nil {
		return err
	}
	from := channel.ID{}
	if asked.After != "" {
		if from, err = channel.ParseID(asked.After); err != nil {
			return plugins.Reject("bad_cursor", "this is no cursor of this list")
		}
		from = next(from)
	}
	p := page[channelView]{asked: asked}
	caller := plugins.CallerOf(r.Context())
	f.publicOnly = isNobody(caller)
	if err := s.collectChannels(&p, f, from, caller.DID); err != nil {
		return err
	}
	return answer(w, http.StatusOK, listOf(&p, now))
}

// next is the id after one.
func next(id channel.ID) channel.ID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

// shortBefore is a cursor before a channel that the caller need not know of: it has the first bytes of the id alone.
func shortBefore(id channel.ID) string {
	clear(id[4:])
	return id.String()
}

func (s *streams) collectChannels(p *page[channelView], f channelFilter, from channel.ID, did string) (err error) {
	scanned := 0
	visit := func(c channel.Channel) bool {
		if scanned++; scanned > maxScanned {
			p.more, p.last = true, max(p.last, shortBefore(c.ID))
			return false
		}
		going := true
		if f.takes(&c) {
			going, err = s.collectChannel(p, f, c, did)
		}
		return going && err == nil
	}
	if who := f.someone(); who != "" {
		s.channelsOf(who, from, visit)
		return err
	}
	if fault := channel.Channels(s.state(), from, visit); fault != nil {
		s.damaged(fault)
		return fault
	}
	return err
}

// someone is a DID whose channels the list is about; empty if it is about all.
func (f channelFilter) someone() string {
	for _, did := range []string{f.participant, f.requestedBy, f.owner} {
		if did != "" {
			return did
		}
	}
	return ""
}

func (s *streams) channelsOf(did string, from channel.ID, visit func(channel.Channel) bool) {
	channel.ChannelsOf(s.state(), did, from, func(id channel.ID) bool {
		c, _, err := channel.ReadChannel(s.state(), id)
		s.damaged(err)
		return err == nil && visit(c)
	})
}

// collectChannel adds a channel to a page if the caller may know of it, and what else the filter asks is so.
func (s *streams) collectChannel(p *page[channelView], f channelFilter, c channel.Channel, did string) (going bool, err error) {
	_, h, err := channel.ReadChannel(s.state(), c.ID)
	if err != nil || h.RecordTime < f.activeAfter {
		return true, err
	}
	x, err := s.readerOf(c, h, did)
	if err != nil || (c.Hidden && !s.knows(x)) {
		return true, err
	}
	for _, ask := range []struct {
		did   string
		state channel.State
	}{{f.participant, channel.Active}, {f.requestedBy, channel.Requested}} {
		if ask.did == "" {
			continue
		}
		if is, err := s.showsState(x, ask.did, ask.state); err != nil || !is {
			return true, err
		}
	}
	v, err := s.viewChannel(x)
	if err != nil {
		return true, err
	}
	return p.add(v, c.ID.String()), nil
}

// showsState says whether a DID stands in a channel as asked, as far as the caller may know: of itself, of the owner, or of
// all for those who oversee the channel.
func (s *streams) showsState(x *reader, did string, want channel.State) (bool, error) {
	if did != x.did && did != x.Owner && !x.oversees() {
		return false, nil
	}
	p, found, err := channel.ReadParticipant(s.state(), x.ID, did)
	s.damaged(err)
	return found && p.State == want, err
}
