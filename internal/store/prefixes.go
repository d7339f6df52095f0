package store

import "encoding/binary"

// Prefix is the first byte of every key: it says what the key's other parts and
// its value are. Prefixes are never renumbered and never reused, or a node would
// read an old folder wrongly. Numbers inside keys are big-endian, so that the
// order of keys is the order of numbers.
type Prefix byte

const (
	// PrefixMessage: message ID (32) -> the message's bytes as they were sealed.
	PrefixMessage Prefix = 'M'
	// PrefixSettled: message ID (32) -> what the order made of it: position,
	// commit and the outcome of each entry.
	PrefixSettled Prefix = 'S'
	// PrefixLive: attach number u64 -> message ID, for messages in the graph in
	// the order in which they were attached; a start replays it.
	PrefixLive Prefix = 'L'
	// PrefixWitness: epoch u32, round u32, author (32), message ID (32) -> nothing.
	PrefixWitness Prefix = 'W'
	// PrefixAuthor: author (32), epoch u32, sequence u64, message ID (32) -> nothing.
	// Two IDs under one sequence number are an equivocation.
	PrefixAuthor Prefix = 'Q'
	// PrefixPosition: position u64 -> message ID.
	PrefixPosition Prefix = 'P'
	// PrefixEntry: entry hash (32), message ID (32) -> index in the message u16. One entry
	// stands in several messages if it was sealed anew.
	PrefixEntry Prefix = 'E'
	// PrefixHash: index u64 of a stored hash of the log's Merkle tree (as
	// sumdb/tlog numbers them) -> the hash (32).
	PrefixHash Prefix = 'H'
	// PrefixCommit: commit index u64 -> commit record.
	PrefixCommit Prefix = 'C'
	// PrefixCheckpoint: commit index u64 -> the checkpoint made there and the
	// signatures collected for it so far.
	PrefixCheckpoint Prefix = 'K'
	// PrefixChild: message ID (32), ID of a message that has it as a parent (32) -> nothing.
	PrefixChild Prefix = 'D'
	// PrefixCertified: log size u64, commit index u64 -> certified checkpoint, a signed note.
	PrefixCertified Prefix = 'Z'
	// PrefixOutbox: submission number u64 -> an entry this node has promised to
	// publish and that is not final yet.
	PrefixOutbox Prefix = 'O'
	// PrefixState: plugin name with its length u8 before it, the plugin's key ->
	// the plugin's value.
	PrefixState Prefix = 'G'
	// PrefixCursor: plugin name -> the next position the plugin is to apply,
	// with its state's hash chain; moves in the batch of the plugin's writes.
	PrefixCursor Prefix = 'U'
	// PrefixNode: name of a fact -> the fact. The node's own durable facts: what
	// it signed last, counters, the schema version of the folder; "reindex" while derived
	// keys are not whole.
	PrefixNode Prefix = 'V'
	// PrefixIdempotency: segment number u64 -> time u64 in ms, then up to 128 keys of
	// requests: hash of caller, route and key (16), hash of the body (16), message
	// ID (32), count of entry hashes u16, entry hashes (32 each).
	PrefixIdempotency Prefix = 'I'
	// PrefixEvidence: offender (32), hash of the proof (32) -> the proof of a fault.
	PrefixEvidence Prefix = 'X'
	// PrefixIndex: plugin name with its length u8 before it, the plugin's key -> what
	// the plugin's Index noted of ordered entries: derived from the ledger, not agreed on.
	PrefixIndex Prefix = 'J'
	// PrefixLocal: plugin name with its length u8 before it, the plugin's key -> what the
	// plugin keeps on this node alone, off the ledger; erasable.
	PrefixLocal Prefix = 'Y'
	// PrefixOperator: name -> what the API keeps here and the ledger does not know:
	// "apikey/" and a key's id -> the key as JSON, without the key itself;
	// "cursorkey", "saltkey" -> secrets (32) of this node.
	PrefixOperator Prefix = 'R'

	// reservedByte begins Badger's own keys ("!badger!..."); no prefix may take it.
	reservedByte = '!'
)

// Key joins a prefix and the parts of a key into a new slice.
func Key(p Prefix, parts ...[]byte) []byte {
	size := 1
	for _, part := range parts {
		size += len(part)
	}
	key := append(make([]byte, 0, size), byte(p))
	for _, part := range parts {
		key = append(key, part...)
	}
	return key
}

// U16 is a number as part of a key: two bytes, big-endian.
func U16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// U32 is a number as part of a key: four bytes, big-endian.
func U32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// U64 is a number as part of a key: eight bytes, big-endian.
func U64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
