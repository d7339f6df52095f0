package jsonld

import (
	"github.com/piprate/json-gold/ld"

	"weft/plugins"
)

// Canonize returns the canonical N-Quads of a JSON-LD document by RDFC-1.0 with SHA-256. The document is an object of
// map[string]any, []any, string, json.Number, bool and nil with an @context; it is not changed. Codes:
// context_not_installed, too_large, bad_value for whatever would not be part of the result, parse_error.
func (c *Contexts) Canonize(doc any) ([]byte, error) { return c.CanonizeHash(doc, SHA256) }

// CanonizeHash is Canonize with another hash function: suites with P-384 keys use SHA-384.
func (c *Contexts) CanonizeHash(doc any, hash Hash) ([]byte, error) {
	quads, err := c.Quads(doc)
	if err != nil {
		return nil, err
	}
	canonical, err := Canonicalize(quads, hash, c.limits)
	return canonical.NQuads, err
}

// Quads returns the RDF dataset of a document, with the errors of Canonize. Statements may occur twice.
func (c *Contexts) Quads(doc any) ([]Quad, error) {
	s := screen{contexts: c, limits: c.limits}
	screened, err := s.document(doc)
	if err != nil {
		return nil, err
	}
	expanded, err := c.expand(screened)
	if err != nil {
		return nil, err
	}
	return convert(expanded, s.literals, c.limits.MaxQuads)
}

// expand is the expansion algorithm of JSON-LD 1.1 by json-gold.
func (c *Contexts) expand(doc map[string]any) (expanded any, err error) {
	defer recoverParse(&err)
	active, err := c.activate(doc["@context"])
	if err != nil {
		return nil, err
	}
	delete(doc, "@context")
	expanded, err = ld.NewJsonLdApi().Expand(active, "", doc, c.options, false, nil)
	return expanded, reject(err)
}

// activate processes the document's own context. The first one is taken as processed when it was added.
func (c *Contexts) activate(local any) (*ld.Context, error) {
	list, isList := local.([]any)
	if !isList {
		list = []any{local}
	}
	if len(list) == 0 || list[0] == nil {
		return nil, plugins.Reject("bad_value", "the document has no @context")
	}
	active := c.empty()
	if url, isURL := list[0].(string); isURL {
		active, list = c.installed[url].processed, list[1:]
	}
	if len(list) == 0 {
		return active, nil
	}
	return c.parse(active, list)
}
