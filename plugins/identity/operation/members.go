package operation

import (
	"encoding/base64"
	"encoding/json"

	"strconv"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// MaxText bounds a text in bytes that has no narrower bound: a DID, a hash, a path.
const MaxText = 1024

// MaxItems bounds a list that its reader bounds in another way.
const MaxItems = 10_000

// Members reads an object: each member is read by name, and Done refuses the rest. After the first fault readers return
// zero values, and Done returns it.
type Members struct {
	object did.Object
	read   map[string]bool
	err    error
}

// Read starts with an object.
func Read(o did.Object) *Members { return &Members{object: o, read: make(map[string]bool, len(o))} }

// Done returns the first fault; without one, an unknown member is one.
func (m *Members) Done() error {
	unknown, found := "", false // the first in order
	for name := range m.object {
		if !m.read[name] && (!found || name < unknown) {
			unknown, found = name, true
		}
	}
	if found {
		m.Judge(plugins.Reject("unknown_field", "member %.60q", unknown))
	}
	return m.err
}

// Judge keeps a fault that the caller found in a value.
func (m *Members) Judge(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *Members) refuse(format string, args ...any) {
	m.Judge(plugins.Reject("bad_value", format, args...))
}

// Has says whether there is a member of this name, without reading it.
func (m *Members) Has(name string) bool { _, ok := m.object[name]; return ok }

func (m *Members) take(name string) any {
	m.read[name] = true
	v, ok := m.object[name]
	if !ok {
		m.refuse("member %q is missing", name)
	}
	return v
}

// Text reads a string of 1 to max bytes.
func (m *Members) Text(name string, max int) string {
	s, ok := m.take(name).(string)
	if !ok || s == "" || len(s) > max {
		m.refuse("%s is not a text of 1 to %d bytes", name, max)
		return ""
	}
	return s
}

// Bytes reads size bytes in base64url without padding.
func (m *Members) Bytes(name string, size int) []byte {
	s := m.Text(name, MaxText)
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != size || base64.RawURLEncoding.EncodeToString(b) != s {
		m.refuse("%s is not %d bytes in base64url", name, size)
		return nil
	}
	return b
}

// Hash reads a SHA-256 multihash, as did.Multihash makes them.
func (m *Members) Hash(name string) string {
	s := m.Text(name, MaxText)
	m.Judge(CheckHash(s))
	return s
}

// Instant reads a time.
func (m *Members) Instant(name string) Instant {
	t, err := did.ParseTime(m.Text(name, MaxText))
	m.Judge(err)
	return Instant(t)
}

// Bool reads true or false.
func (m *Members) Bool(name string) bool {
	b, ok := m.take(name).(bool)
	if !ok {
		m.refuse("%s is neither true nor false", name)
	}
	return b
}

// Integer reads an integer in [least, most].
func (m *Members) Integer(name string, least, most int64) int64 {
	n, ok := ParseInteger(m.take(name))
	if !ok || n < least || n > most {
		m.refuse("%s is not an integer from %d to %d", name, least, most)
		return 0
	}
	return n
}

// List reads an array of at most max items.
func (m *Members) List(name string, max int) []any {
	list, ok := m.take(name).([]any)
	if !ok || len(list) > max {
		m.refuse("%s is not a list of at most %d items", name, max)
		return nil
	}
	return list
}

// Texts reads an array of at most max strings in ascending order without doubles.
func (m *Members) Texts(name string, max int) []string {
	list := m.List(name, max)
	texts := make([]string, 0, len(list))
	for _, item := range list {
		s, ok := item.(string)
		if !ok || s == "" || len(s) > MaxText {
			m.refuse("%s holds what is not a text of 1 to %d bytes", name, MaxText)
			return nil
		}
		texts = append(texts, s)
	}
	if !Ascending(texts) {
		m.refuse("%s is not ascending", name)
	}
	return texts
}

// Object reads an object, which is read in its turn.
func (m *Members) Object(name string) did.Object {
	o, ok := m.take(name).(did.Object)
	if !ok {
		m.refuse("%s is not an object", name)
	}
	return o
}

// ParseInteger is the integer in a JSON value. Canonical texts have one form of it.
func ParseInteger(v any) (int64, bool) {
	text, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, err == nil && n <= did.MaxInteger && n >= -did.MaxInteger
}

// CheckHash refuses what did.Multihash does not make.
func CheckHash(s string) error {
	if b, err := did.ParseBase58(s[min(1, len(s)):min(47, len(s))]); len(s) == 47 && s[0] == 'z' && err == nil &&
		len(b) == 34 && b[0] == 0x12 && b[1] == 0x20 {
		return nil
	}
	return plugins.Reject("bad_value", "%.60q is not a multihash", s)
}
