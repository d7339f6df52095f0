package tangle

// Limits are the genesis parameters that bound what a message may be. Every node of a network has the same ones,
// because objective validity depends on them. Sizes are in bytes.
type Limits struct {
	MaxMessageBytes int `json:"maxMessageBytes"` // whole message, header, body and signature
	MaxEntries      int `json:"maxEntries"`      // entries in one message
	MaxEntryBytes   int `json:"maxEntryBytes"`   // data of one entry
	MaxParents      int `json:"maxParents"`      // parents of a message with entries
	MaxTips         int `json:"maxTips"`         // parents of a witness beyond one per validator
	MaxVotes        int `json:"maxVotes"`        // checkpoint votes in one witness
	MaxEvidence     int `json:"maxEvidence"`     // proofs of equivocation in one witness
}

// DefaultLimits are the limits of protocol.md, section 1.
func DefaultLimits() Limits {
	return Limits{
		MaxMessageBytes: 64 << 10,
		MaxEntries:      1024,
		MaxEntryBytes:   32 << 10,
		MaxParents:      8,
		MaxTips:         256,
		MaxVotes:        8,
		MaxEvidence:     4,
	}
}

// MaxBytes is the size no message of any network exceeds; it bounds buffers before a genesis is known.
const MaxBytes = 1 << 20

// MaxValidators bounds the committee: a witness lists at most one ancestor per validator.
const MaxValidators = 256
