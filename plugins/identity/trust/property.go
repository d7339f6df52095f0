package trust

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Bounds of a property.
const (
	MaxSegments     = 8
	MaxSegmentBytes = 64
	MaxValues       = 256
	MaxTextBytes    = 256 // of a text in a constraint
)

// Property is what may be stated: the values that one path, or all paths below one, may have, and when. Exactly one
// constraint is set. Its JSON is the one of operations.
//
// A path is 1 to 8 segments with dots between them; "*" as the last of several stands for one or more segments, so that
// "a.b.*" means any path below a.b, but not a.b itself. Validity is optional and inclusive at both ends.
type Property struct {
	Path       string            `json:"path"`
	Values     []Value           `json:"values,omitempty"`
	Range      *Range            `json:"range,omitempty"`
	StartsWith string            `json:"startsWith,omitempty"`
	EndsWith   string            `json:"endsWith,omitempty"`
	Contains   string            `json:"contains,omitempty"`
	Any        bool              `json:"any,omitempty"`
	ValidFrom  operation.Instant `json:"validFrom,omitempty"`
	ValidUntil operation.Instant `json:"validUntil,omitempty"`
}

// Range is all numbers from Min to Max, both included.
type Range struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// Value is a text or an integer.
type Value struct {
	Text     string
	Number   int64
	IsNumber bool
}

// Text and Integer make values.
func Text(s string) Value { return Value{Text: s} }

// Integer makes the value of an integer, of at most did.MaxInteger either way.
func Integer(n int64) Value { return Value{Number: n, IsNumber: true} }

// MarshalJSON writes the text or integer.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.IsNumber {
		return strconv.AppendInt(nil, v.Number, 10), nil
	}
	return json.Marshal(v.Text)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(b []byte) (err error) {
	if bytes.HasPrefix(b, []byte{'"'}) {
		*v = Value{}
		return json.Unmarshal(b, &v.Text)
	}
	*v = Value{IsNumber: true}
	v.Number, err = strconv.ParseInt(string(b), 10, 64)
	return err
}

// Allows says whether a path may have a value: what stands there in a credential, as package did decodes JSON. A value
// that is not there (nil) is allowed by nothing, one that is neither text nor number by Any alone.
func (p Property) Allows(path string, value any) bool {
	if value == nil || !isPath(path) || !coversPath(p.Path, path) {
		return false
	}
	if p.Any {
		return true
	}
	if text, ok := value.(string); ok {
		return p.allowsText(text)
	}
	number, ok := double(value)
	return ok && p.allowsNumber(number)
}

func (p Property) allowsText(s string) bool {
	switch {
	case p.Values != nil:
		return slices.Contains(p.Values, Text(s))
	case p.StartsWith != "":
		return strings.HasPrefix(s, p.StartsWith)
	case p.EndsWith != "":
		return strings.HasSuffix(s, p.EndsWith)
	}
	return p.Contains != "" && strings.Contains(s, p.Contains)
}

// allowsNumber compares doubles, which hold the integers of a constraint exactly.
func (p Property) allowsNumber(n float64) bool {
	if p.Range != nil {
		return float64(p.Range.Min) <= n && n <= float64(p.Range.Max)
	}
	return slices.ContainsFunc(p.Values, func(v Value) bool { return v.IsNumber && float64(v.Number) == n })
}

// double is a JSON number as RFC 8785 sees it.
func double(value any) (float64, bool) {
	switch v := value.(type) {
	case json.Number:
		n, err := strconv.ParseFloat(string(v), 64)
		return n, err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
	case float64:
		return v, !math.IsInf(v, 0) && !math.IsNaN(v)
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return 0, false
}

// covers says whether p allows, of any path, whatever c allows. It is sound, not complete: true is a promise. Validity is
// not looked at.
func (p Property) covers(c Property) bool {
	if !coversPath(p.Path, c.Path) {
		return false
	}
	switch {
	case p.Any:
		return true
	case p.Values != nil:
		return c.everyValue(func(v Value) bool { return slices.Contains(p.Values, v) })
	case p.Range != nil:
		return p.Range.covers(c)
	case p.StartsWith != "":
		return c.StartsWith != "" && strings.HasPrefix(c.StartsWith, p.StartsWith) || c.everyText(p.allowsText)
	case p.EndsWith != "":
		return c.EndsWith != "" && strings.HasSuffix(c.EndsWith, p.EndsWith) || c.everyText(p.allowsText)
	case p.Contains != "":
		part := c.StartsWith + c.EndsWith + c.Contains // one of them at most
		return strings.Contains(part, p.Contains) || c.everyText(p.allowsText)
	}
	return false
}

func (r Range) covers(c Property) bool {
	if c.Range != nil {
		return r.Min <= c.Range.Min && c.Range.Max <= r.Max
	}
	return c.everyValue(func(v Value) bool { return v.IsNumber && r.Min <= v.Number && v.Number <= r.Max })
}

func (p Property) everyValue(good func(Value) bool) bool {
	return p.Values != nil && !slices.ContainsFunc(p.Values, func(v Value) bool { return !good(v) })
}

func (p Property) everyText(good func(string) bool) bool {
	return p.everyValue(func(v Value) bool { return !v.IsNumber && good(v.Text) })
}

// coversPath says whether a path or pattern stands for all that another one stands for.
func coversPath(pattern, path string) bool {
	above, ok := strings.CutSuffix(pattern, ".*")
	if !ok {
		return pattern == path
	}
	return strings.HasPrefix(path, above+".")
}

// isPath and isPattern judge syntax. A pattern is a path or ends with ".*".
func isPath(s string) bool {
	if len(s) > MaxSegments*(MaxSegmentBytes+1) {
		return false
	}
	segments := strings.Split(s, ".")
	return len(segments) <= MaxSegments && !slices.ContainsFunc(segments, func(s string) bool { return !isSegment(s) })
}

func isPattern(s string) bool {
	above, ok := strings.CutSuffix(s, ".*")
	if ok {
		s = above + ".x" // the star counts as a segment
	}
	return isPath(s)
}

func isSegment(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= MaxSegmentBytes
}

// window is a span of time, inclusive at both ends.
type window struct{ from, until tangle.Time }

func always() window { return window{0, math.MaxInt64} }

func (w window) holds(t tangle.Time) bool { return w.from <= t && t <= w.until }
func (w window) covers(inner window) bool { return w.from <= inner.from && inner.until <= w.until }
func (w window) empty() bool              { return w.from > w.until }
func (w window) intersect(other window) window {
	return window{max(w.from, other.from), min(w.until, other.until)}
}

// window is when a property may be stated, whatever it is part of.
func (p Property) window() window {
	w := always()
	w.from = tangle.Time(p.ValidFrom)
	if p.ValidUntil != 0 {
		w.until = tangle.Time(p.ValidUntil)
	}
	return w
}

// readProperty reads one property of an operation. The codes are bad_property, and bad_value where there is no constraint
// or more than one: an empty request must never count as allowed.
func readProperty(v any) (p Property, err error) {
	o, ok := v.(did.Object)
	if !ok {
		return p, badProperty("a property is not an object")
	}
	m := operation.Read(o)
	if p.Path = m.Text("path", operation.MaxText); !isPattern(p.Path) {
		m.Judge(badProperty("%.100q is not a path", p.Path))
	}
	p.readConstraint(m)
	if m.Has("validFrom") {
		p.ValidFrom = m.Instant("validFrom")
	}
	if m.Has("validUntil") {
		p.ValidUntil = m.Instant("validUntil")
	}
	if p.window().empty() {
		m.Judge(badProperty("%s ends before it begins", p.Path))
	}
	return p, m.Done()
}

func badProperty(format string, args ...any) error {
	return plugins.Reject("bad_property", format, args...)
}

func (p *Property) readConstraint(m *operation.Members) {
	constraints := 0
	for _, name := range []string{"values", "range", "startsWith", "endsWith", "contains", "any"} {
		if !m.Has(name) {
			continue
		}
		constraints++
		switch name {
		case "values":
			p.Values = readValues(m)
		case "range":
			p.Range = readRange(m)
		case "startsWith":
			p.StartsWith = m.Text(name, MaxTextBytes)
		case "endsWith":
			p.EndsWith = m.Text(name, MaxTextBytes)
		case "contains":
			p.Contains = m.Text(name, MaxTextBytes)
		case "any":
			if p.Any = m.Bool(name); !p.Any {
				m.Judge(plugins.Reject("bad_value", "any is not true"))
			}
		}
	}
	if constraints != 1 {
		m.Judge(plugins.Reject("bad_value", "%s has %d constraints: it needs exactly one", p.Path, constraints))
	}
}

func readValues(m *operation.Members) []Value {
	list := m.List("values", MaxValues)
	values := make([]Value, 0, len(list))
	seen := make(map[Value]bool, len(list))
	for _, item := range list {
		v, ok := readValue(item)
		if !ok || seen[v] {
			m.Judge(plugins.Reject("bad_value", "values holds something twice, or what is neither an integer nor a text of at most %d bytes", MaxTextBytes))
			return nil
		}
		seen[v] = true
		values = append(values, v)
	}
	if len(values) == 0 {
		m.Judge(plugins.Reject("bad_value", "values is empty"))
	}
	return values
}

func readValue(item any) (Value, bool) {
	if s, ok := item.(string); ok {
		return Text(s), len(s) <= MaxTextBytes
	}
	n, ok := operation.ParseInteger(item)
	return Integer(n), ok
}

func readRange(m *operation.Members) *Range {
	inner := operation.Read(m.Object("range"))
	r := &Range{inner.Integer("min", -did.MaxInteger, did.MaxInteger), inner.Integer("max", -did.MaxInteger, did.MaxInteger)}
	m.Judge(inner.Done())
	if r.Min > r.Max {
		m.Judge(plugins.Reject("bad_value", "the range ends before it begins"))
	}
	return r
}

// readProperties reads a list of least to most properties.
func readProperties(m *operation.Members, least, most int) []Property {
	list := m.List("properties", most)
	if len(list) < least {
		m.Judge(plugins.Reject("bad_value", "%d properties, at least %d are needed", len(list), least))
	}
	properties := make([]Property, 0, len(list))
	for _, item := range list {
		p, err := readProperty(item)
		m.Judge(err)
		properties = append(properties, p)
	}
	return properties
}

// bodyOf is a property, or several, as bodies of operations hold them.
func bodyOf(list []Property) []any {
	items := make([]any, 0, len(list))
	for _, p := range list {
		items = append(items, p.body())
	}
	return items
}

func (p Property) body() did.Object {
	o, err := did.DecodeObject(operation.Record(p), did.JSONLimits{})
	if err != nil {
		return did.Object{} // a text that is not UTF-8: whoever decodes the operation refuses it
	}
	return o
}
