package did

import (
	"encoding/base32"
	"strings"

	"weft/plugins"
	"weft/tangle"
)

// DID is a did:weft. It has one form, so == compares it. The zero value is none.
type DID struct{ text string }

// methodPrefix begins every did:weft. The name of the method stands here only.
const (
	MethodName   = "weft"
	methodPrefix = "did:" + MethodName + ":"
)

// Lengths of a did:weft and its parts, in characters.
const (
	networkLength = 8
	didLength     = len(methodPrefix) + networkLength + 1 + multihashLength
)

// Parse reads a did:weft in its one form: "did:weft:", the network, ":", the scid. The code is bad_value.
func Parse(s string) (DID, error) {
	if len(s) != didLength || !strings.HasPrefix(s, methodPrefix) || s[len(methodPrefix)+networkLength] != ':' {
		return DID{}, plugins.Reject("bad_value", "%.100q is not a did:weft", s)
	}
	d := DID{s}
	for _, c := range []byte(d.Network()) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return DID{}, plugins.Reject("bad_value", "%q has no network of eight base32 characters", s)
		}
	}
	if err := checkMultihash(d.SCID()); err != nil {
		return DID{}, err
	}
	return d, nil
}

// NewDID is the DID of a network and an scid that came out of this package.
func newDID(network tangle.ID, scid string) DID {
	return DID{methodPrefix + NetworkLabel(network) + ":" + scid}
}

func (d DID) String() string { return d.text }

// Network is the label of the network, SCID the hash that names the DID inside it. Both are "" for the zero value.
func (d DID) Network() string {
	if d.text == "" {
		return ""
	}
	return d.text[len(methodPrefix) : len(methodPrefix)+networkLength]
}

// SCID is the hash of the DID's first operation with a placeholder for its name.
func (d DID) SCID() string {
	if d.text == "" {
		return ""
	}
	return d.text[didLength-multihashLength:]
}

// NetworkLabel is a network in its DIDs: the first 40 bits of its id in base32, lower case. It keeps forks apart, no more;
// operations carry the whole id.
func NetworkLabel(id tangle.ID) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(id[:5]))
}

// URL is a DID URL of any method (DID Core 1.0, section 3.2) in its parts.
type URL struct {
	DID      string
	Method   string
	Path     string // raw, with its leading slash; "" if there is none
	Query    []Parameter
	Fragment string // raw, without #
}

// Parameter is one of a query, percent-decoded.
type Parameter struct{ Name, Value string }

// MaxURL bounds a DID URL in bytes. A did:jwk holds a whole key.
const MaxURL = 8 << 10

// ParseURL reads a DID URL. The code is bad_value.
func ParseURL(s string) (URL, error) {
	if len(s) > MaxURL {
		return URL{}, plugins.Reject("bad_value", "a DID URL of %d bytes, at most %d are allowed", len(s), MaxURL)
	}
	var u URL
	rest, fragment, hasFragment := strings.Cut(s, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	u.DID, u.Fragment = rest, fragment
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		u.DID, u.Path = rest[:slash], rest[slash:]
	}
	if u.Method = didMethod(u.DID); u.Method == "" {
		return URL{}, plugins.Reject("bad_value", "%.100q is not a DID URL", s)
	}
	if !isURLText(u.Path, "/") || hasQuery && !isURLText(query, "/?") || hasFragment && !isURLText(fragment, "/?") {
		return URL{}, plugins.Reject("bad_value", "%.100q is not a DID URL: a character in path, query or fragment", s)
	}
	if hasFragment && fragment == "" {
		return URL{}, plugins.Reject("bad_value", "%.100q has an empty fragment", s)
	}
	var err error
	u.Query, err = parseQuery(query)
	return u, err
}

// Get returns the value of the parameter of that name, and whether there is one.
func (u URL) Get(name string) (string, bool) {
	for _, p := range u.Query {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// didMethod is the method of a DID, "" if s is none.
func didMethod(s string) string {
	rest, ok := strings.CutPrefix(s, "did:")
	method, id, both := strings.Cut(rest, ":")
	if !ok || !both || method == "" || id == "" || id[len(id)-1] == ':' {
		return ""
	}
	for _, c := range []byte(method) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return ""
		}
	}
	if strings.IndexByte(id, '%') >= 0 && !percentOK(id) {
		return ""
	}
	for _, c := range []byte(id) {
		if !isAlphanumeric(c) && strings.IndexByte(".-_:%", c) < 0 {
			return ""
		}
	}
	return method
}

// isURLText says whether s holds pchar (RFC 3986, section 3.3) and the extra characters only.
func isURLText(s, extra string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte("-._~%!$&'()*+,;=:@", c) < 0 && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return percentOK(s)
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// percentOK says whether two hex digits follow each %.
func percentOK(s string) bool {
	_, ok := percentDecode(s)
	return ok
}

// percentDecode decodes %XX and nothing else; a plus sign is a plus sign.
func percentDecode(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, okHigh := hexDigit(s[i+1])
		low, okLow := hexDigit(s[i+2])
		if !okHigh || !okLow {
			return "", false
		}
		b = append(b, high<<4|low)
		i += 2
	}
	return string(b), true
}

func parseQuery(query string) (list []Parameter, err error) {
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, okName := percentDecode(name)
		value, okValue := percentDecode(value)
		if !okName || !okValue {
			return nil, plugins.Reject("bad_value", "a percent sign in the query of a DID URL")
		}
		list = append(list, Parameter{name, value})
	}
	return list, nil
}
