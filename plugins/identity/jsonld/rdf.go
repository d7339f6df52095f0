package jsonld

// TermKind says what an RDF term is. The zero kind is no term: the graph name of the default graph.
type TermKind uint8

// The kinds of RDF terms.
const (
	NoTerm TermKind = iota
	IRI
	Blank
	Literal
)

// Term is an RDF term. Value is an IRI, a blank node's label without "_:", or a literal's lexical form.
type Term struct {
	Kind     TermKind
	Value    string
	Datatype string // literals: absolute IRI, never empty
	Language string // literals of datatype rdf:langString only
}

// Quad is an RDF statement with the name of its graph.
type Quad struct{ Subject, Predicate, Object, Graph Term }

// IRIs that RDF itself gives a meaning.
const (
	rdfType       = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
	rdfFirst      = "http://www.w3.org/1999/02/22-rdf-syntax-ns#first"
	rdfRest       = "http://www.w3.org/1999/02/22-rdf-syntax-ns#rest"
	rdfNil        = "http://www.w3.org/1999/02/22-rdf-syntax-ns#nil"
	rdfLangString = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"
	rdfJSON       = "http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON"
	xsdString     = "http://www.w3.org/2001/XMLSchema#string"
	xsdBoolean    = "http://www.w3.org/2001/XMLSchema#boolean"
	xsdInteger    = "http://www.w3.org/2001/XMLSchema#integer"
	xsdDouble     = "http://www.w3.org/2001/XMLSchema#double"
)

func iri(s string) Term { return Term{Kind: IRI, Value: s} }

// isAbsoluteIRI says whether s has a scheme and holds nothing that N-Quads forbids between angle brackets.
func isAbsoluteIRI(s string) bool {
	return schemeLength(s) > 0 && isIRIText(s)
}

// schemeLength returns the length of the scheme before the first colon (RFC 3986, 3.1), or 0.
func schemeLength(s string) int {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isLetter(c):
		case i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return i
		default:
			return 0
		}
	}
	return 0
}

func isIRIText(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ', c == '<', c == '>', c == '"', c == '{', c == '}', c == '|', c == '^', c == '`', c == '\\':
			return false
		}
	}
	return true
}

// isLanguageTag says whether s is letters, then any number of parts of letters and digits (N-Quads, LANGTAG).
func isLanguageTag(s string) bool {
	length, first := 0, true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isLetter(c), !first && isDigit(c):
			length++
		case c == '-' && length > 0:
			length, first = 0, false
		default:
			return false
		}
	}
	return length > 0
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
