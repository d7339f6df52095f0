package identity

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

// Bounds of a profile.
const (
	MaxUsername    = 64
	MaxProfileType = did.MaxSubjectType
	MaxClaims      = 16 << 10 // bytes
)

// profile is what a node keeps about a DID beside the ledger: it can be erased, and then it is gone.
type profile struct {
	Username string          `json:"username,omitempty"`
	Type     string          `json:"type,omitempty"`
	Claims   json.RawMessage `json:"claims,omitempty"`
	Hidden   bool            `json:"hidden,omitempty"` // from all but the DID itself and admins
	Created  time.Time       `json:"created"`
}

// profiles changes profiles one after the other, so that a name belongs to one DID.
type profiles struct {
	*identity
	mu sync.Mutex // guards the records of profiles and user names
}

func (x *identity) profileRoutes() []plugins.Route {
	p := &profiles{identity: x}
	scope := plugins.ScopeIdentitiesRead
	return []plugins.Route{
		rest.Token(http.MethodGet, "/identities", scope, x.listIdentities, rest.PageQuery("type", "q", "createdAfter", "key")...),
		rest.Token(http.MethodGet, "/identities/{did}", scope, x.readIdentity),
		rest.Token(http.MethodPatch, "/identities/{did}/profile", scope, p.change),
		rest.Token(http.MethodDelete, "/identities/{did}/profile", scope, p.erase),
	}
}

// identityView is a DID with its profile.
type identityView struct {
	DID         string          `json:"did"`
	Username    string          `json:"username,omitempty"`
	Type        string          `json:"type,omitempty"`
	Claims      json.RawMessage `json:"claims,omitempty"`
	Hidden      bool            `json:"hidden,omitempty"`
	Created     string          `json:"createdAt,omitempty"`
	VersionID   string          `json:"versionId,omitempty"`
	Deactivated bool            `json:"deactivated,omitempty"`

	created time.Time
	cursor  string
}

// sees says whether a caller may know of a hidden profile.
func sees(c plugins.Caller, id string) bool { return c.DID == id || c.May(plugins.ScopeAdmin) }

// changes says whether a caller may change what this node keeps for a DID: an API key that reads with its rights may not.
func changes(c plugins.Caller, id string) bool { return c.Is(id) || c.May(plugins.ScopeAdmin) }

// viewOf is a DID as a caller may see it; visible is false if the profile is hidden from them.
func (x *identity) viewOf(c plugins.Caller, id string) (v identityView, visible, found bool, err error) {
	v.DID = id
	if d, parseErr := did.Parse(id); parseErr == nil {
		if found, err = x.addLedger(d, &v); err != nil {
			return v, false, false, err
		}
	}
	var p profile
	_, has, err := x.records.get(sortProfile, id, &p)
	if err != nil {
		return v, false, false, err
	}
	visible = !p.Hidden || sees(c, id)
	if has && visible {
		v.Username, v.Claims, v.Hidden = p.Username, p.Claims, p.Hidden
		v.Type = cmp.Or(p.Type, v.Type)
		if !found {
			v.created, v.Created = p.Created, p.Created.UTC().Format(time.RFC3339)
		}
		found = true
	}
	return v, visible, found, nil
}

// addLedger adds what the ledger says of a DID; false if it does not know it.
func (x *identity) addLedger(d did.DID, v *identityView) (bool, error) {
	head, found, err := did.ReadHead(x.host.View(), d)
	if err != nil || !found {
		return false, err
	}
	first, op, err := did.ReadOperation(x.host.View(), d, 1)
	if err != nil {
		x.damaged(err)
		return false, err
	}
	v.created, v.Created = first.Time.Std(), first.Time.String()
	v.VersionID, v.Deactivated, v.Type = head.VersionID(), head.Deactivated, op.Params.SubjectType
	return true, nil
}

// readIdentity is GET /api/v1/identities/{did}.
func (x *identity) readIdentity(w http.ResponseWriter, r *http.Request) error {
	v, _, found, err := x.viewOf(plugins.CallerOf(r.Context()), r.PathValue("did"))
	if err != nil {
		return err
	}
	if !found {
		return plugins.Reject("unknown_did", "this node knows nothing of it")
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, v)
}

// MaxListed bounds the DIDs looked at for one page of a list: a filter that rest.Fits few of many gives a short page with a
// cursor.
const MaxListed = 10_000

// The two parts of the list: DIDs of the ledger in the order of their creation, then those that have only a profile here.
const (
	listLedger  = 'l'
	listProfile = 'p'
)

// listHolders is GET /api/v1/identities?key=: the DIDs whose documents have or had a key, which is what an operator asks
// who hears that it was stolen.
func (x *identity) listHolders(w http.ResponseWriter, r *http.Request, key string) error {
	if _, err := did.ParseMultikey(key); err != nil {
		return plugins.Reject("bad_parameter", "key: want a multikey")
	}
	items := []identityView{}
	for _, scid := range holders(x.host.IndexView(), key, rest.MaxPage) {
		v, visible, found, err := x.viewOf(plugins.CallerOf(r.Context()), "did:"+did.MethodName+":"+x.label()+":"+scid)
		if err != nil {
			return err
		}
		if visible && found {
			items = append(items, v)
		}
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, rest.List[identityView]{Items: items})
}

// listIdentities is GET /api/v1/identities.
func (x *identity) listIdentities(w http.ResponseWriter, r *http.Request) error {
	if key := r.URL.Query().Get("key"); key != "" {
		return x.listHolders(w, r, key)
	}
	q, err := readListQuery(r)
	if err != nil {
		return err
	}
	if q.After != "" && q.After[0] != listLedger && q.After[0] != listProfile {
		return plugins.Reject("bad_cursor", "this is no cursor that a list gave")
	}
	l := identityList{identity: x, query: q, caller: plugins.CallerOf(r.Context()), left: MaxListed}
	if q.After == "" || q.After[0] == listLedger {
		l.fromLedger(strings.TrimPrefix(q.After, string(listLedger)))
		q.After = ""
	}
	l.fromProfiles(strings.TrimPrefix(q.After, string(listProfile)))
	if l.err != nil {
		return l.err
	}
	rest.NoStore(w)
	a := rest.PageOf(l.items, q.Page, func(v identityView) string { return v.cursor })
	if l.left <= 0 && a.Next == nil {
		a.Next = rest.Cursor(l.last)
	}
	return rest.Answer(w, http.StatusOK, a)
}

// identityList collects one page and one item more.
type identityList struct {
	*identity
	query  listQuery
	caller plugins.Caller
	left   int    // to look at
	last   string // cursor of what was looked at last
	items  []identityView
	err    error
}

// goesOn says whether to look at more.
func (l *identityList) goesOn() bool {
	return l.err == nil && l.left > 0 && len(l.items) <= l.query.Limit
}

func (l *identityList) fromLedger(after string) {
	place := []byte(after)
	for l.goesOn() {
		batch := created(l.host.IndexView(), place, rest.MaxPage)
		for _, one := range batch {
			place = one.place
			if l.add(l.didOf(one.scid), string(listLedger)+string(place)); !l.goesOn() {
				return
			}
		}
		if len(batch) < rest.MaxPage {
			return
		}
	}
}

func (l *identityList) didOf(scid string) string {
	return "did:" + did.MethodName + ":" + l.label() + ":" + scid
}

func (l *identityList) fromProfiles(after string) {
	if !l.goesOn() {
		return
	}
	l.records.each(sortProfile, "", after, func(id string, _ record) bool {
		if _, err := did.Parse(id); err != nil { // else it was in the ledger's part
			l.add(id, string(listProfile)+id)
		}
		return l.goesOn()
	})
}

func (l *identityList) add(id, cursor string) {
	l.left--
	l.last = cursor
	v, visible, found, err := l.viewOf(l.caller, id)
	if err != nil {
		l.err = err
		return
	}
	if v.cursor = cursor; found && visible && l.query.takes(v) {
		l.items = append(l.items, v)
	}
}

// profileBody is what a PATCH may hold: what is absent stays.
type profileBody struct {
	Username string          `json:"username"`
	Type     string          `json:"type"`
	Claims   json.RawMessage `json:"claims"` // null: none
	Hidden   bool            `json:"hidden"`
}

// change is PATCH /api/v1/identities/{did}/profile.
func (p *profiles) change(w http.ResponseWriter, r *http.Request) error {
	id, err := p.mayChange(r)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var old profile
	if _, _, err := p.records.get(sortProfile, id, &old); err != nil {
		return err
	}
	next := old
	if next.Created.IsZero() {
		next.Created = p.now()
	}
	if err := p.readChange(r, id, &next); err != nil {
		return err
	}
	if err := p.write(id, old, next); err != nil {
		return err
	}
	v, _, _, err := p.viewOf(plugins.CallerOf(r.Context()), id)
	if err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, v)
}

// mayChange lets the DID itself and admins through.
func (p *profiles) mayChange(r *http.Request) (string, error) {
	id, c := r.PathValue("did"), plugins.CallerOf(r.Context())
	if !changes(c, id) {
		if _, _, found, err := p.viewOf(c, id); err != nil || !found {
			return id, firstOf(err, plugins.Reject("unknown_did", "this node knows nothing of it"))
		}
		return id, plugins.Reject("forbidden", "a profile is its DID's own: log in with it")
	}
	if _, err := did.Parse(id); err == nil {
		_, _, err := p.pathDID(r)
		return id, err
	}
	if result := did.Resolve(p.host.View(), id, did.Options{}); result.Error != nil {
		return id, plugins.Reject("unknown_did", "%s", result.Error.Detail)
	}
	return id, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readChange reads the body over a profile.
func (p *profiles) readChange(r *http.Request, id string, next *profile) error {
	body := profileBody{next.Username, next.Type, next.Claims, next.Hidden}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	if string(body.Claims) == "null" {
		body.Claims = nil
	}
	next.Username, next.Type, next.Claims, next.Hidden = body.Username, body.Type, body.Claims, body.Hidden
	if err := checkUsername(next.Username); err != nil {
		return err
	}
	if len(next.Type) > MaxProfileType {
		return plugins.Reject("bad_value", "type: at most %d bytes", MaxProfileType)
	}
	return p.checkClaims(id, next.Type, next.Claims)
}

// checkUsername wants a name that looks like no other: letters, digits, dot, dash and underscore of ASCII.
func checkUsername(name string) error {
	if len(name) > MaxUsername {
		return plugins.Reject("bad_value", "username: at most %d characters", MaxUsername)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("._-", c) < 0 {
			return plugins.Reject("bad_value", "username: letters, digits, dot, dash, underscore")
		}
	}
	return nil
}

// checkClaims holds claims against the JSON schema of the type, if there is one. Claims say nothing of an id.
func (p *profiles) checkClaims(id, kind string, claims json.RawMessage) error {
	if claims == nil {
		return nil
	}
	o, err := did.DecodeObject(claims, did.JSONLimits{MaxBytes: MaxClaims, MaxDepth: 16})
	if err != nil {
		return err
	}
	schema, known, err := p.claimSchema(kind)
	if err != nil || !known {
		return err
	}
	o["id"] = id // as a credential has it
	if err := vc.ValidateSchema("urn:weft:template:"+kind, schema, o); err != nil {
		return plugins.Reject("bad_value", "claims: %s", detailOf(err))
	}
	return nil
}

// write keeps a profile and its name, or neither.
func (p *profiles) write(id string, old, next profile) error {
	name, before := strings.ToLower(next.Username), strings.ToLower(old.Username)
	var owner string
	if name != "" {
		if _, taken, err := p.records.get(sortUsername, name, &owner); err != nil || taken && owner != id {
			return firstOf(err, plugins.Reject("username_taken", "another DID of this node has that name"))
		}
	}
	writes, err := p.records.writes(sortProfile, id, id, time.Time{}, next)
	if err != nil {
		return err
	}
	if before != "" && before != name {
		writes = append(writes, plugins.Write{Key: sortUsername.key(before)})
	}
	if name != "" {
		more, err := p.records.writes(sortUsername, name, id, time.Time{}, id)
		if err != nil {
			return err
		}
		writes = append(writes, more...)
	}
	return p.records.local.Write(writes...)
}

// erase is DELETE /api/v1/identities/{did}/profile. What was never there is gone as well.
func (p *profiles) erase(w http.ResponseWriter, r *http.Request) error {
	id, c := r.PathValue("did"), plugins.CallerOf(r.Context())
	if !changes(c, id) {
		_, err := p.mayChange(r)
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var old profile
	if _, _, err := p.records.get(sortProfile, id, &old); err != nil {
		return err
	}
	writes := []plugins.Write{{Key: sortProfile.key(id)}}
	if old.Username != "" {
		writes = append(writes, plugins.Write{Key: sortUsername.key(strings.ToLower(old.Username))})
	}
	if err := p.records.local.Write(writes...); err != nil {
		return err
	}
	return rest.None(w)
}

// claimSchema is what the template that a type names asks of the subject of its credentials: claims are what such a
// credential would say. A type without a template takes any claims.
func (x *identity) claimSchema(kind string) (schema []byte, known bool, err error) {
	t, err := x.template(kind, 0)
	if r := plugins.Rejected(err); r != nil && r.Code == "not_found" {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	whole, err := did.DecodeObject(t.Schema, did.JSONLimits{})
	if err != nil {
		return nil, false, err
	}
	members, _ := whole["properties"].(did.Object)
	subject, known := members["credentialSubject"].(did.Object)
	if !known {
		return nil, false, nil
	}
	if whole["$defs"] != nil {
		subject["$defs"] = whole["$defs"]
	}
	schema, err = json.Marshal(subject)
	return schema, true, err
}
