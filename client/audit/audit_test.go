package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// create makes a private channel.
func create(t *testing.T, owner *Session, history channel.History) *Channel {
	t.Helper()
	name := "incidents"
	change, id, err := owner.Create(t.Context(), Creation{CreateTerms: channel.CreateTerms{
		Access: channel.Private, Profile: channel.Stream, Settings: channel.Settings{Name: &name, History: &history},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Submit(t.Context(), change.Body); err != nil {
		t.Fatal(err)
	}
	return open(t, owner, id)
}

func open(t *testing.T, s *Session, id channel.ID) *Channel {
	t.Helper()
	c, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, c *Channel, text string) {
	t.Helper()
	if _, err := c.Write(t.Context(), Record{Body: true, Meta: did.Object{"mediaType": "text/plain"}, Payload: []byte(text)}, time.Second); err != nil {
		t.Fatal(err)
	}
}

func authorize(t *testing.T, c *Channel, grants ...channel.Grant) {
	t.Helper()
	if _, err := c.Do(t.Context(), func() (*Change, error) { return c.Authorize(t.Context(), grants) }); err != nil {
		t.Fatal(err)
	}
}

// texts are all records as somebody reads them; what does not open is its code.
func texts(t *testing.T, c *Channel) (list []string) {
	t.Helper()
	err := c.Records(t.Context(), client.RecordFilter{}, client.Page{}, func(e Entry) error {
		if e.Content == nil {
			list = append(list, e.Code)
		} else {
			list = append(list, string(e.Content.Payload))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestHistoryDecidesWhatAReaderOpens(t *testing.T) {
	for _, x := range []struct {
		history channel.History
		want    []string
	}{
		{channel.Full, []string{"before", "joined", "after"}},
		{channel.FromJoin, []string{"no_key", "joined", "after"}},
		{channel.None, []string{"no_key", "joined", "after"}},
	} {
		l := newLedger(t)
		owner, reader := l.person(), l.person()
		c := create(t, owner, x.history)
		write(t, c, "before")
		authorize(t, c, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read})
		write(t, c, "joined")
		if _, err := c.Do(t.Context(), func() (*Change, error) { return c.Rekey(t.Context(), "scheduled") }); err != nil {
			t.Fatal(err)
		}
		write(t, c, "after")
		if got := texts(t, open(t, reader, c.ID)); !slices.Equal(got, x.want) {
			t.Errorf("%s: a reader opens %q, want %q", x.history, got, x.want)
		}
		if got := texts(t, open(t, owner, c.ID)); !slices.Equal(got, []string{"before", "joined", "after"}) {
			t.Errorf("%s: the owner opens %q", x.history, got)
		}
	}
}

func TestTheRemovedOpensNothingThatFollows(t *testing.T) {
	l := newLedger(t)
	owner, reader, stays := l.person(), l.person(), l.person()
	c := create(t, owner, channel.Full)
	authorize(t, c, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read}, channel.Grant{Participant: stays.Identity.DID, Rights: channel.Read})
	write(t, c, "before")
	removed := open(t, reader, c.ID)
	if _, err := c.Do(t.Context(), func() (*Change, error) { return c.Revoke(t.Context(), []string{reader.Identity.DID}, "left") }); err != nil {
		t.Fatal(err)
	}
	write(t, c, "after")
	if got, want := texts(t, removed), []string{"before", "no_key"}; !slices.Equal(got, want) {
		t.Errorf("the removed opens %q, want %q", got, want)
	}
	if got, want := texts(t, open(t, stays, c.ID)), []string{"before", "after"}; !slices.Equal(got, want) {
		t.Errorf("who stays opens %q, want %q", got, want)
	}
}

func TestWriteOnlyAuthorsSealToTheEpoch(t *testing.T) {
	l := newLedger(t)
	owner, tool := l.person(), l.person()
	c := create(t, owner, channel.Full)
	authorize(t, c, channel.Grant{Participant: tool.Identity.DID, Rights: channel.Order})
	w := open(t, tool, c.ID)
	write(t, w, "alert")
	if got, want := texts(t, open(t, owner, c.ID)), []string{"alert"}; !slices.Equal(got, want) {
		t.Errorf("the owner opens %q, want %q", got, want)
	}
	if got, want := texts(t, w), []string{"no_key"}; !slices.Equal(got, want) {
		t.Errorf("the tool opens %q, want %q", got, want)
	}
}

// TestAnEpochThatEndsMeanwhile has an admin open one between sealing and ordering; with grace the record counts, without it
// is sealed again.
func TestAnEpochThatEndsMeanwhile(t *testing.T) {
	l := newLedger(t)
	owner, tool := l.person(), l.person()
	c := create(t, owner, channel.Full)
	none := 0
	body, err := c.Configure(channel.Settings{GraceSeconds: &none})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	authorize(t, c, channel.Grant{Participant: tool.Identity.DID, Rights: channel.Order})
	w := open(t, tool, c.ID)
	change, err := c.Rekey(t.Context(), "scheduled")
	if err != nil {
		t.Fatal(err)
	}
	rekey := must(c.Sign(change.Body))
	l.before = func(l *ledger, _ *channel.Operation) { must(l.order(rekey)) }
	write(t, w, "alert")
	if w.Info.Epoch != 2 {
		t.Errorf("the author is in epoch %d", w.Info.Epoch)
	}
	if got, want := texts(t, open(t, owner, c.ID)), []string{"alert"}; !slices.Equal(got, want) {
		t.Errorf("the owner opens %q, want %q", got, want)
	}
}

// TestARacedEpochIsMadeGood has two admins give rights at once, each with an epoch: the second epoch is stale, and Do makes
// up for it.
func TestARacedEpochIsMadeGood(t *testing.T) {
	l := newLedger(t)
	owner, first, second := l.person(), l.person(), l.person()
	c := create(t, owner, channel.FromJoin)
	write(t, c, "before")
	rival := open(t, owner, c.ID)
	change, err := rival.Authorize(t.Context(), []channel.Grant{{Participant: first.Identity.DID, Rights: channel.Read}})
	if err != nil {
		t.Fatal(err)
	}
	faster := must(rival.Sign(change.Body))
	l.before = func(l *ledger, _ *channel.Operation) { must(l.order(faster)) }
	authorize(t, c, channel.Grant{Participant: second.Identity.DID, Rights: channel.Read})
	write(t, c, "after")
	for name, s := range map[string]*Session{"first": first, "second": second} {
		if got, want := texts(t, open(t, s, c.ID)), []string{"no_key", "after"}; !slices.Equal(got, want) {
			t.Errorf("%s opens %q, want %q", name, got, want)
		}
	}
}

func TestSettleRekeysWhenARightHasEnded(t *testing.T) {
	l := newLedger(t)
	owner, guest := l.person(), l.person()
	c := create(t, owner, channel.Full)
	end := l.now.Add(time.Hour)
	authorize(t, c, channel.Grant{Participant: guest.Identity.DID, Rights: channel.Audit, ValidUntil: end.Add(-time.Duration(end%1000) * time.Millisecond)})
	expired := open(t, guest, c.ID)
	owner.ValidFor = 3 * time.Hour
	l.now = l.now.Add(2 * time.Hour)
	done, err := c.Settle(t.Context())
	if err != nil || done.Rekeys != 1 || done.Keyloads != 0 || c.Info.RekeyDue {
		t.Fatalf("got %+v, %v, due %t", done, err, c.Info.RekeyDue)
	}
	write(t, c, "after")
	if got, want := texts(t, expired), []string{"no_key"}; !slices.Equal(got, want) {
		t.Errorf("the expired opens %q, want %q", got, want)
	}
	if done, err := c.Settle(t.Context()); err != nil || done.Rekeys+done.Keyloads != 0 {
		t.Errorf("a second time: %+v, %v", done, err)
	}
}

// TestManyReaders gives more readers a right than one operation has wraps for.
func TestManyReaders(t *testing.T) {
	const readers = 2*channel.MaxWraps + 10
	l := newLedger(t)
	owner := l.person()
	c := create(t, owner, channel.Full)
	var files []*keyfile.File
	for batch := range slices.Chunk(make([]int, readers), channel.MaxGrants) {
		var grants []channel.Grant
		for range batch {
			f := sharedReader(t)
			files = append(files, f)
			grants = append(grants, channel.Grant{Participant: f.DID, Rights: channel.Read, Agreement: f.With(keyfile.Document)[1].Public})
		}
		authorize(t, c, grants...)
	}
	before := c.Info.LastEvent
	if _, err := c.Do(t.Context(), func() (*Change, error) { return c.Rekey(t.Context(), "scheduled") }); err != nil {
		t.Fatal(err)
	}
	write(t, c, "for all")
	if n := open(t, owner, c.ID).Info.LastEvent - before; n != 4 { // rekey, 2 keyloads, write
		t.Errorf("%d operations", n)
	}
	for i, f := range files {
		if got := texts(t, open(t, l.session(f), c.ID)); !slices.Equal(got, []string{"for all"}) {
			t.Fatalf("reader %d opens %q", i, got)
		}
	}
}

// TestSealingIsTold: whoever signs sees the keys that keys are sent to without a Change to look at, and can say no.
func TestSealingIsTold(t *testing.T) {
	l := newLedger(t)
	var told []ReaderKey
	no := errors.New("not these")
	var says error
	owner := l.person(func(c *Config) {
		c.Sealing = func(keys []ReaderKey) error {
			told = append(told, keys...)
			return says
		}
	})
	reader := l.person()
	c := create(t, owner, channel.Full)
	authorize(t, c, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read})
	if len(told) != 0 {
		t.Errorf("told of keys of changes: %v", told)
	}
	before := c.Info.LastEvent
	for _, says = range []error{no, nil} {
		told = nil
		if _, _, err := c.KeyLoad(t.Context(), 1, []Reader{{DID: reader.Identity.DID}}); err != says {
			t.Errorf("got %v, want %v", err, says)
		}
		if len(told) != 1 || !strings.HasPrefix(told[0].To, reader.Identity.DID) {
			t.Errorf("told of %v", told)
		}
	}
	if err := c.Refresh(t.Context()); err != nil || c.Info.LastEvent != before+1 {
		t.Errorf("%d operations, %v", c.Info.LastEvent-before, err)
	}
	authorize(t, c, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read, ValidUntil: l.now/1000*1000 + 10_000})
	l.now += 10_000
	told, says = nil, no
	if _, err := c.Settle(t.Context()); !errors.Is(err, no) || len(told) != 1 || c.Info.Epoch != 1 {
		t.Errorf("a rekey that is due: %v, epoch %d, told of %v", err, c.Info.Epoch, told)
	}
}

// sharedReader is the key file of a did:key.
func sharedReader(t *testing.T) *keyfile.File {
	t.Helper()
	f := must(keyfile.New("", keyfile.Protection{Unencrypted: true}))
	t.Cleanup(f.Close)
	for _, a := range []keyfile.Algorithm{keyfile.Ed25519, keyfile.X25519} {
		k := must(f.Add(keyfile.Document, "", a))
		if err := f.Name(k.Public, "#"+k.Public); err != nil {
			t.Fatal(err)
		}
		if a == keyfile.Ed25519 {
			f.DID = "did:key:" + k.Public
		}
	}
	return f
}

func TestHiddenChannels(t *testing.T) {
	l := newLedger(t)
	owner, reader := l.person(), l.person()
	change, id, err := owner.Create(t.Context(), Creation{
		CreateTerms: channel.CreateTerms{Access: channel.Private, Profile: channel.Stream}, Hidden: did.Object{"name": "secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Submit(t.Context(), change.Body); err != nil {
		t.Fatal(err)
	}
	c := open(t, owner, id)
	authorize(t, c, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read})
	status := "closed"
	body, err := c.Configure(channel.Settings{Status: &status})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	r := open(t, reader, id)
	if r.Name() != "secret" || r.Profile["status"] != "closed" {
		t.Errorf("the reader sees %v, faults %v", r.Profile, r.Faults)
	}
	for n, entry := range l.entries {
		if bytes.Contains(entry, []byte("secret")) {
			t.Errorf("event %d shows the name", n)
		}
	}
}

// TestWhatIsNotThereForStrangers has a node that tells of a channel only after a login.
func TestWhatIsNotThereForStrangers(t *testing.T) {
	who := must(FromKeyFile(sharedReader(t), ""))
	id := channel.ID{7}
	for _, x := range []struct {
		name          string
		known, refuse bool // the channel to who has logged in; the login
		logins, asked int
		code          string
	}{
		{"hidden", true, false, 1, 3, ""},
		{"unknown", false, false, 1, 3, "unknown_channel"},
		{"no login", true, true, 1, 1, "unknown_channel"},
	} {
		logins, asked := 0, 0
		problem := func(w http.ResponseWriter, status int, code string) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]any{"code": code})
		}
		mux := http.NewServeMux()
		mux.HandleFunc("POST /api/v1/auth/challenges", func(w http.ResponseWriter, r *http.Request) {
			if logins++; x.refuse {
				problem(w, http.StatusForbidden, "forbidden")
				return
			}
			json.NewEncoder(w).Encode(client.Challenge{ID: "c", Nonce: "n", Audience: "http://" + r.Host})
		})
		mux.HandleFunc("POST /api/v1/auth/tokens", func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(client.AccessToken{Token: "t"})
		})
		mux.HandleFunc("GET /api/v1/channels/{id}", func(w http.ResponseWriter, r *http.Request) {
			if asked++; !x.known || caller(r) != "t" {
				problem(w, http.StatusNotFound, "unknown_channel")
				return
			}
			json.NewEncoder(w).Encode(client.Channel{ID: id, Access: channel.Public})
		})
		server := httptest.NewServer(mux)
		s := NewSession(Config{Node: must(client.New(client.Config{URL: server.URL, Retry: client.NoRetry()})), Identity: who})
		_, err := s.Open(t.Context(), id)
		if client.ProblemCode(err) != x.code || (err == nil) != (x.code == "") {
			t.Errorf("%s: %v", x.name, err)
		}
		if !x.refuse {
			s.Open(t.Context(), id) // now it is known who asks
		}
		server.Close()
		if asked != x.asked || logins != x.logins {
			t.Errorf("%s: asked %d times, with %d logins", x.name, asked, logins)
		}
	}
}

// TestUploadGoesOn breaks an upload off and goes on with what was kept, in a session that has nothing else.
func TestUploadGoesOn(t *testing.T) {
	l := newLedger(t)
	owner := l.person()
	c := create(t, owner, channel.Full)
	payload := make([]byte, 5*channel.ChunkBytes/2)
	rand.Read(payload)
	l.failPut = 2
	var kept *Upload
	keep := func(u *Upload, _ error) error { kept = u; return nil }
	_, err := c.WriteDetached(t.Context(), Record{}, nil, bytes.NewReader(payload), int64(len(payload)), time.Second, keep, nil)
	if err == nil || l.puts != 2 {
		t.Fatalf("broken off with %v after %d chunks", err, l.puts)
	}
	if err := json.Unmarshal(must(json.Marshal(kept)), &kept); err != nil {
		t.Fatal(err)
	}
	kept.leaves = nil
	c = open(t, owner, c.ID)
	progress := []int{}
	told := func(done, all int) { progress = append(progress, done*10+all) }
	if _, err := c.WriteDetached(t.Context(), Record{}, kept, bytes.NewReader(payload), int64(len(payload)), time.Second, keep, told); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(progress, []int{23, 33}) {
		t.Errorf("progress %v", progress)
	}
	var entry Entry
	if err := c.Records(t.Context(), client.RecordFilter{}, client.Page{}, func(e Entry) error { entry = e; return nil }); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := c.OpenBlob(t.Context(), entry, &got); err != nil || !bytes.Equal(got.Bytes(), payload) {
		t.Errorf("%d bytes come back, %v", got.Len(), err)
	}
	for root := range l.blobs {
		l.blobs[root][1][7] ^= 1
	}
	if _, err := c.OpenBlob(t.Context(), entry, &bytes.Buffer{}); err == nil {
		t.Error("a chunk with a flipped bit opens")
	}
}

// TestAChangedFileIsSealedAnew breaks an upload off and goes on with another payload: the node, which has chunks of both, must
// not learn how they differ.
func TestAChangedFileIsSealedAnew(t *testing.T) {
	first := make([]byte, 5*channel.ChunkBytes/2)
	rand.Read(first)
	other := bytes.Clone(first)
	other[70] ^= 1
	for name, second := range map[string][]byte{"changed": other, "grown": append(bytes.Clone(first), "more"...), "shrunk": first[:len(first)-1]} {
		l := newLedger(t)
		owner := l.person()
		c := create(t, owner, channel.Full)
		l.failPut = 2
		var raw []byte
		news := 0
		keep := func(u *Upload, _ error) error { news, raw = news+1, must(json.Marshal(u)); return nil }
		if _, err := c.WriteDetached(t.Context(), Record{}, nil, bytes.NewReader(first), int64(len(first)), time.Second, keep, nil); err == nil || news != 1 {
			t.Fatalf("broken off with %v, %d uploads", err, news)
		}
		kept := &Upload{}
		if err := json.Unmarshal(raw, kept); err != nil {
			t.Fatal(err)
		}
		var why error
		again := func(u *Upload, instead error) error { why = instead; return nil }
		if _, err := c.WriteDetached(t.Context(), Record{}, kept, bytes.NewReader(second), int64(len(second)), time.Second, again, nil); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(why, ErrAnotherFile) {
			t.Errorf("%s: begun anew because of %v", name, why)
		}
		var chunks [][]byte // the first ones
		for _, blob := range l.blobs {
			chunks = append(chunks, blob[0])
		}
		if len(chunks) != 2 {
			t.Fatalf("%s: %d blobs", name, len(chunks))
		}
		same := 0
		for i := range chunks[0] {
			if chunks[0][i] == chunks[1][i] {
				same++
			}
		}
		if same > len(chunks[0])/16 {
			t.Errorf("%s: %d of %d bytes of the ciphertexts are the same", name, same, len(chunks[0]))
		}
	}
}

// TestAnUploadThatKnowsNoFile does not go on with what an earlier version kept.
func TestAnUploadThatKnowsNoFile(t *testing.T) {
	l := newLedger(t)
	c := create(t, l.person(), channel.Full)
	payload := bytes.Repeat([]byte("text"), 1000)
	u := must(c.NewUpload(channel.RecordTerms{}, nil, bytes.NewReader(payload), int64(len(payload))))
	u.Root, u.leaves = tangle.Hash{}, nil
	if _, err := c.Upload(t.Context(), u, bytes.NewReader(payload), int64(len(payload)), nil); !errors.Is(err, ErrAnotherFile) || l.puts != 0 {
		t.Errorf("%v, %d chunks are sent", err, l.puts)
	}
}

// restless is a file that somebody changes once it has been read so often.
type restless struct {
	data  []byte
	reads int
	then  func([]byte) []byte
}

func (r *restless) ReadAt(p []byte, off int64) (int, error) {
	if r.reads--; r.reads == 0 {
		r.data = r.then(r.data)
	}
	return bytes.NewReader(r.data).ReadAt(p, off)
}

func TestAFileThatChangesMeanwhile(t *testing.T) {
	original := make([]byte, 3*channel.ChunkBytes)
	rand.Read(original)
	for name, then := range map[string]func([]byte) []byte{
		"changes": func(b []byte) []byte { b[len(b)-5] ^= 1; return b },
		"grows":   func(b []byte) []byte { return append(b, 1) },
		"shrinks": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		for reads := 1; ; reads++ {
			l := newLedger(t)
			c := create(t, l.person(), channel.Full)
			file := &restless{bytes.Clone(original), reads, then}
			keep := func(*Upload, error) error { return nil }
			done, err := c.WriteDetached(t.Context(), Record{}, nil, file, int64(len(original)), time.Second, keep, nil)
			if file.reads > 0 {
				break // it was read less often
			}
			if err == nil && name != "grows" { // before it was read at that place, or after all of it was
				var entry Entry
				err := c.Records(t.Context(), client.RecordFilter{}, client.Page{}, func(e Entry) error { entry = e; return nil })
				var got bytes.Buffer
				_, opens := c.OpenBlob(t.Context(), entry, &got)
				if err != nil || opens != nil || !bytes.Equal(got.Bytes(), original) && !bytes.Equal(got.Bytes(), file.data) {
					t.Errorf("%s at read %d: what is written does not open: %v", name, reads, opens)
				}
				continue
			}
			if !errors.Is(err, errChanged) || done.OpHash != "" {
				t.Errorf("%s at read %d: %v", name, reads, err)
			}
		}
	}
}

func TestEventsAreHeldTogether(t *testing.T) {
	l := newLedger(t)
	owner := l.person()
	c := create(t, owner, channel.Full)
	for i := range 20 {
		write(t, c, fmt.Sprint(i))
	}
	c = open(t, owner, c.ID)
	write(t, c, "knows all of them")
	count := 0
	covered, err := c.Events(t.Context(), func(client.ChannelEvent, *channel.Operation) error { count++; return nil })
	if err != nil || count != 22 || covered != 20 {
		t.Errorf("%d events, covered to %d, %v", count, covered, err)
	}
	l.entries[5], l.entries[6] = l.entries[6], l.entries[5]
	texts := texts(t, c)
	if texts[4] != "5" || texts[5] != "4" {
		t.Errorf("got %q", texts) // a node that mixes operations up is found by their receipts only
	}
	heads := map[uint64]tangle.Hash{0: channel.FirstHead(c.ID)}
	for _, e := range []client.ChannelEvent{{Event: 2}, {Event: 1, Head: tangle.Hash{1}}} {
		if err := c.link(heads, e); err == nil || !strings.Contains(err.Error(), "broken_chain") {
			t.Errorf("event %d is linked: %v", e.Event, err)
		}
	}
}

func TestRequestsWithNotes(t *testing.T) {
	l := newLedger(t)
	owner, admin, reader, asks := l.person(), l.person(), l.person(), l.person()
	c := create(t, owner, channel.Full)
	authorize(t, c, channel.Grant{Participant: admin.Identity.DID, Rights: channel.Admin}, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read})
	o := open(t, asks, c.ID)
	long, err := o.Request(t.Context(), channel.Asked{Rights: channel.Read}, make([]byte, channel.MaxEnclosure/2))
	if err != nil || len(long.Sealed) != 1 || len(long.Skipped) != 1 {
		t.Fatalf("a long note: %+v, %v", long, err)
	}
	change, err := o.Request(t.Context(), channel.Asked{Rights: channel.Read}, []byte("from the insurer"))
	if err != nil || len(change.Sealed) != 2 || len(change.Skipped) != 0 {
		t.Fatalf("%+v, %v", change, err)
	}
	if _, err := asks.Submit(t.Context(), change.Body); err != nil {
		t.Fatal(err)
	}
	waiting, err := c.Subscriptions(t.Context(), channel.Requested)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%d requests, %v", len(waiting), err)
	}
	if note := c.Note(t.Context(), waiting[0]); string(note) != "from the insurer" {
		t.Errorf("note %q", note)
	}
	if note := open(t, admin, c.ID).Note(t.Context(), waiting[0]); string(note) != "from the insurer" {
		t.Errorf("the other admin reads %q", note)
	}
	if note := open(t, reader, c.ID).Note(t.Context(), waiting[0]); note != nil {
		t.Errorf("a reader opens %q", note)
	}
	if note := o.Note(t.Context(), waiting[0]); note != nil {
		t.Errorf("who is no admin opens %q", note)
	}
}

// TestRecovery opens everything with keys that the key file has and the document has not any more.
func TestRecoveryWithRetiredKeys(t *testing.T) {
	l := newLedger(t)
	owner := l.person()
	c := create(t, owner, channel.Full)
	write(t, c, "own")
	other := must(keyfile.New("", keyfile.Protection{Unencrypted: true}))
	defer other.Close()
	newer := must(other.Add(keyfile.Document, "#key-2", keyfile.X25519))
	again := owner.Identity
	again.Agreements = append([]Agreement{must(agreement(other, newer))}, again.Agreements...)
	s := NewSession(Config{Node: owner.Node, Network: l.network, Identity: again, NoLogin: true})
	if got := texts(t, open(t, s, c.ID)); !slices.Equal(got, []string{"own"}) {
		t.Errorf("got %q", got)
	}
	again.Agreements = again.Agreements[:1]
	lost := open(t, NewSession(Config{Node: owner.Node, Network: l.network, Identity: again, NoLogin: true}), c.ID)
	if got := texts(t, lost); !slices.Equal(got, []string{"no_key"}) || len(lost.Faults) == 0 {
		t.Errorf("without the key: %q, faults %v", got, lost.Faults)
	}
}

// TestWrongKeysBesideTheRightOne: an admin sends a reader another key than the epoch's, before and after the right one. The
// reader says so while it has nothing better, and is not kept from what it can open.
func TestWrongKeysBesideTheRightOne(t *testing.T) {
	l := newLedger(t)
	owner, reader := l.person(), l.person()
	c := create(t, owner, channel.FromJoin)
	send := func(number uint32, key channel.Key) channel.Wrap {
		a := reader.Identity.Agreements[0]
		return must(key.Wrap(c.ID, number, a.To, a.Private.PublicKey().Bytes()))
	}
	submit := func(make func(channel.Header) did.Object) {
		t.Helper()
		if _, err := c.Submit(t.Context(), must(c.Build(make))); err != nil {
			t.Fatal(err)
		}
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	load := func(number uint32, key channel.Key) {
		t.Helper()
		submit(func(h channel.Header) did.Object {
			return channel.NewKeyload(h, []channel.Keys{{Number: number, Wraps: []channel.Wrap{send(number, key)}}})
		})
	}
	authorize(t, c, channel.Grant{Participant: reader.Identity.DID, Rights: channel.Read})
	write(t, c, "one")
	joined := c.Info.Epoch
	load(joined, channel.Key{66})
	if o := open(t, reader, c.ID); len(o.Faults) > 0 || !slices.Equal(texts(t, o), []string{"one"}) {
		t.Errorf("with a wrong key behind the right one: %v %q", o.Faults, texts(t, o))
	}
	submit(func(h channel.Header) did.Object {
		key := channel.Key{2}
		e := must(key.NewEpoch(c.ID, joined+1, nil))
		a := owner.Identity.Agreements[0]
		e.Wraps = []channel.Wrap{send(joined+1, channel.Key{66}), must(key.Wrap(c.ID, joined+1, a.To, a.Private.PublicKey().Bytes()))}
		return channel.NewRekey(h, "", e)
	})
	write(t, c, "two")
	o := open(t, reader, c.ID)
	if len(o.Faults) != 1 || !strings.Contains(o.Faults[0].Error(), "bad_wrap") || !slices.Equal(texts(t, o), []string{"one", "no_key"}) {
		t.Errorf("with a wrong key alone: %v %q", o.Faults, texts(t, o))
	}
	load(joined+1, channel.Key{2})
	if err := o.Refresh(t.Context()); err != nil || len(o.Faults) > 0 || !slices.Equal(texts(t, o), []string{"one", "two"}) {
		t.Errorf("with the right key behind the wrong one: %v %v %q", err, o.Faults, texts(t, o))
	}
}

func TestSendAllCutsBySize(t *testing.T) {
	entry := bytes.Repeat([]byte("x"), 10<<10)
	sizes := []int{}
	for _, b := range batches([][]byte{entry, entry, entry, entry, entry, entry}) {
		sizes = append(sizes, len(b))
	}
	if !slices.Equal(sizes, []int{5, 1}) {
		t.Errorf("batches of %v", sizes)
	}
	small := make([][]byte, 130)
	if got := batches(small); len(got) != 3 || len(got[2]) != 2 {
		t.Errorf("%d batches", len(got))
	}
}

func TestAKeyFileStaysWhole(t *testing.T) {
	f := sharedReader(t)
	before := len(f.Keys())
	who, err := FromKeyFile(f, "")
	if err != nil || len(f.Keys()) != before || len(who.Agreements) != 1 {
		t.Fatalf("%d keys, %+v, %v", len(f.Keys()), who, err)
	}
	public := must(did.ParseMultikey(who.Agreement()))
	if !bytes.Equal(public.Bytes, who.Agreements[0].Private.PublicKey().Bytes()) || who.Agreement() != f.With(keyfile.Document)[1].Public {
		t.Error("the agreement key is another one")
	}
	if _, err := NewSession(Config{Identity: who}).ReaderKeys(t.Context(), "did:weft:x:y", ""); !errors.Is(err, errNoNode) {
		t.Errorf("without a node: %v", err)
	}
}
