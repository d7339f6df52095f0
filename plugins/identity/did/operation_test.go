package did

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"weft/internal/zip215"
	"weft/plugins/plugintest"
	"weft/tangle"
)

func TestVectorOperation(t *testing.T) {
	op, err := Decode(testNetwork(), DefaultLimits(), vector(t))
	if err != nil {
		t.Fatal(err)
	}
	if op.DID.String() != vectorDID || op.Seq != 1 || op.Params.TTL != DefaultTTL || op.Params.NextKeyHashes[0] != "zQmf5LPQcHPPWj6jY5etCXum7zJsqT1crW2Ri1aA5zaaFEm" ||
		op.Recovery.KeyHashes[0] != "zQmSquj4T3dTAmMafFNu93ZCKC5ogq9bH1DPvK4fuAcXF2X" || op.Params.UpdateKeys[0] != "z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX" {
		t.Errorf("%+v", op)
	}
	c := Content{
		Params: NewParams(multikeys(1), hashes(2)...), Document: simpleDocument(1), Recovery: &RecoverySet{hashes(3), 1},
	}
	body, d, err := Create(testNetwork(), [NonceBytes]byte{}, c)
	if err != nil || d.String() != vectorDID {
		t.Fatalf("%s, %v", d, err)
	}
	if got := sign(t, body, 1); !bytes.Equal(got, vector(t)) {
		t.Errorf("built: %s", got)
	}
}

// TestFormOfBytes changes the bytes of a good operation so that they mean the same, or nearly.
func TestFormOfBytes(t *testing.T) {
	good := string(vector(t))
	for name, c := range map[string]struct{ raw, code string }{
		"empty":            {"", "not_canonical"},
		"list":             {"[" + good + "]", "not_canonical"},
		"trailing newline": {good + "\n", "not_canonical"},
		"trailing object":  {good + "{}", "not_canonical"},
		"leading space":    {" " + good, "not_canonical"},
		"byte order mark":  {"\ufeff" + good, "not_canonical"},
		"inner space":      {strings.Replace(good, `"seq":1`, `"seq": 1`, 1), "not_canonical"},
		"fraction":         {strings.Replace(good, `"seq":1`, `"seq":1.0`, 1), "not_canonical"},
		"exponent":         {strings.Replace(good, `"seq":1`, `"seq":1e0`, 1), "not_canonical"},
		"half":             {strings.Replace(good, `"seq":1`, `"seq":1.5`, 1), "not_canonical"},
		"minus zero":       {strings.Replace(good, `"seq":1`, `"seq":-0`, 1), "not_canonical"},
		"big integer":      {strings.Replace(good, `"seq":1`, `"seq":9007199254740993`, 1), "not_canonical"},
		"huge integer":     {strings.Replace(good, `"seq":1`, `"seq":1`+strings.Repeat("0", 400), 1), "not_canonical"},
		"null":             {strings.Replace(good, `"seq":1`, `"seq":null`, 1), "bad_value"},
		"duplicate":        {strings.Replace(good, `"seq":1`, `"seq":1,"seq":1`, 1), "not_canonical"},
		"escaped":          {strings.Replace(good, `"seq"`, `"\u0073eq"`, 1), "not_canonical"},
		"escaped slash":    {strings.Replace(good, `weft/op/1`, `weft\/op/1`, 1), "not_canonical"},
		"reordered":        {strings.Replace(good, `"seq":1,"type":"weft/op/1"`, `"type":"weft/op/1","seq":1`, 1), "not_canonical"},
		"not UTF-8":        {strings.Replace(good, `weft/op/1`, "weft/op/\xff", 1), "not_canonical"},
		"lone surrogate":   {strings.Replace(good, `weft/op/1`, `weft/op/\ud800`, 1), "not_canonical"},
		"too large":        {strings.Replace(good, `weft/op/1`, strings.Repeat("x", 17<<10), 1), "too_large"},
		"too deep":         {strings.Replace(good, `"seq":1`, `"seq":`+strings.Repeat("[", 20)+strings.Repeat("]", 20), 1), "too_large"},
		"no proof":         {good[:strings.Index(good, `"proof"`)] + good[strings.Index(good, `"recovery"`):], "bad_value"},
		"null proof":       {strings.Replace(good, `"proof":[`, `"proof":null,"proofx":[`, 1), "bad_value"},
	} {
		if name != "too large" && c.raw == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := Decode(testNetwork(), DefaultLimits(), []byte(c.raw)); plugintest.Code(t, err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if _, err := Decode(tangle.ID{1}, DefaultLimits(), []byte(good)); plugintest.Code(t, err) != "wrong_network" {
		t.Errorf("on another network: %v", err)
	}
}

// changed is the body of the vector after a change; members of params, recovery and doc are by name.
func changed(t *testing.T, change func(body, params, doc Object)) Object {
	t.Helper()
	body, err := DecodeObject(vector(t), JSONLimits{})
	if err != nil {
		t.Fatal(err)
	}
	delete(body, "proof")
	change(body, body["params"].(Object), body["doc"].(Object))
	return body
}

// renamed computes the scid again.
func renamed(t *testing.T, body Object) Object {
	t.Helper()
	body["did"] = methodPrefix + NetworkLabel(testNetwork()) + ":" + placeholder
	scid, err := OpHash(body)
	if err != nil {
		t.Fatal(err)
	}
	body["did"] = newDID(testNetwork(), scid).String()
	return body
}

func TestMembersOfOperations(t *testing.T) {
	long := strings.Repeat("x", 600)
	many := func(n int) (list []any) {
		for i := range n {
			list = append(list, multikey(byte(i)))
		}
		return list
	}
	manyHashes := func(n int) (list []any) {
		for i := range n {
			list = append(list, KeyHash(multikey(byte(i))))
		}
		return list
	}
	other := newDID(testNetwork(), Multihash([]byte("other"))).String()
	for name, c := range map[string]struct {
		code   string
		change func(body, params, doc Object)
	}{
		"as it is":               {"", func(b, p, d Object) {}},
		"notAfter":               {"", func(b, p, d Object) { b["notAfter"] = "2026-12-01T00:00:00Z" }},
		"notAfter with offset":   {"bad_value", func(b, p, d Object) { b["notAfter"] = "2026-12-01T00:00:00+00:00" }},
		"notAfter with fraction": {"bad_value", func(b, p, d Object) { b["notAfter"] = "2026-12-01T00:00:00.5Z" }},
		"notAfter number":        {"bad_value", func(b, p, d Object) { b["notAfter"] = 1 }},
		"notAfter no such day":   {"bad_value", func(b, p, d Object) { b["notAfter"] = "2026-02-30T00:00:00Z" }},
		"unknown member":         {"unknown_field", func(b, p, d Object) { b["fee"] = 1 }},
		"empty member":           {"unknown_field", func(b, p, d Object) { b[""] = 1 }},
		"member of update":       {"unknown_field", func(b, p, d Object) { b["prev"] = Multihash(nil) }},
		"unknown op":             {"bad_value", func(b, p, d Object) { b["op"] = "delete" }},
		"op number":              {"bad_value", func(b, p, d Object) { b["op"] = 1 }},
		"another type":           {"bad_value", func(b, p, d Object) { b["type"] = "weft/op/2" }},
		"network upper case":     {"bad_value", func(b, p, d Object) { b["network"] = strings.ToUpper(testNetwork().String()) }},
		"seq 2":                  {"bad_value", func(b, p, d Object) { b["seq"] = 2 }},
		"seq text":               {"bad_value", func(b, p, d Object) { b["seq"] = "1" }},
		"short nonce":            {"bad_value", func(b, p, d Object) { b["nonce"] = base64url(make([]byte, 15)) }},
		"loose nonce":            {"bad_value", func(b, p, d Object) { b["nonce"] = strings.Repeat("A", 21) + "B" }},
		"no nonce":               {"bad_value", func(b, p, d Object) { delete(b, "nonce") }},
		"no doc":                 {"bad_value", func(b, p, d Object) { delete(b, "doc") }},
		"empty doc":              {"", func(b, p, d Object) { b["doc"] = Object{} }},
		"no recovery":            {"", func(b, p, d Object) { delete(b, "recovery") }},
		"recovery list":          {"bad_value", func(b, p, d Object) { b["recovery"] = []any{} }},
		"recovery threshold 0":   {"bad_value", func(b, p, d Object) { b["recovery"].(Object)["threshold"] = 0 }},
		"recovery threshold 2":   {"bad_value", func(b, p, d Object) { b["recovery"].(Object)["threshold"] = 2 }},
		"recovery empty":         {"bad_value", func(b, p, d Object) { b["recovery"].(Object)["keyHashes"] = []any{} }},
		"recovery member":        {"unknown_field", func(b, p, d Object) { b["recovery"].(Object)["x"] = 1 }},
		"recovery of keys":       {"bad_value", func(b, p, d Object) { b["recovery"].(Object)["keyHashes"] = many(1) }},
		"17 recovery keys":       {"too_large", func(b, p, d Object) { b["recovery"].(Object)["keyHashes"] = manyHashes(17) }},
		"params member":          {"unknown_field", func(b, p, d Object) { p["x"] = 1 }},
		"no updateKeys":          {"bad_value", func(b, p, d Object) { delete(p, "updateKeys") }},
		"no nextKeyHashes":       {"bad_value", func(b, p, d Object) { delete(p, "nextKeyHashes") }},
		"16 keys":                {"", func(b, p, d Object) { p["updateKeys"] = many(16) }},
		"17 keys":                {"too_large", func(b, p, d Object) { p["updateKeys"] = many(17) }},
		"17 next keys":           {"too_large", func(b, p, d Object) { p["nextKeyHashes"] = manyHashes(17) }},
		"a key twice":            {"bad_value", func(b, p, d Object) { p["updateKeys"] = []any{multikey(1), multikey(1)} }},
		"a hash as key":          {"bad_value", func(b, p, d Object) { p["updateKeys"] = manyHashes(1) }},
		"threshold 0":            {"bad_value", func(b, p, d Object) { p["threshold"] = 0 }},
		"threshold negative":     {"bad_value", func(b, p, d Object) { p["threshold"] = -1 }},
		"threshold above keys":   {"bad_value", func(b, p, d Object) { p["threshold"], p["nextKeyHashes"] = 2, manyHashes(3) }},
		"threshold above hashes": {"bad_value", func(b, p, d Object) { p["threshold"], p["updateKeys"] = 2, many(3) }},
		"no threshold":           {"bad_value", func(b, p, d Object) { delete(p, "threshold") }},
		"nobody":                 {"bad_value", func(b, p, d Object) { p["updateKeys"], p["nextKeyHashes"] = []any{}, []any{}; delete(p, "threshold") }},
		"no keys with threshold": {"bad_value", func(b, p, d Object) { p["updateKeys"], p["nextKeyHashes"] = []any{}, []any{}; owned(p, other) }},
		"no keys with next keys": {"bad_value", func(b, p, d Object) { p["updateKeys"] = []any{}; delete(p, "threshold"); owned(p, other) }},
		"controlled only": {"", func(b, p, d Object) {
			p["updateKeys"], p["nextKeyHashes"] = []any{}, []any{}
			delete(p, "threshold")
			owned(p, other)
		}},
		"controller":               {"", func(b, p, d Object) { owned(p, other) }},
		"controller twice":         {"bad_value", func(b, p, d Object) { p["controllers"] = []any{other, other}; p["controllerThreshold"] = 1 }},
		"controller did:key":       {"bad_value", func(b, p, d Object) { owned(p, "did:key:"+multikey(1)) }},
		"controller elsewhere":     {"bad_value", func(b, p, d Object) { owned(p, strings.Replace(other, "t2iac44k", "aaaaaaaa", 1)) }},
		"controllers no threshold": {"bad_value", func(b, p, d Object) { p["controllers"] = []any{other} }},
		"controllerThreshold 2":    {"bad_value", func(b, p, d Object) { owned(p, other); p["controllerThreshold"] = 2 }},
		"controllerThreshold only": {"bad_value", func(b, p, d Object) { p["controllerThreshold"] = 1 }},
		"subjectType":              {"", func(b, p, d Object) { p["subjectType"] = "device" }},
		"subjectType long":         {"bad_value", func(b, p, d Object) { p["subjectType"] = long }},
		"ttl 0":                    {"", func(b, p, d Object) { p["ttl"] = 0 }},
		"ttl a day":                {"", func(b, p, d Object) { p["ttl"] = 86400 }},
		"ttl above":                {"bad_value", func(b, p, d Object) { p["ttl"] = 86401 }},
		"ttl negative":             {"bad_value", func(b, p, d Object) { p["ttl"] = -1 }},
		"compromised":              {"", func(b, p, d Object) { p["compromised"] = many(2) }},
		"compromised nonsense":     {"bad_value", func(b, p, d Object) { p["compromised"] = []any{"z6Mk"} }},
	} {
		entry := sign(t, renamed(t, changed(t, c.change)), seeds(16)...)
		if _, err := Decode(testNetwork(), DefaultLimits(), entry); plugintest.Code(t, err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

// owned names one controller.
func owned(params Object, controller string) {
	params["controllers"], params["controllerThreshold"] = []any{controller}, 1
}

func seeds(n int) (list []byte) {
	for i := range n {
		list = append(list, byte(i))
	}
	return list
}

func TestSCID(t *testing.T) {
	other := newDID(testNetwork(), Multihash([]byte("other"))).String()
	for name, c := range map[string]struct{ did, code string }{
		"another":         {other, "bad_scid"},
		"another network": {strings.Replace(vectorDID, "t2iac44k", "aaaaaaaa", 1), "wrong_network"},
		"placeholder":     {"did:weft:t2iac44k:{SCID}", "bad_value"},
		"did:key":         {"did:key:" + multikey(1), "bad_value"},
	} {
		entry := sign(t, changed(t, func(b, p, d Object) { b["did"] = c.did }), 1)
		if _, err := Decode(testNetwork(), DefaultLimits(), entry); plugintest.Code(t, err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	entry := sign(t, changed(t, func(b, p, d Object) { b["nonce"] = base64url(bytes.Repeat([]byte{1}, 16)) }), 1)
	if _, err := Decode(testNetwork(), DefaultLimits(), entry); plugintest.Code(t, err) != "bad_scid" {
		t.Errorf("another nonce: %v", err)
	}
}

func TestProofs(t *testing.T) {
	body := func() Object { return changed(t, func(b, p, d Object) {}) }
	with := func(change func(whole Object, proofs []any)) []byte {
		whole, err := DecodeObject(sign(t, body(), 1, 2, 3), JSONLimits{})
		if err != nil {
			t.Fatal(err)
		}
		change(whole, whole["proof"].([]any))
		raw, err := Canonical(whole)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	first := func(member string, v any) func(Object, []any) {
		return func(_ Object, proofs []any) { proofs[0].(Object)[member] = v }
	}
	flipped := func(v string) string { return v[:5] + string(v[5]^1|0x41) + v[6:] }
	for name, c := range map[string]struct {
		code   string
		change func(whole Object, proofs []any)
	}{
		"as it is":           {"", func(Object, []any) {}},
		"one dropped":        {"", func(w Object, p []any) { w["proof"] = p[1:] }},
		"unsorted":           {"bad_value", func(_ Object, p []any) { p[0], p[1] = p[1], p[0] }},
		"twice":              {"bad_value", func(_ Object, p []any) { p[1] = p[0] }},
		"none":               {"bad_value", func(w Object, _ []any) { w["proof"] = []any{} }},
		"object":             {"bad_value", func(w Object, p []any) { w["proof"] = p[0] }},
		"text":               {"bad_value", func(_ Object, p []any) { p[0] = "proof" }},
		"seventeen":          {"too_large", func(w Object, p []any) { w["proof"] = bytesToList(p[0], 17) }},
		"created":            {"unknown_field", first("created", "2026-12-01T00:00:00Z")},
		"no type":            {"bad_value", func(_ Object, p []any) { delete(p[0].(Object), "type") }},
		"another suite":      {"bad_value", first("cryptosuite", "eddsa-rdfc-2022")},
		"another purpose":    {"bad_value", first("proofPurpose", "assertionMethod")},
		"purpose object":     {"bad_value", first("proofPurpose", Object{})},
		"method of did:weft": {"bad_value", first("verificationMethod", vectorDID+"#key-1")},
		"another fragment":   {"bad_value", first("verificationMethod", "did:key:"+multikey(1)+"#"+multikey(2))},
		"no fragment":        {"bad_value", first("verificationMethod", "did:key:"+multikey(1))},
		"another's value":    {"bad_signature", func(_ Object, p []any) { p[0].(Object)["proofValue"] = p[1].(Object)["proofValue"] }},
		"flipped":            {"bad_signature", func(_ Object, p []any) { o := p[0].(Object); o["proofValue"] = flipped(o["proofValue"].(string)) }},
		"no value":           {"bad_value", func(_ Object, p []any) { delete(p[0].(Object), "proofValue") }},
		"value in base64":    {"bad_value", first("proofValue", "u"+base64url(make([]byte, 64)))},
		"short value":        {"bad_value", first("proofValue", "z"+Base58(make([]byte, 63)))},
		"long value":         {"bad_value", first("proofValue", "z"+strings.Repeat("1", 5000))},
		"other content": {"bad_signature", func(w Object, _ []any) {
			w["notAfter"] = "2030-01-01T00:00:00Z"
			w["did"] = renamed(t, without(w))["did"]
		}},
	} {
		if _, err := Decode(testNetwork(), DefaultLimits(), with(c.change)); plugintest.Code(t, err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

func without(whole Object) Object {
	body := maps.Clone(whole)
	delete(body, "proof")
	return body
}

func bytesToList(v any, n int) (list []any) {
	for range n {
		list = append(list, v)
	}
	return list
}

// TestOddSignatures takes keys and signatures on which rules for Ed25519 differ. Alone and among others the verdict is one.
func TestOddSignatures(t *testing.T) {
	point := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	identity := point("0100000000000000000000000000000000000000000000000000000000000000")
	order8 := point("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
	nonCanonical := point("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f") // y = p + 1
	noPoint := point("0200000000000000000000000000000000000000000000000000000000000000")
	zero := make([]byte, 64)
	copy(zero, identity) // R = identity, S = 0: verifies under any key of small order
	for name, key := range map[string][]byte{"identity": identity, "order 8": order8, "not canonical": nonCanonical, "no point": noPoint} {
		text := Ed25519Key(key).Multikey()
		for _, others := range [][]byte{nil, {1}, {1, 2}} {
			body := changed(t, func(b, p, d Object) {})
			signatures := map[string][]byte{text: zero}
			for _, seed := range others {
				sign, err := Prepare(body, multikey(seed))
				if err != nil {
					t.Fatal(err)
				}
				signatures[multikey(seed)] = ed25519.Sign(keysOf(seed)[0], sign.HashData)
			}
			entry, err := Attach(body, signatures)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(testNetwork(), DefaultLimits(), entry); plugintest.Code(t, err) != "bad_signature" {
				t.Errorf("%s among %d: %v", name, len(others), err)
			}
		}
	}
	if !zip215.NewVerifier().Verify(tangle.Member(identity), []byte("x"), tangle.Signature(zero)) {
		t.Error("the signature of small order is not the one that verifies")
	}
}

// TestSignatureRule pins ZIP-215: S beyond the group order is refused, R with a component of small order is not, alone and
// in a batch alike.
func TestSignatureRule(t *testing.T) {
	body := changed(t, func(b, p, d Object) {})
	prepared, err := Prepare(body, multikey(1))
	if err != nil {
		t.Fatal(err)
	}
	good := ed25519.Sign(key(1), prepared.HashData)
	second, err := Prepare(body, multikey(2))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signature []byte
		code      string
	}{"good": {good, ""}, "malleable": {addOrder(good), "bad_signature"}} {
		for _, signatures := range []map[string][]byte{
			{multikey(1): c.signature}, {multikey(1): c.signature, multikey(2): ed25519.Sign(key(2), second.HashData)},
		} {
			entry, err := Attach(body, signatures)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(testNetwork(), DefaultLimits(), entry); plugintest.Code(t, err) != c.code {
				t.Errorf("%s among %d: %v", name, len(signatures), err)
			}
		}
	}
}

// addOrder adds the order of the group to S, which a rule that reduces S would not notice.
func addOrder(signature []byte) []byte {
	order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	out, carry := bytes.Clone(signature), 0
	for i := range 32 {
		sum := int(out[32+i]) + int(order[i]) + carry
		out[32+i], carry = byte(sum), sum>>8
	}
	return out
}

func TestOtherOperations(t *testing.T) {
	d, err := Parse(vectorDID)
	if err != nil {
		t.Fatal(err)
	}
	h := Head{Version: 1, OpHash: Multihash(nil), Recovery: &RecoverySet{}, RecoverySetter: Multihash(nil)}
	c := oneKey(1)
	c.Recovery = &RecoverySet{hashes(4), 1}
	recovery, err := Recover(testNetwork(), d, h, c)
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]Object{
		"update": Update(testNetwork(), d, h, oneKey(1)), "recover": recovery,
		"deactivate": Deactivate(testNetwork(), d, h, epoch), "by recovery": DeactivateByRecovery(testNetwork(), d, h, 0),
	}
	for name, body := range bodies {
		if _, err := Decode(testNetwork(), DefaultLimits(), sign(t, body, 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		of, member string
		value      any
		code       string
	}{
		"update with nonce":           {"update", "nonce", base64url(make([]byte, 16)), "unknown_field"},
		"update with recovers":        {"update", "recovers", Multihash(nil), "unknown_field"},
		"update with seq 1":           {"update", "seq", 1, "bad_value"},
		"update with seq 2^31":        {"update", "seq", 1 << 31, "bad_value"},
		"update after no hash":        {"update", "prev", "1-" + Multihash(nil), "bad_value"},
		"recover with seq":            {"recover", "seq", 2, "unknown_field"},
		"recover without a set":       {"recover", "recovery", nil, "bad_value"},
		"deactivate with doc":         {"deactivate", "doc", Object{}, "unknown_field"},
		"deactivate with params":      {"by recovery", "params", Object{}, "unknown_field"},
		"deactivate with two reasons": {"deactivate", "recovers", Multihash(nil), "unknown_field"},
		"deactivate without prev":     {"deactivate", "prev", nil, "bad_value"},
	} {
		body := maps.Clone(bodies[c.of])
		if body[c.member] = c.value; c.value == nil {
			delete(body, c.member)
		}
		if _, err := Decode(testNetwork(), DefaultLimits(), sign(t, body, 1)); plugintest.Code(t, err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(vector(f))
	d, _ := Parse(vectorDID)
	for _, body := range []Object{
		Update(testNetwork(), d, Head{Version: 1, OpHash: Multihash(nil)}, oneKey(1)), Deactivate(testNetwork(), d, Head{Version: 1, OpHash: Multihash(nil)}, epoch),
	} {
		f.Add(sign(f, body, 1))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		op, err := Decode(testNetwork(), DefaultLimits(), raw)
		if err != nil {
			plugintest.Code(t, err)
			return
		}
		whole, err := DecodeObject(raw, JSONLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Canonical(whole); err != nil || !bytes.Equal(again, raw) {
			t.Fatal("what is accepted has another text")
		}
		stored, err := decodeStored(raw)
		if err != nil || stored.DID != op.DID || stored.Op != op.Op {
			t.Fatalf("what is accepted does not decode again: %v", err)
		}
	})
}

// FuzzShape mangles the tree of an operation and signs it, so that the rules behind the signature are reached.
func FuzzShape(f *testing.F) {
	f.Add("params", "threshold", `2`)
	f.Add("doc", "verificationMethod", `[{"id":"#a","type":"JsonWebKey","publicKeyJwk":{"kty":"OKP","crv":"X25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}]`)
	f.Add("doc", "service", `[{"id":"#s","type":["a"],"serviceEndpoint":["https://a.example/",{"x":1}]}]`)
	f.Add("recovery", "keyHashes", `["zQm"]`)
	f.Fuzz(func(t *testing.T, part, member, value string) {
		tree, err := DecodeJSON([]byte(value), JSONLimits{})
		if err != nil {
			return
		}
		body, err := DecodeObject(vector(t), JSONLimits{})
		if err != nil {
			t.Fatal(err)
		}
		delete(body, "proof")
		inner, ok := body[part].(Object)
		if !ok {
			inner = body
		}
		inner[member] = tree
		if _, err := Canonical(body); err != nil {
			return
		}
		entry, err := Sign(renamed(t, body), key(1))
		if err != nil {
			return
		}
		if _, err := Decode(testNetwork(), DefaultLimits(), entry); err == nil {
			if _, err := decodeStored(entry); err != nil {
				t.Fatalf("accepted, and does not decode again: %v", err)
			}
		} else {
			plugintest.Code(t, err)
		}
	})
}

func TestNumbersOfBodies(t *testing.T) {
	body := changed(t, func(b, p, d Object) { b["seq"] = json.Number("1") })
	if got := sign(t, body, 1); !bytes.Equal(got, vector(t)) {
		t.Error("numbers of either sort make one text")
	}
}
