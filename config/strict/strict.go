// Package strict reads JSON that people write and programs must not misread: unknown, duplicate and (where asked)
// missing members and wrong types are faults, and all of them are reported at once, each with its place.
//
// It does not know what the values mean: the packages genesis and config check that and report in the same form. It is
// for files of some kilobytes; it builds a tree of the whole text.
package strict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// MaxFaults bounds a report; what is wrong beyond it shows when these are mended.
const MaxFaults = 50

// Fault is one thing that is wrong, and where: a path such as members[2].key, empty for the whole text.
type Fault struct {
	Path   string
	Detail string
}

func (f Fault) String() string {
	if f.Path == "" {
		return f.Detail
	}
	return f.Path + ": " + f.Detail
}

// Faults is an error that lists everything wrong.
type Faults []Fault

// Add notes a fault.
func (f *Faults) Add(path, format string, args ...any) {
	if len(*f) < MaxFaults {
		*f = append(*f, Fault{path, fmt.Sprintf(format, args...)})
	}
}

// Err is nil if there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Decode reads data into v, a pointer to a struct. Members that data does not have keep their value; with complete they
// are faults unless the field says omitempty. An error is of type Faults; what could be read is in v even then.
func Decode(data []byte, v any, complete bool) error {
	tree, err := parse(data)
	if err != nil {
		return err
	}
	d := decoder{complete: complete}
	d.value("", tree, reflect.ValueOf(v).Elem())
	return d.faults.Err()
}

// Check reports what is wrong with data as JSON, whatever it means: syntax, nesting, duplicate members, encoding.
func Check(data []byte) error {
	_, err := parse(data)
	return err
}

type decoder struct {
	complete bool
	faults   Faults
}

func (d *decoder) value(path string, n *node, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, n, v.Elem())
	case v.Type() == reflect.TypeFor[json.RawMessage](), v.Addr().Type().Implements(reflect.TypeFor[json.Unmarshaler]()):
		d.leaf(path, n, v)
	case v.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		d.text(path, n, v)
	case v.Kind() == reflect.Struct:
		d.object(path, n, v)
	case v.Kind() == reflect.Map:
		d.table(path, n, v)
	case v.Kind() == reflect.Slice:
		d.list(path, n, v)
	default:
		d.plain(path, n, v)
	}
}

func (d *decoder) object(path string, n *node, v reflect.Value) {
	if !d.is(path, n, '{', "an object") {
		return
	}
	seen := map[string]bool{}
	for _, m := range n.members {
		field, ok := fieldOf(v, m.name)
		if !ok {
			d.faults.Add(Join(path, m.name), "no such member; known are %s", strings.Join(names(v.Type()), ", "))
			continue
		}
		seen[m.name] = true
		d.value(Join(path, m.name), m.value, field)
	}
	if !d.complete {
		return
	}
	for i := range v.NumField() {
		name, optional := nameOf(v.Type().Field(i))
		if name != "" && !optional && !seen[name] {
			d.faults.Add(Join(path, name), "missing")
		}
	}
}

func (d *decoder) table(path string, n *node, v reflect.Value) {
	if !d.is(path, n, '{', "an object") {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.members)))
	for _, m := range n.members {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(Join(path, m.name), m.value, item)
		v.SetMapIndex(reflect.ValueOf(m.name), item)
	}
}

func (d *decoder) list(path string, n *node, v reflect.Value) {
	if !d.is(path, n, '[', "an array") {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, v.Index(i))
	}
}

func (d *decoder) text(path string, n *node, v reflect.Value) {
	if !d.is(path, n, '"', "a string") {
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text())); err != nil {
		d.faults.Add(path, "%s", err)
	}
}

func (d *decoder) plain(path string, n *node, v reflect.Value) {
	kind, want := byte('"'), "a string"
	switch v.Kind() {
	case reflect.Bool:
		kind, want = 'b', "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		kind, want = '0', "a whole number"
	case reflect.Float64:
		kind, want = '0', "a number"
	}
	if !d.is(path, n, kind, want) {
		return
	}
	if json.Unmarshal(n.raw, v.Addr().Interface()) != nil {
		d.faults.Add(path, "want %s in range, have %s", want, clip(n.raw))
	}
}

func (d *decoder) leaf(path string, n *node, v reflect.Value) {
	if err := json.Unmarshal(n.raw, v.Addr().Interface()); err != nil {
		d.faults.Add(path, "%s", err)
	}
}

func (d *decoder) is(path string, n *node, kind byte, want string) bool {
	if n.kind != kind {
		d.faults.Add(path, "want %s, have %s", want, clip(n.raw))
	}
	return n.kind == kind
}

// Join appends a member's name to a path.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if known, _ := nameOf(v.Type().Field(i)); known == name && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func names(t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		if name, _ := nameOf(t.Field(i)); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// nameOf is the JSON name of a field; empty for one that JSON does not carry.
func nameOf(f reflect.StructField) (name string, optional bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		name = ""
	}
	return name, strings.Contains(options, "omitempty")
}

func clip(raw []byte) string {
	const most = 40
	if len(raw) > most {
		return string(raw[:most]) + "..."
	}
	return string(raw)
}
