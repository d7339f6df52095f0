package node

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"weft/internal/store"
	"weft/plugins"
)

// apiKey is a key as it is stored: everything but the key itself.
type apiKey struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	DID       string         `json:"did,omitempty"` // with whose rights in channels and profiles its holder reads; it never signs
	Scopes    []string       `json:"scopes"`
	CIDRs     []netip.Prefix `json:"cidrs"`
	ExpiresAt time.Time      `json:"expiresAt"`
	CreatedAt time.Time      `json:"createdAt"`
	Hash      []byte         `json:"hash"` // SHA-256 of the whole key
}

// Bounds of API keys.
const (
	MaxAPIKeys        = 1000
	MaxKeyLife        = 366 * 24 * time.Hour
	MaxKeyNameBytes   = 100
	MaxKeyDIDBytes    = 512
	MaxKeyCIDRs       = 32
	maxKeyNetworkText = 64
)

func (k *apiKey) allows(from netip.Addr) bool {
	return len(k.CIDRs) == 0 || slices.ContainsFunc(k.CIDRs, func(p netip.Prefix) bool { return p.Contains(from) })
}

// keyring holds the API keys, in memory and in the store.
type keyring struct {
	store store.Store

	mu   sync.RWMutex // guards keys; the keys themselves never change
	keys map[string]*apiKey
}

func keyOfAPIKey(id string) []byte {
	return store.Key(store.PrefixOperator, []byte("apikey/"), []byte(id))
}

func openKeyring(s store.Store) (*keyring, error) {
	r := &keyring{store: s, keys: map[string]*apiKey{}}
	prefix := keyOfAPIKey("")
	var bad error
	err := s.Scan(prefix, store.PrefixEnd(prefix), func(_, value []byte) bool {
		k := &apiKey{}
		if bad = json.Unmarshal(value, k); bad != nil {
			return false
		}
		r.keys[k.ID] = k
		return true
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	return r, nil
}

// find returns the key that is shown, if it is known and has not expired.
func (r *keyring) find(shown string) *apiKey {
	parts := strings.SplitN(shown, "_", 3)
	if len(parts) != 3 || parts[0] != "weft" {
		return nil
	}
	r.mu.RLock()
	k := r.keys[parts[1]]
	r.mu.RUnlock()
	if k == nil || !time.Now().Before(k.ExpiresAt) {
		return nil
	}
	got := sha256.Sum256([]byte(shown))
	if subtle.ConstantTimeCompare(got[:], k.Hash) != 1 {
		return nil
	}
	return k
}

// valid says whether a key that was found still holds.
func (r *keyring) valid(k *apiKey) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys[k.ID] == k && time.Now().Before(k.ExpiresAt)
}

// add makes a key durable and returns what to show once.
func (r *keyring) add(k *apiKey) (string, error) {
	var random [40]byte
	rand.Read(random[:])
	k.ID = hex.EncodeToString(random[:8])
	shown := "weft_" + k.ID + "_" + encodeBase64(random[8:])
	hash := sha256.Sum256([]byte(shown))
	k.Hash = hash[:]
	value, err := json.Marshal(k)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) >= MaxAPIKeys {
		return "", refuse("limit_reached", "there are %d keys; revoke one first", MaxAPIKeys)
	}
	var b store.Batch
	b.Set(keyOfAPIKey(k.ID), value)
	if err := r.store.Apply(&b, true); err != nil {
		return "", err
	}
	r.keys[k.ID] = k
	return shown, nil
}

func (r *keyring) remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[id] == nil {
		return refuse("not_found", "no such key")
	}
	var b store.Batch
	b.Delete(keyOfAPIKey(id))
	if err := r.store.Apply(&b, true); err != nil {
		return err
	}
	delete(r.keys, id)
	return nil
}

func (r *keyring) list() []*apiKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var keys []*apiKey
	for _, k := range r.keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b *apiKey) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return keys
}

// keyView is a key as an administrator sees it; Key only in the answer that made it.
type keyView struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	DID       string         `json:"did,omitempty"`
	Scopes    []string       `json:"scopes"`
	CIDRs     []netip.Prefix `json:"cidrs"`
	ExpiresAt string         `json:"expiresAt"`
	CreatedAt string         `json:"createdAt"`
	Key       string         `json:"key,omitempty"`
}

func viewKey(k *apiKey) keyView {
	return keyView{k.ID, k.Name, k.DID, k.Scopes, append([]netip.Prefix{}, k.CIDRs...), timeText(k.ExpiresAt), timeText(k.CreatedAt), ""}
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func (c *apiCall) listKeys() error {
	views := []keyView{}
	for _, k := range c.keys.list() {
		views = append(views, viewKey(k))
	}
	return c.json(http.StatusOK, c.whole(views))
}

func (c *apiCall) addKey() error {
	k, p := readKeyRequest(c.body, time.Now())
	if p != nil {
		return p
	}
	shown, err := c.keys.add(k)
	if err != nil {
		return err
	}
	view := viewKey(k)
	view.Key = shown
	h := c.Response().Header()
	h.Set("Location", "/api/v1/admin/api-keys/"+k.ID)
	h.Set("Cache-Control", "no-store")
	return c.json(http.StatusCreated, view)
}

func (c *apiCall) removeKey() error {
	if err := c.keys.remove(c.Param("id")); err != nil {
		return err
	}
	c.stamp(c.Response().Header())
	return c.NoContent(http.StatusNoContent)
}

// readKeyRequest reads {name, scopes, cidrs?, expiresAt?, did?}.
func readKeyRequest(body []byte, now time.Time) (*apiKey, *problem) {
	s := &jsonScanner{text: body}
	k := &apiKey{CreatedAt: now.UTC().Truncate(time.Millisecond), ExpiresAt: now.Add(90 * 24 * time.Hour).UTC().Truncate(time.Millisecond)}
	fields := []string{"name", "scopes", "cidrs", "expiresAt", "did"}
	seen, p := s.object(fields, func(field int) *problem {
		switch field {
		case 0:
			return s.keyName(k)
		case 1:
			return s.keyScopes(k)
		case 2:
			return s.keyNetworks(k)
		case 3:
			return s.keyExpiry(k, now)
		}
		return s.keyDID(k)
	})
	switch {
	case p != nil:
		return nil, p
	case seen&3 != 3:
		return nil, refuse("bad_value", "name and scopes are needed")
	}
	return k, s.end()
}

func (s *jsonScanner) keyName(k *apiKey) *problem {
	name, p := s.str("a string")
	if p == nil && (len(name) == 0 || len(name) > MaxKeyNameBytes || !utf8.Valid(name)) {
		p = s.badValue(fmt.Sprintf("1 to %d bytes", MaxKeyNameBytes))
	}
	k.Name = string(name)
	return p
}

func (s *jsonScanner) keyScopes(k *apiKey) *problem {
	known := plugins.Scopes()
	p := s.array(len(known), func(int) *problem {
		scope, p := s.str("a scope")
		if p == nil && (!slices.Contains(known, string(scope)) || slices.Contains(k.Scopes, string(scope))) {
			p = s.badValue("one of " + strings.Join(known, ", ") + ", each once")
		}
		k.Scopes = append(k.Scopes, string(scope))
		return p
	})
	if p == nil && len(k.Scopes) == 0 {
		p = s.badValue("at least one scope")
	}
	return p
}

func (s *jsonScanner) keyNetworks(k *apiKey) *problem {
	return s.array(MaxKeyCIDRs, func(int) *problem {
		text, p := s.str("a network such as 192.0.2.0/24")
		if p != nil {
			return p
		}
		network, err := netip.ParsePrefix(string(text[:min(len(text), maxKeyNetworkText)]))
		if err != nil {
			return s.badValue("a network such as 192.0.2.0/24")
		}
		k.CIDRs = append(k.CIDRs, network.Masked())
		return nil
	})
}

func (s *jsonScanner) keyExpiry(k *apiKey, now time.Time) *problem {
	const want = "a time within a year, such as 2030-01-31T12:00:00Z"
	text, p := s.str(want)
	if p != nil {
		return p
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil || !t.After(now) || t.After(now.Add(MaxKeyLife)) {
		return s.badValue(want)
	}
	k.ExpiresAt = t.UTC().Truncate(time.Millisecond)
	return nil
}

// keyDID reads whose key it is. That the DID exists is for the plugins to say that ask for its rights.
func (s *jsonScanner) keyDID(k *apiKey) *problem {
	text, p := s.str("a DID")
	notGraphic := func(r rune) bool { return r <= ' ' || r > '~' }
	if p == nil && (!bytes.HasPrefix(text, []byte("did:")) || len(text) > MaxKeyDIDBytes || bytes.ContainsFunc(text, notGraphic)) {
		p = s.badValue(fmt.Sprintf("a DID of at most %d bytes", MaxKeyDIDBytes))
	}
	k.DID = string(text)
	return p
}
