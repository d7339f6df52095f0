package did

// Limits is the section "identity" of genesis: only governance changes it, because every node must judge alike.
type Limits struct {
	MaxOperation        int `json:"maxOperation"` // bytes of an entry with its proofs
	MaxDocument         int `json:"maxDocument"`  // bytes of the canonical document
	MaxNesting          int `json:"maxNesting"`
	MaxMethods          int `json:"maxMethods"`
	MaxServices         int `json:"maxServices"`
	MaxEndpoint         int `json:"maxEndpoint"` // bytes of one service's canonical endpoint
	MaxTTL              int `json:"maxTTL"`      // seconds
	MaxProofs           int `json:"maxProofs"`
	MaxUpdateKeys       int `json:"maxUpdateKeys"`
	MaxNextKeys         int `json:"maxNextKeys"`
	MaxRecoveryKeys     int `json:"maxRecoveryKeys"`
	MaxControllers      int `json:"maxControllers"`
	MaxStatusLists      int `json:"maxStatusLists"`      // per issuer
	MaxCreatesPerMinute int `json:"maxCreatesPerMinute"` // per carrying member
	MaxSpendsPerMinute  int `json:"maxSpendsPerMinute"`  // per carrying member
	MaxUpdatesPerDay    int `json:"maxUpdatesPerDay"`    // per DID; recover and deactivate are exempt
}

// DefaultLimits are the limits of a genesis that names none.
func DefaultLimits() Limits {
	return Limits{
		MaxOperation: 16 << 10, MaxDocument: 10 << 10, MaxNesting: 16, MaxMethods: 64, MaxServices: 64, MaxEndpoint: 2 << 10,
		MaxTTL: 86_400, MaxProofs: 16, MaxUpdateKeys: 16, MaxNextKeys: 16, MaxRecoveryKeys: 16, MaxControllers: 8,
		MaxStatusLists: 64, MaxCreatesPerMinute: 10, MaxSpendsPerMinute: 600, MaxUpdatesPerDay: 30,
	}
}

// DefaultTTL is how long a document may be cached whose operation does not say, in seconds.
const DefaultTTL = 60

// Bounds that are part of the form and no matter of governance.
const (
	MaxFragment    = 64  // characters of a method's or service's id, without #
	MaxContexts    = 4   // additional contexts of a document
	MaxSubjectType = 64  // characters
	MaxText        = 512 // characters of a URI, a service type, an alias
)
