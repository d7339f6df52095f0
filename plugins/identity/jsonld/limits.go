package jsonld

// Limits bounds the work that a document of a stranger can cause.
type Limits struct {
	MaxBytes       int // of a document, as JSON without white space
	MaxDepth       int // objects and arrays inside each other, contexts included
	MaxContexts    int // contexts a document names by URL, everywhere together
	MaxContextWork int // objects and members of the document, times the terms that its inline contexts define
	MaxQuads       int
	MaxNQuadsBytes int // that ParseNQuads reads
	MaxHashCalls   int // of the algorithm Hash N-Degree Quads
	MaxHashSteps   int // neighbours hashed and names copied by that algorithm
}

// DefaultLimits are far above any credential and keep the worst case within a second.
func DefaultLimits() Limits {
	return Limits{
		MaxBytes:       64 << 10,
		MaxDepth:       32,
		MaxContexts:    32,
		MaxContextWork: 100_000,
		MaxQuads:       10_000,
		MaxNQuadsBytes: 4 << 20,
		MaxHashCalls:   50_000,
		MaxHashSteps:   1_000_000,
	}
}
