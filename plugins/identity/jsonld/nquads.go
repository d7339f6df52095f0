package jsonld

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"weft/plugins"
)

// appendQuad appends the canonical form of a quad (RDFC-1.0, appendix A), with the line feed. A label gives blank nodes
// their names.
func appendQuad(out []byte, q Quad, label func(string) string) []byte {
	out = appendTerm(out, q.Subject, label)
	out = append(out, ' ')
	out = appendTerm(out, q.Predicate, label)
	out = append(out, ' ')
	out = appendTerm(out, q.Object, label)
	if q.Graph.Kind != NoTerm {
		out = append(out, ' ')
		out = appendTerm(out, q.Graph, label)
	}
	return append(out, " .\n"...)
}

func appendTerm(out []byte, t Term, label func(string) string) []byte {
	switch t.Kind {
	case IRI:
		return append(append(append(out, '<'), t.Value...), '>')
	case Blank:
		return append(append(out, "_:"...), label(t.Value)...)
	}
	out = append(appendEscaped(append(out, '"'), t.Value), '"')
	if t.Language != "" {
		return append(append(out, '@'), t.Language...)
	}
	if t.Datatype != xsdString {
		out = append(append(append(out, "^^<"...), t.Datatype...), '>')
	}
	return out
}

// appendEscaped escapes what the canonical form escapes and nothing else: short names where there are any, \u00XX for the
// other control characters and DEL.
func appendEscaped(out []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			out = append(out, c)
			continue
		}
		if short := shortEscape(c); short != 0 {
			out = append(out, '\\', short)
			continue
		}
		out = fmt.Appendf(out, `\u%04X`, c)
	}
	return out
}

func shortEscape(c byte) byte {
	switch c {
	case '\b':
		return 'b'
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\f':
		return 'f'
	case '\r':
		return 'r'
	case '"', '\\':
		return c
	}
	return 0
}

// ParseNQuads reads RDF 1.1 N-Quads: one statement a line, comments and empty lines between. Relative IRIs are refused with
// everything else that the grammar does not have: code parse_error, or too_large above limits.
func ParseNQuads(raw []byte, limits Limits) ([]Quad, error) {
	if len(raw) > limits.MaxNQuadsBytes {
		return nil, plugins.Reject("too_large", "%d bytes of N-Quads", len(raw))
	}
	var quads []Quad
	for number, line := range strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' || r == '\r' }) {
		p := lineParser{rest: line}
		q, ok, err := p.statement()
		if err != nil {
			return nil, plugins.Reject("parse_error", "statement %d: %v", number+1, err)
		}
		if !ok {
			continue
		}
		if quads = append(quads, q); len(quads) > limits.MaxQuads {
			return nil, plugins.Reject("too_large", "more than %d quads", limits.MaxQuads)
		}
	}
	return quads, nil
}

// lineParser reads one line from its left end.
type lineParser struct{ rest string }

// statement returns the line's quad; ok is false for a line without one.
func (p *lineParser) statement() (q Quad, ok bool, err error) {
	if p.atEnd() {
		return Quad{}, false, nil
	}
	if q.Subject, err = p.term(IRI, Blank); err != nil {
		return q, false, fmt.Errorf("subject: %w", err)
	}
	if q.Predicate, err = p.term(IRI); err != nil {
		return q, false, fmt.Errorf("predicate: %w", err)
	}
	if q.Object, err = p.term(IRI, Blank, Literal); err != nil {
		return q, false, fmt.Errorf("object: %w", err)
	}
	if p.space(); !strings.HasPrefix(p.rest, ".") {
		if q.Graph, err = p.term(IRI, Blank); err != nil {
			return q, false, fmt.Errorf("graph: %w", err)
		}
	}
	if p.space(); !p.skip(".") || !p.atEnd() {
		return q, false, fmt.Errorf("no full stop at the end")
	}
	return q, true, nil
}

func (p *lineParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *lineParser) atEnd() bool {
	p.space()
	return p.rest == "" || p.rest[0] == '#'
}

func (p *lineParser) skip(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *lineParser) term(kinds ...TermKind) (t Term, err error) {
	p.space()
	switch {
	case p.skip("<"):
		t.Kind = IRI
		t.Value, err = p.iri()
	case p.skip("_:"):
		t.Kind = Blank
		t.Value, err = p.label()
	case p.skip(`"`):
		t, err = p.literal()
	default:
		return t, fmt.Errorf("no term at %.20q", p.rest)
	}
	if err != nil {
		return t, err
	}
	for _, kind := range kinds {
		if t.Kind == kind {
			return t, nil
		}
	}
	return t, fmt.Errorf("a term that may not stand here")
}

func (p *lineParser) iri() (string, error) {
	s, err := p.until('>', false)
	if err == nil && !isAbsoluteIRI(s) {
		err = fmt.Errorf("%.40q is not an absolute IRI", s)
	}
	return s, err
}

// label reads the longest blank node label; it may hold full stops but not end with one.
func (p *lineParser) label() (string, error) {
	end := 0
	for end < len(p.rest) {
		r, size := utf8.DecodeRuneInString(p.rest[end:])
		if !isLabelRune(r, end == 0) {
			break
		}
		end += size
	}
	label := strings.TrimRight(p.rest[:end], ".")
	if label == "" {
		return "", fmt.Errorf("an empty blank node label")
	}
	p.rest = p.rest[len(label):]
	return label, nil
}

// isLabelRune follows BLANK_NODE_LABEL.
func isLabelRune(r rune, first bool) bool {
	switch {
	case r < 0x80 && (isLetter(byte(r)) || isDigit(byte(r))), r == '_', r == ':':
		return true
	case r == '-', r == '.', r == 0xb7, r >= 0x300 && r <= 0x36f, r == 0x203f, r == 0x2040:
		return !first
	case r >= 0xc0 && r <= 0xd6, r >= 0xd8 && r <= 0xf6, r >= 0xf8 && r <= 0x2ff, r >= 0x370 && r <= 0x37d,
		r >= 0x37f && r <= 0x1fff, r == 0x200c, r == 0x200d, r >= 0x2070 && r <= 0x218f, r >= 0x2c00 && r <= 0x2fef,
		r >= 0x3001 && r <= 0xd7ff, r >= 0xf900 && r <= 0xfdcf, r >= 0xfdf0 && r < 0xfffd, r >= 0x10000 && r <= 0xeffff:
		return true
	}
	return false
}

func (p *lineParser) literal() (Term, error) {
	t := Term{Kind: Literal, Datatype: xsdString}
	var err error
	if t.Value, err = p.until('"', true); err != nil {
		return t, err
	}
	switch {
	case p.skip("@"):
		end := 0
		for end < len(p.rest) && (isLetter(p.rest[end]) || isDigit(p.rest[end]) || p.rest[end] == '-') {
			end++
		}
		t.Language, t.Datatype, p.rest = p.rest[:end], rdfLangString, p.rest[end:]
		if !isLanguageTag(t.Language) {
			err = fmt.Errorf("%.40q is not a language tag", t.Language)
		}
	case p.skip("^^"):
		if !p.skip("<") {
			return t, fmt.Errorf("a datatype that is not an IRI")
		}
		if t.Datatype, err = p.iri(); err == nil && t.Datatype == rdfLangString {
			err = fmt.Errorf("rdf:langString without a language")
		}
	}
	return t, err
}

// until reads to the closing byte and resolves escapes: of characters by number, and in strings those with names.
func (p *lineParser) until(closing byte, names bool) (string, error) {
	var out []byte
	for i := 0; i < len(p.rest); {
		c := p.rest[i]
		switch {
		case c == closing:
			p.rest = p.rest[i+1:]
			if !utf8.Valid(out) {
				return "", fmt.Errorf("invalid UTF-8")
			}
			return string(out), nil
		case c != '\\':
			out = append(out, c)
			i++
		default:
			r, size, err := escape(p.rest[i:], names)
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			i += size
		}
	}
	return "", fmt.Errorf("no closing %q", closing)
}

// escape decodes the escape sequence at the start of s and returns its length.
func escape(s string, names bool) (rune, int, error) {
	if len(s) < 2 {
		return 0, 0, fmt.Errorf("an escape at the end")
	}
	switch s[1] {
	case 'u':
		return numericEscape(s, 4)
	case 'U':
		return numericEscape(s, 8)
	}
	if at := strings.IndexByte(`tbnrf"'\`, s[1]); names && at >= 0 {
		return rune("\t\b\n\r\f\"'\\"[at]), 2, nil
	}
	return 0, 0, fmt.Errorf("unknown escape %.2q", s)
}

func numericEscape(s string, digits int) (rune, int, error) {
	if len(s) < 2+digits {
		return 0, 0, fmt.Errorf("a short escape")
	}
	var n uint32
	for _, c := range []byte(s[2 : 2+digits]) {
		at := strings.IndexByte("0123456789abcdef", c|0x20)
		if at < 0 || at > 9 && !isLetter(c) || at <= 9 && !isDigit(c) {
			return 0, 0, fmt.Errorf("an escape that is not hexadecimal")
		}
		n = n<<4 | uint32(at)
	}
	if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return 0, 0, fmt.Errorf("an escape that is no character")
	}
	return rune(n), 2 + digits, nil
}
