package channel

import (
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"time"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// Header is what every operation says. Any change of an operation takes a fresh Nonce, also after a rejection.
type Header struct {
	Network  tangle.ID
	Channel  ID // not needed for NewCreate
	Actor    string
	Nonce    Nonce
	Created  tangle.Time // the actor's clock
	NotAfter tangle.Time // whole seconds; 0: an hour after Created
	After    After       // not for NewCreate
}

// NewNonce draws a nonce.
func NewNonce(random io.Reader) (n Nonce, err error) {
	_, err = io.ReadFull(random, n[:])
	return n, err
}

func (h Header) body(op Op) did.Object {
	notAfter := h.NotAfter
	if notAfter == 0 {
		notAfter = h.Created.Add(time.Hour)
	}
	return did.Object{
		"type": Type, "op": string(op), "network": h.Network.String(), "channel": h.Channel.String(), "actor": h.Actor,
		"nonce": base64.RawURLEncoding.EncodeToString(h.Nonce[:]), "created": h.Created.Std().Format(createdLayout),
		"notAfter": did.FormatTime(notAfter), "after": did.Object{"event": int64(h.After.Event), "head": h.After.Head.String()},
	}
}

// Sign makes the entry: one proof by a key in authentication of the actor.
func Sign(body did.Object, key ed25519.PrivateKey) ([]byte, error) {
	return did.Authentication.Sign(body, key)
}

// Prepare makes what a key signs that is elsewhere; Attach of did.Authentication makes the entry then.
func Prepare(body did.Object, multikey string) (did.ToSign, error) {
	return did.Authentication.Prepare(body, multikey)
}

// CreateTerms are what NewCreate says.
type CreateTerms struct {
	Access   Access
	Profile  Profile
	Settings Settings
	Grants   []Grant
	Epoch    *Epoch // of a private channel
	Keys     []Keys // of epoch 0, of a hidden one
}

// NewCreate is the unsigned operation that makes a channel; its id is NewID of network, actor and nonce.
func NewCreate(h Header, t CreateTerms) did.Object {
	h.Channel = NewID(h.Network, h.Actor, h.Nonce)
	b := h.body(Create)
	delete(b, "after")
	t.Settings.addTo(b)
	b["access"], b["profile"] = string(t.Access), string(t.Profile)
	if len(t.Grants) > 0 {
		b["grants"] = objects(t.Grants, Grant.object)
	}
	addKeys(b, t.Epoch, t.Keys)
	return b
}

// NewConfigure changes settings.
func NewConfigure(h Header, s Settings) did.Object {
	b, set := h.body(Configure), did.Object{}
	s.addTo(set)
	b["set"] = set
	return b
}

// NewRequest asks for rights. enclosure is made by SealEnclosure, one for each admin; nil: none.
func NewRequest(h Header, asked Asked, enclosure []did.Object) did.Object {
	b := h.body(Request)
	b["rights"] = words(asked.Rights.Names())
	if len(asked.Roles) > 0 {
		b["roles"] = words(asked.Roles)
	}
	addText(b, "custody", string(asked.Custody))
	addText(b, "agreement", asked.Agreement)
	if len(enclosure) > 0 {
		b["enclosure"] = objects(enclosure, func(o did.Object) did.Object { return o })
	}
	return b
}

// NewAuthorize gives grants, with keys of epochs that are open, or with an epoch.
func NewAuthorize(h Header, grants []Grant, keys []Keys, epoch *Epoch) did.Object {
	b := h.body(Authorize)
	b["grants"] = objects(grants, Grant.object)
	addKeys(b, epoch, keys)
	return b
}

// NewReject turns requests down.
func NewReject(h Header, participants []string, reason string) did.Object {
	b := h.body(Reject)
	b["participants"] = words(participants)
	addText(b, "reason", reason)
	return b
}

// NewRevoke takes rights; epoch is needed if a reader of a private channel goes.
func NewRevoke(h Header, participants []string, reason string, epoch *Epoch) did.Object {
	b := h.body(Revoke)
	b["participants"] = words(participants)
	addText(b, "reason", reason)
	addKeys(b, epoch, nil)
	return b
}

// NewLeave ends the actor's own subscription or request.
func NewLeave(h Header) did.Object { return h.body(Leave) }

// NewRekey opens an epoch.
func NewRekey(h Header, reason string, epoch *Epoch) did.Object {
	b := h.body(Rekey)
	addText(b, "reason", reason)
	addKeys(b, epoch, nil)
	return b
}

// NewKeyload adds wraps.
func NewKeyload(h Header, keys []Keys) did.Object {
	b := h.body(Keyload)
	addKeys(b, nil, keys)
	return b
}

// RecordTerms are what a write says beside its body. Zero members are not there.
type RecordTerms struct {
	RecordType string
	Tag        string
	Topic      *Topic
	Public     did.Object
	Supersedes uint64
}

// NewWrite is a write without a body: whole if it has a public part, else for Seal and SealBlob.
func NewWrite(h Header, t RecordTerms) did.Object {
	b := h.body(Write)
	addText(b, "recordType", t.RecordType)
	addText(b, "tag", t.Tag)
	if t.Topic != nil {
		b["topic"] = t.Topic.object()
	}
	if t.Public != nil {
		b["public"] = t.Public
	}
	if t.Supersedes != 0 {
		b["supersedes"] = int64(t.Supersedes)
	}
	return b
}

// NewLock locks and unlocks; until is for Until.
func NewLock(h Header, lock LockMode, until tangle.Time) did.Object {
	b := h.body(Lock)
	b["lock"] = string(lock)
	if lock == Until {
		b["until"] = did.FormatTime(until)
	}
	return b
}

// NewErase puts a tombstone on a record.
func NewErase(h Header, seq uint64, reason string) did.Object {
	b := h.body(Erase)
	b["seq"], b["reason"] = int64(seq), reason
	return b
}

func addText(b did.Object, name, value string) {
	if value != "" {
		b[name] = value
	}
}

func addKeys(b did.Object, epoch *Epoch, keys []Keys) {
	if epoch != nil {
		b["epoch"] = epoch.object()
	}
	if len(keys) > 0 {
		b["keys"] = objects(keys, func(k Keys) did.Object {
			return did.Object{"number": int64(k.Number), "wraps": objects(k.Wraps, Wrap.object)}
		})
	}
}

func (e *Epoch) object() did.Object {
	o := did.Object{
		"number": int64(e.Number), "commit": tangle.Hash(e.Commit).String(), "publicKey": base64.RawURLEncoding.EncodeToString(e.PublicKey[:]),
		"wraps": objects(e.Wraps, Wrap.object),
	}
	if e.Previous != nil {
		o["previous"] = base64.RawURLEncoding.EncodeToString(e.Previous)
	}
	return o
}

func (w Wrap) object() did.Object {
	return did.Object{"to": w.To, "ct": base64.RawURLEncoding.EncodeToString(w.Ciphertext)}
}

func (t Topic) object() did.Object { return did.Object{"type": t.Type, "source": t.Source} }

func (g Grant) object() did.Object {
	o := did.Object{"participant": g.Participant, "rights": words(g.Rights.Names())}
	if len(g.Roles) > 0 {
		o["roles"] = words(g.Roles)
	}
	if len(g.Tags) > 0 {
		o["tags"] = words(g.Tags)
	}
	if g.ValidFrom != 0 {
		o["validFrom"] = did.FormatTime(g.ValidFrom)
	}
	if g.ValidUntil != 0 {
		o["validUntil"] = did.FormatTime(g.ValidUntil)
	}
	if g.MaxRecords != 0 {
		o["maxRecords"] = g.MaxRecords
	}
	addText(o, "custody", string(g.Custody))
	addText(o, "agreement", g.Agreement)
	return o
}

func (r Role) object() did.Object {
	o := did.Object{"rights": words(r.Rights.Names())}
	if len(r.Tags) > 0 {
		o["tags"] = words(r.Tags)
	}
	return o
}

// addTo puts in what is said.
func (s Settings) addTo(b did.Object) {
	add(b, "name", s.Name)
	add(b, "description", s.Description)
	add(b, "status", s.Status)
	add(b, "sealedProfile", s.SealedProfile)
	add(b, "hidden", s.Hidden)
	add(b, "archived", s.Archived)
	add(b, "graceSeconds", s.GraceSeconds)
	add(b, "retentionDays", s.RetentionDays)
	add(b, "owner", s.Owner)
	add(b, "history", (*string)(s.History))
	add(b, "custody", (*string)(s.Custody))
	if s.Topics != nil {
		b["topics"] = objects(*s.Topics, Topic.object)
	}
	if s.Tags != nil {
		b["tags"] = words(*s.Tags)
	}
	if s.Roles != nil {
		roles := did.Object{}
		for name, r := range *s.Roles {
			roles[name] = r.object()
		}
		b["roles"] = roles
	}
}

func add[T any](b did.Object, name string, value *T) {
	if value != nil {
		b[name] = *value
	}
}

// words and objects are lists as JSON values.
func words(list []string) []any {
	items := make([]any, 0, len(list))
	for _, s := range list {
		items = append(items, s)
	}
	return items
}

func objects[T any](list []T, object func(T) did.Object) []any {
	items := make([]any, 0, len(list))
	for _, v := range list {
		items = append(items, object(v))
	}
	return items
}
