package streams

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// draftIntent is what a caller wants of a channel. Fields are the operation's own (channels.md, section 2).
type draftIntent struct {
	Op       string          `json:"op"`
	Actor    string          `json:"actor"` // empty: the caller
	Fields   json.RawMessage `json:"fields"`
	NotAfter string          `json:"notAfter"` // empty: in an hour
	Signers  []string        `json:"signers"`  // multikeys that could sign; empty: those of the actor's authentication
}

// draftAnswer is an unsigned operation with what a key signs. Epoch and publicKey are those to seal a record under: the node
// cannot seal, and a write without a body becomes whole at the client.
type draftAnswer struct {
	Channel   channel.ID  `json:"channel"`
	Operation did.Object  `json:"operation"`
	OpHash    string      `json:"opHash"`
	ToSign    []draftSign `json:"toSign"`
	Summary   string      `json:"summary"`
	Epoch     uint32      `json:"epoch,omitempty"`
	PublicKey string      `json:"publicKey,omitempty"`
}

type draftSign struct {
	Proof    did.Object `json:"proof"`
	HashData string     `json:"hashData"`
}

// draftFields is the JSON bound of an intent's fields.
func draftFields() did.JSONLimits {
	return did.JSONLimits{MaxBytes: channel.MaxOperationBytes, MaxDepth: channel.MaxDepth}
}

// draft is POST /api/v1/channels/{id}/drafts. Nothing is stored, and nothing secret goes in or out.
func (s *streams) draft(w http.ResponseWriter, r *http.Request) error {
	x, err := s.open(r)
	if err != nil {
		return err
	}
	var intent draftIntent
	if err := rest.Read(r, &intent); err != nil {
		return err
	}
	body, err := s.build(x, intent)
	if err != nil {
		return err
	}
	a := draftAnswer{Channel: x.ID, Operation: body, Epoch: x.head.Epoch}
	if a.OpHash, err = did.OpHash(body); err != nil {
		return err
	}
	if a.ToSign, err = s.toSign(body, intent.Signers); err != nil {
		return err
	}
	a.Summary = fmt.Sprintf("%s in channel %s as %s, behind event %d; void after %s", intent.Op, x.ID.String()[:16], body["actor"], x.head.Event, body["notAfter"])
	if epochs, err := channel.Epochs(s.state(), x.ID, x.head.Epoch, 1); err == nil && len(epochs) == 1 && x.head.Epoch > 0 {
		a.PublicKey = encode(epochs[0].PublicKey[:])
	}
	return answer(w, http.StatusOK, a)
}

// build fills in what every operation says.
func (s *streams) build(x *reader, intent draftIntent) (did.Object, error) {
	if op := channel.Op(intent.Op); op == channel.Create || !slices.Contains(channel.Ops(), op) {
		return nil, plugins.Reject("bad_value", "op: %.40q cannot be drafted in a channel", intent.Op)
	}
	body := did.Object{}
	if len(intent.Fields) > 0 {
		fields, err := did.DecodeObject(intent.Fields, draftFields())
		if err != nil {
			return nil, err
		}
		body = fields
	}
	now := s.now().UTC()
	until := now.Add(time.Hour).Truncate(time.Second)
	if intent.NotAfter != "" {
		t, err := time.Parse("2006-01-02T15:04:05Z", intent.NotAfter)
		if err != nil {
			return nil, plugins.Reject("bad_value", "notAfter: want a time such as 2026-11-22T18:00:00Z")
		}
		until = t
	}
	nonce, err := channel.NewNonce(rand.Reader)
	if err != nil {
		return nil, err
	}
	actor := intent.Actor
	if actor == "" {
		actor = x.did
	}
	event, head := s.seen(x)
	for name, value := range map[string]any{
		"type": channel.Type, "op": intent.Op, "network": s.host.Network.String(), "channel": x.ID.String(), "actor": actor, "nonce": encode(nonce[:]),
		"created": now.Format("2006-01-02T15:04:05.000Z"), "notAfter": until.Format("2006-01-02T15:04:05Z"),
		"after": did.Object{"event": json.Number(fmt.Sprint(event)), "head": head.String()},
	} {
		if _, given := body[name]; given {
			return nil, plugins.Reject("bad_value", "fields: %s is filled in by the node", name)
		}
		body[name] = value
	}
	return body, nil
}

// seen is what the caller may say that it has seen: whoever may not read has seen nothing but the start.
func (s *streams) seen(x *reader) (uint64, tangle.Hash) {
	if x.reads() != nil {
		return 0, channel.FirstHead(x.ID)
	}
	return x.head.Event, x.head.Hash
}

// toSign is what each key would sign; one of them does.
func (s *streams) toSign(body did.Object, signers []string) ([]draftSign, error) {
	actor, _ := body["actor"].(string)
	if len(signers) == 0 {
		signers = s.authentication(actor)
	}
	list := []draftSign{}
	for _, key := range signers {
		t, err := channel.Prepare(body, key)
		if err != nil {
			return nil, err
		}
		list = append(list, draftSign{t.Proof, encode(t.HashData)})
	}
	return list, nil
}

// authentication are the Ed25519 keys that stand for an actor.
func (s *streams) authentication(actor string) (keys []string) {
	if key, ok := strings.CutPrefix(actor, "did:key:"); ok {
		return []string{key}
	}
	doc := did.Resolve(s.identity(), actor, did.Options{}).Document
	references, _ := doc[string(did.Authentication)].([]any)
	for _, reference := range references {
		url, _ := reference.(string)
		if m, err := did.Lookup(s.identity(), url, did.Authentication, 0); err == nil && m.Key.Type == "Ed25519" {
			keys = append(keys, m.Key.Multikey())
		}
	}
	return keys
}
