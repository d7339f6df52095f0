package jsonld

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// converter turns an expanded document into quads (JSON-LD 1.1 API, 7 and 8). There is nothing that it skips: what cannot
// become a quad is an error, as otherwise it could be added after signing. json-gold's own conversion drops statements
// with IRIs and language tags it does not like, and gives all JSON literals that are arrays the same text.
type converter struct {
	quads    []Quad
	maxQuads int
	blanks   int            // given out
	labels   map[string]int // of blank nodes in the document
	literals int            // JSON literals that screen hid and that have not come up yet
}

func convert(expanded any, literals, maxQuads int) ([]Quad, error) {
	c := converter{maxQuads: maxQuads, labels: map[string]int{}, literals: literals}
	if _, err := c.node(expanded, Term{}); err != nil {
		return nil, err
	}
	if c.literals != 0 {
		return nil, plugins.Reject("bad_value", "something that only a JSON literal may be is none")
	}
	if len(c.quads) == 0 {
		return nil, plugins.Reject("bad_value", "the document says nothing")
	}
	return c.quads, nil
}

// node adds the statements of a node object to a graph and returns its subject.
func (c *converter) node(v any, graph Term) (Term, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return Term{}, plugins.Reject("bad_value", "something that is not an object stands where a node should")
	}
	subject, err := c.subject(o)
	if err != nil {
		return Term{}, err
	}
	for _, property := range slices.Sorted(maps.Keys(o)) {
		values, isList := o[property].([]any)
		switch {
		case property == "@id":
			continue
		case !isList:
			err = plugins.Reject("bad_value", "%.200q is not supported here", property)
		case property == "@type":
			err = c.types(subject, values, graph)
		case property == "@graph":
			err = c.graph(values, subject)
		default:
			err = c.property(subject, property, values, graph)
		}
		if err != nil {
			return Term{}, err
		}
	}
	return subject, nil
}

func (c *converter) subject(o map[string]any) (Term, error) {
	id, has := o["@id"]
	if !has {
		return c.blank(), nil
	}
	text, ok := id.(string)
	if !ok {
		return Term{}, plugins.Reject("bad_value", "an @id is not a string")
	}
	return c.reference(text)
}

// reference is an absolute IRI or a blank node of the document.
func (c *converter) reference(id string) (Term, error) {
	if label, ok := strings.CutPrefix(id, "_:"); ok {
		n, known := c.labels[label]
		if !known {
			n = c.next()
			c.labels[label] = n
		}
		return Term{Kind: Blank, Value: "b" + strconv.Itoa(n)}, nil
	}
	if !isAbsoluteIRI(id) {
		return Term{}, plugins.Reject("bad_value", "%.200q is not an absolute IRI", id)
	}
	return iri(id), nil
}

func (c *converter) blank() Term { return Term{Kind: Blank, Value: "b" + strconv.Itoa(c.next())} }

func (c *converter) next() int {
	c.blanks++
	return c.blanks
}

func (c *converter) add(q Quad) error {
	if len(c.quads) >= c.maxQuads {
		return plugins.Reject("too_large", "more than %d quads", c.maxQuads)
	}
	c.quads = append(c.quads, q)
	return nil
}

func (c *converter) types(subject Term, types []any, graph Term) error {
	for _, v := range types {
		name, _ := v.(string)
		if !isAbsoluteIRI(name) {
			return plugins.Reject("bad_value", "the type %.200q is not defined", name)
		}
		if err := c.add(Quad{subject, iri(rdfType), iri(name), graph}); err != nil {
			return err
		}
	}
	return nil
}

// graph adds nodes to the graph that name stands for.
func (c *converter) graph(nodes []any, name Term) error {
	for _, v := range nodes {
		before := len(c.quads)
		if _, err := c.node(v, name); err != nil {
			return err
		}
		if len(c.quads) == before {
			return plugins.Reject("bad_value", "a node in a graph says nothing")
		}
	}
	return nil
}

func (c *converter) property(subject Term, property string, values []any, graph Term) error {
	if !isAbsoluteIRI(property) {
		return plugins.Reject("bad_value", "the property %.200q is not defined or not supported", property)
	}
	for _, v := range values {
		object, err := c.object(v, graph)
		if err != nil {
			return err
		}
		if err := c.add(Quad{subject, iri(property), object, graph}); err != nil {
			return err
		}
	}
	return nil
}

func (c *converter) object(v any, graph Term) (Term, error) {
	o, _ := v.(map[string]any)
	if _, isValue := o["@value"]; isValue {
		return c.literal(o)
	}
	if list, isList := o["@list"]; isList {
		items, ok := list.([]any)
		if !ok || len(o) != 1 {
			return Term{}, plugins.Reject("bad_value", "a list has other members")
		}
		return c.list(items, graph)
	}
	return c.node(v, graph)
}

// list adds a chain of rdf:first and rdf:rest and returns its head.
func (c *converter) list(items []any, graph Term) (Term, error) {
	head := iri(rdfNil)
	for i := len(items) - 1; i >= 0; i-- {
		item, err := c.object(items[i], graph)
		if err != nil {
			return Term{}, err
		}
		cell := c.blank()
		if err := c.add(Quad{cell, iri(rdfFirst), item, graph}); err != nil {
			return Term{}, err
		}
		if err := c.add(Quad{cell, iri(rdfRest), head, graph}); err != nil {
			return Term{}, err
		}
		head = cell
	}
	return head, nil
}

// literal converts a value object. Its direction is not part of the RDF, by the default of JSON-LD.
func (c *converter) literal(o map[string]any) (Term, error) {
	for name := range o {
		if !isDataKeyword(name) || name == "@id" {
			return Term{}, plugins.Reject("bad_value", "%.80q is not supported in a value", name)
		}
	}
	datatype, isString := o["@type"].(string)
	if _, has := o["@type"]; has && !isString {
		return Term{}, plugins.Reject("bad_value", "the type of a value is not a string")
	}
	if datatype == "@json" {
		return c.jsonLiteral(o["@value"])
	}
	if isString && !isAbsoluteIRI(datatype) {
		return Term{}, plugins.Reject("bad_value", "the datatype %.200q is not defined", datatype)
	}
	if language, has := o["@language"]; has {
		return languageString(o["@value"], language)
	}
	return scalar(o["@value"], datatype)
}

func (c *converter) jsonLiteral(v any) (Term, error) {
	if hidden, ok := v.(*jsonLiteral); ok {
		v = hidden.value
		c.literals--
	}
	text, err := did.Canonical(v)
	return Term{Kind: Literal, Value: string(text), Datatype: rdfJSON}, err
}

func languageString(v, language any) (Term, error) {
	text, ok := v.(string)
	tag, isString := language.(string)
	if !ok || !isString || !isLanguageTag(tag) {
		return Term{}, plugins.Reject("bad_value", "%.80q is not the language tag of a string", tag)
	}
	return Term{Kind: Literal, Value: text, Datatype: rdfLangString, Language: tag}, nil
}

// scalar gives a value the datatype of its own where the context names none.
func scalar(v any, datatype string) (Term, error) {
	switch v := v.(type) {
	case string:
		return typed(v, datatype, xsdString), nil
	case bool:
		return typed(strconv.FormatBool(v), datatype, xsdBoolean), nil
	case float64:
		return number(v, datatype)
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return Term{}, plugins.Reject("bad_value", "the number %.40s is out of range", v)
		}
		if math.Abs(f) > did.MaxInteger && !strings.ContainsAny(v.String(), ".eE") {
			return Term{}, plugins.Reject("bad_value", "the integer %.40s would be rounded", v)
		}
		return number(f, datatype)
	}
	return Term{}, plugins.Reject("bad_value", "something stands where only a string, number or boolean may")
}

func typed(text, datatype, standard string) Term {
	if datatype == "" {
		datatype = standard
	}
	return Term{Kind: Literal, Value: text, Datatype: datatype}
}

// number is the canonical form of a number (JSON-LD 1.1 API, 8.2.2): whole numbers below 10^21 as integers.
func number(f float64, datatype string) (Term, error) {
	if f == 0 {
		f = 0 // JSON has one zero
	}
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		return Term{}, plugins.Reject("bad_value", "a number is not finite")
	case f != math.Trunc(f) || math.Abs(f) >= 1e21 || datatype == xsdDouble:
		return typed(canonicalDouble(f), datatype, xsdDouble), nil
	}
	return typed(strconv.FormatFloat(f, 'f', 0, 64), datatype, xsdInteger), nil
}

// canonicalDouble is the canonical lexical form of xsd:double with at most 15 digits behind the point: 1.5E0.
func canonicalDouble(f float64) string {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', 15, 64), "E")
	mantissa = strings.TrimRight(mantissa, "0")
	if strings.HasSuffix(mantissa, ".") {
		mantissa += "0"
	}
	n, _ := strconv.Atoi(exponent) // the exponent of FormatFloat
	return mantissa + "E" + strconv.Itoa(n)
}
