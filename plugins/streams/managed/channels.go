package managed

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"weft/client"
	"weft/client/audit"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// create is POST /api/v1/managed/channels.
func (m *Mode) create(w http.ResponseWriter, r *http.Request, t *tool) error {
	var body client.ManagedChannel
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	terms, err := m.creation(t, body)
	if err != nil {
		return err
	}
	ctx, cancel := m.within(r)
	defer cancel()
	change, id, err := t.session.Create(ctx, terms)
	if err != nil {
		return err
	}
	state, err := t.session.Submit(ctx, change.Body)
	if err != nil {
		return err
	}
	if len(change.Later) > 0 && state.Status == client.Final {
		c, err := m.opened.take(ctx, t, id)
		if err != nil {
			return err
		}
		if _, err := c.Complete(ctx, change); err != nil {
			return err
		}
	}
	return done(w, r, state, "/api/v1/managed/channels/"+id.String(), withSkipped(id, change))
}

// creation is what a new channel is to be. The owner's own grant says that a node holds its keys.
func (m *Mode) creation(t *tool, body client.ManagedChannel) (c audit.Creation, err error) {
	own := channel.Grant{Participant: t.identity.DID, Rights: channel.All, Custody: channel.CustodyNode}
	c.CreateTerms = channel.CreateTerms{Access: body.Access, Profile: body.Profile, Grants: []channel.Grant{own}}
	if c.Access == "" {
		c.Access = channel.Private
	}
	if c.Profile == "" {
		c.Profile = channel.Stream
	}
	for _, g := range body.Grants {
		grant, err := grantOf(g)
		if err != nil {
			return c, err
		}
		grant.Custody = m.custodyOf(grant, channel.Participant{})
		c.Grants = append(c.Grants, grant)
	}
	s := &c.Settings
	s.Name, s.GraceSeconds, s.RetentionDays = &body.Name, body.GraceSeconds, body.RetentionDays
	s.Description, s.Status, s.History, s.Custody = given(body.Description), given(body.Status), given(body.History), given(body.Custody)
	if len(body.Topics) > 0 {
		s.Topics = &body.Topics
	}
	if tags := sorted(body.Tags); tags != nil {
		s.Tags = &tags
	}
	if s.Roles, err = rolesOf(body.Roles); err != nil {
		return c, err
	}
	switch {
	case body.Hidden && c.Access != channel.Private:
		return c, plugins.Reject("bad_value", "a channel is public or hidden, not both")
	case len(body.Visible) > 0 && !body.Hidden:
		return c, plugins.Reject("bad_value", "visible is for hidden channels")
	case body.Hidden:
		c.Hide()
		c.Visible = body.Visible
	}
	return c, nil
}

// given is a setting that is said; nil if it is empty.
func given[T ~string](value T) *T {
	if value == "" {
		return nil
	}
	return &value
}

// sorted is a list as operations have it; nil if it is empty.
func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func rolesOf(list map[string]client.ManagedRole) (*map[string]channel.Role, error) {
	if len(list) == 0 {
		return nil, nil
	}
	roles := map[string]channel.Role{}
	for name, role := range list {
		rights, err := rightsOf(role.Rights)
		if err != nil {
			return nil, err
		}
		roles[name] = channel.Role{Rights: rights, Tags: sorted(role.Tags)}
	}
	return &roles, nil
}

func grantOf(g client.ManagedGrant) (channel.Grant, error) {
	rights, err := rightsOf(g.Rights)
	out := channel.Grant{
		Participant: g.Participant, Rights: rights, Roles: sorted(g.Roles), Tags: sorted(g.Tags), MaxRecords: g.MaxRecords, Custody: g.Custody, Agreement: g.Agreement,
	}
	if g.ValidFrom != nil {
		out.ValidFrom = tangle.TimeOf(*g.ValidFrom)
	}
	if g.ValidUntil != nil {
		out.ValidUntil = tangle.TimeOf(*g.ValidUntil)
	}
	return out, err
}

// custodyOf is what a grant says of its participant's keys: what is true of this node's own tools, else what is said, or was
// asked for or granted before.
func (m *Mode) custodyOf(g channel.Grant, p channel.Participant) channel.Custody {
	for _, t := range m.tools {
		if t.identity.DID == g.Participant {
			return channel.CustodyNode
		}
	}
	switch {
	case g.Custody != "":
		return g.Custody
	case p.Asked != nil:
		return p.Asked.Custody
	case p.Grant != nil:
		return p.Grant.Custody
	}
	return ""
}

func withSkipped(id channel.ID, change *audit.Change) map[string]any {
	more := map[string]any{"channel": id}
	var skipped []string
	for _, err := range change.Skipped {
		skipped = append(skipped, err.Error())
	}
	if skipped != nil {
		more["skipped"] = skipped
	}
	return more
}

// list is GET /api/v1/managed/channels: what the tool may know of.
func (m *Mode) list(w http.ResponseWriter, r *http.Request, t *tool) error {
	var page json.RawMessage
	if err := t.get(r.Context(), "/api/v1/channels", r.URL.RawQuery, &page); err != nil {
		return err
	}
	return rest.AnswerBytes(w, http.StatusOK, rest.TypeJSON, page)
}

// show is GET /api/v1/managed/channels/{id}: a hidden channel with what it is called, if that opens.
func (m *Mode) show(w http.ResponseWriter, r *http.Request, t *tool) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var said map[string]json.RawMessage
	if err := t.get(r.Context(), "/api/v1/channels/"+id.String(), "", &said); err != nil {
		return err
	}
	if _, hidden := said["sealedProfile"]; hidden {
		c, err := m.enter(r.Context(), r, t)
		if err != nil {
			return err
		}
		for name, value := range c.Profile {
			if said[name], err = did.Canonical(value); err != nil {
				return err
			}
		}
		for _, name := range []string{"sealedProfile", "profileEvent", "profileActor", "profileNonce", "profileWraps"} {
			delete(said, name)
		}
		m.opened.keep(t, c)
	}
	return rest.Answer(w, http.StatusOK, said)
}

// request is POST /api/v1/managed/channels/{id}/requests.
func (m *Mode) request(w http.ResponseWriter, r *http.Request, t *tool) error {
	var body client.ManagedRequest
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	rights, err := rightsOf(body.Rights)
	if err != nil {
		return err
	}
	ctx, cancel := m.within(r)
	defer cancel()
	c, err := m.enter(ctx, r, t)
	if err != nil {
		return err
	}
	asked := channel.Asked{Rights: rights, Roles: sorted(body.Roles), Custody: channel.CustodyNode}
	change, err := c.Request(ctx, asked, []byte(body.Note))
	if err != nil {
		return err
	}
	state, err := t.session.Submit(ctx, change.Body)
	if err != nil {
		return err
	}
	return done(w, r, state, "", withSkipped(c.ID, change))
}

// grant is POST /api/v1/managed/channels/{id}/grants.
func (m *Mode) grant(w http.ResponseWriter, r *http.Request, t *tool) error {
	var body client.ManagedGrants
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	if len(body.Grants) == 0 || len(body.Grants) > channel.MaxGrants {
		return plugins.Reject("bad_value", "%d grants: want 1 to %d", len(body.Grants), channel.MaxGrants)
	}
	return m.change(w, r, t, func(ctx context.Context, c *audit.Channel) (builder, error) {
		var grants []channel.Grant
		for _, g := range body.Grants {
			grant, err := m.completed(c.ID, g)
			if err != nil {
				return nil, err
			}
			grants = append(grants, grant)
		}
		return func() (*audit.Change, error) { return c.Authorize(ctx, grants) }, nil
	})
}

// completed is a grant with what its participant has asked for, where it does not say.
func (m *Mode) completed(id channel.ID, g client.ManagedGrant) (channel.Grant, error) {
	grant, err := grantOf(g)
	if err != nil {
		return grant, err
	}
	p, _, err := channel.ReadParticipant(m.host.View(), id, g.Participant)
	if err != nil {
		return grant, err
	}
	if p.Asked != nil && len(g.Rights)+len(g.Roles) == 0 {
		grant.Rights, grant.Roles = p.Asked.Rights, p.Asked.Roles
	}
	if p.Asked != nil && grant.Agreement == "" {
		grant.Agreement = p.Asked.Agreement
	}
	grant.Custody = m.custodyOf(grant, p)
	return grant, nil
}

// revoke is POST /api/v1/managed/channels/{id}/revocations.
func (m *Mode) revoke(w http.ResponseWriter, r *http.Request, t *tool) error {
	var body client.ManagedRevocation
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	if len(body.Participants) == 0 || len(body.Participants) > channel.MaxGrants {
		return plugins.Reject("bad_value", "%d participants: want 1 to %d", len(body.Participants), channel.MaxGrants)
	}
	return m.change(w, r, t, func(ctx context.Context, c *audit.Channel) (builder, error) {
		return func() (*audit.Change, error) { return c.Revoke(ctx, sorted(body.Participants), body.Reason) }, nil
	})
}

// builder makes a change, as often as it takes.
type builder func() (*audit.Change, error)

// change does what brings keys with it: made anew as long as others are faster, and followed by the keys that belong to it.
func (m *Mode) change(w http.ResponseWriter, r *http.Request, t *tool, prepare func(context.Context, *audit.Channel) (builder, error)) error {
	ctx, cancel := m.within(r)
	defer cancel()
	c, err := m.enter(ctx, r, t)
	if err != nil {
		return err
	}
	build, err := prepare(ctx, c)
	if err != nil {
		return err
	}
	last := &audit.Change{}
	state, err := c.Do(ctx, func() (change *audit.Change, err error) {
		change, err = build()
		last = change
		return change, err
	})
	if errors.Is(err, audit.ErrNoKey) && !c.Info.Rights.Has(channel.Admin) {
		return plugins.Reject("right_missing", "this needs the right admin") // what the ledger would say of an operation without keys
	}
	if err != nil {
		return err
	}
	more := withSkipped(c.ID, last)
	m.opened.keep(t, c)
	return done(w, r, state, "", more)
}
