// Package did is the method did:weft as pure rules: strict JSON and its canonical form, keys as multibase and JWK, DID
// syntax, signed operations, what an operation does to the log of a DID, and the resolver of DID Resolution 1.0. It also
// computes did:key and did:jwk.
//
// It knows no clock, no network, no store and no HTTP: state is a plugins.View, time is an argument, and whatever it
// changes it returns as writes. It holds no private key; Sign is for clients and tests, which bring theirs. It does not
// judge credentials (package vc) and keeps no profiles (package identity).
package did

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weft/plugins"
)

// Object is a JSON object. Values are Object, []any, string, json.Number, bool and nil everywhere in this module.
type Object = map[string]any

// JSONLimits bounds a text. A zero member means the default.
type JSONLimits struct {
	MaxBytes int // of the text
	MaxDepth int // objects and arrays inside each other
}

// Bounds of a JSON text that its reader does not bound more narrowly.
const (
	MaxJSONBytes = 1 << 20
	MaxJSONDepth = 64
)

// DecodeJSON reads one JSON text (RFC 8259) strictly: valid UTF-8, no duplicate members, no half of a surrogate pair, and
// nothing behind it. Numbers keep their text. The codes are bad_json and too_large.
func DecodeJSON(raw []byte, l JSONLimits) (any, error) {
	return (&parser{}).parse(raw, l)
}

// DecodeObject is DecodeJSON of an object.
func DecodeObject(raw []byte, l JSONLimits) (Object, error) {
	v, err := DecodeJSON(raw, l)
	if err != nil {
		return nil, err
	}
	o, ok := v.(Object)
	if !ok {
		return nil, plugins.Reject("bad_json", "not an object")
	}
	return o, nil
}

// parser reads a text that is known to be valid UTF-8. encoding/json would do but for two things it cannot be told: to
// refuse duplicate members, and to refuse surrogates that stand alone.
type parser struct {
	text            string
	at              int
	depth, maxDepth int
	integers        bool   // refuse numbers that are not integers up to MaxInteger
	null            bool   // there was a null
	loose           bool   // with integers: the text is not the canonical one of RFC 8785
	proof           [2]int // where the member "proof" of the outermost object stands; 0, 0: there is none
}

func (p *parser) parse(raw []byte, l JSONLimits) (any, error) {
	if l.MaxBytes == 0 {
		l.MaxBytes = MaxJSONBytes
	}
	if p.maxDepth = l.MaxDepth; p.maxDepth == 0 {
		p.maxDepth = MaxJSONDepth
	}
	if len(raw) > l.MaxBytes {
		return nil, plugins.Reject("too_large", "%d bytes, at most %d are allowed", len(raw), l.MaxBytes)
	}
	if !utf8.Valid(raw) {
		return nil, plugins.Reject("bad_json", "not valid UTF-8")
	}
	p.text = string(raw)
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, p.fault("more after the end")
	}
	return v, nil
}

func (p *parser) fault(what string) error {
	return plugins.Reject("bad_json", "byte %d: %s", p.at, what)
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
			p.loose = true
		default:
			return
		}
	}
}

// next skips white space and returns the byte there without taking it; 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *parser) value() (any, error) {
	switch c := p.next(); {
	case c == '{':
		return p.nested(p.object)
	case c == '[':
		return p.nested(p.array)
	case c == '"':
		return p.str()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return p.literal()
}

func (p *parser) nested(read func() (any, error)) (any, error) {
	if p.depth == p.maxDepth {
		return nil, plugins.Reject("too_large", "nested more than %d deep", p.maxDepth)
	}
	p.at++
	p.depth++
	v, err := read()
	p.depth--
	return v, err
}

func (p *parser) object() (any, error) {
	o := Object{}
	if p.next() == '}' {
		p.at++
		return o, nil
	}
	for before, from := "", 0; ; {
		if p.next() != '"' {
			return nil, p.fault("want a member's name")
		}
		from = p.at
		name, err := p.str()
		if err != nil {
			return nil, err
		}
		if _, twice := o[name]; twice {
			return nil, p.fault("member " + strconv.Quote(name) + " stands twice")
		}
		p.loose = p.loose || len(o) > 0 && compareUTF16(before, name) > 0
		before = name
		if p.next() != ':' {
			return nil, p.fault("want a colon")
		}
		p.at++
		if o[name], err = p.value(); err != nil {
			return nil, err
		}
		if p.depth == 1 && name == "proof" {
			p.proof = [2]int{from, p.at}
		}
		if more, err := p.more('}'); !more {
			return o, err
		}
	}
}

func (p *parser) array() (any, error) {
	list := []any{}
	if p.next() == ']' {
		p.at++
		return list, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if more, err := p.more(']'); !more {
			return list, err
		}
	}
}

// more takes a comma or the closing bracket.
func (p *parser) more(end byte) (bool, error) {
	switch p.next() {
	case ',':
		p.at++
		return true, nil
	case end:
		p.at++
		return false, nil
	}
	return false, p.fault("want a comma or " + string(end))
}

// str reads a string from its opening quote on.
func (p *parser) str() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[start : p.at-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", p.fault("a control character in a string")
		}
		p.at++
	}
	return "", p.fault("a string without an end")
}

// escaped goes on with str at the first escape.
func (p *parser) escaped(start int) (string, error) {
	b := []byte(p.text[start:p.at])
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == '"':
			p.at++
			return p.unescaped(string(b), start)
		case c < 0x20:
			return "", p.fault("a control character in a string")
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
			p.at++
		}
	}
	return "", p.fault("a string without an end")
}

// unescaped notes whether the text needed its escapes.
func (p *parser) unescaped(s string, start int) (string, error) {
	if !p.loose {
		text, err := appendString(nil, s)
		p.loose = err != nil || string(text) != p.text[start-1:p.at]
	}
	return s, nil
}

func (p *parser) escape() (rune, error) {
	if p.at+1 >= len(p.text) {
		return 0, p.fault("an escape without an end")
	}
	c := p.text[p.at+1]
	if c == 'u' {
		return p.unicode()
	}
	p.at += 2
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	}
	return 0, p.fault("an unknown escape")
}

// unicode reads \uXXXX, or two of them that are a surrogate pair.
func (p *parser) unicode() (rune, error) {
	high, ok := p.hex4()
	if !ok {
		return 0, p.fault("want four hex digits")
	}
	if !utf16.IsSurrogate(high) {
		return high, nil
	}
	low, ok := p.hex4()
	if r := utf16.DecodeRune(high, low); ok && r != utf8.RuneError {
		return r, nil
	}
	return 0, p.fault("half of a surrogate pair")
}

func (p *parser) hex4() (rune, bool) {
	if p.at+6 > len(p.text) || p.text[p.at] != '\\' || p.text[p.at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(p.text[p.at+2 : p.at+6]) {
		digit, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	p.at += 6
	return r, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func (p *parser) number() (any, error) {
	n := numberLength(p.text[p.at:])
	if n == 0 {
		return nil, p.fault("not a number")
	}
	p.at += n
	text := p.text[p.at-n : p.at]
	if p.integers && !isSmallInteger(text) {
		return nil, p.fault("not an integer below 2^53")
	}
	p.loose = p.loose || text == "-0"
	return json.Number(text), nil
}

// numberLength is the length of the number that s begins with (RFC 8259, section 6); 0 if it begins with none.
func numberLength(s string) int {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	take := func(set string) bool {
		for _, c := range []byte(set) {
			if i < len(s) && s[i] == c {
				i++
				return true
			}
		}
		return false
	}
	take("-")
	if !take("0") && !digits() {
		return 0
	}
	if take(".") && !digits() {
		return 0
	}
	if take("eE") {
		if take("+-"); !digits() {
			return 0
		}
	}
	return i
}

func (p *parser) literal() (any, error) {
	rest := p.text[p.at:]
	switch {
	case strings.HasPrefix(rest, "true"):
		p.at += len("true")
		return true, nil
	case strings.HasPrefix(rest, "false"):
		p.at += len("false")
		return false, nil
	case strings.HasPrefix(rest, "null"):
		p.at += len("null")
		p.null = true
		return nil, nil
	}
	return nil, p.fault("want a value")
}
