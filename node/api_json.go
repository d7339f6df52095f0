package node

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonScanner reads one JSON text strictly, in one pass, straight into typed values: no tree, no reflection, no
// recursion deeper than the types ask for, so that nesting cannot hurt. Duplicate members, invalid UTF-8 and trailing
// data are bad_json; unknown members are unknown_field; a value of another type or out of range is bad_value.
type jsonScanner struct {
	text []byte
	at   int
	path []byte // of the value being read, for people
}

func (s *jsonScanner) badJSON(what string) *problem {
	return refuse("bad_json", "at byte %d: %s", s.at, what)
}

func (s *jsonScanner) badValue(want string) *problem {
	if len(s.path) == 0 {
		return refuse("bad_value", "want %s", want)
	}
	return refuse("bad_value", "%s: want %s", s.path, want)
}

// space skips white space and returns the next byte; 0 at the end.
func (s *jsonScanner) space() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// open enters an object or array; want names what should be here.
func (s *jsonScanner) open(bracket byte, want string) *problem {
	if c := s.space(); c != bracket {
		return s.mismatch(c, want)
	}
	s.at++
	return nil
}

// mismatch tells a value of another type from no JSON at all.
func (s *jsonScanner) mismatch(c byte, want string) *problem {
	rest := s.text[s.at:]
	switch {
	case c == 0 && s.at >= len(s.text):
		return s.badJSON("the text ends early")
	case c == '{', c == '[', c == '"', c == '-', c >= '0' && c <= '9',
		bytes.HasPrefix(rest, []byte("true")), bytes.HasPrefix(rest, []byte("false")), bytes.HasPrefix(rest, []byte("null")):
		return s.badValue(want)
	}
	return s.badJSON("no JSON value begins here")
}

// more says whether another element or member follows, after the first.
func (s *jsonScanner) more(closing byte, first bool) (bool, *problem) {
	switch c := s.space(); {
	case c == closing:
		s.at++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.at++
		return true, nil
	case c == 0 && s.at >= len(s.text):
		return false, s.badJSON("the text ends early")
	}
	return false, s.badJSON("want a comma or " + string(closing))
}

// object reads an object whose members are among fields, at most 64; read gets a field's index. It returns the set of
// those seen, as bits.
func (s *jsonScanner) object(fields []string, read func(field int) *problem) (seen uint64, err *problem) {
	if err := s.open('{', "an object"); err != nil {
		return 0, err
	}
	for first := true; ; first = false {
		again, err := s.more('}', first)
		if err != nil || !again {
			return seen, err
		}
		field, err := s.member(fields)
		if err != nil {
			return seen, err
		}
		if seen&(1<<field) != 0 {
			return seen, s.badJSON("member " + strconv.Quote(fields[field]) + " twice")
		}
		seen |= 1 << field
		if err := s.below(fields[field], func() *problem { return read(field) }); err != nil {
			return seen, err
		}
	}
}

// below reads a value with its name at the end of the path.
func (s *jsonScanner) below(name string, read func() *problem) *problem {
	mark := len(s.path)
	if mark > 0 && name[0] != '[' {
		s.path = append(s.path, '.')
	}
	s.path = append(s.path, name...)
	err := read()
	if err == nil {
		s.path = s.path[:mark]
	}
	return err
}

// member reads a name and its colon.
func (s *jsonScanner) member(fields []string) (int, *problem) {
	if c := s.space(); c != '"' {
		return 0, s.badJSON("want the name of a member")
	}
	name, err := s.str("a name")
	if err != nil {
		return 0, err
	}
	if s.space() != ':' {
		return 0, s.badJSON("want a colon")
	}
	s.at++
	for i := range fields {
		if string(name) == fields[i] {
			return i, nil
		}
	}
	return 0, refuse("unknown_field", "%s has no member %.60q", s.place(), name)
}

func (s *jsonScanner) place() string {
	if len(s.path) == 0 {
		return "the body"
	}
	return string(s.path)
}

// array reads up to limit elements.
func (s *jsonScanner) array(limit int, read func(i int) *problem) *problem {
	if err := s.open('[', "a list"); err != nil {
		return err
	}
	for i := 0; ; i++ {
		again, err := s.more(']', i == 0)
		if err != nil || !again {
			return err
		}
		if i == limit {
			return s.badValue("at most " + strconv.Itoa(limit) + " elements")
		}
		mark := len(s.path)
		s.path = append(strconv.AppendInt(append(s.path, '['), int64(i), 10), ']')
		if err := read(i); err != nil {
			return err
		}
		s.path = s.path[:mark]
	}
}

// end makes sure that nothing follows.
func (s *jsonScanner) end() *problem {
	if s.space(); s.at < len(s.text) {
		return s.badJSON("text after the end")
	}
	return nil
}

// str reads a string; the result may alias the text.
func (s *jsonScanner) str(want string) ([]byte, *problem) {
	if c := s.space(); c != '"' {
		return nil, s.mismatch(c, want)
	}
	s.at++
	start, ascii := s.at, true
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			b := s.text[start:s.at]
			if !ascii && !utf8.Valid(b) {
				return nil, s.badJSON("not UTF-8")
			}
			s.at++
			return b, nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, s.badJSON("control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, s.badJSON("the text ends inside a string")
}

// escaped goes on with a string at its first escape.
func (s *jsonScanner) escaped(start int) ([]byte, *problem) {
	b := append(make([]byte, 0, s.at-start+32), s.text[start:s.at]...)
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				return nil, s.badJSON("not UTF-8")
			}
			return b, nil
		case c < ' ':
			return nil, s.badJSON("control character in a string")
		case c != '\\':
			b = append(b, c)
		default:
			var err *problem
			if b, err = s.escape(b); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.badJSON("the text ends inside a string")
}

func (s *jsonScanner) escape(b []byte) ([]byte, *problem) {
	if s.at >= len(s.text) {
		return nil, s.badJSON("the text ends inside a string")
	}
	c := s.text[s.at]
	s.at++
	if c == 'u' {
		r, ok := s.hexRune()
		if ok && utf16.IsSurrogate(r) {
			r, ok = s.lowSurrogate(r)
		}
		if !ok {
			return nil, s.badJSON("bad \\u escape")
		}
		return utf8.AppendRune(b, r), nil
	}
	plain := `"\/bfnrt`
	if i := bytes.IndexByte([]byte(plain), c); i >= 0 {
		return append(b, "\"\\/\b\f\n\r\t"[i]), nil
	}
	return nil, s.badJSON("bad escape")
}

func (s *jsonScanner) hexRune() (rune, bool) {
	if len(s.text)-s.at < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.text[s.at:s.at+4]), 16, 16)
	s.at += 4
	return rune(n), err == nil
}

func (s *jsonScanner) lowSurrogate(high rune) (rune, bool) {
	if !bytes.HasPrefix(s.text[s.at:], []byte(`\u`)) {
		return 0, false
	}
	s.at += 2
	low, ok := s.hexRune()
	r := utf16.DecodeRune(high, low)
	return r, ok && r != utf8.RuneError
}

// base64 reads a string of base64url without padding and appends the bytes to dst.
func (s *jsonScanner) base64(dst []byte) ([]byte, *problem) {
	const want = "base64url without padding"
	if c := s.space(); c != '"' {
		return nil, s.mismatch(c, want)
	}
	raw := s.text[s.at+1:]
	if n := bytes.IndexByte(raw, '"'); n >= 0 {
		if out, ok := appendBase64(dst, raw[:n]); ok {
			s.at += n + 2
			return out, nil
		}
	}
	text, err := s.str(want) // the slow way, which tells faults apart and knows escapes
	if err != nil {
		return nil, err
	}
	out, ok := appendBase64(dst, text)
	if !ok {
		return nil, s.badValue(want)
	}
	return out, nil
}

// appendBase64 decodes the one canonical form: no padding, no line breaks, no stray bits.
func appendBase64(dst, text []byte) ([]byte, bool) {
	encoding := base64.RawURLEncoding.Strict()
	start, n := len(dst), encoding.DecodedLen(len(text))
	if cap(dst)-start < n {
		dst = append(dst, make([]byte, n)...)[:start]
	}
	got, err := encoding.Decode(dst[start:start+n], text)
	return dst[:start+got], err == nil && got == n // the decoder skips line breaks: then fewer come out
}

func encodeBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// integer reads a whole number in [0, limit].
func (s *jsonScanner) integer(limit uint64) (uint64, *problem) {
	want := "a whole number from 0 to " + strconv.FormatUint(limit, 10)
	c := s.space()
	if c != '-' && (c < '0' || c > '9') {
		return 0, s.mismatch(c, want)
	}
	number, ok := s.number()
	if !ok {
		return 0, s.badJSON("bad number")
	}
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || n > limit {
		return 0, s.badValue(want)
	}
	return n, nil
}

// number takes a number by the grammar of RFC 8259.
func (s *jsonScanner) number() ([]byte, bool) {
	start := s.at
	s.take('-')
	if s.at < len(s.text) && s.text[s.at] == '0' {
		s.at++
	} else if s.digits() == 0 {
		return nil, false
	}
	if s.take('.') && s.digits() == 0 {
		return nil, false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if s.digits() == 0 {
			return nil, false
		}
	}
	if s.at < len(s.text) && (s.text[s.at] >= '0' && s.text[s.at] <= '9') {
		return nil, false // a leading zero
	}
	return s.text[start:s.at], true
}

func (s *jsonScanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *jsonScanner) digits() (n int) {
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}
