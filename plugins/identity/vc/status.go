package vc

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// Bounds of a status list: the standard's least size, and what an encoded list may expand to.
const (
	MinListEntries = 131072
	MaxListBytes   = 16 << 20
)

// DefaultTTL is how old a fetched list may be that does not say.
const DefaultTTL = 300 * time.Second

// Bitstring is a status list of entries of one bit. Entry 0 is the left-most bit of the first byte.
type Bitstring []byte

// NewBitstring makes a list of cleared entries; the number of entries is a multiple of 8 of at least MinListEntries.
func NewBitstring(entries int) (Bitstring, error) {
	if entries < MinListEntries || entries%8 != 0 || entries/8 > MaxListBytes {
		return nil, plugins.Reject("bad_value", "a status list has at least %d entries in whole bytes, not %d", MinListEntries, entries)
	}
	return make(Bitstring, entries/8), nil
}

// Len is the number of entries.
func (b Bitstring) Len() int { return 8 * len(b) }

// Get reads an entry; one beyond the end is not set, so ask Len first.
func (b Bitstring) Get(i uint64) bool {
	return i/8 < uint64(len(b)) && b[i/8]&(0x80>>(i%8)) != 0
}

// Set writes an entry, which must exist.
func (b Bitstring) Set(i uint64, on bool) {
	if on {
		b[i/8] |= 0x80 >> (i % 8)
	} else {
		b[i/8] &^= 0x80 >> (i % 8)
	}
}

// EncodeList is the encodedList of a list: "u" and base64url without padding of its gzip.
func EncodeList(b Bitstring) (string, error) {
	if b.Len() < MinListEntries || len(b) > MaxListBytes {
		return "", plugins.Reject("bad_value", "a status list of %d entries", b.Len())
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		return "", err
	}
	return "u" + base64.RawURLEncoding.EncodeToString(packed.Bytes()), nil
}

// errShortList is a list below the standard's least size, which has a problem type of its own.
var errShortList = errors.New("status list is too short")

// DecodeList reads an encodedList. It expands at most MaxListBytes whatever the text claims to hold.
func DecodeList(text string) (Bitstring, error) {
	if len(text) < 2 || text[0] != 'u' {
		return nil, plugins.Reject("bad_value", "encodedList is not multibase base64url")
	}
	packed, err := base64.RawURLEncoding.Strict().DecodeString(text[1:])
	if err != nil {
		return nil, plugins.Reject("bad_value", "encodedList is not base64url without padding")
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, plugins.Reject("bad_value", "encodedList is not gzip")
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxListBytes+1))
	switch {
	case err != nil:
		return nil, plugins.Reject("bad_value", "encodedList does not expand")
	case len(b) > MaxListBytes:
		return nil, plugins.Reject("too_large", "encodedList expands to more than %d bytes", MaxListBytes)
	case 8*len(b) < MinListEntries:
		return nil, fmt.Errorf("%w: %d entries of at least %d", errShortList, 8*len(b), MinListEntries)
	}
	return b, nil
}

// StatusEntry is a credential's entry in credentialStatus, one for each purpose. Its id is the list's URL with the index as
// fragment: the entry's own, as the standard wants, not the list's.
func StatusEntry(list, purpose string, index uint64) did.Object {
	number := strconv.FormatUint(index, 10)
	return did.Object{"id": list + "#" + number, "type": typeStatusEntry, "statusPurpose": purpose, "statusListIndex": number, "statusListCredential": list}
}

// ListOptions describe a status list credential.
type ListOptions struct {
	ID         string // the URL where it is served
	Issuer     string
	Purpose    string
	ValidFrom  time.Time
	ValidUntil time.Time     // zero: none
	TTL        time.Duration // zero: DefaultTTL
}

// ListCredential makes the unsigned credential that carries a list.
func ListCredential(o ListOptions, list Bitstring) (did.Object, error) {
	encoded, err := EncodeList(list)
	if err != nil {
		return nil, err
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	doc := did.Object{
		"@context": []any{ContextV2}, "id": o.ID, "type": []any{typeCredential, typeListCredential}, "issuer": o.Issuer, "validFrom": formatTime(o.ValidFrom),
		"credentialSubject": did.Object{"id": o.ID + "#list", "type": typeList, "statusPurpose": o.Purpose, "encodedList": encoded, "ttl": json.Number(strconv.FormatInt(o.TTL.Milliseconds(), 10))},
	}
	if !o.ValidUntil.IsZero() {
		doc["validUntil"] = formatTime(o.ValidUntil)
	}
	return doc, CheckCredential(doc)
}

// StatusRef asks for the status of one credential, of one purpose.
type StatusRef struct {
	List    string // URL of the list credential
	Index   uint64
	Purpose string
	Issuer  string // of the credential
}

// StatusAnswer is what is known of a status entry: read from the ledger's state, or the credential of a fetched list, which
// the verifier then judges itself.
type StatusAnswer struct {
	Source     string    // "ledger" or "list"
	List       string    // id, for the report
	Issuer     string    // ledger: who made the list
	Authorised bool      // the list's issuer may keep lists for the credential's issuer, though it is another
	Purposes   []string  // ledger
	Entries    uint64    // ledger: size of the list
	Set        bool      // ledger: the bit
	Position   uint64    // ledger: of the operation that set it last
	AsOf       time.Time // ledger: commit time of the state; list: when it was fetched; zero: now
	Credential []byte    // list: as fetched
}

// checkStatus looks at every entry of credentialStatus. The first that fails is the finding.
func (v *verification) checkStatus() {
	entries := objects(v.doc["credentialStatus"])
	if len(entries) == 0 {
		return
	}
	var facts map[string]any
	for _, entry := range entries {
		var why *fault
		if why, facts = v.checkStatusEntry(entry); why != nil {
			why.facts = facts
			v.found.fail(CheckStatus, why)
			return
		}
	}
	v.found.pass(CheckStatus, facts)
}

func (v *verification) checkStatusEntry(entry did.Object) (*fault, map[string]any) {
	if !slices.Contains(stringsOf(entry["type"]), typeStatusEntry) {
		return statusFault("unavailable", problemStatusFetch, "status of type %v is not known here", entry["type"]), nil
	}
	index, err := strconv.ParseUint(textOf(entry["statusListIndex"]), 10, 63)
	if err != nil {
		return statusFault("bad_index", problemRange, "statusListIndex is not a number in a string"), nil
	}
	ref := StatusRef{List: textOf(entry["statusListCredential"]), Index: index, Purpose: textOf(entry["statusPurpose"]), Issuer: v.issuer}
	facts := map[string]any{"list": ref.List, "index": ref.Index, "purpose": ref.Purpose}
	if size, given := entry["statusSize"]; given && fmt.Sprint(size) != "1" {
		return statusFault("unavailable", problemStatusFetch, "statusSize %v is not supported", size), facts
	}
	if v.config.Status == nil {
		return statusFault("unavailable", problemStatusFetch, "no status lists are read here"), facts
	}
	answer, err := v.config.Status(ref)
	if err != nil {
		return statusFault("unavailable", problemStatusFetch, "%v", err), facts
	}
	if answer.Credential != nil {
		if why := v.readList(&answer, ref); why != nil {
			return why, facts
		}
	}
	describe(facts, answer)
	return v.judgeStatus(ref, answer), facts
}

func statusFault(code, problem, format string, args ...any) *fault {
	return &fault{code: code, problem: problem, reason: fmt.Sprintf(format, args...)}
}

func describe(facts map[string]any, a StatusAnswer) {
	if a.Source != "" {
		facts["source"] = a.Source
	}
	if a.List != "" {
		facts["list"] = a.List
	}
	if a.Position != 0 {
		facts["position"] = a.Position
	}
}

// judgeStatus applies the rules that ledger and fetched lists share.
func (v *verification) judgeStatus(ref StatusRef, a StatusAnswer) *fault {
	switch {
	case a.Issuer != ref.Issuer && !a.Authorised:
		return statusFault("list_issuer", problemStatus, "the list is issued by %s", a.Issuer)
	case !slices.Contains(a.Purposes, ref.Purpose):
		return statusFault("purpose_mismatch", problemStatus, "the list is for %v, the entry for %s", a.Purposes, ref.Purpose)
	case ref.Index >= a.Entries:
		return statusFault("bad_index", problemRange, "index %d of a list of %d entries", ref.Index, a.Entries)
	case v.tooOld(a.AsOf):
		return statusFault("stale", problemStatusFetch, "the list is as of %s", formatTime(a.AsOf))
	}
	code := map[string]string{"revocation": "revoked", "suspension": "suspended"}[ref.Purpose]
	if a.Set && code != "" {
		return statusFault(code, problemStatus, "bit %d is set", ref.Index)
	}
	return nil // other purposes, such as "refresh", inform and do not refuse
}

func (v *verification) tooOld(asOf time.Time) bool {
	limit := time.Duration(v.options.Policy.MaxStatusAge) * time.Millisecond
	return limit > 0 && !asOf.IsZero() && v.config.Now.Sub(asOf) > limit
}

// readList verifies a fetched list credential and fills the answer from it. AsOf becomes the time it was signed.
func (v *verification) readList(a *StatusAnswer, ref StatusRef) *fault {
	fetched := a.AsOf
	list := &verification{config: v.config, options: Options{Methods: v.options.Methods, Policy: Policy{DeactivatedIssuer: v.options.Policy.DeactivatedIssuer}}, listOnly: true}
	r := list.credential(a.Credential)
	if slices.Equal(r.Failures(), []string{CheckValidity}) {
		return statusFault("stale", problemStatusFetch, "the list credential is not valid now")
	}
	if !r.Verified {
		return statusFault("unavailable", problemStatusFetch, "the list credential fails: %v", r.Failures())
	}
	subject, _ := list.doc["credentialSubject"].(did.Object)
	if !slices.Contains(stringsOf(list.doc["type"]), typeListCredential) || !slices.Contains(stringsOf(subject["type"]), typeList) {
		return statusFault("unavailable", problemStatusFetch, "what was fetched is not a %s", typeListCredential)
	}
	if id := textOf(list.doc["id"]); id != "" && id != ref.List {
		return statusFault("unavailable", problemStatusFetch, "the list credential is %s", id)
	}
	bits, err := DecodeList(textOf(subject["encodedList"]))
	switch {
	case errors.Is(err, errShortList):
		return statusFault("unavailable", problemStatusLength, "%v", err)
	case err != nil:
		return statusFault("unavailable", problemStatusFetch, "%v", err)
	}
	a.Source, a.Issuer, a.Purposes = "list", list.issuer, stringsOf(subject["statusPurpose"])
	a.Entries, a.Set, a.AsOf = uint64(bits.Len()), bits.Get(ref.Index), list.claimed
	return v.fresh(fetched, list.claimed, subject["ttl"])
}

// fresh holds a fetched list to its ttl: the copy must not be older and, if the list states one, neither its signature.
func (v *verification) fresh(fetched, signed time.Time, ttl any) *fault {
	limit := DefaultTTL
	if ms, ok := integerOf(ttl); ok && ms >= 0 {
		limit = time.Duration(min(ms, int64(24*365*time.Hour/time.Millisecond))) * time.Millisecond
		if !signed.IsZero() && v.config.Now.Sub(signed) > limit {
			return statusFault("stale", problemStatusFetch, "the list was signed at %s and lives %s", formatTime(signed), limit)
		}
	}
	if !fetched.IsZero() && v.config.Now.Sub(fetched) > limit {
		return statusFault("stale", problemStatusFetch, "the copy of the list is of %s", formatTime(fetched))
	}
	return nil
}
