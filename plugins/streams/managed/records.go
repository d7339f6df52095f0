package managed

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"weft/client"
	"weft/client/audit"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// write is POST /api/v1/managed/channels/{id}/records.
func (m *Mode) write(w http.ResponseWriter, r *http.Request, t *tool) error {
	if r.Header.Get("Idempotency-Key") == "" {
		return plugins.Reject("bad_parameter", "the header Idempotency-Key is missing: without it a request that is sent again is a second record")
	}
	wait, err := readWait(r)
	if err != nil {
		return err
	}
	var body client.ManagedRecord
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	record, err := recordOf(body)
	if err != nil {
		return err
	}
	ctx, cancel := m.within(r)
	defer cancel()
	c, err := m.enter(ctx, r, t)
	if err == nil {
		err = m.settle(ctx, c)
	}
	if err != nil {
		return err
	}
	written, err := put(ctx, c, record, wait)
	if err != nil {
		return err
	}
	more := map[string]any{"channel": c.ID}
	if record.Body {
		more["contentHash"] = written.ContentHash
	}
	at := ""
	if seq := written.Result.Seq; seq > 0 {
		more["seq"], at = seq, "/api/v1/managed/channels/"+c.ID.String()+"/records/"+strconv.FormatUint(seq, 10)
	}
	m.opened.keep(t, c)
	return done(w, r, written.Operated, at, more)
}

// put writes a record: beside the ledger if it is large, or the channel public.
func put(ctx context.Context, c *audit.Channel, record audit.Record, wait time.Duration) (audit.Written, error) {
	payload := record.Payload
	if !record.Body || c.Info.Access == channel.Private && len(payload) <= channel.MaxInlinePayload {
		return c.Write(ctx, record, wait)
	}
	forget := func(*audit.Upload, error) error { return nil } // an upload that breaks off begins anew
	return c.WriteDetached(ctx, record, nil, bytes.NewReader(payload), int64(len(payload)), wait, forget, nil)
}

// recordOf reads a record in clear.
func recordOf(b client.ManagedRecord) (record audit.Record, err error) {
	record.Terms = channel.RecordTerms{RecordType: b.RecordType, Tag: b.Tag, Topic: b.Topic, Supersedes: b.Supersedes}
	if b.Public != nil {
		if record.Terms.Public, err = objectOf("public", b.Public, channel.MaxPublicPublic); err != nil {
			return record, err
		}
	}
	var kind string
	record.Payload, kind, record.Body, err = contentOf(b.Text, b.JSON, b.Bytes)
	if err != nil {
		return record, err
	}
	record.Meta = did.Object{}
	if b.Meta != nil {
		if record.Meta, err = objectOf("meta", b.Meta, channel.MaxMeta); err != nil {
			return record, err
		}
	}
	_, twice := record.Meta["mediaType"]
	switch {
	case !record.Body && (b.Meta != nil || b.MediaType != ""):
		return record, plugins.Reject("bad_value", "meta and mediaType are sealed beside content, and there is none: want text, json or bytes")
	case twice:
		return record, plugins.Reject("bad_value", "meta: the media type goes into mediaType")
	case b.MediaType != "":
		kind = b.MediaType
	}
	if _, _, err := mime.ParseMediaType(kind); record.Body && err != nil {
		return record, plugins.Reject("bad_value", "mediaType: want one such as text/plain")
	}
	record.Meta["mediaType"] = kind
	return record, nil
}

func objectOf(name string, raw json.RawMessage, most int) (did.Object, error) {
	o, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: most, MaxDepth: channel.MaxDepth})
	if r := plugins.Rejected(err); r != nil {
		return nil, plugins.Reject(r.Code, "%s: %s", name, r.Detail)
	}
	return o, err
}

// contentOf is content in one of its three forms, with its usual media type; is is false if there is none.
func contentOf(text *string, value json.RawMessage, encoded *string) (payload []byte, kind string, is bool, err error) {
	forms := 0
	if text != nil {
		payload, kind, forms = []byte(*text), "text/plain", forms+1
	}
	if value != nil {
		payload, kind, forms = compact(value), "application/json", forms+1
	}
	if encoded != nil {
		if payload, err = decodeBase64(*encoded); err != nil {
			return nil, "", false, err
		}
		kind, forms = "application/octet-stream", forms+1
	}
	switch {
	case forms > 1:
		return nil, "", false, plugins.Reject("bad_value", "content is one of text, json and bytes")
	case len(payload) > MaxPayload:
		return nil, "", false, plugins.Reject("too_large", "content of %d bytes: at most %d go through managed mode; a client with keys of its own writes up to 1 GiB", len(payload), MaxPayload)
	}
	return payload, kind, forms == 1, nil
}

// compact is JSON without white space between its parts: the same value written by the same program is the same content.
func compact(value []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, value) != nil {
		return value // it is no JSON, which nobody calls so then
	}
	return b.Bytes()
}

// decodeBase64 takes both alphabets, with or without padding: simple tools know one of them.
func decodeBase64(text string) ([]byte, error) {
	plain := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	b, err := base64.RawURLEncoding.DecodeString(plain)
	if err != nil {
		return nil, plugins.Reject("bad_value", "bytes: want base64url")
	}
	return b, nil
}

// page is a list of records as the channel routes give it.
type page struct {
	Items []client.ChannelRecord `json:"items"`
	Next  *string                `json:"next"`
	AsOf  json.RawMessage        `json:"asOf"`
}

// openedPage is a page in clear.
type openedPage struct {
	Items []client.ManagedEntry `json:"items"`
	Next  *string               `json:"next"`
	AsOf  json.RawMessage       `json:"asOf"`
}

// read is GET /api/v1/managed/channels/{id}/records.
func (m *Mode) read(w http.ResponseWriter, r *http.Request, t *tool) error {
	ctx, cancel := m.within(r)
	defer cancel()
	c, err := m.enter(ctx, r, t)
	if err != nil {
		return err
	}
	var sealed page
	if err := t.get(ctx, "/api/v1/channels/"+c.ID.String()+"/records", r.URL.RawQuery, &sealed); err != nil {
		return err
	}
	clear := openedPage{Items: []client.ManagedEntry{}, Next: sealed.Next, AsOf: sealed.AsOf}
	for _, record := range sealed.Items {
		clear.Items = append(clear.Items, viewEntry(c.OpenRecord(ctx, record)))
	}
	m.opened.keep(t, c)
	return rest.Answer(w, http.StatusOK, clear)
}

// readOne is GET /api/v1/managed/channels/{id}/records/{seq}, with content that lies beside the ledger.
func (m *Mode) readOne(w http.ResponseWriter, r *http.Request, t *tool) error {
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 53)
	if err != nil {
		return plugins.Reject("bad_parameter", "a record is named by its seq")
	}
	ctx, cancel := m.within(r)
	defer cancel()
	c, err := m.enter(ctx, r, t)
	if err != nil {
		return err
	}
	e, err := whole(ctx, c, seq)
	if err != nil {
		return err
	}
	m.opened.keep(t, c)
	return rest.Answer(w, http.StatusOK, viewEntry(e))
}

// whole reads a record with its content, wherever that lies.
func whole(ctx context.Context, c *audit.Channel, seq uint64) (audit.Entry, error) {
	e, err := c.Record(ctx, seq)
	if err != nil || e.Code != "detached" {
		return e, err
	}
	if e.Signed.Record.Body.Blob.Size > MaxPayload+channel.ChunkBytes {
		e.Code = "too_large"
		return e, nil
	}
	var b bytes.Buffer
	content, err := c.OpenBlob(ctx, e, &b)
	switch r := plugins.Rejected(err); {
	case r != nil:
		e.Code, e.Fault = r.Code, err
		return e, nil
	case errors.Is(err, audit.ErrNoKey):
		e.Code = "no_key"
		return e, nil
	case err != nil:
		return e, err
	}
	content.Payload = b.Bytes()
	e.Content, e.Code = &content, ""
	return e, nil
}

// viewEntry is a record in clear.
func viewEntry(e audit.Entry) client.ManagedEntry {
	v := client.ManagedEntry{
		Seq: e.Seq, Event: e.Event, Author: e.Actor, Time: e.Time, Final: e.Final, Place: e.Place, EntryHash: e.EntryHash, Head: e.Head,
		Superseded: e.Superseded, Erased: e.Erased, Code: e.Code,
	}
	if op := e.Signed; op != nil {
		created := op.Created.Std()
		v.Created, v.RecordType, v.Tag, v.Topic, v.Supersedes = &created, op.Record.RecordType, op.Record.Tag, op.Record.Topic, op.Record.Supersedes
		if public, there := op.Envelope.Body["public"]; there {
			v.Public, _ = did.Canonical(public) // it was canonical
		}
		if op.Record.Body != nil {
			v.ContentHash = &op.Record.ContentHash
		}
	}
	if e.Content != nil {
		viewContent(&v, *e.Content)
	}
	return v
}

// viewContent shows JSON as JSON, text as text, and else bytes. The media type is the author's word.
func viewContent(v *client.ManagedEntry, c channel.Content) {
	meta := map[string]json.RawMessage{}
	_ = json.Unmarshal(c.Meta, &meta) // it was canonical
	_ = json.Unmarshal(meta["mediaType"], &v.MediaType)
	if delete(meta, "mediaType"); len(meta) > 0 {
		v.Meta, _ = json.Marshal(meta)
	}
	kind, _, _ := mime.ParseMediaType(v.MediaType)
	switch {
	case kind == "application/json" && json.Valid(c.Payload):
		v.JSON = c.Payload
	case utf8.Valid(c.Payload):
		text := string(c.Payload)
		v.Text = &text
	default:
		text := base64.RawURLEncoding.EncodeToString(c.Payload)
		v.Bytes = &text
	}
}

// validate is POST /api/v1/managed/channels/{id}/validate: is this what the record says?
func (m *Mode) validate(w http.ResponseWriter, r *http.Request, t *tool) error {
	var claims []client.ManagedClaim
	if err := rest.Read(r, &claims); err != nil {
		return err
	}
	if len(claims) == 0 || len(claims) > client.MaxClaims {
		return plugins.Reject("bad_value", "%d claims: want 1 to %d", len(claims), client.MaxClaims)
	}
	ctx, cancel := m.within(r)
	defer cancel()
	c, err := m.enter(ctx, r, t)
	if err != nil {
		return err
	}
	verdicts := []client.Validated{}
	for _, claim := range claims {
		v, err := judge(ctx, c, claim)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, v)
	}
	m.opened.keep(t, c)
	return rest.Answer(w, http.StatusOK, verdicts)
}

// judge compares a claim with the ledger: by the hash, or by what opens.
func judge(ctx context.Context, c *audit.Channel, claim client.ManagedClaim) (v client.Validated, err error) {
	payload, _, clear, err := contentOf(claim.Text, claim.JSON, claim.Bytes)
	if err != nil {
		return v, err
	}
	if clear == (claim.ContentHash != nil) {
		return v, plugins.Reject("bad_value", "record %d: want contentHash, or one of text, json and bytes", claim.Seq)
	}
	if !clear {
		list, err := c.Validate(ctx, []client.Claim{{Seq: claim.Seq, ContentHash: *claim.ContentHash}})
		if err != nil {
			return v, err
		}
		return list[0], nil
	}
	v.Seq = claim.Seq
	e, err := whole(ctx, c, claim.Seq)
	if client.ProblemCode(err) == "unknown_record" {
		v.Code = "not_found"
		return v, nil
	}
	if err != nil {
		return v, err
	}
	at := tangle.TimeOf(e.Time).Std()
	v.Author, v.Time, v.Place, v.Code = e.Actor, &at, &e.Place, e.Code
	if e.Content != nil {
		v.Valid, v.Code = bytes.Equal(payload, e.Content.Payload), "hash_mismatch"
	}
	if v.Valid {
		v.Code = "ok"
	}
	return v, nil
}
