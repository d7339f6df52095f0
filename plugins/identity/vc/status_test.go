package vc

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/plugins/identity/did"
)

const listURL = "https://home.example/status-lists/zQmList"

func TestBitstring(t *testing.T) {
	list, err := NewBitstring(MinListEntries)
	if err != nil {
		t.Fatal(err)
	}
	list.Set(0, true)
	list.Set(9, true)
	if list[0] != 0x80 || list[1] != 0x40 {
		t.Errorf("entries 0 and 9: got %x, want the left-most bits first", []byte(list[:2]))
	}
	list.Set(9, false)
	if list.Get(9) || !list.Get(0) || list.Get(MinListEntries) || list.Get(1<<63) {
		t.Error("Get differs from Set")
	}
	for _, entries := range []int{0, 8, MinListEntries - 8, MinListEntries + 1, 8*MaxListBytes + 8} {
		if _, err := NewBitstring(entries); err == nil {
			t.Errorf("a list of %d entries was made", entries)
		}
	}
}

func TestListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, err := NewBitstring(MinListEntries << rapid.IntRange(0, 3).Draw(t, "size"))
		if err != nil {
			t.Fatal(err)
		}
		set := rapid.SliceOf(rapid.Uint64Range(0, uint64(list.Len()-1))).Draw(t, "set")
		for _, i := range set {
			list.Set(i, true)
		}
		encoded, err := EncodeList(list)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeList(encoded)
		if err != nil || !bytes.Equal(got, list) {
			t.Fatalf("got %d bytes, %v; want the list back", len(got), err)
		}
	})
}

func packed(raw []byte) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(raw)
	w.Close()
	return "u" + base64.RawURLEncoding.EncodeToString(b.Bytes())
}

func TestDecodeListRefuses(t *testing.T) {
	good := packed(make([]byte, MinListEntries/8))
	if _, err := DecodeList(good); err != nil {
		t.Fatal(err)
	}
	for name, encoded := range map[string]string{
		"nothing": "", "prefix alone": "u", "no prefix": good[1:], "base58": "z" + good[1:], "padding": good + "=", "no gzip": "uAAAA",
		"cut": good[:len(good)-8], "bomb": packed(make([]byte, MaxListBytes+1)), "short": packed(make([]byte, MinListEntries/8-1)),
	} {
		if b, err := DecodeList(encoded); err == nil {
			t.Errorf("%s: got a list of %d bytes", name, len(b))
		}
	}
	if _, err := DecodeList(packed(make([]byte, 100))); !errors.Is(err, errShortList) {
		t.Errorf("short list: got %v", err)
	}
	if b, err := DecodeList(packed(make([]byte, MaxListBytes))); err != nil || len(b) != MaxListBytes {
		t.Errorf("largest list: got %d bytes, %v", len(b), err)
	}
}

// withStatus is a signed credential with entries of status.
func withStatus(t *testing.T, c Config, issuer party, entries ...any) []byte {
	t.Helper()
	doc := with(credentialOf(issuer.did, newParty(2).did), did.Object{"credentialStatus": entries})
	return text(t, signed(t, c, doc, issuer, proofBy(issuer)))
}

func TestLedgerStatus(t *testing.T) {
	issuer := newParty(1)
	answer := StatusAnswer{Source: "ledger", List: "zQmList", Issuer: issuer.did, Purposes: []string{"revocation"}, Entries: MinListEntries, Position: 99120}
	for _, test := range []struct {
		name   string
		change func(a *StatusAnswer)
		policy Policy
		code   string
	}{
		{"clear", func(*StatusAnswer) {}, Policy{}, ""},
		{"revoked", func(a *StatusAnswer) { a.Set = true }, Policy{}, "revoked"},
		{"another issuer", func(a *StatusAnswer) { a.Issuer = "did:example:other" }, Policy{}, "list_issuer"},
		{"another, authorised", func(a *StatusAnswer) { a.Issuer, a.Authorised = "did:example:other", true }, Policy{}, ""},
		{"purpose", func(a *StatusAnswer) { a.Purposes = []string{"suspension"} }, Policy{}, "purpose_mismatch"},
		{"purposes", func(a *StatusAnswer) { a.Purposes = []string{"suspension", "revocation"} }, Policy{}, ""},
		{"out of range", func(a *StatusAnswer) { a.Entries = 4711 }, Policy{}, "bad_index"},
		{"last", func(a *StatusAnswer) { a.Entries = 4712 }, Policy{}, ""},
		{"old", func(a *StatusAnswer) { a.AsOf = now().Add(-2 * time.Second) }, Policy{MaxStatusAge: 1000}, "stale"},
		{"old enough", func(a *StatusAnswer) { a.AsOf = now().Add(-time.Second) }, Policy{MaxStatusAge: 1000}, ""},
	} {
		c := newWorld().config()
		c.Status = func(ref StatusRef) (StatusAnswer, error) {
			if want := (StatusRef{List: listURL, Index: 4711, Purpose: "revocation", Issuer: issuer.did}); ref != want {
				t.Errorf("asked %+v, want %+v", ref, want)
			}
			a := answer
			test.change(&a)
			return a, nil
		}
		r := Verify(c, withStatus(t, c, issuer, StatusEntry(listURL, "revocation", 4711)), Options{Policy: test.policy})
		if s, _ := r.Check(CheckStatus); s.Facts["source"] != "ledger" || s.Facts["position"] != uint64(99120) || s.Facts["index"] != uint64(4711) {
			t.Errorf("%s: facts %v", test.name, s.Facts)
		}
		if test.code == "" {
			passes(t, r)
		} else {
			only(t, r, CheckStatus, test.code)
		}
	}
}

func TestStatusEntries(t *testing.T) {
	issuer := newParty(1)
	c := newWorld().config()
	suspended := false
	c.Status = func(ref StatusRef) (StatusAnswer, error) {
		if ref.Purpose == "lost" {
			return StatusAnswer{}, errors.New("no answer")
		}
		set := ref.Purpose == "suspension" && suspended || ref.Purpose == "refresh"
		return StatusAnswer{Issuer: issuer.did, Purposes: []string{ref.Purpose}, Entries: MinListEntries, Set: set}, nil
	}
	both := withStatus(t, c, issuer, StatusEntry(listURL, "revocation", 1), StatusEntry(listURL, "suspension", 2), StatusEntry(listURL, "refresh", 3))
	passes(t, Verify(c, both, Options{}))
	suspended = true
	only(t, Verify(c, both, Options{}), CheckStatus, "suspended")
	only(t, Verify(c, withStatus(t, c, issuer, StatusEntry(listURL, "lost", 2)), Options{}), CheckStatus, "unavailable")
	only(t, Verify(c, withStatus(t, c, issuer, did.Object{"type": "urn:x:OtherStatus"}), Options{}), CheckStatus, "unavailable")
	wide := with(StatusEntry(listURL, "revocation", 1), did.Object{"statusSize": json.Number("2")})
	only(t, Verify(c, withStatus(t, c, issuer, wide), Options{}), CheckStatus, "unavailable")
	c.Status = nil
	only(t, Verify(c, both, Options{}), CheckStatus, "unavailable")
}

// fetched is a signed list in which the entries are set.
func fetched(t *testing.T, c Config, issuer party, o ListOptions, change did.Object, set ...uint64) []byte {
	t.Helper()
	list, err := NewBitstring(MinListEntries)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range set {
		list.Set(i, true)
	}
	doc, err := ListCredential(o, list)
	if err != nil {
		t.Fatal(err)
	}
	doc["credentialSubject"] = with(doc["credentialSubject"].(did.Object), change)
	p := proofBy(issuer)
	p.Created = o.ValidFrom
	return text(t, signed(t, c, doc, issuer, p))
}

func TestFetchedList(t *testing.T) {
	issuer, other := newParty(1), newParty(8)
	fresh := ListOptions{ID: listURL, Issuer: issuer.did, Purpose: "revocation", ValidFrom: now().Add(-time.Minute)}
	old := fresh
	old.ValidFrom = now().Add(-time.Hour)
	ended := fresh
	ended.ValidUntil = now().Add(-time.Second)
	elsewhere := fresh
	elsewhere.ID = listURL + "2"
	foreign := fresh
	foreign.Issuer = other.did
	for _, test := range []struct {
		name    string
		options ListOptions
		by      party
		change  did.Object
		set     []uint64
		at      time.Duration // age of the copy
		policy  Policy
		code    string
	}{
		{"clear", fresh, issuer, nil, []uint64{4710, 4712}, 0, Policy{}, ""},
		{"set", fresh, issuer, nil, []uint64{4711}, 0, Policy{}, "revoked"},
		{"purposes", fresh, issuer, did.Object{"statusPurpose": []any{"suspension", "revocation"}}, nil, 0, Policy{}, ""},
		{"purpose", fresh, issuer, did.Object{"statusPurpose": "suspension"}, nil, 0, Policy{}, "purpose_mismatch"},
		{"signed long ago", old, issuer, nil, nil, 0, Policy{}, "stale"},
		{"signed long ago, no ttl", old, issuer, did.Object{"ttl": nil}, nil, 0, Policy{}, ""},
		{"signed long ago, policy", old, issuer, did.Object{"ttl": nil}, nil, 0, Policy{MaxStatusAge: 60000}, "stale"},
		{"copied long ago", old, issuer, did.Object{"ttl": nil}, nil, 10 * time.Minute, Policy{}, "stale"},
		{"no longer valid", ended, issuer, nil, nil, 0, Policy{}, "stale"},
		{"another list", elsewhere, issuer, nil, nil, 0, Policy{}, "unavailable"},
		{"forged", fresh, other, nil, nil, 0, Policy{}, "unavailable"},
		{"another issuer's", foreign, other, nil, nil, 0, Policy{}, "list_issuer"},
		{"bomb", fresh, issuer, did.Object{"encodedList": packed(make([]byte, MaxListBytes+1))}, nil, 0, Policy{}, "unavailable"},
		{"short", fresh, issuer, did.Object{"encodedList": packed(make([]byte, 100))}, nil, 0, Policy{}, "unavailable"},
		{"subject of another type", fresh, issuer, did.Object{"type": "urn:x:List"}, nil, 0, Policy{}, "unavailable"},
	} {
		c := newWorld().config()
		raw := fetched(t, c, test.by, test.options, test.change, test.set...)
		c.Status = func(StatusRef) (StatusAnswer, error) {
			return StatusAnswer{Credential: raw, AsOf: now().Add(-test.at)}, nil
		}
		r := Verify(c, withStatus(t, c, issuer, StatusEntry(listURL, "revocation", 4711)), Options{Policy: test.policy})
		if test.code == "" {
			passes(t, r)
		} else {
			only(t, r, CheckStatus, test.code)
		}
		if s, _ := r.Check(CheckStatus); test.name == "short" && s.problem != problemStatusLength {
			t.Errorf("short list: problem %s", s.problem)
		}
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
}

func TestStatusIndexOutOfRangeOfList(t *testing.T) {
	issuer := newParty(1)
	c := newWorld().config()
	raw := fetched(t, c, issuer, ListOptions{ID: listURL, Issuer: issuer.did, Purpose: "revocation", ValidFrom: now()}, nil)
	c.Status = func(StatusRef) (StatusAnswer, error) { return StatusAnswer{Credential: raw}, nil }
	only(t, Verify(c, withStatus(t, c, issuer, StatusEntry(listURL, "revocation", MinListEntries)), Options{}), CheckStatus, "bad_index")
	passes(t, Verify(c, withStatus(t, c, issuer, StatusEntry(listURL, "revocation", MinListEntries-1)), Options{}))
}

func FuzzDecodeList(f *testing.F) {
	f.Add(packed(make([]byte, MinListEntries/8)))
	f.Add("uAAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, encoded string) {
		list, err := DecodeList(encoded)
		if err != nil {
			return
		}
		if list.Len() < MinListEntries || len(list) > MaxListBytes {
			t.Errorf("a list of %d entries was accepted", list.Len())
		}
	})
}
