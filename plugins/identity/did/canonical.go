package did

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/gowebpki/jcs"

	"weft/plugins"
)

// MaxInteger is the largest integer of a canonical text: beyond it doubles skip integers (RFC 8785, appendix D).
const MaxInteger = 1<<53 - 1

// Canonical is the JSON Canonicalization Scheme (RFC 8785) of a JSON value, of Go numbers, or of anything that
// encoding/json writes. What a double cannot hold is refused with bad_value: integers beyond MaxInteger, infinities; so
// nothing is ever rounded unseen. Text that is not UTF-8 is refused too.
func Canonical(v any) ([]byte, error) {
	return appendCanonical(make([]byte, 0, 512), v, MaxJSONDepth)
}

func appendCanonical(b []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v)
	case json.Number:
		return appendNumber(b, string(v))
	case int:
		return appendInteger(b, int64(v))
	case int64:
		return appendInteger(b, v)
	case float64:
		return appendDouble(b, v)
	}
	if depth == 0 {
		return nil, plugins.Reject("too_large", "nested more than %d deep", MaxJSONDepth)
	}
	switch v := v.(type) {
	case Object:
		return appendObject(b, v, depth-1)
	case []any:
		return appendList(b, v, depth-1)
	case []string:
		return appendList(b, v, depth-1)
	}
	return appendOther(b, v, depth)
}

func appendObject(b []byte, o Object, depth int) (_ []byte, err error) {
	b = append(b, '{')
	for i, name := range sortedNames(o) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendMember(b, name, o[name], depth); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendMember(b []byte, name string, v any, depth int) ([]byte, error) {
	b, err := appendString(b, name)
	if err != nil {
		return nil, err
	}
	return appendCanonical(append(b, ':'), v, depth)
}

func sortedNames(o Object) []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.SortFunc(names, compareUTF16)
	return names
}

// compareUTF16 orders valid UTF-8 by its UTF-16 code units. That is the order of the bytes, but for one thing: code points
// beyond U+FFFF (first byte F0 and up) are surrogates D800 to DFFF in UTF-16, below U+E000 to U+FFFF (first byte EE, EF).
func compareUTF16(x, y string) int {
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	if i == len(x) || i == len(y) {
		return len(x) - len(y)
	}
	a, b := x[i], y[i]
	switch {
	case a >= 0xf0 && (b == 0xee || b == 0xef):
		return -1
	case b >= 0xf0 && (a == 0xee || a == 0xef):
		return 1
	}
	return int(a) - int(b)
}

func appendList[T any](b []byte, list []T, depth int) (_ []byte, err error) {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendCanonical(b, v, depth); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// appendOther takes the way through encoding/json.
func appendOther(b []byte, v any, depth int) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, plugins.Reject("bad_value", "%v", err)
	}
	tree, err := DecodeJSON(text, JSONLimits{MaxBytes: math.MaxInt, MaxDepth: depth})
	if err != nil {
		return nil, err
	}
	return appendCanonical(b, tree, depth)
}

func appendString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, plugins.Reject("bad_value", "a text is not valid UTF-8")
	}
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = appendControl(b, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"'), nil
}

func appendControl(b []byte, c byte) []byte {
	const hex, short = "0123456789abcdef", "btn\x00fr" // \b is 08, \r is 0d
	if c >= '\b' && c <= '\r' && c != '\v' {
		return append(b, '\\', short[c-'\b'])
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

func appendNumber(b []byte, text string) ([]byte, error) {
	if n := numberLength(text); n == 0 || n != len(text) {
		return nil, plugins.Reject("bad_value", "not a number: %.40q", text)
	}
	if isInteger(text) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, plugins.Reject("bad_value", "%.40s is too large an integer", text)
		}
		return appendInteger(b, n)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, plugins.Reject("bad_value", "%.40s is not a double", text)
	}
	return appendDouble(b, f)
}

// isInteger says whether a number is written as an integer.
func isInteger(text string) bool {
	for i := range len(text) {
		if c := text[i]; c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}

// isSmallInteger says whether a number is written as an integer, and whether that is at most MaxInteger either side of 0.
func isSmallInteger(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && isInteger(text) && n <= MaxInteger && n >= -MaxInteger
}

func appendInteger(b []byte, n int64) ([]byte, error) {
	if n > MaxInteger || n < -MaxInteger {
		return nil, plugins.Reject("bad_value", "%d is too large an integer", n)
	}
	return strconv.AppendInt(b, n, 10), nil
}

func appendDouble(b []byte, f float64) ([]byte, error) {
	if size := math.Abs(f); size > MaxInteger && size < 1e21 { // RFC 8785 would write it as an integer
		return nil, plugins.Reject("bad_value", "%v is too large an integer", f)
	}
	text, err := jcs.NumberToJSON(f)
	if err != nil {
		return nil, plugins.Reject("bad_value", "not a finite number")
	}
	return append(b, text...), nil
}
