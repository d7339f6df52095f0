package keyfile

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what secrets print as.
const hidden = "[secret]"

// secret is a private key of 32 bytes. It always lies behind a pointer, which fmt does not follow inside other values.
type secret struct{ bytes [32]byte }

func (s *secret) copy() *secret { c := *s; return &c }

// wipe overwrites the secret; a nil one is none.
func (s *secret) wipe() {
	if s != nil {
		clear(s.bytes[:])
	}
}

func wipe(all []*secret) {
	for _, s := range all {
		s.wipe()
	}
}

func (s *secret) sign(message []byte) []byte {
	key := ed25519.NewKeyFromSeed(s.bytes[:])
	defer clear(key)
	return ed25519.Sign(key, message)
}

// The methods below keep secrets out of output of any kind: fmt, log/slog, encoding/json and text encoders.

func (s *secret) String() string               { return hidden }
func (s *secret) GoString() string             { return hidden }
func (s *secret) Format(w fmt.State, _ rune)   { io.WriteString(w, hidden) }
func (s *secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (s *secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (s *secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

func (f *File) String() string               { return fmt.Sprintf("key file of %q, %d keys", f.DID, len(f.keys)) }
func (f *File) GoString() string             { return f.String() }
func (f *File) Format(w fmt.State, _ rune)   { io.WriteString(w, f.String()) }
func (f *File) LogValue() slog.Value         { return slog.StringValue(f.String()) }
func (f *File) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (f *File) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (p Protection) String() string               { return hidden }
func (p Protection) GoString() string             { return hidden }
func (p Protection) Format(w fmt.State, _ rune)   { io.WriteString(w, hidden) }
func (p Protection) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (p Protection) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (p Protection) MarshalText() ([]byte, error) { return []byte(hidden), nil }

func (k *Keystore) String() string               { return fmt.Sprintf("keystore %s, %d keys", k.path, len(k.Keys())) }
func (k *Keystore) GoString() string             { return k.String() }
func (k *Keystore) Format(w fmt.State, _ rune)   { io.WriteString(w, k.String()) }
func (k *Keystore) LogValue() slog.Value         { return slog.StringValue(k.String()) }
func (k *Keystore) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (k *Keystore) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
