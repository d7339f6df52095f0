package jsonld

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"weft/plugins"
)

// screen copies a document while it refuses what json-gold would drop without a word or do wrongly, and what would cost too
// much. It runs before expansion, so it judges names, not meanings; convert judges the result.
//
// What it refuses, and why, beyond the bounds:
//   - keywords other than @context, @id, @type, @value, @language and @direction, and terms that stand for them: errors
//     inside @list and @set vanish with their content, framing keywords vanish always, and so does @index;
//   - "@type" beside "type": json-gold forgets the first;
//   - terms defined as null or as an unknown keyword: json-gold forgets that the term was protected, and a later context
//     can give it another meaning;
//   - @import, which writes into the shared copy of the imported context; @base, which hides relative references;
//     @propagate, index maps, @nest and @reverse, which credentials do not need.
type screen struct {
	contexts  *Contexts
	limits    Limits
	size      int
	named     int // contexts by URL
	parts     int // objects and members
	terms     int // defined inline
	jsonTerms []string
	literals  int // subtrees that must turn out to be JSON literals
	inJSON    bool
}

// jsonLiteral hides a JSON value from json-gold, which passes it on untouched where a term is typed as @json.
type jsonLiteral struct{ value any }

// document screens a document and returns a copy for json-gold.
func (s *screen) document(doc any) (map[string]any, error) {
	o, ok := doc.(map[string]any)
	if !ok {
		return nil, plugins.Reject("bad_value", "the document is not an object")
	}
	screened, err := s.object(o, 1)
	if err == nil && s.parts*s.terms > s.limits.MaxContextWork {
		err = plugins.Reject("too_large", "%d objects and members under inline contexts with %d terms", s.parts, s.terms)
	}
	return screened, err
}

func (s *screen) value(v any, depth int) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, s.spend(5)
	case string:
		return v, s.spend(len(v) + 3)
	case json.Number:
		return v, s.spend(len(v) + 1)
	case float64:
		return v, s.spend(8)
	case int:
		return json.Number(strconv.Itoa(v)), s.spend(8)
	case []any:
		return s.array(v, depth)
	case map[string]any:
		return s.object(v, depth)
	}
	return nil, plugins.Reject("bad_value", "%T is not a JSON value", v)
}

func (s *screen) array(list []any, depth int) (any, error) {
	if err := s.enter(depth); err != nil {
		return nil, err
	}
	result := make([]any, len(list))
	for i, item := range list {
		var err error
		if result[i], err = s.value(item, depth+1); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func (s *screen) object(o map[string]any, depth int) (map[string]any, error) {
	if err := s.enter(depth); err != nil {
		return nil, err
	}
	s.parts += 1 + len(o)
	result := make(map[string]any, len(o))
	if local, ok := o["@context"]; ok {
		context, err := s.context(local, depth+1)
		if err != nil {
			return nil, err
		}
		result["@context"] = context
	}
	if o["@type"] != nil && o["type"] != nil {
		return nil, plugins.Reject("bad_value", "an object has both type and @type")
	}
	for name, v := range o {
		if name == "@context" {
			continue
		}
		if err := s.name(name); err != nil {
			return nil, err
		}
		var err error
		if result[name], err = s.member(o, name, v, depth+1); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func (s *screen) name(name string) error {
	if strings.HasPrefix(name, "@") && !isDataKeyword(name) {
		return plugins.Reject("bad_value", "%.80q is not supported in a document", name)
	}
	return s.spend(len(name) + 3)
}

func isDataKeyword(name string) bool {
	switch name {
	case "@id", "@type", "@value", "@language", "@direction":
		return true
	}
	return false
}

// member screens a member's value. What stands under the name of a JSON term need not be a good document; if it is none, it
// has to be a JSON literal, and expansion will tell.
func (s *screen) member(o map[string]any, name string, v any, depth int) (any, error) {
	if s.inJSON || !isStructured(v) || !s.mayBeJSON(o, name) {
		return s.value(v, depth)
	}
	s.inJSON = true
	result, err := s.value(v, depth)
	s.inJSON = false
	if err == nil {
		return result, nil
	}
	if r := plugins.Rejected(err); r != nil && r.Code == "too_large" {
		return nil, err
	}
	s.literals++
	return &jsonLiteral{v}, nil
}

func isStructured(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

func (s *screen) mayBeJSON(o map[string]any, name string) bool {
	return name == "@value" && (o["@type"] == "@json" || o["type"] == "@json") || slices.Contains(s.jsonTerms, name)
}

func (s *screen) enter(depth int) error {
	if depth > s.limits.MaxDepth {
		return plugins.Reject("too_large", "nested more than %d deep", s.limits.MaxDepth)
	}
	return s.spend(2)
}

func (s *screen) spend(bytes int) error {
	if s.size += bytes; s.size > s.limits.MaxBytes {
		return plugins.Reject("too_large", "more than %d bytes", s.limits.MaxBytes)
	}
	return nil
}

// context screens the value of an @context: a URL, a context definition, null, or a list of them.
func (s *screen) context(v any, depth int) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, s.spend(5)
	case string:
		return v, s.reference(v)
	case []any:
		if err := s.enter(depth); err != nil {
			return nil, err
		}
		list := make([]any, len(v))
		for i, item := range v {
			var err error
			if list[i], err = s.context(item, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		return s.definition(unwrapped(v), depth)
	}
	return nil, plugins.Reject("bad_value", "a context is neither URL nor object")
}

func (s *screen) reference(url string) error {
	installed := s.contexts.installed[url]
	if installed == nil {
		return notInstalled(url)
	}
	if s.named++; s.named > s.limits.MaxContexts {
		return plugins.Reject("too_large", "more than %d contexts", s.limits.MaxContexts)
	}
	s.jsonTerms = append(s.jsonTerms, installed.jsonTerms...)
	return s.spend(len(url) + 3)
}

// unwrapped is the context inside an object that has nothing else: a whole context file written where its content belongs.
// The standard has no word for it, the processors that credentials are signed with take it.
func unwrapped(context map[string]any) map[string]any {
	if inner, ok := context["@context"].(map[string]any); ok && len(context) == 1 {
		return inner
	}
	return context
}

// definition screens a context definition (JSON-LD 1.1, 9.15).
func (s *screen) definition(context map[string]any, depth int) (any, error) {
	if err := s.enter(depth); err != nil {
		return nil, err
	}
	result := make(map[string]any, len(context))
	for name, v := range context {
		if err := s.spend(len(name) + 3); err != nil {
			return nil, err
		}
		var err error
		if strings.HasPrefix(name, "@") {
			result[name], err = s.setting(name, v)
		} else {
			result[name], err = s.term(name, v, depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	return result, nil
}

// setting screens a keyword of a context definition.
func (s *screen) setting(name string, v any) (any, error) {
	ok := false
	switch name {
	case "@version":
		v, ok = 1.1, isVersion(v)
	case "@vocab":
		vocabulary, isString := v.(string)
		ok = v == nil || isString && isAbsoluteIRI(vocabulary)
	case "@protected":
		_, ok = v.(bool)
	case "@language", "@direction":
		_, isString := v.(string)
		ok = v == nil || isString
	case "@type": // the one keyword that may be defined again, as a set
		definition, _ := v.(map[string]any)
		ok = len(definition) == 1 && definition["@container"] == "@set"
	}
	if !ok {
		return nil, plugins.Reject("bad_value", "%.80q with this value is not supported in a context", name)
	}
	if text, isString := v.(string); isString {
		return v, s.spend(len(text) + 3)
	}
	return v, s.spend(5)
}

func isVersion(v any) bool {
	switch v := v.(type) {
	case float64:
		return v == 1.1
	case json.Number:
		return v == "1.1"
	}
	return false
}

// term screens a term definition.
func (s *screen) term(term string, v any, depth int) (any, error) {
	s.terms++
	switch v := v.(type) {
	case string:
		return v, s.target(term, v)
	case map[string]any:
		return s.expandedTerm(term, v, depth)
	}
	return nil, plugins.Reject("bad_value", "the term %.80q has no definition", term)
}

// target screens what a term stands for. Only "type" may stand for @type, so that no object can have two.
func (s *screen) target(term, target string) error {
	switch {
	case target == "@type" && term != "type":
		return plugins.Reject("bad_value", "the term %.80q stands for @type", term)
	case isDataKeyword(target):
	case strings.HasPrefix(target, "@"), schemeLength(target) == 0:
		return plugins.Reject("bad_value", "the term %.80q stands for %.80q, which is neither an IRI nor a supported keyword", term, target)
	}
	return s.spend(len(target) + 3)
}

func (s *screen) expandedTerm(term string, definition map[string]any, depth int) (any, error) {
	if err := s.enter(depth); err != nil {
		return nil, err
	}
	result := make(map[string]any, len(definition))
	for name, v := range definition {
		if err := s.spend(len(name) + 3); err != nil {
			return nil, err
		}
		var err error
		if result[name], err = s.aspect(term, name, v, depth); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// aspect screens a member of an expanded term definition.
func (s *screen) aspect(term, name string, v any, depth int) (any, error) {
	text, isString := v.(string)
	ok := false
	switch name {
	case "@id":
		if isString {
			return v, s.target(term, text)
		}
	case "@type":
		if ok = isString; text == "@json" {
			s.jsonTerms = append(s.jsonTerms, term)
		}
	case "@container":
		ok = isContainer(v)
	case "@context":
		return s.context(v, depth+1)
	case "@protected", "@prefix":
		_, ok = v.(bool)
	case "@language", "@direction":
		ok = v == nil || isString
	}
	if !ok {
		return nil, plugins.Reject("bad_value", "the term %.80q: %.80q with this value is not supported", term, name)
	}
	return v, s.spend(len(text) + 5)
}

// isContainer allows the containers that keep all content: a set, a list, a graph, a language map.
func isContainer(v any) bool {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, item := range list {
		switch item {
		case "@set", "@list", "@graph", "@language":
		default:
			return false
		}
	}
	return len(list) > 0
}
