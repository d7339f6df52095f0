// Package plugins is the contract between the node and what runs on it: a plugin is one value of type Plugin, and a node
// runs the plain list of them that its main package holds.
//
// The package contains no plugin, no registry and no machinery: package node hosts plugins, plugintest checks that one
// keeps the contract, and examples/ shows one in a single file.
package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"weft/tangle"
)

// Plugin is what a plugin adds to a node. A zero field means "not this".
//
// A plugin that owns Kinds is a ledger plugin: genesis names it, every node of the network runs it, and its state is part
// of what the committee signs. A plugin without Kinds is local: each node's own choice.
type Plugin struct {
	// Kinds are the entry kinds it owns. Two owners of one kind are a start-up error.
	Kinds []tangle.Kind

	// Genesis writes the state that the plugin begins with, from nothing but its section of genesis.json.
	Genesis func(state State)

	// Check decodes an entry and verifies its signatures. It is stateless and deterministic (no clock, no configuration
	// but genesis), runs on several goroutines at once, and its result reaches Apply. An error made by Reject is the
	// entry's outcome when it is ordered.
	Check func(kind tangle.Kind, data []byte) (Op, error)

	// CheckAll is Check of many entries at once, with the same results, for plugins to which that costs less than one by one;
	// nil: it does not. Of the entries, kind and data count.
	CheckAll func(entries []tangle.Entry) []Checked

	// Admit says whether this node should publish the entry now. It is advice that answers a client early, with the code
	// that Apply would give; only Apply decides.
	Admit func(state Reader, op Op) error

	// Apply executes one ordered entry: deterministic, no clock, goroutine or randomness, nothing but state and entry.
	// An error made by Reject rolls this entry's writes back and becomes its outcome; any other error stops the node.
	Apply func(state State, entry Ordered) error

	// Index notes what became of an entry, after Apply or after Check refused it (then Op is nil), in a key space that is
	// not part of the agreed state: look-ups that can be rebuilt from the ledger (weft reindex). It is deterministic like Apply, and its
	// writes are durable together with Apply's; rejected is nil for an accepted entry. Of an erased entry Op is Restore's,
	// accepted or not, and what only its body has said must not matter in the end: whoever has executed it whole has the same
	// in its index after what erased it. One entry should write no more than 4 KiB.
	Index func(index Index, entry Ordered, rejected *Rejection)

	// Lasting is what stays of an entry for ever, if its body is erased one day: enough for Restore. The entry's hash covers
	// it, and one that carries another is rejected with bad_lasting. Empty: entries like this one cannot be erased. Stateless
	// and deterministic like Check; at most tangle.MaxLastingBytes.
	Lasting func(kind tangle.Kind, op Op) []byte

	// Restore makes an Op of what is left of an accepted entry: Apply writes the same with it as with that of Check. Members
	// that join execute it, whose peers do not have the body any more.
	Restore func(kind tangle.Kind, lasting []byte) (Op, error)

	// Gone says that an ordered entry of this plugin must not be served any more, because it was erased: the API gives its
	// hash alone, and receipts without it, already before the plugin has had its body erased (Host.Erase).
	Gone func(at tangle.Position, index int) bool

	// HTTP is what it serves.
	HTTP Routes

	// Operation tells what became of a signed operation, by its opHash, as a JSON value; ok is false if it is none of this
	// plugin's.
	Operation func(opHash string) (state any, ok bool)

	// Authenticate says who presents a bearer token, at every route of the node. One plugin of a node may have it. An error
	// made by Reject is what the caller gets, bad_token as a rule.
	Authenticate func(ctx context.Context, token string) (Caller, error)

	// Managed says that this node acts for callers with keys that it keeps: GET /api/v1/node tells everybody so.
	Managed bool

	// Answer answers the same plugin of another member (Host.Ask). An error made by Reject becomes the asker's.
	Answer func(ctx context.Context, from tangle.Member, question []byte) ([]byte, error)

	// Facts are figures of the plugin, added to those of the node (Host.Facts).
	Facts func() []Fact

	// Run is background work until ctx ends.
	Run func(ctx context.Context) error
}

// Op is a decoded entry: whatever type the plugin's Check returns.
type Op any

// OpOf is what a decoder returns as what Check returns: a nil pointer must not become an Op that is not nil.
func OpOf[T any](op *T, err error) (Op, error) {
	if err != nil {
		return nil, err
	}
	return op, nil
}

// Checked is what a plugin's Check said of one entry.
type Checked struct {
	Op  Op
	Err error
}

// Maker names a plugin and opens it. cmd/weft holds the list; a member copies that file and adds a line.
type Maker struct {
	Name string
	Open func(Host) (Plugin, error)
}

// Host is what a node lends to a plugin while it runs.
type Host struct {
	Network tangle.ID
	Self    tangle.Member
	Genesis json.RawMessage // the plugin's section of genesis.json; nil if it has none
	Config  json.RawMessage // the plugin's section of node.json; nil if it has none
	Dir     string          // the node's data folder; empty if it has none
	Log     *slog.Logger

	// View reads the plugin's own durable state, as of the newest applied position.
	View func() View
	// IndexView reads what the plugin's Index has written.
	IndexView func() View
	// Local is a key space of this node alone, for the plugin's use outside the ledger.
	Local Local

	// Submit publishes entries under this member's signature; it returns their hashes when they are durable here.
	Submit func(ctx context.Context, entries []Submission) (Submitted, error)
	// WaitFinal returns when all entries are final, or with the context's error. Where Submit said that they stand makes it
	// cheap; a zero ID does as well.
	WaitFinal func(ctx context.Context, entries []tangle.Hash, in tangle.ID) error
	// Entry says how far an entry has come; ok is false if this node does not know it. Where Submit said that it stands makes
	// the look-up cheap; a zero ID does as well.
	Entry func(hash tangle.Hash, in tangle.ID) (state EntryState, ok bool)
	// Receipt is the offline proof of a final entry.
	Receipt func(hash tangle.Hash) ([]byte, error)
	// BareReceipt is Receipt with the entry's hash alone in place of what it holds.
	BareReceipt func(hash tangle.Hash) ([]byte, error)
	// Head says how far this node's ledger has come.
	Head func() Head
	// Changed is closed when Head moves; ask again for the next change.
	Changed func() <-chan struct{}
	// Data is what an entry holds that has its place; nil if it is not here any more.
	Data func(position tangle.Position, index int) []byte
	// Left is what lasts of an entry that has its place, whether or not its body is still here; nil: nothing lasts of it.
	Left func(position tangle.Position, index int) *tangle.Left
	// Erase drops the body of a final entry from this node's store, in all messages that hold it: its hash, its lasting part
	// and all proofs stay. Without a lasting part it is an error. Durable when it returns; it may be called again. Rejected with
	// not_final while one of the messages may still be ordered: the plugin tries again later.
	Erase func(entry tangle.Hash) error
	// Checkpoint is the first certified checkpoint of at least a size; ok is false if there is none yet.
	Checkpoint func(size tangle.Position) (c Checkpoint, ok bool)
	// Peek reads the durable state of another ledger plugin; nil if the network does not run it.
	Peek func(plugin string) View
	// CatchUp returns when everything that is attached here by now has its place, or after a short while.
	CatchUp func(ctx context.Context)

	// Members are all members, this one included, in the order of genesis.
	Members []Member
	// Ask asks the same plugin of another member; it waits for the answer, or for ctx. Nothing that nodes must agree on may
	// come this way.
	Ask func(ctx context.Context, of tangle.Member, question []byte) ([]byte, error)
	// Sign signs a statement with this member's key, under StatementInput.
	Sign func(statement []byte) tangle.Signature

	// Facts returns figures about the node for metrics and dashboards, by name.
	Facts func() []Fact
}

// Member is a member of the network.
type Member struct {
	Key  tangle.Member
	Name string
}

// StatementInput is what a member signs for a plugin's statement: nothing else that is ever signed begins like it.
func StatementInput(network tangle.ID, plugin string, statement []byte) []byte {
	b := append([]byte("weft/statement/1"), network[:]...)
	b = append(append(b, byte(len(plugin))), plugin...)
	return append(b, statement...)
}

// Submission is an entry before it has a salt and a place.
type Submission struct {
	Kind tangle.Kind
	Data []byte
	Op   Op // what the plugin's own Check made of Data, if it has asked before; nil: the node asks
}

// Submitted is what became of submissions: the message they stand in until it expires, and their hashes.
type Submitted struct {
	Message tangle.ID
	Entries []tangle.Hash
}

// EntryState is how far an entry has come. From ordered on it has an outcome and a place.
type EntryState struct {
	Status   string // pending, ordered, final, expired
	Code     string // of its rejection; empty if accepted or not ordered yet
	Message  tangle.ID
	Position tangle.Position
	Index    int
	Time     tangle.Time // commit time
}

// Ordered says whether the entry has its place.
func (e EntryState) Ordered() bool { return e.Status == "ordered" || e.Status == "final" }

// Head is how far a node's ledger has come.
type Head struct {
	Position  tangle.Position // positions applied: the next one to give
	Time      tangle.Time     // commit time of the last commit
	Final     tangle.Position // size of the newest certified checkpoint
	FinalTime tangle.Time     // its commit time
}

// Checkpoint is what the committee has signed about the ledger up to a position.
type Checkpoint struct {
	Size tangle.Position // positions covered
	Root tangle.Hash
	Time tangle.Time // commit time
	Note []byte      // the signed note
}

// Local is a key space of one node, off the ledger and outside every state hash. What is deleted is gone.
type Local interface {
	View
	// Write makes all writes durable, or none.
	Write(writes ...Write) error
}

// Write is one write to a key space; a nil value deletes.
type Write struct {
	Key   []byte
	Value []byte
}

// Put makes writes to a state, an index or whatever else has keys.
func Put(to interface {
	Set(key, value []byte)
	Delete(key []byte)
}, writes []Write) {
	for _, w := range writes {
		if w.Value == nil {
			to.Delete(w.Key)
		} else {
			to.Set(w.Key, w.Value)
		}
	}
}

// Fact is one figure about the node. Names are those of Prometheus, units in the name.
type Fact struct {
	Name    string
	Help    string
	Value   float64
	Counter bool   // only grows
	Label   string // "key=value" or empty
}

// View reads one plugin's key space as of one position.
type View interface {
	// Get returns the value of key, or nil. The caller must not change it.
	Get(key []byte) []byte
	// Scan visits the keys in [from, to) in ascending order until visit returns false; a nil to means no upper bound.
	Scan(from, to []byte, visit func(key, value []byte) bool)
}

// Reader is what Admit may read, and Apply.
type Reader interface {
	View
	// Peek reads the state of another ledger plugin as of this entry; nil if the network does not run it.
	Peek(plugin string) View
}

// State is what Apply may read and write. Writes of a rejected entry never happened.
type State interface {
	Reader
	Set(key, value []byte)
	Delete(key []byte)
}

// Parsed is parse of the value of a key (nil: there is none). A view that knows that the value is still the same gives what
// parse has made of it before: for values that many entries ask for and that are dear to read. parse depends on the value
// alone and is the same one each time for a key; nobody may change what it returns.
func Parsed[T any](v View, key []byte, parse func(value []byte) (T, error)) (T, error) {
	keeper, ok := v.(interface {
		Parsed(key []byte, parse func(value []byte) (any, error)) (any, error)
	})
	if !ok {
		return parse(v.Get(key))
	}
	made, err := keeper.Parsed(key, func(value []byte) (any, error) { return parse(value) })
	if err != nil {
		return *new(T), err
	}
	return made.(T), nil
}

// Index is what a plugin's Index reads and writes: a key space beside the state, not agreed on.
type Index interface {
	View
	// State is the plugin's agreed state after the entry.
	State() View
	Set(key, value []byte)
	Delete(key []byte)
}

// Ordered is an entry at its place in the total order.
type Ordered struct {
	Kind     tangle.Kind
	Hash     tangle.Hash
	Data     []byte // nil: erased
	Op       Op     // result of Check, or of Restore; an entry that Check refuses never reaches Apply
	Message  tangle.ID
	Author   tangle.Member
	Position tangle.Position
	Index    int
	Commit   uint64
	Time     tangle.Time // commit time
}

// Rejection is an entry's outcome when it breaks a rule: a stable code (lower snake case) and a sentence for people.
type Rejection struct {
	Code   string
	Detail string
}

func (r *Rejection) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

// MaxCodeBytes bounds a rejection's code; it is stored with the entry.
const MaxCodeBytes = 40

// Reject makes the error that rejects an entry.
func Reject(code, format string, args ...any) error {
	return &Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Rejected returns the rejection in err, or nil.
func Rejected(err error) *Rejection {
	var r *Rejection
	if errors.As(err, &r) {
		return r
	}
	return nil
}
