package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/plugins/identity/did"
)

const words = "correct horse battery staple"

func pass(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func noPass() (string, error) { panic("asked for a passphrase") }

// newFile has one key of each role, and a key agreement key.
func newFile(t testing.TB, p Protection) *File {
	t.Helper()
	f, err := New("did:weft:t2iac44k:zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom", p)
	if err != nil {
		t.Fatal(err)
	}
	add := func(r Role, id string, a Algorithm) {
		if _, err := f.Add(r, id, a); err != nil {
			t.Fatal(err)
		}
	}
	add(Recovery, "", Ed25519)
	add(Next, "", Ed25519)
	add(Update, "", Ed25519)
	add(Document, "#key-1", Ed25519)
	add(Document, "#key-2", X25519)
	return f
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	if got := Code(err); got != want {
		t.Errorf("got %v (code %q), want code %q", err, got, want)
	}
}

func verifies(t *testing.T, f *File, public string) {
	t.Helper()
	signature, err := f.Sign(public, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := did.ParseMultikey(public)
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(key.Bytes, []byte("message"), signature) {
		t.Error("the signature does not verify")
	}
}

func TestFilesOpenAgain(t *testing.T) {
	for name, p := range map[string]Protection{
		"pbkdf2": {Passphrase: words}, "argon2": {Passphrase: words, Argon2: true}, "none": {Unencrypted: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "me.keys")
			f := newFile(t, p)
			if err := f.Create(path); err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, want 0600", info.Mode())
			}
			wantCode(t, f.Create(path), "already_exists")

			words := pass(words)
			if p.Unencrypted {
				words = noPass
			}
			again, err := Open(path, words)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(again.Keys()), fmt.Sprint(f.Keys()); got != want || again.DID != f.DID {
				t.Errorf("got %s, want %s", got, want)
			}
			verifies(t, again, again.With(Update)[0].Public)
			if again.Encrypted() == p.Unencrypted {
				t.Errorf("encrypted: %t", again.Encrypted())
			}
		})
	}
}

func TestPublicHalvesNeedNoPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "me.keys")
	if err := newFile(t, Protection{Passphrase: words}).Create(path); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	k, ok := f.Method("#key-2")
	if !f.Locked() || len(f.Keys()) != 5 || !ok || k.Algorithm != X25519 {
		t.Errorf("got %v %v", f.Keys(), k)
	}
	_, err = f.Sign(f.With(Update)[0].Public, nil)
	wantCode(t, err, CodeLocked)
	_, err = f.Add(Update, "", Ed25519)
	wantCode(t, err, CodeLocked)
	wantCode(t, f.Unlock(nil), CodePassphrase)
	wantCode(t, f.Unlock(pass("")), CodePassphrase)
	wantCode(t, f.Unlock(pass("incorrect horse")), CodePassphrase)
	if !f.Locked() {
		t.Error("a wrong passphrase unlocked the file")
	}
	gone := errors.New("gone")
	if err := f.Unlock(func() (string, error) { return "", gone }); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if err := f.Unlock(pass(words)); err != nil {
		t.Fatal(err)
	}
	verifies(t, f, f.With(Recovery)[0].Public)
	f.Close()
	_, err = f.Sign(f.With(Update)[0].Public, nil)
	wantCode(t, err, CodeLocked)
}

func TestFilesOpenToOthersAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "me.keys")
	if err := newFile(t, Protection{Unencrypted: true}).Create(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		wantCode(t, err, CodeOpenToOthers)
	}
	_, err := Read(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	_, err = Read(t.TempDir())
	wantCode(t, err, "bad_key_file")
}

// TestRotation plays what a rotation does with two files: the next key leaves its safe and becomes the update key, and a
// new one goes into the safe.
func TestRotation(t *testing.T) {
	folder := t.TempDir()
	daily, safe := filepath.Join(folder, "daily"), filepath.Join(folder, "safe")
	main, err := New("did:weft:x", Protection{Passphrase: words})
	if err != nil {
		t.Fatal(err)
	}
	offline, err := New("did:weft:x", Protection{Passphrase: "other"})
	if err != nil {
		t.Fatal(err)
	}
	old, _ := main.Add(Update, "", Ed25519)
	next, _ := offline.Add(Next, "", Ed25519)
	if err := errors.Join(main.Create(daily), offline.Create(safe)); err != nil {
		t.Fatal(err)
	}
	after, err := offline.Add(Next, "", Ed25519)
	if err := errors.Join(err, main.Take(offline, next.Public, Update), main.Remove(old.Public), main.Save(daily), offline.Save(safe)); err != nil {
		t.Fatal(err)
	}
	a, err := Open(daily, pass(words))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(safe, pass("other"))
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Keys(); len(got) != 1 || got[0].Public != next.Public || got[0].Role != Update {
		t.Errorf("the file has %v", got)
	}
	if got := b.Keys(); len(got) != 1 || got[0].Public != after.Public || got[0].Role != Next {
		t.Errorf("the safe has %v", got)
	}
	verifies(t, a, next.Public)
	if left, _ := filepath.Glob(filepath.Join(folder, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestASaveThatFailsKeepsTheOldFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root every folder can be written; only a folder that is gone is tested")
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "me.keys")
	f := newFile(t, Protection{Unencrypted: true})
	if err := f.Create(path); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	if err := f.Save(filepath.Join(folder, "no", "such", "folder")); err == nil {
		t.Error("saved into a folder that is not there")
	}
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(folder, 0o700)
	f.Remove(f.With(Update)[0].Public)
	if err := f.Save(path); err == nil && os.Geteuid() != 0 {
		t.Error("saved into a folder that cannot be written")
	}
	if now, _ := os.ReadFile(path); os.Geteuid() != 0 && !bytes.Equal(now, before) {
		t.Error("the old file changed")
	}
}

func TestRulesOfKeys(t *testing.T) {
	f := newFile(t, Protection{Unencrypted: true})
	refused := func(r Role, id string, a Algorithm, code string) {
		t.Helper()
		_, err := f.Add(r, id, a)
		wantCode(t, err, code)
	}
	refused("owner", "", Ed25519, "bad_value")
	refused(Update, "#key-9", Ed25519, "bad_value")
	refused(Update, "", X25519, "bad_value")
	refused(Document, "key-9", Ed25519, "bad_value")
	refused(Document, "#"+strings.Repeat("x", 65), Ed25519, "bad_value")
	refused(Document, "#a b", Ed25519, "bad_value")
	refused(Document, "#key-1", Ed25519, "already_exists")
	refused(Update, "", "P-256", "bad_value")
	agreement, _ := f.Method("#key-2")
	_, err := f.Sign(agreement.Public, nil)
	wantCode(t, err, "wrong_algorithm")
	_, err = f.Sign("z6Mk", nil)
	wantCode(t, err, "unknown_key")
	key, err := f.Agreement(agreement.Public)
	if err != nil {
		t.Fatal(err)
	}
	if same := (did.PublicKey{Type: did.X25519, Bytes: key.PublicKey().Bytes()}); same.Multikey() != agreement.Public {
		t.Errorf("the key agreement key is %s, want %s", same.Multikey(), agreement.Public)
	}
	_, err = f.Agreement(f.With(Update)[0].Public)
	wantCode(t, err, "wrong_algorithm")
	wantCode(t, f.Assign(agreement.Public, Update), "bad_value")
	wantCode(t, f.Remove("z6Mk"), "unknown_key")
	for len(f.Keys()) < MaxKeys {
		if _, err := f.Add(Document, "", Ed25519); err != nil {
			t.Fatal(err)
		}
	}
	refused(Document, "", Ed25519, "too_large")
	for _, p := range []Protection{{}, {Passphrase: strings.Repeat("x", MaxPassphrase+1)}} {
		_, err := New("did:x:y", p)
		wantCode(t, err, CodePassphrase)
	}
	_, err = New("x", Protection{Unencrypted: true})
	wantCode(t, err, "bad_value")
	_, err = New("", Protection{Unencrypted: true, Passphrase: "x"})
	wantCode(t, err, "bad_value")
}

func TestParseRefuses(t *testing.T) {
	f := newFile(t, Protection{Unencrypted: true})
	good, err := f.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	sealing := newFile(t, Protection{Passphrase: words})
	sealedFile, _ := sealing.Bytes()
	change := func(raw []byte, old, new string) []byte {
		t.Helper()
		if !bytes.Contains(raw, []byte(old)) {
			t.Fatalf("no %s in the file", old)
		}
		return bytes.Replace(raw, []byte(old), []byte(new), 1)
	}
	for name, raw := range map[string][]byte{
		"empty":             nil,
		"array":             []byte("[]"),
		"null":              []byte("null"),
		"trailing":          append(good[:len(good):len(good)], "{}"...),
		"no keys":           []byte(`{"type":"weft/key/1"}`),
		"other type":        change(good, "weft/key/1", "weft/key/2"),
		"unknown member":    change(good, `"role": "recovery"`, `"role": "recovery", "note": ""`),
		"duplicate member":  change(good, `"role": "recovery"`, `"role": "recovery", "role": "recovery"`),
		"unknown role":      change(good, `"recovery"`, `"owner"`),
		"wrong algorithm":   change(good, `"Ed25519"`, `"X25519"`),
		"id elsewhere":      change(good, `"role": "recovery"`, `"role": "recovery", "id": "#key-9"`),
		"bad did":           change(good, `"did:weft`, `"dad:weft`),
		"bad multikey":      change(good, `"public": "z6`, `"public": "z7`),
		"half encrypted":    change(good, `"kdf": "none"`, `"kdf": "none", "salt": "AAAA"`),
		"padding":           change(good, `"ct": "`, `"ct": "=`),
		"same key twice":    change(good, f.With(Next)[0].Public, f.With(Update)[0].Public),
		"same id twice":     change(good, "#key-2", "#key-1"),
		"weak kdf":          change(sealedFile, `"iterations": 600000`, `"iterations": 599999`),
		"endless kdf":       change(sealedFile, `"iterations": 600000`, `"iterations": 1000000000`),
		"unknown kdf":       change(sealedFile, "pbkdf2-sha256", "pbkdf2-sha1"),
		"unknown cipher":    change(sealedFile, "aes-256-gcm", "aes-128-gcm"),
		"fraction":          change(sealedFile, `"iterations": 600000`, `"iterations": 600000.5`),
		"missing nonce":     change(sealedFile, `"nonce"`, `"memoryKiB":8192, "salt"`),
		"argon2 parameters": change(sealedFile, `"iterations": 600000`, `"iterations": 600000, "memoryKiB": 65536`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(raw)
			wantCode(t, err, "bad_key_file")
		})
	}
	_, err = Parse(bytes.Repeat([]byte(" "), MaxFileBytes+1))
	wantCode(t, err, "too_large")
}

func TestAMixOfSealedAndOpenKeysIsRefused(t *testing.T) {
	open, locked := newFile(t, Protection{Unencrypted: true}), newFile(t, Protection{Passphrase: words})
	open.keys = append(open.keys[:1:1], locked.keys[1])
	raw, err := open.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(raw)
	wantCode(t, err, "bad_key_file")
}

func TestASecretOfAnotherKeyIsRefused(t *testing.T) {
	f := newFile(t, Protection{Unencrypted: true})
	f.keys[0].sealed = f.keys[1].sealed
	raw, _ := f.Bytes()
	again, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, again.Unlock(nil), "bad_key_file")
	if again.keys[1].open != nil || !again.Locked() {
		t.Error("secrets stayed open")
	}
}

func TestAnEmptyFileDoesNotLoseItsEncryption(t *testing.T) {
	f, err := Parse([]byte(`{"type":"weft/key/1","keys":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Unlock(nil); err != nil {
		t.Fatal(err)
	}
	_, err = f.Add(Update, "", Ed25519)
	wantCode(t, err, CodePassphrase)
}

// TestSecretsNeverShow prints everything that holds a secret in every way that a program might by mistake.
func TestSecretsNeverShow(t *testing.T) {
	f := newFile(t, Protection{Unencrypted: true})
	p := Protection{Passphrase: "hunter2"}
	k, err := CreateKeystore(filepath.Join(t.TempDir(), "keystore"), words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Add("issuer"); err != nil {
		t.Fatal(err)
	}
	seeds := []*secret{f.keys[0].open, k.open["issuer"], k.key}
	holder := struct {
		File     *File
		Keystore *Keystore
		How      Protection
		Secret   *secret
	}{f, k, p, f.keys[0].open}

	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{f, k, p, f.keys[0].open, holder, &holder, []any{f, k, p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(raw)
		log.Info("a value", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("a value", "v", v)
	}
	for _, s := range seeds {
		for _, form := range []string{string(s.bytes[:]), encode(s.bytes[:]), fmt.Sprintf("%x", s.bytes[:8]), fmt.Sprintf("%X", s.bytes[:8]), fmt.Sprint(s.bytes[:4])[1:]} {
			if strings.Contains(out.String(), form) {
				t.Errorf("a secret is in the output as %q", form)
			}
		}
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Error("a passphrase is in the output")
	}
}

func TestCloseOverwrites(t *testing.T) {
	f := newFile(t, Protection{Passphrase: words})
	kept := []*secret{f.keys[0].open}
	for _, k := range f.locks.derived {
		kept = append(kept, k)
	}
	phrase := f.locks.words
	f.Close()
	for _, s := range kept {
		if s.bytes != [32]byte{} {
			t.Error("a secret is still in memory")
		}
	}
	if bytes.ContainsAny(phrase, words) {
		t.Error("the passphrase is still in memory")
	}
}

// TestAFileMadeElsewhere is what a browser makes with WebCrypto: a salt of its own for each key, members in another order.
func TestAFileMadeElsewhere(t *testing.T) {
	one, two := newFile(t, Protection{Passphrase: words}), newFile(t, Protection{Passphrase: words})
	one.keys = append(one.keys[:3:3], two.keys[3:]...)
	raw, err := one.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	json.Unmarshal(raw, &value)
	raw, _ = json.Marshal(value)
	f, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Unlock(pass(words)); err != nil {
		t.Fatal(err)
	}
	verifies(t, f, f.With(Update)[0].Public)
	k, _ := f.Method("#key-1")
	verifies(t, f, k.Public)
}

func FuzzParse(f *testing.F) {
	for _, p := range []Protection{{Unencrypted: true}, {Passphrase: words}} {
		raw, err := newFile(f, p).Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"type":"weft/key/1","did":"did:key:x","keys":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := Parse(raw)
		if err != nil {
			if code := Code(err); code != "bad_key_file" && code != "too_large" {
				t.Fatalf("code %q of %v", code, err)
			}
			return
		}
		printed, err := file.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("what was printed does not parse: %v", err)
		}
		if twice, _ := again.Bytes(); !bytes.Equal(printed, twice) {
			t.Fatalf("printed %s, then %s", printed, twice)
		}
	})
}
