package channel

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft/plugins/identity/did"
)

// hpkeVector is the first message of the suite of channels among the vectors published with RFC 9180 (test-vectors.json of
// the CFRG's draft-irtf-cfrg-hpke: mode 0, KEM 0x0020, KDF 0x0001, AEAD 0x0002); exported is for the context "TestContext".
func hpkeVector() map[string]string {
	return map[string]string{
		"info": "4f6465206f6e2061204772656369616e2055726e",
		"skEm": "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
		"skRm": "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
		"pkRm": "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
		"enc":  "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
		"key":  "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f", "base_nonce": "151d9929e2449747889bc923",
		"aad": "436f756e742d30", "pt": "4265617574792069732074727574682c20747275746820626561757479",
		"ct":       "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
		"exported": "7c5ded445732c14fe09727d29b4251c0fd38455fe8440571e687f0886aac94d2",
	}
}

// TestHPKEVector opens the RFC's vector with what the standard library gives: the suite is the one that is meant.
func TestHPKEVector(t *testing.T) {
	v := hpkeVector()
	private, err := ecdh.X25519().NewPrivateKey(unhex(t, v["skRm"]))
	if err != nil {
		t.Fatal(err)
	}
	k, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	r, err := hpke.NewRecipient(unhex(t, v["enc"]), k, hpke.HKDFSHA256(), hpke.AES256GCM(), unhex(t, v["info"]))
	if err != nil {
		t.Fatal(err)
	}
	if pt, err := r.Open(unhex(t, v["aad"]), unhex(t, v["ct"])); err != nil || hex.EncodeToString(pt) != v["pt"] {
		t.Errorf("opens to %x, %v", pt, err)
	}
	if b, err := r.Export("TestContext", 32); err != nil || hex.EncodeToString(b) != v["exported"] {
		t.Errorf("exports %x, %v", b, err)
	}
	if got := hex.EncodeToString(private.PublicKey().Bytes()); got != v["pkRm"] {
		t.Errorf("the public key is %s", got)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWebCrypto gives the vectors and everything that Go seals to a client of some JavaScript and WebCrypto, which opens it, and
// applies and opens what that client seals and signs: once in node and once in a browser, where they are installed.
func TestWebCrypto(t *testing.T) {
	for name, run := range map[string]func(*testing.T, []byte) []byte{"node": inNode, "chromium": inChromium} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(t)
			answer := run(t, must(json.Marshal(x.given)))
			if err := json.Unmarshal(answer, &x.answer); err != nil || x.answer.Error != "" {
				t.Fatalf("%v %s: %.500s", err, x.answer.Error, answer)
			}
			x.checkVectors()
			x.checkOpened()
			x.applyMade()
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func inNode(t *testing.T, given []byte) []byte {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIPPED, WEBCRYPTO NOT TESTED IN NODE: there is no node")
	}
	var faults bytes.Buffer
	c := exec.CommandContext(t.Context(), program, "testdata/webcrypto/node.mjs")
	c.Stdin, c.Stderr = bytes.NewReader(given), &faults
	answer, err := c.Output()
	if err != nil && strings.Contains(faults.String(), "Unrecognized") {
		t.Skipf("SKIPPED, WEBCRYPTO NOT TESTED IN NODE: this node lacks an algorithm: %.300s", &faults)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, &faults)
	}
	return answer
}

// inChromium serves a page, and waits until it has answered. 127.0.0.1 counts as secure, or there was no WebCrypto.
func inChromium(t *testing.T, given []byte) []byte {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil && program == "" {
			program = found
		}
	}
	if program == "" {
		t.Skip("SKIPPED, WEBCRYPTO NOT TESTED IN A BROWSER: there is no Chromium")
	}
	answers := make(chan []byte, 1)
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir("testdata/webcrypto")))
	mux.HandleFunc("GET /given", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(given) })
	mux.HandleFunc("POST /answer", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // cut short, it is no JSON
		answers <- b
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log bytes.Buffer
	c := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+t.TempDir(), server.URL)
	c.Stdout, c.Stderr, c.WaitDelay = &log, &log, 10*time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case b := <-answers:
		cancel()
		<-ended
		return b
	case err := <-ended:
		t.Fatalf("Chromium ended without an answer: %v: %.2000s", err, &log)
	}
	return nil
}

// exchange is what Go gives and what comes back.
type exchange struct {
	*ledger
	id                          ID
	owner, reader, sensor, late *person
	given                       map[string]any
	payloads                    []string
	answer                      webAnswer
}

type webAnswer struct {
	Error   string
	Vectors map[string]string
	HPKE    map[string]string
	Opened  struct {
		Records []struct {
			Verified, Seals bool
			Meta, Payload   string
		}
		Profile struct{ Name string }
		Note    string
	}
	Made struct {
		Rekey, Request, Profile, Key string
		Inline, Detached, WriteOnly  webRecord
	}
}

// webRecord is an operation with its stored chunks, if they are beside it.
type webRecord struct {
	Entry  string   `json:"entry"`
	Chunks []string `json:"chunks,omitempty"`
}

func text64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// newExchange makes a channel with three epochs and records of each kind, for a reader who is given the newest key.
func newExchange(t *testing.T) *exchange {
	t.Helper()
	l := newLedger(t)
	x := &exchange{ledger: l, owner: l.weft("owner"), reader: l.weft("reader"), sensor: l.keyed("sensor"), late: l.keyed("late")}
	x.id = l.create(x.owner)
	l.want("", x.owner, NewAuthorize(l.header(x.owner, x.id), []Grant{
		{Participant: x.reader.did, Rights: Read}, {Participant: x.sensor.did, Rights: Order},
	}, []Keys{{1, l.wraps(x.id, 1, x.reader)}}, nil))
	for n := uint32(2); n <= 3; n++ {
		l.want("", x.owner, NewRekey(l.header(x.owner, x.id), "", l.epoch(x.id, n, true, x.owner, x.reader)))
	}
	epochs, err := Epochs(l.state, x.id, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	x.given = map[string]any{"vectors": x.vectorInputs(), "hpke": hpkeVector(), "sealed": x.sealedByGo(epochs), "author": map[string]any{
		"channel": x.id.String(), "network": l.network.String(), "created": "2027-01-15T08:00:00.000Z", "notAfter": "2027-01-15T09:00:00Z",
		"epoch": 4, "before": text64(ptr(epochKeyOf(x.id, 3))[:]), "owner": author(x.owner), "sensor": author(x.sensor), "guest": author(x.late),
		"readers": []map[string]string{webReader(x.owner), webReader(x.reader)},
	}}
	return x
}

func author(p *person) map[string]string {
	return map[string]string{"did": p.did, "seed": hex.EncodeToString(p.key.Seed()), "agreement": p.multikey()}
}

func webReader(p *person) map[string]string {
	return map[string]string{"to": p.to, "public": text64(p.agreement.PublicKey().Bytes())}
}

// vectorInputs are those of section 6 of the design, in hex where they are bytes.
func (x *exchange) vectorInputs() map[string]string {
	repeat := func(digits string, n int) string { return strings.Repeat(digits, n) }
	network := testNetwork()
	return map[string]string{
		"key": repeat("11", 32), "channel": repeat("22", 32), "nonce": repeat("33", 16), "before": repeat("10", 32), "salt": repeat("44", 32),
		"secret": repeat("55", 32), "entry": repeat("77", 32), "meta": `{"mediaType":"text/plain"}`, "payload": "hello", "actor": vectorActor,
		"to": vectorActor + "#key-2", "network": network.String(), "wrap": vectors(x.t)["wrap"],
	}
}

// sealedByGo are records under each epoch, inline, beside the ledger and by an author without the key; a profile and a note.
func (x *exchange) sealedByGo(epochs []OpenedEpoch) map[string]any {
	x.t.Helper()
	var list []map[string]any
	for _, e := range epochs {
		one := map[string]any{"number": e.Number, "commit": hex.EncodeToString(e.Commit[:]), "publicKey": text64(e.PublicKey[:])}
		if e.Previous != nil {
			one["previous"] = text64(e.Previous)
		}
		list = append(list, one)
	}
	var records []webRecord
	add := func(p *person, body did.Object, payload string, chunks []string) {
		records = append(records, webRecord{string(x.sign(p, body)), chunks})
		x.payloads = append(x.payloads, payload)
	}
	for n := uint32(1); n <= 3; n++ {
		text := strings.Repeat("record ", int(n)*40) + "é\u2028"
		add(x.owner, x.sealedUnder(x.owner, x.id, n, text, RecordTerms{Tag: "docs", Public: did.Object{"note": "ü \x01", "n": int64(1 << 50)}}), text, nil)
	}
	large := strings.Repeat("0123456789abcdef", 40_000)
	var chunks []string
	k := epochKeyOf(x.id, 3)
	body, _, err := SealBlob(x.random, Sealer{Epoch: 3, Key: &k}, NewWrite(x.header(x.owner, x.id), RecordTerms{}), did.Object{"name": "large"},
		strings.NewReader(large), int64(len(large)), func(_ int, chunk []byte) error {
			chunks = append(chunks, text64(chunk))
			return nil
		})
	if err != nil {
		x.t.Fatal(err)
	}
	add(x.owner, body, large, chunks)
	body, err = Seal(x.random, Sealer{Epoch: 3, PublicKey: epochs[2].PublicKey[:]}, NewWrite(x.header(x.sensor, x.id), RecordTerms{}), did.Object{}, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	add(x.sensor, body, "", nil)
	first := epochKeyOf(x.id, 1)
	profile, err := first.SealProfile(x.id, x.owner.did, Nonce{5}, did.Object{"name": "secret"})
	if err != nil {
		x.t.Fatal(err)
	}
	note, err := SealEnclosure(x.id, x.reader.to, x.reader.agreement.PublicKey().Bytes(), []byte("who asks"))
	if err != nil {
		x.t.Fatal(err)
	}
	return map[string]any{
		"channel": x.id.String(), "secret": hex.EncodeToString(x.reader.agreement.Bytes()), "to": x.reader.to, "epochs": list, "records": records,
		"wrap":    text64(x.wraps(x.id, 3, x.reader)[0].Ciphertext),
		"profile": map[string]string{"actor": x.owner.did, "nonce": text64(ptr(Nonce{5})[:]), "sealed": profile}, "note": note["ct"],
	}
}

func (x *exchange) checkVectors() {
	x.t.Helper()
	want := vectors(x.t)
	want["before"] = strings.Repeat("10", 32)
	for name, value := range want {
		if got := x.answer.Vectors[name]; got != value {
			x.t.Errorf("%s is %q, want %s", name, got, value)
		}
	}
	v := hpkeVector()
	for _, name := range []string{"key", "base_nonce", "exported", "pt", "enc"} {
		if got := x.answer.HPKE[name]; got != v[name] {
			x.t.Errorf("HPKE: %s is %q, want %s", name, got, v[name])
		}
	}
}

func (x *exchange) checkOpened() {
	x.t.Helper()
	o := x.answer.Opened
	if len(o.Records) != len(x.payloads) || o.Profile.Name != "secret" || o.Note != "who asks" {
		x.t.Fatalf("%d of %d records, profile %+v, note %q", len(o.Records), len(x.payloads), o.Profile, o.Note)
	}
	for i, r := range o.Records {
		payload, err := base64.RawURLEncoding.DecodeString(r.Payload)
		if err != nil || string(payload) != x.payloads[i] || !r.Verified || !r.Seals {
			x.t.Errorf("record %d: %d bytes of payload, want %d; proof %v, seals alike %v", i, len(payload), len(x.payloads[i]), r.Verified, r.Seals)
		}
	}
}

// applyMade orders what the other client has signed, and opens it as a reader who has a wrap of it.
func (x *exchange) applyMade() {
	x.t.Helper()
	m := x.answer.Made
	event := map[string]uint64{}
	for _, one := range []struct{ name, entry string }{
		{"rekey", m.Rekey}, {"request", m.Request}, {"inline", m.Inline.Entry}, {"detached", m.Detached.Entry}, {"writeOnly", m.WriteOnly.Entry},
	} {
		if err := x.applyEntry([]byte(one.entry)); err != nil {
			x.t.Fatalf("%s: %v: %s", one.name, err, one.entry)
		}
		event[one.name] = x.head(x.id).Event
	}
	o := x.ledger.reader(x.id, x.reader)
	if k := o.Keys[4]; text64(k[:]) != m.Key || len(o.Keys) != 4 || len(o.Faults) > 0 {
		x.t.Fatalf("%d keys, %v", len(o.Keys), o.Faults)
	}
	for name, want := range map[string]string{"inline": "from a browser", "writeOnly": "21.5"} {
		if got, err := x.open(o.Keys[4], x.entries[event[name]]); err != nil || got != want {
			x.t.Errorf("%s opens to %q, %v", name, got, err)
		}
	}
	var payload bytes.Buffer
	_, err := OpenBlob(o.Keys[4], mustDecode(x.t, x.entries[event["detached"]]), func(n int) ([]byte, error) {
		return base64.RawURLEncoding.DecodeString(m.Detached.Chunks[n])
	}, &payload)
	if err != nil || !bytes.Equal(payload.Bytes(), bytes.Repeat([]byte{7}, 300_000)) {
		x.t.Errorf("the payload opens to %d bytes, %v", payload.Len(), err)
	}
	if got, err := ptr(o.Keys[4]).OpenProfile(x.id, x.owner.did, Nonce{}, m.Profile); err != nil || got["name"] != "from a browser" {
		x.t.Errorf("the profile opens to %v, %v", got, err)
	}
	note := mustDecode(x.t, x.entries[event["request"]]).Envelope.Body["enclosure"].([]any)[0].(did.Object)["ct"].(string)
	sealed, err := base64.RawURLEncoding.DecodeString(note)
	if err != nil {
		x.t.Fatal(err)
	}
	if got, err := OpenEnclosure(x.id, x.owner.to, x.owner.agreement, sealed); err != nil || string(got) != "let me in" {
		x.t.Errorf("the note opens to %q, %v", got, err)
	}
}
