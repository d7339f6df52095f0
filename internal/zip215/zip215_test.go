package zip215

import (
	stdlib "crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/hdevalence/ed25519consensus"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"

	"weft/tangle"
)

// smallOrder are the 14 encodings of the 8 points of small order that ZIP-215 lets decode; 6 of them are not canonical.
func smallOrder(t testing.TB) (encodings [][32]byte) {
	ys := []string{
		"0000000000000000000000000000000000000000000000000000000000000000", // y = 0, order 4
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p, that is 0
		"0100000000000000000000000000000000000000000000000000000000000000", // y = 1, order 1
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 1, that is 1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = -1, order 2
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
	}
	for _, y := range ys {
		b, err := hex.DecodeString(y)
		if err != nil {
			t.Fatal(err)
		}
		plus := [32]byte(b)
		minus := plus
		minus[31] |= 0x80
		encodings = append(encodings, plus, minus)
	}
	return encodings
}

// odd are signatures that some verifiers accept and others refuse: all pairs of small-order A and R with S = 0.
func odd(t testing.TB) (items []Item) {
	points := smallOrder(t)
	for _, a := range points {
		for _, r := range points {
			i := Item{Member: a, Input: []byte("Zcash")}
			copy(i.Signature[:], r[:])
			items = append(items, i)
		}
	}
	return items
}

func honest(seed byte, input string) Item {
	key := stdlib.NewKeyFromSeed([]byte{31: seed})
	return Item{
		Member: tangle.Member(key.Public().(stdlib.PublicKey)), Input: []byte(input),
		Signature: tangle.Signature(stdlib.Sign(key, []byte(input))),
	}
}

// mixed is a signature whose key and nonce carry a component of small order: cofactored rules accept it always, others
// only by chance.
func mixed(t testing.TB, seed byte, a8, r8 int) Item {
	a, r := scalarOf(t, seed, "a"), scalarOf(t, seed, "r")
	torsion := curve.EIGHT_TORSION
	key, nonce := encode(a, torsion[a8%8]), encode(r, torsion[r8%8])
	input := []byte("mixed order")
	h := sha512.Sum512(append(append(append([]byte{}, nonce[:]...), key[:]...), input...))
	k, err := scalar.NewFromBytesModOrderWide(h[:])
	if err != nil {
		t.Fatal(err)
	}
	var s scalar.Scalar
	s.Mul(k, a)
	s.Add(&s, r)
	i := Item{Member: tangle.Member(key), Input: input}
	copy(i.Signature[:], nonce[:])
	if err := s.ToBytes(i.Signature[32:]); err != nil {
		t.Fatal(err)
	}
	return i
}

func scalarOf(t testing.TB, seed byte, label string) *scalar.Scalar {
	h := sha512.Sum512([]byte{label[0], seed})
	s, err := scalar.NewFromBytesModOrderWide(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encode(s *scalar.Scalar, torsion *curve.EdwardsPoint) curve.CompressedEdwardsY {
	var p curve.EdwardsPoint
	p.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, s)
	p.Add(&p, torsion)
	var c curve.CompressedEdwardsY
	c.SetEdwardsPoint(&p)
	return c
}

// judge holds all four ways to the oracle, whatever stands beside a signature in its batch.
func judge(t testing.TB, items []Item) (good int) {
	v := NewVerifier()
	batch, allOnce := v.VerifyAll(items), VerifyAllOnce(items)
	for n, i := range items {
		want := ed25519consensus.Verify(i.Member[:], i.Input, i.Signature[:])
		if got := v.Verify(i.Member, i.Input, i.Signature); got != want {
			t.Errorf("single: %x under %s: %v, the oracle says %v", i.Signature, i.Member, got, want)
		}
		if batch[n] != want {
			t.Errorf("batch: %x under %s: %v, the oracle says %v", i.Signature, i.Member, batch[n], want)
		}
		sound := want && CheckKey(i.Member) == nil
		if once := VerifyOnce(i.Member, i.Input, i.Signature); once != sound || allOnce[n] != sound {
			t.Errorf("once: %x under %s: %v, in a batch %v, the oracle says %v and the key %v", i.Signature, i.Member, once, allOnce[n], want, CheckKey(i.Member))
		}
		if pair := VerifyAllOnce([]Item{honest(9, "beside"), i}); !pair[0] || pair[1] != sound {
			t.Errorf("pair of sound keys: %x under %s: %v, want %v", i.Signature, i.Member, pair, sound)
		}
		if pair := v.VerifyAll([]Item{honest(9, "beside"), i}); !pair[0] || pair[1] != want {
			t.Errorf("pair: %x under %s: %v, the oracle says %v", i.Signature, i.Member, pair, want)
		}
		if want {
			good++
		}
	}
	return good
}

func TestSmallOrderSignaturesAreAllGood(t *testing.T) {
	items := odd(t)
	if len(items) != 196 {
		t.Fatalf("%d cases, want 196", len(items))
	}
	if good := judge(t, items); good != len(items) {
		t.Errorf("%d of %d are good: ZIP-215 accepts them all", good, len(items))
	}
	accepted := 0
	for _, i := range items {
		if stdlib.Verify(i.Member[:], i.Input, i.Signature[:]) {
			accepted++
		}
	}
	if accepted == len(items) {
		t.Error("the standard library accepts the same set: then one rule would do for everything")
	}
	t.Logf("the standard library accepts %d of %d", accepted, len(items))
}

func TestMixedOrderSignaturesAreGood(t *testing.T) {
	var items []Item
	for a8 := range 8 {
		for r8 := range 8 {
			items = append(items, mixed(t, 1, a8, r8))
		}
	}
	if good := judge(t, items); good != len(items) {
		t.Errorf("%d of %d are good", good, len(items))
	}
}

func TestBadSignaturesAreBad(t *testing.T) {
	order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	notAPoint := tangle.Member{2} // y = 2 has no x
	bad := []Item{honest(1, "a"), honest(2, "b"), honest(3, "c"), honest(4, "d")}
	bad[0].Input = []byte("other")
	bad[1].Member = bad[0].Member
	bad[2].Signature[32] ^= 1
	bad[3].Member = notAPoint
	tooLarge := odd(t)[0]
	copy(tooLarge.Signature[32:], order) // S = L, which is 0 again
	plusOrder := honest(5, "e")
	carry := 0
	for i := range 32 {
		sum := int(plusOrder.Signature[32+i]) + int(order[i]) + carry
		plusOrder.Signature[32+i], carry = byte(sum), sum>>8
	}
	noNonce := honest(6, "f")
	copy(noNonce.Signature[:32], notAPoint[:])
	bad = append(bad, tooLarge, plusOrder, noNonce)
	if good := judge(t, bad); good != 0 {
		t.Errorf("%d of %d bad ones are good", good, len(bad))
	}
}

func TestSingleAndBatchAgree(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var items []Item
		for range rapid.IntRange(1, 12).Draw(r, "items") {
			seed := rapid.Byte().Draw(r, "seed")
			i := honest(seed, "message")
			if rapid.Bool().Draw(r, "odd") {
				i = mixed(t, seed, rapid.IntRange(0, 7).Draw(r, "a8"), rapid.IntRange(0, 7).Draw(r, "r8"))
			}
			if rapid.Bool().Draw(r, "flip") {
				bit := rapid.IntRange(0, 511).Draw(r, "bit")
				i.Signature[bit/8] ^= 1 << (bit % 8)
			}
			items = append(items, i)
		}
		got := NewVerifier().VerifyAll(items)
		for n, i := range items {
			want := ed25519consensus.Verify(i.Member[:], i.Input, i.Signature[:])
			if single := NewVerifier().Verify(i.Member, i.Input, i.Signature); got[n] != want || single != want {
				r.Fatalf("%d: batch %v, single %v, oracle %v", n, got[n], single, want)
			}
		}
	})
}

func TestMoreKeysThanTheCacheHolds(t *testing.T) {
	v := NewVerifier()
	good := honest(1, "first")
	for n := range MaxKeys + 10 {
		var m tangle.Member
		m[0], m[1] = byte(n), byte(n>>8)
		v.Verify(m, good.Input, good.Signature)
	}
	if !v.Verify(good.Member, good.Input, good.Signature) {
		t.Error("a good signature is bad after the cache overflowed")
	}
	if got := v.VerifyAll(nil); len(got) != 0 {
		t.Errorf("no items: %v", got)
	}
	if got := VerifyAllOnce(nil); len(got) != 0 {
		t.Errorf("no items at once: %v", got)
	}
}

func TestCheckKey(t *testing.T) {
	if err := CheckKey(honest(1, "").Member); err != nil {
		t.Errorf("a sound key: %v", err)
	}
	bad := smallOrder(t)
	bad = append(bad, [32]byte{2}) // not on the curve
	for n := range 19 {            // y = p .. p + 18, the encodings that are not canonical
		y := [32]byte{0: 0xed + byte(n), 31: 0x7f}
		for i := 1; i < 31; i++ {
			y[i] = 0xff
		}
		bad = append(bad, y)
		y[31] |= 0x80
		bad = append(bad, y)
	}
	for _, m := range bad {
		if err := CheckKey(m); !errors.Is(err, ErrKey) {
			t.Errorf("%x: %v, want ErrKey", m, err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	items := make([]Item, 64)
	for n := range items {
		items[n] = honest(byte(n%7), fmt.Sprintf("a message of the usual size %d", n))
	}
	b.Run("single", func(b *testing.B) {
		v := NewVerifier()
		for b.Loop() {
			v.Verify(items[0].Member, items[0].Input, items[0].Signature)
		}
	})
	b.Run("batch64", func(b *testing.B) {
		v := NewVerifier()
		for b.Loop() {
			v.VerifyAll(items)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/signature")
	})
	b.Run("once64", func(b *testing.B) {
		for b.Loop() {
			VerifyAllOnce(items)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/signature")
	})
	b.Run("stdlib", func(b *testing.B) {
		for b.Loop() {
			stdlib.Verify(items[0].Member[:], items[0].Input, items[0].Signature[:])
		}
	})
}
