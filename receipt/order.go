package receipt

import (
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"weft/internal/fields"
	"weft/tangle"
)

// Order proves the place of a message and the outcomes of its entries: the part of a receipt that is about no entry. Members
// give it to each other with messages whose entries are erased.
type Order struct {
	Leaf []byte        // of the log
	Path []tangle.Hash // from the leaf to the checkpoint's root
	Note []byte        // certified checkpoint
}

// MaxOrder bounds an encoded Order in bytes.
const MaxOrder = MaxNote + 16<<10

// Bytes is the encoding: leaf and note with their lengths u32, hashes of the path with their count u8.
func (o Order) Bytes() []byte {
	b := appendField(nil, o.Leaf)
	b = appendPath(b, o.Path)
	return appendField(b, o.Note)
}

// ParseOrder reads the form of an Order.
func ParseOrder(b []byte) (o Order, err error) {
	if len(b) > MaxOrder {
		return o, fmt.Errorf("%w: order of %d bytes, limit %d", ErrFormat, len(b), MaxOrder)
	}
	r := reader{fields.Of(b, ErrFormat)}
	o.Leaf = r.Take(int(r.U32()))
	o.Path = r.path()
	o.Note = r.Take(int(r.U32()))
	return o, r.End()
}

// NeverUnder checks that a message of some time cannot be ordered after the checkpoint of an Order that names no place: it is
// below the horizon. The checkpoint is what OpenNote makes of the Order's note.
func (o Order) NeverUnder(cp Checkpoint, horizon time.Duration, message tangle.Time) error {
	switch {
	case len(o.Leaf) > 0 || len(o.Path) > 0:
		return fmt.Errorf("%w: it names a place", ErrFormat)
	case message >= cp.Time.Add(-horizon):
		return fmt.Errorf("message of %s is not below the horizon of the checkpoint of %s", message, cp.Time)
	}
	return nil
}

// Under checks that a message stands in the log of a checkpoint, and returns the outcomes of its entries. The checkpoint is what
// OpenNote makes of the Order's note.
func (o Order) Under(cp Checkpoint, message tangle.ID) (rejected []bool, err error) {
	position, id, rejected, err := ParseLeaf(o.Leaf)
	switch {
	case err != nil:
		return nil, err
	case id != message:
		return nil, fmt.Errorf("leaf of message %s, header of %s", id, message)
	case uint64(position) >= cp.Size:
		return nil, fmt.Errorf("position %d, log of size %d", position, cp.Size)
	}
	leaf := tlog.RecordHash(o.Leaf)
	if err := tlog.CheckRecord(proof(o.Path), int64(cp.Size), tlog.Hash(cp.Root), int64(position), leaf); err != nil {
		return nil, fmt.Errorf("path of position %d in a log of %d: %w", position, cp.Size, err)
	}
	return rejected, nil
}
