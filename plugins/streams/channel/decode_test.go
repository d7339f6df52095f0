package channel

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// sample is an operation of each kind, as clients make them.
func samples(l *ledger) map[Op]did.Object {
	alice, bob := l.weft("alice"), l.weft("bob")
	id := NewID(l.network, alice.did, Nonce{})
	h := func(p *person) Header { return l.header(p, id) }
	create := h(alice)
	create.Nonce = Nonce{}
	topic := Topic{"shipment", "SHP-001"}
	sealedWrite, err := Seal(l.random, Sealer{Epoch: 1, Key: ptr(epochKeyOf(id, 1))}, NewWrite(h(alice), RecordTerms{
		RecordType: "threat", Tag: "customs", Topic: &topic, Public: did.Object{"category": "malware"}, Supersedes: 17,
	}), did.Object{"mediaType": "text/plain"}, []byte("hello"))
	if err != nil {
		l.t.Fatal(err)
	}
	note, err := SealEnclosure(id, alice.to, alice.agreement.PublicKey().Bytes(), []byte("it is me"))
	if err != nil {
		l.t.Fatal(err)
	}
	return map[Op]did.Object{
		Create: NewCreate(create, CreateTerms{
			Access: Private, Profile: Stream, Settings: Settings{
				Name: ptr("SHP-001"), Description: ptr("a <b>shipment</b> \u202e"), Status: ptr("open"), Topics: &[]Topic{topic}, Tags: &[]string{"customs", "docs"},
				Roles: &map[string]Role{"customs": {Read | Order, []string{"customs"}}}, History: ptr(Full), GraceSeconds: ptr(60),
				RetentionDays: ptr(0), Custody: ptr(CustodyAny), Hidden: ptr(false),
			}, Epoch: l.epoch(id, 1, false, alice),
		}),
		Configure: NewConfigure(h(alice), Settings{Status: ptr("closed"), Archived: ptr(true), Owner: ptr(bob.did)}),
		Request:   NewRequest(h(bob), Asked{Rights: Read | Order, Custody: CustodySelf}, []did.Object{note}),
		Authorize: NewAuthorize(h(alice), []Grant{{
			Participant: bob.did, Rights: Read, Roles: []string{"customs"}, Tags: []string{"docs"}, ValidFrom: begin, ValidUntil: begin + 1000,
			MaxRecords: 1000, Custody: CustodySelf,
		}}, []Keys{{1, l.wraps(id, 1, bob)}}, nil),
		Reject:  NewReject(h(alice), []string{bob.did}, "not_a_party"),
		Revoke:  NewRevoke(h(alice), []string{bob.did}, "leg_ended", l.epoch(id, 2, true, alice)),
		Leave:   NewLeave(h(bob)),
		Rekey:   NewRekey(h(alice), "scheduled", l.epoch(id, 2, true, alice)),
		Keyload: NewKeyload(h(alice), []Keys{{1, l.wraps(id, 1, bob)}}),
		Write:   sealedWrite,
		Lock:    NewLock(h(alice), Until, begin+86_400_000),
		Erase:   NewErase(h(alice), 42, "gdpr_art17"),
	}
}

func signer(l *ledger, body did.Object) *person {
	for _, p := range l.people {
		if p.did == body["actor"] {
			return p
		}
	}
	l.t.Fatal("no actor")
	return nil
}

func TestDecodeReadsWhatIsBuilt(t *testing.T) {
	l := newLedger(t)
	all := samples(l)
	for _, name := range Ops() {
		op, err := Decode(l.network, l.sign(signer(l, all[name]), all[name]))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if op.Op != name || op.Actor != all[name]["actor"] || op.Channel.String() != all[name]["channel"] {
			t.Errorf("%s: %+v", name, op)
		}
	}
	op, _ := Decode(l.network, l.sign(l.weft("alice"), all[Write]))
	if r := op.Record; r.Tag != "customs" || r.Topic.Source != "SHP-001" || r.Supersedes != 17 || r.Epoch != 1 || r.PublicBytes != 22 {
		t.Errorf("record %+v", r)
	}
}

// TestEveryMemberCounts takes each member away and adds one at every level: optional ones may go, no unknown one may come.
func TestEveryMemberCounts(t *testing.T) {
	l := newLedger(t)
	for name, body := range samples(l) {
		p := signer(l, body)
		walk(body, nil, func(path []string) {
			changed := clone(t, body)
			at(changed, path)["unheard"] = "of"
			if _, err := Decode(l.network, l.sign(p, changed)); plugintest.Code(t, err) != "unknown_field" && !free(path) {
				t.Errorf("%s: a member in %v: %v", name, path, err)
			}
			for member := range at(body, path) {
				changed := clone(t, body)
				at(changed, path)[member] = nil
				if _, err := Decode(l.network, l.sign(p, changed)); err == nil {
					t.Errorf("%s: null in %v.%s passes", name, path, member)
				}
				changed = clone(t, body)
				at(changed, path)[member] = 1.5
				if _, err := Decode(l.network, l.sign(p, changed)); plugintest.Code(t, err) != "not_canonical" {
					t.Errorf("%s: a fraction in %v.%s: %v", name, path, member, err)
				}
			}
		})
	}
}

// free says whether a path is one where any member may stand: public, and names of roles.
func free(path []string) bool {
	return len(path) > 0 && (path[0] == "public" || len(path) == 1 && path[0] == "roles" || len(path) == 2 && path[0] == "set" && path[1] == "roles")
}

func clone(t testing.TB, o did.Object) did.Object {
	t.Helper()
	b, err := did.Canonical(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := did.DecodeObject(b, did.JSONLimits{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func walk(v any, path []string, visit func(path []string)) {
	switch v := v.(type) {
	case did.Object:
		visit(append([]string{}, path...))
		for name, inner := range v {
			walk(inner, append(path, name), visit)
		}
	case []any:
		for i, inner := range v {
			walk(inner, append(path, string(rune('0'+i))), visit)
		}
	}
}

func at(v any, path []string) did.Object {
	for _, step := range path {
		switch inner := v.(type) {
		case did.Object:
			v = inner[step]
		case []any:
			v = inner[step[0]-'0']
		}
	}
	return v.(did.Object)
}

// TestBadInputs is the list of section 11 as far as bytes alone decide.
func TestBadInputs(t *testing.T) {
	l := newLedger(t)
	all := samples(l)
	alice, bob := l.weft("alice"), l.weft("bob")
	good := func(op Op) string { return string(l.sign(signer(l, all[op]), all[op])) }
	changed := func(op Op, change func(b did.Object)) string {
		b := clone(t, all[op])
		change(b)
		return string(l.sign(signer(l, all[op]), b))
	}
	write := good(Write)
	deep := any("x")
	for range 17 {
		deep = []any{deep}
	}
	wrap := func(n int) []any {
		list := []any{}
		for i := range n {
			list = append(list, did.Object{"to": fmt.Sprintf("%s#%d", bob.did, i), "ct": strings.Repeat("A", 107)})
		}
		return list
	}
	proof := func(change func(proofs []any, whole did.Object)) string {
		o, err := did.DecodeObject([]byte(write), did.JSONLimits{})
		if err != nil {
			t.Fatal(err)
		}
		change(o["proof"].([]any), o)
		b, err := did.Canonical(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	twice, err := did.Authentication.Sign(all[Write], alice.key, bob.key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := did.Sign(all[Write], alice.key)
	if err != nil {
		t.Fatal(err)
	}
	p256 := "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"
	for name, c := range map[string]struct{ entry, code string }{
		"nothing":            {"", "not_canonical"},
		"not JSON":           {"hello", "not_canonical"},
		"a list":             {"[]", "not_canonical"},
		"spaces":             {strings.Replace(write, ",", ", ", 1), "not_canonical"},
		"a trailing byte":    {write + " ", "not_canonical"},
		"a duplicate member": {strings.Replace(write, `{"`, `{"actor":"x","`, 1), "not_canonical"},
		"invalid UTF-8":      {strings.Replace(write, "threat", "thre\xff\xfe", 1), "not_canonical"},
		"a float":            {strings.Replace(write, `"supersedes":17`, `"supersedes":17.0`, 1), "not_canonical"},
		"2^53":               {strings.Replace(write, `"supersedes":17`, `"supersedes":9007199254740992`, 1), "not_canonical"},
		"null":               {changed(Write, func(b did.Object) { b["tag"] = nil }), "bad_value"},
		"unknown op":         {changed(Write, func(b did.Object) { b["op"] = "burn" }), "unknown_field"},
		"unknown type":       {changed(Write, func(b did.Object) { b["type"] = "weft/channel/2" }), "unknown_field"},
		"unknown field":      {changed(Write, func(b did.Object) { b["color"] = "red" }), "unknown_field"},
		"depth 17":           {changed(Write, func(b did.Object) { b["public"] = did.Object{"x": deep} }), "bad_value"},
		"129 wraps":          {changed(Keyload, func(b did.Object) { b["keys"] = []any{did.Object{"number": 1, "wraps": wrap(129)}} }), "bad_value"},
		"129 wraps in all": {changed(Authorize, func(b did.Object) {
			b["keys"] = []any{did.Object{"number": 1, "wraps": wrap(65)}, did.Object{"number": 2, "wraps": wrap(64)}}
		}), "bad_value"},
		"no wraps":         {changed(Keyload, func(b did.Object) { b["keys"] = []any{did.Object{"number": 1, "wraps": []any{}}} }), "bad_value"},
		"two wraps to one": {changed(Keyload, func(b did.Object) { b["keys"] = []any{did.Object{"number": 1, "wraps": append(wrap(1), wrap(1)...)}} }), "bad_value"},
		"a short wrap": {changed(Keyload, func(b did.Object) {
			b["keys"] = []any{did.Object{"number": 1, "wraps": []any{did.Object{"to": bob.to, "ct": strings.Repeat("A", 106)}}}}
		}), "bad_value"},
		"audit with write": {changed(Authorize, func(b did.Object) { at(b, []string{"grants", "0"})["rights"] = words([]string{"audit", "write"}) }), "bad_value"},
		"audit without end": {changed(Authorize, func(b did.Object) {
			g := at(b, []string{"grants", "0"})
			g["rights"] = words([]string{"audit"})
			delete(g, "validUntil")
		}), "bad_value"},
		"a right twice":       {changed(Authorize, func(b did.Object) { at(b, []string{"grants", "0"})["rights"] = words([]string{"read", "read"}) }), "bad_value"},
		"an end before begin": {changed(Authorize, func(b did.Object) { at(b, []string{"grants", "0"})["validUntil"] = "2020-01-01T00:00:00Z" }), "bad_value"},
		"a grant of nothing":  {changed(Authorize, func(b did.Object) { g := at(b, []string{"grants", "0"}); g["rights"] = []any{}; delete(g, "roles") }), "bad_value"},
		"agreement of a weft": {changed(Authorize, func(b did.Object) { at(b, []string{"grants", "0"})["agreement"] = alice.multikey() }), "bad_value"},
		"a role with admin":   {changed(Create, func(b did.Object) { at(b, []string{"roles", "customs"})["rights"] = words([]string{"admin"}) }), "bad_value"},
		"did:key as admin": {changed(Authorize, func(b did.Object) {
			g := at(b, []string{"grants", "0"})
			g["participant"], g["rights"] = l.keyed("k").did, words([]string{"admin"})
		}), "bad_value"},
		"wrap to the revoked":   {changed(Revoke, func(b did.Object) { e := b["epoch"].(did.Object); e["wraps"] = append(e["wraps"].([]any), wrap(1)...) }), "bad_value"},
		"previous in epoch 1":   {changed(Create, func(b did.Object) { b["epoch"].(did.Object)["previous"] = strings.Repeat("A", 64) }), "bad_value"},
		"epoch 2 in create":     {changed(Create, func(b did.Object) { b["epoch"].(did.Object)["number"] = 2 }), "bad_value"},
		"private without epoch": {changed(Create, func(b did.Object) { delete(b, "epoch") }), "bad_value"},
		"public with epoch":     {changed(Create, func(b did.Object) { b["access"] = "public" }), "bad_value"},
		"another id":            {changed(Create, func(b did.Object) { b["channel"] = strings.Repeat("0", 64) }), "bad_value"},
		"no name":               {changed(Create, func(b did.Object) { delete(b, "name") }), "bad_value"},
		"a name of 129":         {changed(Create, func(b did.Object) { b["name"] = strings.Repeat("n", 129) }), "bad_value"},
		"hidden with a name":    {changed(Create, func(b did.Object) { b["hidden"], b["sealedProfile"] = true, strings.Repeat("A", 40) }), "bad_value"},
		"owner in create":       {changed(Create, func(b did.Object) { b["owner"] = bob.did }), "unknown_field"},
		"grant for the owner": {changed(Create, func(b did.Object) {
			b["grants"] = []any{did.Object{"participant": alice.did, "rights": words([]string{"read"})}}
		}), "bad_value"},
		"all rights for the owner": {changed(Create, func(b did.Object) {
			b["grants"] = []any{did.Object{"participant": alice.did, "rights": words([]string{"read", "write", "admin"})}}
		}), "bad_value"},
		"custody of the owner, with an end": {changed(Create, func(b did.Object) {
			b["grants"] = []any{did.Object{"participant": alice.did, "rights": words([]string{"read", "write", "admin"}), "custody": "node", "validUntil": "2030-01-01T00:00:00Z"}}
		}), "bad_value"},
		"grace of 601":           {changed(Create, func(b did.Object) { b["graceSeconds"] = 601 }), "bad_value"},
		"an empty set":           {changed(Configure, func(b did.Object) { b["set"] = did.Object{} }), "bad_value"},
		"access in set":          {changed(Configure, func(b did.Object) { b["set"].(did.Object)["access"] = "public" }), "unknown_field"},
		"no notAfter":            {changed(Leave, func(b did.Object) { delete(b, "notAfter") }), "bad_value"},
		"no after":               {changed(Leave, func(b did.Object) { delete(b, "after") }), "bad_value"},
		"created in seconds":     {changed(Leave, func(b did.Object) { b["created"] = "2026-12-01T00:00:00Z" }), "bad_value"},
		"notAfter with decimals": {changed(Leave, func(b did.Object) { b["notAfter"] = "2026-12-01T00:00:00.000Z" }), "bad_value"},
		"a short nonce":          {changed(Leave, func(b did.Object) { b["nonce"] = strings.Repeat("A", 21) }), "bad_value"},
		"capital hex":            {changed(Leave, func(b did.Object) { b["channel"] = strings.Repeat("A", 64) }), "bad_value"},
		"did:web as actor":       {changed(Leave, func(b did.Object) { b["actor"] = "did:web:example.com" }), "bad_value"},
		"another network":        {changed(Leave, func(b did.Object) { b["network"] = strings.Repeat("0", 64) }), "wrong_network"},
		"an actor of another":    {changed(Leave, func(b did.Object) { b["actor"] = strings.Replace(alice.did, "t2iac44k", "t2iac44l", 1) }), "wrong_network"},
		"epoch 0":                {changed(Write, func(b did.Object) { b["epoch"] = 0 }), "bad_value"},
		"a body without epoch":   {changed(Write, func(b did.Object) { delete(b, "epoch") }), "bad_value"},
		"a body without hash":    {changed(Write, func(b did.Object) { delete(b, "contentHash") }), "bad_value"},
		"an empty record": {changed(Write, func(b did.Object) {
			delete(b, "body")
			delete(b, "contentHash")
			delete(b, "epoch")
			delete(b, "public")
		}), "bad_value"},
		"a ciphertext of 256": {changed(Write, func(b did.Object) { b["body"].(did.Object)["ciphertext"] = strings.Repeat("A", 342-1) + "A" }), "bad_value"},
		"blob and ciphertext": {changed(Write, func(b did.Object) {
			b["body"].(did.Object)["blob"] = did.Object{"root": strings.Repeat("0", 64), "size": 272, "chunks": 1}
		}), "bad_value"},
		"a blob of 2 chunks": {changed(Write, func(b did.Object) {
			b["body"] = did.Object{"blob": did.Object{"root": strings.Repeat("0", 64), "size": 272, "chunks": 2}}
		}), "bad_value"},
		"a blob beyond 1 GiB": {changed(Write, func(b did.Object) {
			b["body"] = did.Object{"blob": did.Object{"root": strings.Repeat("0", 64), "size": 1<<30 + 1, "chunks": 4097}}
		}), "bad_value"},
		"public of 16 KiB":   {changed(Write, func(b did.Object) { b["public"] = did.Object{"x": strings.Repeat("x", 16<<10)} }), "bad_value"},
		"seq 0":              {changed(Erase, func(b did.Object) { b["seq"] = 0 }), "bad_value"},
		"until without time": {changed(Lock, func(b did.Object) { delete(b, "until") }), "bad_value"},
		"none with time":     {changed(Lock, func(b did.Object) { b["lock"] = "none" }), "unknown_field"},
		"a flipped signature": {proof(func(p []any, _ did.Object) {
			p[0].(did.Object)["proofValue"] = "z" + did.Base58(bytes.Repeat([]byte{7}, 64))
		}), "bad_signature"},
		"another channel's":     {proof(func(_ []any, o did.Object) { o["channel"] = strings.Repeat("0", 64) }), "bad_signature"},
		"two proofs":            {string(twice), "bad_signature"},
		"no proof":              {proof(func(_ []any, o did.Object) { delete(o, "proof") }), "bad_signature"},
		"another purpose":       {string(other), "bad_signature"},
		"P-256":                 {proof(func(p []any, _ did.Object) { p[0].(did.Object)["verificationMethod"] = "did:key:" + p256 + "#" + p256 }), "bad_signature"},
		"an unknown suite":      {proof(func(p []any, _ did.Object) { p[0].(did.Object)["cryptosuite"] = "ecdsa-jcs-2019" }), "bad_signature"},
		"a member of the proof": {proof(func(p []any, _ did.Object) { p[0].(did.Object)["created"] = "2026-12-01T00:00:00Z" }), "unknown_field"},
	} {
		_, err := Decode(l.network, []byte(c.entry))
		if got := plugintest.Code(t, err); got != c.code {
			t.Errorf("%s: %q (%v), want %q", name, got, err, c.code)
		}
	}
	if _, err := Decode(tangle.ID{1}, []byte(write)); plugintest.Code(t, err) != "wrong_network" {
		t.Errorf("another network: %v", err)
	}
}

func TestOperationsOfTheLargestSize(t *testing.T) {
	l := newLedger(t)
	p := l.weft("alice")
	h := Header{Network: l.network, Channel: ID{1}, Actor: p.did, Created: begin}
	size := func(n int) []byte {
		body := NewLeave(h)
		body["pad"] = strings.Repeat("x", n)
		return l.sign(p, body)
	}
	pad := MaxOperationBytes - len(size(0))
	for pad -= 3; len(size(pad)) != MaxOperationBytes; pad++ { // signatures differ in length by a character or two
	}
	if _, err := Decode(l.network, size(pad)); plugintest.Code(t, err) != "unknown_field" {
		t.Errorf("32 KiB: %v", err)
	}
	if _, err := Decode(l.network, size(pad+3)); plugintest.Code(t, err) != "too_large" {
		t.Errorf("more than 32 KiB: %v", err)
	}
	k := fill[Key](1)
	body, err := Seal(l.random, Sealer{Epoch: 1, Key: &k}, NewWrite(h, RecordTerms{}), did.Object{"x": strings.Repeat("x", MaxMeta-8)}, make([]byte, MaxInlinePayload))
	if err != nil {
		t.Fatal(err)
	}
	op, err := Decode(l.network, l.sign(p, body))
	if err != nil {
		t.Fatalf("the largest inline body: %v", err)
	}
	if c, err := Open(k, op); err != nil || len(c.Payload) != MaxInlinePayload {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	l := newLedger(f)
	for _, body := range samples(l) {
		f.Add(l.sign(signer(l, body), body))
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		op, err := Decode(l.network, entry)
		plugintest.Code(t, err)
		if err == nil && !bytes.Equal(op.Envelope.Raw, entry) {
			t.Error("another text")
		}
	})
}

// FuzzEnvelope signs what it is given, so that it comes behind the signature; nothing that is read may panic in Next.
func FuzzEnvelope(f *testing.F) {
	l := newLedger(f)
	for _, body := range samples(l) {
		b, err := did.Canonical(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	key := l.weft("alice").key
	f.Fuzz(func(t *testing.T, text []byte) {
		body, err := did.DecodeObject(text, did.JSONLimits{})
		if err != nil {
			return
		}
		delete(body, "proof")
		entry, err := Sign(body, ed25519.PrivateKey(key))
		if err != nil {
			return
		}
		op, err := Decode(l.network, entry)
		if err != nil {
			plugintest.Code(t, err)
			return
		}
		_, err = Next(l.state, l.identity, op, did.Place{Time: l.now, Position: 1})
		plugintest.Code(t, err)
	})
}

func TestRightsInJSON(t *testing.T) {
	for r := Rights(0); r < 16; r++ {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Rights
		if err := json.Unmarshal(b, &back); err != nil || back != r {
			t.Errorf("%s: %v, %v", b, back, err)
		}
	}
}
