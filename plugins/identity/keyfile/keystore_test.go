package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"weft/plugins/identity/did"
)

func TestKeystore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.json")
	k, err := CreateKeystore(path, words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateKeystore(path, words); Code(err) != "already_exists" {
		t.Errorf("created twice: %v", err)
	}
	issuer, err := k.Add("issuer")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Add("issuer")
	wantCode(t, err, "already_exists")
	_, err = k.Add("Not A Name")
	wantCode(t, err, "bad_value")

	again, err := OpenKeystore(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if got := again.Keys(); len(got) != 1 || got[0] != issuer || !again.Locked() {
		t.Errorf("got %v", got)
	}
	_, err = again.Sign("issuer", nil)
	wantCode(t, err, CodeIssuerLocked)
	_, err = again.Add("another")
	wantCode(t, err, CodeIssuerLocked)
	wantCode(t, again.Unlock("wrong"), CodePassphrase)
	if err := again.Unlock(words); err != nil {
		t.Fatal(err)
	}
	_, err = again.Sign("another", nil)
	wantCode(t, err, "unknown_key")
	signature, err := again.Sign("issuer", []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := did.ParseMultikey(issuer.Public)
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(public.Bytes, []byte("message"), signature) {
		t.Error("the signature does not verify")
	}
	kept := again.open["issuer"]
	again.Lock()
	if kept.bytes != [32]byte{} {
		t.Error("a key is still in memory")
	}
	_, err = again.Sign("issuer", nil)
	wantCode(t, err, CodeIssuerLocked)
}

func TestAnEmptyKeystoreKnowsItsPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.json")
	if _, err := CreateKeystore(path, words); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeystore(path)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, k.Unlock("wrong"), CodePassphrase)
	_, err = CreateKeystore(path, "")
	wantCode(t, err, CodePassphrase)
}

// TestKeystoreKeysStayWithTheirNames swaps the secrets of two keys, and then their names.
func TestKeystoreKeysStayWithTheirNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.json")
	k, err := CreateKeystore(path, words)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := k.Add(name); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(change func(a, b *namedForm)) {
		t.Helper()
		form := k.form
		form.Keys = append([]namedForm{}, form.Keys...)
		change(&form.Keys[0], &form.Keys[1])
		raw, err := form.bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := replace(path, raw); err != nil {
			t.Fatal(err)
		}
		other, err := OpenKeystore(path)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, other.Unlock(words), "bad_key_file")
	}
	swap(func(a, b *namedForm) { a.Name, b.Name = b.Name, a.Name })
	swap(func(a, b *namedForm) { a.Nonce, a.Text, b.Nonce, b.Text = b.Nonce, b.Text, a.Nonce, a.Text })
}

func TestKeystoreIsForManyCallers(t *testing.T) {
	k, err := CreateKeystore(filepath.Join(t.TempDir(), "keystore.json"), words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Add("issuer"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if _, err := k.Sign("issuer", []byte("message")); err != nil {
					t.Error(err)
				}
				_, _ = k.Keys(), k.Locked()
			}
		})
	}
	all.Wait()
}

func FuzzParseKeystore(f *testing.F) {
	k, err := CreateKeystore(filepath.Join(f.TempDir(), "keystore.json"), words)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := k.Add("issuer"); err != nil {
		f.Fatal(err)
	}
	raw, err := k.form.bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		form, err := parseKeystore(raw)
		if err != nil {
			if code := Code(err); code != "bad_key_file" && code != "too_large" {
				t.Fatalf("code %q of %v", code, err)
			}
			return
		}
		printed, err := form.bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseKeystore(printed)
		if err != nil {
			t.Fatalf("what was printed does not parse: %v", err)
		}
		if twice, _ := again.bytes(); !bytes.Equal(printed, twice) {
			t.Fatalf("printed %s, then %s", printed, twice)
		}
	})
}
