package did

import (
	"encoding/json"
	"slices"
	"strconv"

	"weft/plugins"
)

// fields reads the members of an object of an operation. The first fault stays, so a reader asks once at the end.
type fields struct {
	object Object
	where  string
	code   string // of faults in values
	err    error
}

func (f *fields) fault(format string, args ...any) {
	if f.err == nil {
		f.err = plugins.Reject(f.code, f.where+": "+format, args...)
	}
}

// only refuses members that are not named, the first in order so that all nodes name the same.
func (f *fields) only(names ...string) {
	if f.err != nil {
		return
	}
	unknown, found := "", false
	for name := range f.object {
		if !slices.Contains(names, name) && (!found || name < unknown) {
			unknown, found = name, true
		}
	}
	if found {
		f.err = plugins.Reject("unknown_field", "%s has no member %.40q", f.where, unknown)
	}
}

func (f *fields) has(name string) bool {
	_, there := f.object[name]
	return there
}

func (f *fields) text(name string) string {
	s, ok := f.object[name].(string)
	if !ok {
		f.fault("%s is missing or not a text", name)
	}
	return s
}

func (f *fields) integer(name string) int {
	n, ok := f.object[name].(json.Number)
	i, err := strconv.Atoi(string(n))
	if !ok || err != nil {
		f.fault("%s is missing or not an integer", name)
	}
	return i
}

func (f *fields) list(name string) []any {
	list, ok := f.object[name].([]any)
	if !ok {
		f.fault("%s is missing or not a list", name)
	}
	return list
}

// texts reads a list of texts of which none stands twice.
func (f *fields) texts(name string) []string {
	list := f.list(name)
	texts := make([]string, len(list))
	seen := make(map[string]bool, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			f.fault("%s[%d] is not a text", name, i)
		}
		if seen[s] {
			f.fault("%s[%d] stands there before", name, i)
		}
		texts[i], seen[s] = s, true
	}
	return texts
}

// atMost refuses lists that are too long.
func (f *fields) atMost(name string, n, limit int) {
	if n > limit && f.err == nil {
		f.err = plugins.Reject("too_large", "%s: %s has %d members, at most %d are allowed", f.where, name, n, limit)
	}
}

// within refuses integers out of bounds.
func (f *fields) within(name string, n, low, high int) {
	if n < low || n > high {
		f.fault("%s is %d, want %d to %d", name, n, low, high)
	}
}

func (f *fields) inner(name, code string) *fields {
	o, ok := f.object[name].(Object)
	if !ok {
		f.fault("%s is missing or not an object", name)
	}
	return &fields{object: o, where: name, code: code, err: f.err}
}
