package genesis

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
)

// Bytes is the canonical form: RFC 8785 for what a genesis holds (whole numbers, strings, lists, objects). A list
// without items is written as such, whether it is nil or empty.
func (g *Genesis) Bytes() []byte {
	c := *g
	c.Members = append([]Member{}, g.Members...)
	for i, m := range c.Members {
		c.Members[i].Roles = append([]string{}, m.Roles...)
	}
	c.Plugins = append([]Plugin{}, g.Plugins...)
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // a plugin's section that is not JSON: only a program can put it there, Parse refuses it
	}
	return appendCanonical(nil, value(b))
}

// value reads JSON that is known to be well formed.
func value(b []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		return appendObject(b, v)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case string:
		return appendString(b, v)
	case json.Number:
		return append(b, v...)
	case bool:
		return strconv.AppendBool(b, v)
	default:
		return append(b, "null"...)
	}
}

// appendObject orders members by the UTF-16 code units of their names (RFC 8785, section 3.2.3).
func appendObject(b []byte, object map[string]any) []byte {
	type named struct {
		order []uint16
		name  string
	}
	var members []named
	for name := range object {
		members = append(members, named{utf16.Encode([]rune(name)), name})
	}
	slices.SortFunc(members, func(x, y named) int { return slices.CompareFunc(x.order, y.order, cmp.Compare[uint16]) })
	b = append(b, '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, m.name), ':')
		b = appendCanonical(b, object[m.name])
	}
	return append(b, '}')
}

// appendString escapes what RFC 8785, section 3.2.2.2 says and nothing else.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ':
			b = append(b, string(r)...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\r':
			b = append(b, `\r`...)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
