package streams

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// TestBundle exports a life of a channel and checks it with nothing but the genesis file.
func TestBundle(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader", "auditor", "stranger")
	owner, reader, auditor := people[0], people[1], people[2]
	id := w.create(owner)
	w.grant(owner, id, channel.Read|channel.Order, reader)
	w.grant(owner, id, channel.Audit, auditor)
	w.done(reader, id, w.sealed(reader, id, "one", channel.RecordTerms{}))
	w.done(reader, id, w.sealed(reader, id, "to be erased", channel.RecordTerms{RecordType: "secret"}))
	w.done(owner, id, w.sealed(owner, id, "three", channel.RecordTerms{Supersedes: 1}))
	w.done(owner, id, channel.NewErase(w.header(owner, id), 2, "gdpr_art17"))
	w.done(owner, id, channel.NewRevoke(w.header(owner, id), []string{reader.did}, "over", w.epoch(id, 2, true, owner, auditor)))
	w.done(owner, id, w.sealed(owner, id, "four", channel.RecordTerms{}))

	raw := w.as(2, auditor, "GET", channelPath(id, "/export"), nil).want(200).body
	report := w.verify(raw)
	if !report.Verified || report.Events != 9 || report.Records != 4 || report.Gone != 1 {
		t.Errorf("report %+v", report)
	}
	if h := w.head(id); report.Head != h.Hash {
		t.Errorf("the bundle ends at %s, the channel at %s", report.Head, h.Hash)
	}
	part := w.as(1, owner, "GET", channelPath(id, "/export?to=4"), nil).want(200).body
	if report := w.verify(part); !report.Verified || report.Events != 5 {
		t.Errorf("a part: %+v", report)
	}
	// One byte changed anywhere in an event is found.
	at := bytes.Index(w.unzip(raw, channel.FileEvents), []byte(`"ciphertext":"`)) + 20
	if report := w.verify(w.rezip(raw, func(name string, b []byte) []byte {
		if name == channel.FileEvents {
			b[at] ^= 1
		}
		return b
	})); report.Verified {
		t.Error("a changed event verifies")
	}
	w.as(0, people[3], "GET", channelPath(id, "/export"), nil).refused(403, "not_participant")
	w.as(0, owner, "GET", channelPath(id, "/export?from=3"), nil).refused(400, "bad_parameter")

	// The inline body that was erased is served by nobody any more, and its author and search keys are gone.
	var record eventView
	w.as(0, auditor, "GET", channelPath(id, "/records/2"), nil).into(200, &record)
	if record.Operation != nil || record.Actor != "" || record.Erased == nil || record.Erased.Reason != "gdpr_art17" {
		t.Errorf("erased %+v", record)
	}
	equal(t, "records of the erased type", w.seqs(0, auditor, id, "&type=secret"), nil)
	w.as(0, auditor, "GET", channelPath(id, "/records/1"), nil).into(200, &record)
	if len(record.SupersededBy) != 1 || record.SupersededBy[0] != (superseding{3, owner.did}) {
		t.Errorf("superseded by %+v", record.SupersededBy)
	}
}

func (w *network) verify(raw []byte) channel.Report {
	w.t.Helper()
	files, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		w.t.Fatal(err)
	}
	return channel.VerifyBundle(w.Genesis.Bytes(), files)
}

func (w *network) unzip(raw []byte, name string) (content []byte) {
	w.rezip(raw, func(n string, b []byte) []byte {
		if n == name {
			content = bytes.Clone(b)
		}
		return b
	})
	return content
}

func (w *network) rezip(raw []byte, change func(string, []byte) []byte) []byte {
	w.t.Helper()
	files, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		w.t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range files.File {
		r, err := f.Open()
		if err != nil {
			w.t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			w.t.Fatal(err)
		}
		one, err := z.Create(f.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := one.Write(change(f.Name, b.Bytes())); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		w.t.Fatal(err)
	}
	return out.Bytes()
}

// TestRecordFilters finds records by everything that is not sealed.
func TestRecordFilters(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "other")
	owner, other := people[0], people[1]
	id := w.create(owner, public, func(_ channel.ID, terms *channel.CreateTerms) {
		terms.Settings.Tags = &[]string{"customs", "docs"}
		terms.Grants = []channel.Grant{{Participant: other.did, Rights: channel.Order}}
	})
	topic := func(kind, source string) *channel.Topic { return &channel.Topic{Type: kind, Source: source} }
	for i, r := range []struct {
		by    *person
		terms channel.RecordTerms
	}{
		{owner, channel.RecordTerms{RecordType: "threat", Tag: "customs", Topic: topic("ids", "east"), Public: did.Object{"category": "malware"}}},
		{other, channel.RecordTerms{RecordType: "threat", Tag: "docs", Topic: topic("ids", "west"), Public: did.Object{"category": "phishing"}}},
		{owner, channel.RecordTerms{RecordType: "note", Public: did.Object{"text": "nothing"}}},
		{other, channel.RecordTerms{RecordType: "threat", Tag: "customs", Topic: topic("siem", "east"), Public: did.Object{"category": "malware"}}},
	} {
		w.done(r.by, id, channel.NewWrite(w.header(r.by, id), r.terms))
		if h := w.head(id); h.Seq != uint64(i+1) {
			t.Fatalf("seq %d", h.Seq)
		}
	}
	second, _, err := channel.ReadRecord(w.view(0), id, 2)
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][]uint64{
		"":                                   {1, 2, 3, 4},
		"&order=desc":                        {4, 3, 2, 1},
		"&from=2&to=3":                       {2, 3},
		"&type=threat":                       {1, 2, 4},
		"&type=threat&order=desc":            {4, 2, 1},
		"&tag=customs":                       {1, 4},
		"&topicType=ids":                     {1, 2},
		"&topicSource=east":                  {1, 4},
		"&topicType=ids&topicSource=east":    {1},
		"&author=" + other.did:               {2, 4},
		"&author=" + other.did + "&tag=docs": {2},
		"&contains=malware":                  {1, 4},
		"&contains=%22category%22:%22ph":     {2},
		"&timeFrom=" + second.Time.String():  {2, 3, 4},
		"&timeTo=" + second.Time.String():    {1},
		"&type=none":                         nil,
	} {
		equal(t, "records"+query, w.seqs(0, nil, id, query), want)
	}
	w.pages(id)
	other404 := w.create(owner)
	var l pageOf[eventView]
	w.as(0, owner, "GET", channelPath(id, "/records?limit=1"), nil).into(200, &l)
	w.as(0, owner, "GET", channelPath(other404, "/records?limit=1&cursor="+*l.Next), nil).refused(400, "bad_cursor")
	w.as(0, owner, "GET", channelPath(id, "/records?limit=1&type=threat&cursor="+*l.Next), nil).refused(400, "bad_cursor")
	w.as(0, owner, "GET", channelPath(id, "/records?limit=1&cursor=%21"), nil).refused(400, "bad_cursor")
	w.as(0, owner, "GET", channelPath(id, "/records?order=up"), nil).refused(400, "bad_parameter")
	w.as(0, owner, "GET", channelPath(id, "/records?timeFrom=now"), nil).refused(400, "bad_parameter")
	w.as(0, owner, "GET", channelPath(id, "/records/99"), nil).refused(404, "unknown_record")
	w.as(0, owner, "GET", "/channels/"+strings.Repeat("0", 64), nil).refused(404, "unknown_channel")
	w.as(0, owner, "GET", "/channels/xyz", nil).refused(400, "bad_parameter")
}

// pages reads lists in small pages.
func (w *network) pages(id channel.ID) {
	w.t.Helper()
	for _, query := range []string{"/records?limit=1", "/records?limit=1&order=desc", "/records?limit=1&type=threat", "/events?limit=2"} {
		var got []uint64
		for next := ""; ; {
			var l pageOf[eventView]
			w.as(0, nil, "GET", channelPath(id, query, next), nil).into(200, &l)
			for _, e := range l.Items {
				got = append(got, e.Event)
			}
			if l.Next == nil {
				break
			}
			next = "&cursor=" + *l.Next
		}
		want := map[string][]uint64{"/records?limit=1": {1, 2, 3, 4}, "/records?limit=1&order=desc": {4, 3, 2, 1}, "/records?limit=1&type=threat": {1, 2, 4}, "/events?limit=2": {0, 1, 2, 3, 4}}[query]
		equal(w.t, query, got, want)
	}
}

// summary is what tests read of a channel in a list.
type summary struct {
	Channel       channel.ID
	Name          string
	SealedProfile string
	ProfileActor  string
	ProfileNonce  string
	ProfileWraps  []wrapView
	State         string
}

func (w *network) channels(p *person, query string) (list []summary) {
	w.t.Helper()
	var l pageOf[summary]
	w.as(0, p, "GET", "/channels?limit=200"+query, nil).into(200, &l)
	return l.Items
}

// TestChannelList: filters, and hidden channels for those who may know of them.
func TestChannelList(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "reader", "visible", "stranger")
	owner, reader, visible, stranger := people[0], people[1], people[2], people[3]
	plain := w.create(owner, public, func(_ channel.ID, terms *channel.CreateTerms) {
		terms.Settings.Name, terms.Settings.Description = ptr("Harbour"), ptr("ships and <cranes>")
		terms.Settings.Topics, terms.Settings.Status = &[]channel.Topic{{Type: "shipment", Source: "SHP-001"}}, ptr("loading")
	})
	private := w.create(owner)
	hidden := w.hiddenChannel(owner, reader, visible)
	ids := func(list []summary) map[channel.ID]summary {
		m := map[channel.ID]summary{}
		for _, one := range list {
			m[one.Channel] = one
		}
		return m
	}
	for _, c := range []struct {
		who   *person
		query string
		want  []channel.ID
	}{
		{owner, "", []channel.ID{plain, private, hidden}},
		{reader, "", []channel.ID{plain, private, hidden}},
		{visible, "", []channel.ID{plain, private, hidden}},
		{stranger, "", []channel.ID{plain, private}},
		{reader, "&hidden=false", []channel.ID{plain, private}},
		{stranger, "&q=harb", []channel.ID{plain}},
		{stranger, "&q=%3Ccranes", []channel.ID{plain}},
		{stranger, "&access=private", []channel.ID{private}},
		{stranger, "&status=loading", []channel.ID{plain}},
		{stranger, "&topicType=shipment&topicSource=SHP-001", []channel.ID{plain}},
		{stranger, "&topicSource=SHP-002", nil},
		{stranger, "&owner=" + owner.did, []channel.ID{plain, private}},
		{reader, "&participant=" + reader.did, []channel.ID{hidden}},
		{owner, "&participant=" + reader.did, []channel.ID{hidden}},
		{stranger, "&participant=" + reader.did, nil},
		{nil, "", []channel.ID{plain}},
		{nil, "&q=harb", []channel.ID{plain}},
		{nil, "&access=private", nil},
		{nil, "&owner=" + owner.did, []channel.ID{plain}},
		{stranger, "&createdFrom=2999-01-01T00:00:00Z", nil},
		{stranger, "&activeAfter=2000-01-01T00:00:00Z", nil},
	} {
		got := ids(w.channels(c.who, c.query))
		if len(got) != len(c.want) {
			t.Errorf("%s %q: %d channels, want %d", nameOf(c.who), c.query, len(got), len(c.want))
		}
		for _, id := range c.want {
			if _, ok := got[id]; !ok {
				t.Errorf("%s %q: %s is not there", nameOf(c.who), c.query, id)
			}
		}
	}
	for _, route := range []string{"", "/events", "/records", "/keys", "/subscriptions", "/live", "/export", "/records/1"} {
		w.as(0, stranger, "GET", channelPath(hidden, route), nil).refused(404, "unknown_channel")
	}
	w.as(0, nil, "GET", channelPath(hidden), nil).refused(404, "unknown_channel")
	w.as(0, visible, "GET", channelPath(hidden, "/events"), nil).refused(403, "not_participant")
	w.opensProfile(ids(w.channels(visible, ""))[hidden], visible)

	w.grant(owner, private, channel.Admin, reader)
	w.grant(owner, private, channel.Read, visible)
	var shown struct{ Admins []string }
	w.as(0, stranger, "GET", channelPath(private, "?admins=true"), nil).into(200, &shown)
	slices.Sort(shown.Admins)
	admins := []string{owner.did, reader.did}
	slices.Sort(admins)
	equal(t, "admins", shown.Admins, admins)
	shown.Admins = nil
	w.as(0, stranger, "GET", channelPath(private), nil).into(200, &shown)
	w.as(0, owner, "GET", channelPath(hidden, "?admins=true"), nil).into(200, &shown)
	equal(t, "admins of a hidden channel, or not asked for", shown.Admins, nil)

	w.done(owner, private, channel.NewConfigure(w.header(owner, private), channel.Settings{Archived: ptr(true)}))
	if got := w.channels(stranger, ""); len(got) != 1 {
		t.Errorf("archived: %d channels", len(got))
	}
	if got := w.channels(stranger, "&archived=true"); len(got) != 2 {
		t.Errorf("archived too: %d channels", len(got))
	}
}

func nameOf(p *person) string {
	if p == nil {
		return "nobody"
	}
	return p.name
}

// hiddenChannel makes a channel that only a reader and one more DID may know of.
func (w *network) hiddenChannel(owner, reader, visible *person) channel.ID {
	w.t.Helper()
	h := w.header(owner, channel.ID{})
	id := channel.NewID(w.id, owner.did, h.Nonce)
	profile, err := epochKeyOf(id, 0).SealProfile(id, owner.did, h.Nonce, did.Object{"name": "the secret name"})
	if err != nil {
		w.t.Fatal(err)
	}
	terms := channel.CreateTerms{
		Access: channel.Private, Profile: channel.Stream, Settings: channel.Settings{Hidden: ptr(true), SealedProfile: &profile},
		Grants: []channel.Grant{{Participant: reader.did, Rights: channel.Read}}, Epoch: w.epoch(id, 1, true, owner, reader),
		Keys: []channel.Keys{{Number: 0, Wraps: w.wraps(id, 0, owner, reader, visible)}},
	}
	w.call(0, "POST", "/api/v1/channels?wait=final&timeout=30s", w.sign(owner, channel.NewCreate(h, terms))).want(201)
	w.Settle()
	return id
}

// opensProfile: what the list says is enough to read a hidden channel's name.
func (w *network) opensProfile(s summary, p *person) {
	w.t.Helper()
	if len(s.ProfileWraps) != 1 {
		w.t.Fatalf("hidden channel %+v", s)
	}
	key, err := channel.Unwrap(s.Channel, 0, channel.Wrap{To: s.ProfileWraps[0].To, Ciphertext: w.decode(s.ProfileWraps[0].Ciphertext)}, p.agreement)
	if err != nil {
		w.t.Fatal(err)
	}
	profile, err := key.OpenProfile(s.Channel, s.ProfileActor, channel.Nonce(w.decode(s.ProfileNonce)), s.SealedProfile)
	if err != nil || profile["name"] != "the secret name" {
		w.t.Errorf("profile %v %v", profile, err)
	}
}

// TestCursorsNameWhatIsShown turns the pages of the list one by one: a cursor names no channel that the caller may not know of.
func TestCursorsNameWhatIsShown(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "reader", "visible", "stranger")
	owner, stranger := people[0], people[3]
	var shown, kept []channel.ID
	for range 6 {
		shown = append(shown, w.create(owner, public))
	}
	slices.SortFunc(shown, func(a, b channel.ID) int { return bytes.Compare(a[:], b[:]) })
	first, last := shown[0], shown[len(shown)-1]
	between := func(id channel.ID) bool {
		return bytes.Compare(first[:], id[:]) < 0 && bytes.Compare(id[:], last[:]) < 0
	}
	for !slices.ContainsFunc(kept, between) { // ids are random
		if len(kept) == channel.MaxCreatesPerMinute-len(shown) {
			t.Skip("no hidden channel has come to stand between public ones")
		}
		kept = append(kept, w.hiddenChannel(owner, people[1], people[2]))
	}
	for _, id := range kept { // where a page has looked at too many
		if short := shortBefore(id); short[:8] != id.String()[:8] || short >= id.String() || strings.Trim(short[8:], "0") != "" {
			t.Errorf("the cursor before %s is %s", id, short)
		}
	}
	for _, who := range []*person{nil, stranger} {
		seen, path := 0, "/channels?limit=1"
		for next := ""; ; seen++ {
			var l struct {
				Items []summary
				Next  string
			}
			w.as(0, who, "GET", path+next, nil).into(200, &l)
			if l.Next == "" {
				break
			}
			cursor := w.decode(l.Next)
			for _, id := range kept {
				if bytes.Contains(cursor, []byte(id.String())) {
					t.Errorf("a cursor for %s names hidden channel %s", nameOf(who), id)
				}
			}
			next = "&cursor=" + l.Next
		}
		if seen != len(shown)-1 {
			t.Errorf("%s: %d pages before the last, want %d", nameOf(who), seen, len(shown)-1)
		}
	}
}

// TestBundleOfBorrowedKeys: an actor signs with a key that stands in another DID's document, as its own refers to it.
func TestBundleOfBorrowedKeys(t *testing.T) {
	w := start(t, networkOptions{})
	keeper := w.people("keeper")[0]
	borrower := w.newPerson("borrower")
	document := did.DefaultDocument(borrower.key.Public().(ed25519.PublicKey), did.PublicKey{Type: did.X25519, Bytes: borrower.agreement.PublicKey().Bytes()})
	label, scid, _ := strings.Cut(strings.TrimPrefix(keeper.method(), "did:weft:"), ":")
	elsewhere := "did:weft:" + strings.Map(func(r rune) rune { return 'a' }, label) + ":" + scid // which is nobody
	document["authentication"] = []any{elsewhere, keeper.method()}
	body, d, err := did.Create(w.id, [did.NonceBytes]byte([]byte("borrows its keys")), did.Content{
		Params: did.NewParams([]string{did.Ed25519Key(borrower.key.Public().(ed25519.PublicKey)).Multikey()}), Document: document,
	})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := did.Sign(body, borrower.key)
	if err != nil {
		t.Fatal(err)
	}
	w.call(0, "POST", "/api/v1/identities?wait=final&timeout=30s", entry).want(201)
	borrower.did, borrower.key = d.String(), keeper.key
	id := w.create(borrower, public)
	report := w.verify(w.as(0, nil, "GET", channelPath(id, "/export"), nil).want(200).body)
	if !report.Verified || report.Events != 1 {
		t.Errorf("%+v", report)
	}
}
