package did

import "fmt"

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

// Check refuses limits that no operation could keep, or that a node could not bear.
func (l Limits) Check() error {
	for _, one := range []struct {
		name              string
		value, least, top int
	}{
		{"maxOperation", l.MaxOperation, 1 << 10, 24 << 10}, {"maxDocument", l.MaxDocument, 256, 16 << 10}, {"maxNesting", l.MaxNesting, 6, 32},
		{"maxMethods", l.MaxMethods, 1, 256}, {"maxServices", l.MaxServices, 0, 256}, {"maxEndpoint", l.MaxEndpoint, 64, 8 << 10},
		{"maxTTL", l.MaxTTL, 0, 31_536_000}, {"maxProofs", l.MaxProofs, 1, 64}, {"maxUpdateKeys", l.MaxUpdateKeys, 1, 64},
		{"maxNextKeys", l.MaxNextKeys, 1, 64}, {"maxRecoveryKeys", l.MaxRecoveryKeys, 1, 64}, {"maxControllers", l.MaxControllers, 0, 32},
		{"maxStatusLists", l.MaxStatusLists, 1, 4096}, {"maxCreatesPerMinute", l.MaxCreatesPerMinute, 1, 1_000_000_000},
		{"maxSpendsPerMinute", l.MaxSpendsPerMinute, 1, 1_000_000_000}, {"maxUpdatesPerDay", l.MaxUpdatesPerDay, 1, 1_000_000_000},
	} {
		if one.value < one.least || one.value > one.top {
			return fmt.Errorf("limits.%s: %d, want %d to %d", one.name, one.value, one.least, one.top)
		}
	}
	return nil
}
