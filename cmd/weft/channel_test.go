package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// TestChannelOperationsOfTheCommandLineDecode holds what the verbs write offline against the rules of the ledger.
func TestChannelOperationsOfTheCommandLineDecode(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("keys", "did")
	network, err := tangle.ParseID(testNetwork)
	if err != nil {
		t.Fatal(err)
	}
	id, someone := strings.Repeat("1", 64), "did:key:z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX"
	for name, args := range map[string][]string{
		"create":    {"create", "n", "--description", "d", "--audit", "--topic", "a=b", "--tag", "t", "--role", "r=read,write:t", "--grace", "10", "--history", "fromJoin"},
		"public":    {"create", "n", "--public", "--grant", someone + "=write"},
		"hidden":    {"create", "n", "--hidden", "--description", "d", "--topic", "a=b"},
		"request":   {"request", id, "--right", "write", "--right", "read"},
		"reject":    {"reject", id, someone, "--reason", "no"},
		"leave":     {"leave", id},
		"lock":      {"lock", id, "--until", "2030-01-01T00:00:00Z"},
		"unlock":    {"lock", id, "--none"},
		"erase":     {"erase", id, "7"},
		"configure": {"configure", id, "--custody", "self", "--retention-days", "30", "--tag", "u", "--to-owner", someone},
	} {
		x.weft(append(append([]string{"channel"}, args...), "--keys", x.path("keys"), "--network", testNetwork, "--out", x.path(name), "--yes")...)
		raw, err := os.ReadFile(x.path(name))
		if err != nil {
			t.Fatal(err)
		}
		op, err := channel.Decode(network, raw)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, raw)
			continue
		}
		if op.Op != channel.Create && (op.Channel.String() != id || op.After.Head != channel.FirstHead(op.Channel)) {
			t.Errorf("%s: channel %s after %+v", name, op.Channel, op.After)
		}
		if words := summary(op.Envelope.Body); len(words) < 4 || strings.Contains(words[0], "UNKNOWN") {
			t.Errorf("%s: %q", name, words)
		}
	}
}

// TestKeysAreShownBeforeSigning wants the very keys that an epoch is sealed to, not their names alone.
func TestKeysAreShownBeforeSigning(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("keys", "did")
	f, err := keyfile.Read(x.path("keys"))
	if err != nil {
		t.Fatal(err)
	}
	var out, told bytes.Buffer
	args := []string{"channel", "create", "n", "--hidden", "--keys", x.path("keys"), "--network", testNetwork, "--out", x.path("op"), "--yes"}
	if code := run(args, strings.NewReader(""), &out, &told, nil); code != 0 {
		t.Fatalf("exit %d\n%s", code, &told)
	}
	wantText(t, told.String(), "SEALED to 1 keys")
	for _, k := range f.Keys() {
		if n := strings.Count(told.String(), k.Public); k.Algorithm == keyfile.X25519 && n != 1 {
			t.Errorf("%s is shown %d times:\n%s", k.Public, n, &told)
		}
	}
}

// TestTheStateOfAnUploadKeepsWhatItIsOf, or a changed file would not be noticed.
func TestTheStateOfAnUploadKeepsWhatItIsOf(t *testing.T) {
	var told bytes.Buffer
	r := &channelWrite{resume: filepath.Join(t.TempDir(), "state")}
	r.shell = &shell{err: &told}
	r.channel = &audit.Channel{ID: channel.ID{1}}
	want := &audit.Upload{Header: did.Object{"nonce": "n"}, Meta: did.Object{}, Epoch: 3, Random: []byte{1, 2}, Size: 70_000, Root: tangle.Hash{4}}
	if err := r.keepUpload(want, audit.ErrAnotherFile); err != nil {
		t.Fatal(err)
	}
	wantText(t, told.String(), "the file is not the one", "begins anew")
	if got, err := r.loadUpload(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestAnUploadGoesOnWithTheSameFlagsAlone: others would be ignored, since header and content are sealed together.
func TestAnUploadGoesOnWithTheSameFlagsAlone(t *testing.T) {
	terms := func() channel.RecordTerms {
		return channel.RecordTerms{RecordType: "invoice", Tag: "customs", Topic: &channel.Topic{Type: "a", Source: "b"}, Supersedes: 7, Public: did.Object{"n": int64(1)}}
	}
	meta := did.Object{"mediaType": "application/pdf", "name": "invoice.pdf"}
	r := &channelWrite{resume: filepath.Join(t.TempDir(), "state")}
	r.shell = &shell{err: io.Discard}
	r.channel = &audit.Channel{ID: channel.ID{1}}
	header := channel.NewWrite(channel.Header{Actor: "did:key:a"}, terms())
	if err := r.keepUpload(&audit.Upload{Header: header, Meta: meta}, nil); err != nil {
		t.Fatal(err)
	}
	kept, err := r.loadUpload()
	if err != nil {
		t.Fatal(err)
	}
	if !kept.IsOf("did:key:a", terms(), meta) {
		t.Error("the same flags are others")
	}
	for name, change := range map[string]func(*channel.RecordTerms){
		"type": func(x *channel.RecordTerms) { x.RecordType = "" }, "tag": func(x *channel.RecordTerms) { x.Tag = "docs" },
		"topic": func(x *channel.RecordTerms) { x.Topic = nil }, "supersedes": func(x *channel.RecordTerms) { x.Supersedes = 8 },
		"public": func(x *channel.RecordTerms) { x.Public["n"] = int64(2) },
	} {
		other := terms()
		if change(&other); kept.IsOf("did:key:a", other, meta) {
			t.Errorf("another %s goes on", name)
		}
	}
	if kept.IsOf("did:key:b", terms(), meta) || kept.IsOf("did:key:a", terms(), did.Object{"name": "other.pdf"}) {
		t.Error("another author or name goes on")
	}
}

// lineNode is a node that takes lines of a write-only author, as scripted.
type lineNode struct {
	t       *testing.T
	mu      sync.Mutex // guards all below
	id      channel.ID
	epoch   uint32
	keys    map[uint32]channel.Key
	taken   map[string]uint64 // seq by opHash
	texts   map[uint64]string
	last    uint64
	posts   int
	die     int                      // the post after which it is away; 0: none
	refuse  func(text string) string // a code
	largest int
	sent    map[string]int // how often, by opHash

	forgetful, forgets bool // every second state that is asked for is not known
}

func newLineNode(t *testing.T) (*lineNode, string) {
	n := &lineNode{t: t, id: channel.ID{1}, keys: map[uint32]channel.Key{}, taken: map[string]uint64{}, sent: map[string]int{}, texts: map[uint64]string{}}
	n.rekey()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/channels/{id}", func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		public, _ := n.keys[n.epoch].PublicKey(n.id, n.epoch)
		json.NewEncoder(w).Encode(client.Channel{
			ID: n.id, Access: channel.Private, Epoch: n.epoch, PublicKey: base64.RawURLEncoding.EncodeToString(public[:]), Rights: channel.Order,
			Head: channel.FirstHead(n.id),
		})
	})
	mux.HandleFunc("GET /api/v1/channels/{id}/keys", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"items":[]}`) })
	mux.HandleFunc("POST /api/v1/channels/{id}/operations", n.post)
	mux.HandleFunc("GET /api/v1/channels/{id}/operations", n.states)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return n, server.URL
}

func (n *lineNode) rekey() {
	n.epoch++
	n.keys[n.epoch] = channel.Key{byte(n.epoch)}
}

func (n *lineNode) post(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	n.largest = max(n.largest, len(raw))
	if n.away(w) {
		return
	}
	var batch struct {
		Operations []json.RawMessage `json:"operations"`
	}
	if err := json.Unmarshal(raw, &batch); err != nil {
		n.t.Error(err)
	}
	results := []any{}
	for _, one := range batch.Operations {
		results = append(results, n.order(one))
	}
	json.NewEncoder(w).Encode(map[string]any{"results": results})
}

// away counts a request, and breaks off at the one that is wanted.
func (n *lineNode) away(w http.ResponseWriter) bool {
	if n.posts++; n.die == 0 || n.posts <= n.die {
		return false
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusForbidden) // a client does not send that again
	io.WriteString(w, `{"code":"forbidden"}`)
	return true
}

// states tells that operations are final, but for those that it has forgotten.
func (n *lineNode) states(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away(w) {
		return
	}
	results := []any{}
	for hash := range strings.SplitSeq(r.URL.Query().Get("hashes"), ",") {
		seq, known := n.taken[hash]
		if n.forgets = !n.forgets && n.forgetful; !known || n.forgets {
			results = append(results, problemResult("unknown_operation"))
			continue
		}
		results = append(results, map[string]any{"status": "final", "opHash": hash, "result": map[string]any{"channel": n.id, "event": seq, "seq": seq}})
	}
	json.NewEncoder(w).Encode(map[string]any{"results": results})
}

func problemResult(code string) any {
	return map[string]any{"problem": map[string]any{"type": "urn:weft:problem:" + code, "code": code}}
}

func (n *lineNode) order(raw []byte) any {
	network, _ := tangle.ParseID(testNetwork)
	op, err := channel.Decode(network, raw)
	if err != nil {
		n.t.Error(err)
		return nil
	}
	n.sent[op.Envelope.Hash]++
	seq, known := n.taken[op.Envelope.Hash]
	if !known {
		if op.Record.Epoch != n.epoch {
			return problemResult("epoch_closed")
		}
		content, err := channel.Open(n.keys[n.epoch], op)
		if err != nil {
			n.t.Error(err)
		}
		if n.refuse != nil {
			if code := n.refuse(string(content.Payload)); code != "" {
				return problemResult(code)
			}
		}
		n.last++
		seq = n.last
		n.taken[op.Envelope.Hash], n.texts[seq] = seq, string(content.Payload)
	}
	return map[string]any{"status": "pending", "opHash": op.Envelope.Hash, "result": map[string]any{"channel": n.id, "event": seq, "seq": seq}}
}

// inOrder are the texts of all records.
func (n *lineNode) inOrder() (list []string) {
	for _, seq := range slices.Sorted(maps.Keys(n.texts)) {
		list = append(list, n.texts[seq])
	}
	return list
}

func numbered(from, to int) (lines []string) {
	for i := from; i <= to; i++ {
		lines = append(lines, "line "+strconv.Itoa(i))
	}
	return lines
}

// writeLines runs channel write --lines.
func (n *lineNode) writeLines(t *testing.T, url, dir string, input io.Reader, args ...string) (code int, out string) {
	t.Helper()
	keys := filepath.Join(dir, "keys")
	if _, err := os.Stat(keys); err != nil {
		f, err := keyfile.New("", keyfile.Protection{Unencrypted: true})
		if err != nil {
			t.Fatal(err)
		}
		k, err := f.Add(keyfile.Document, "", keyfile.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		f.DID = "did:key:" + k.Public
		if err := f.Name(k.Public, "#"+k.Public); err != nil {
			t.Fatal(err)
		}
		if err := f.Create(keys); err != nil {
			t.Fatal(err)
		}
	}
	var o, e bytes.Buffer
	code = run(append([]string{"channel", "write", n.id.String(), "--lines", "--keys", keys, "--network", testNetwork, "--api", url}, args...), input, &o, &e, nil)
	return code, o.String() + e.String()
}

func TestLinesBecomeRecordsInTheirOrder(t *testing.T) {
	n, url := newLineNode(t)
	lines := numbered(1, 500)
	code, out := n.writeLines(t, url, t.TempDir(), strings.NewReader(strings.Join(lines, "\r\n\n")), "--json")
	if code != 0 || !slices.Equal(n.inOrder(), lines) {
		t.Errorf("exit %d, %d records\n%s", code, len(n.texts), out)
	}
	if n.largest > 64<<10 {
		t.Errorf("a request of %d bytes", n.largest)
	}
	if !strings.Contains(out, `{"line":999,"channel"`) { // every second line is empty
		t.Errorf("no result of the last line:\n%.300s", out)
	}
}

// TestLinesTravelOnce: to wait for them is to ask by their hashes. What a node has forgotten is sent again, and counts once.
func TestLinesTravelOnce(t *testing.T) {
	for _, forgetful := range []bool{false, true} {
		n, url := newLineNode(t)
		n.forgetful = forgetful
		lines := numbered(1, 200)
		if code, out := n.writeLines(t, url, t.TempDir(), strings.NewReader(strings.Join(lines, "\n"))); code != 0 || !slices.Equal(n.inOrder(), lines) {
			t.Errorf("forgetful %t: exit %d, %d records\n%s", forgetful, code, len(n.texts), out)
		}
		again := 0
		for _, times := range n.sent {
			again += times - 1
		}
		if len(n.sent) != len(lines) || forgetful != (again > 0) {
			t.Errorf("forgetful %t: %d operations, %d sent again", forgetful, len(n.sent), again)
		}
	}
}

func TestLinesAreSealedAgainWhenTheEpochEnds(t *testing.T) {
	n, url := newLineNode(t)
	n.refuse = func(text string) string {
		if text == "line 30" && n.epoch == 1 {
			n.rekey()
			return "epoch_closed"
		}
		return ""
	}
	code, out := n.writeLines(t, url, t.TempDir(), strings.NewReader(strings.Join(numbered(1, 200), "\n")))
	got := n.inOrder()
	slices.Sort(got)
	want := numbered(1, 200)
	slices.Sort(want)
	if code != 0 || !slices.Equal(got, want) {
		t.Errorf("exit %d, %d records\n%s", code, len(got), out)
	}
}

func TestRefusedLinesAreTold(t *testing.T) {
	n, url := newLineNode(t)
	n.refuse = func(text string) string {
		if text == "line 3" {
			return "record_limit"
		}
		return ""
	}
	code, out := n.writeLines(t, url, t.TempDir(), strings.NewReader(strings.Join(numbered(1, 5), "\n")))
	if code != 1 || len(n.texts) != 4 || !strings.Contains(out, "line 3: refused") || !strings.Contains(out, "1 of 5 records were refused") {
		t.Errorf("exit %d, %d records\n%s", code, len(n.texts), out)
	}
	code, out = n.writeLines(t, url, t.TempDir(), strings.NewReader(strings.Repeat("x", channel.MaxInlinePayload+3)))
	if code != 1 || !strings.Contains(out, "line 1 is longer than") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestLinesGoOn breaks the run off at every request, and wants every line once in the end.
func TestLinesGoOn(t *testing.T) {
	want := numbered(1, 150)
	for die := range 12 {
		n, url := newLineNode(t)
		dir := t.TempDir()
		state := filepath.Join(dir, "state")
		n.die = die + 1
		input := strings.Join(want, "\n")
		code, out := n.writeLines(t, url, dir, strings.NewReader(input), "--resume", state)
		if broken := n.posts > n.die; broken != (code == 1) {
			t.Fatalf("exit %d after %d requests of %d\n%s", code, n.posts, n.die, out)
		}
		n.die = 0
		if n.posts > 3 {
			n.rekey()
		}
		for range 2 {
			if code, out := n.writeLines(t, url, dir, strings.NewReader(input), "--resume", state); code != 0 {
				t.Fatalf("resumed: exit %d\n%s", code, out)
			}
		}
		got := n.inOrder()
		slices.Sort(got)
		all := slices.Sorted(slices.Values(want))
		if !slices.Equal(got, all) {
			t.Fatalf("broken off after %d requests: %d records", die+1, len(got))
		}
		if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the state has mode %v, %v", info.Mode(), err)
		}
		more := strings.Join(numbered(151, 160), "\n")
		if code, out := n.writeLines(t, url, dir, strings.NewReader(more), "--resume", state, "--tail"); code != 0 || len(n.texts) != 160 {
			t.Fatalf("with --tail: exit %d, %d records\n%s", code, len(n.texts), out)
		}
	}
}

// TestLinesOfAPipe wants lines to become records while the input is still open.
func TestLinesOfAPipe(t *testing.T) {
	n, url := newLineNode(t)
	dir := t.TempDir()
	in, pipe := io.Pipe()
	arrived := make(chan string, 8)
	n.refuse = func(text string) string { arrived <- text; return "" }
	done := make(chan int)
	go func() {
		code, _ := n.writeLines(t, url, dir, in)
		done <- code
	}()
	for _, line := range []string{"one", "two"} {
		io.WriteString(pipe, line+"\n")
		if got := <-arrived; got != line {
			t.Errorf("%q arrived, want %q", got, line)
		}
	}
	pipe.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestACopyHashesAsItsRecord(t *testing.T) {
	text := "an alert"
	l := recordLine{Salt: base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{4}, 32)), Meta: json.RawMessage(`{ "mediaType": "text/plain" }`), Text: &text}
	got, err := l.hash()
	want := channel.ContentHash(bytes.Repeat([]byte{4}, 32), []byte(`{"mediaType":"text/plain"}`), []byte(text))
	if err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
