package status

import (
	"encoding/binary"
	"fmt"
	"slices"

	"weft/tangle"
)

// chunkBytes is the part of a list that is read and written at once.
const (
	chunkBytes = 1 << 10
	chunkBits  = 8 * chunkBytes
)

// bit returns where index is: index 0 is the left-most bit of the first byte (Bitstring Status List 1.0, section 2.1).
func bit(index int) (at int, mask byte) { return index / 8, 0x80 >> (index % 8) }

func isSet(bits []byte, index int) bool {
	at, mask := bit(index)
	return bits[at]&mask != 0
}

func flip(bits []byte, index int) {
	at, mask := bit(index)
	bits[at] ^= mask
}

// flips is one version of a list: the bits that changed, at what commit time. Flipping the same bits again undoes it,
// which is why nothing says which way they went.
type flips struct {
	time    tangle.Time
	indexes []int // ascending
}

// bytes is the time [8], then the distances between the indexes as varints.
func (f flips) bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+3*len(f.indexes)), uint64(f.time))
	before := 0
	for _, index := range f.indexes {
		b = binary.AppendUvarint(b, uint64(index-before))
		before = index
	}
	return b
}

// parseFlips reads what bytes writes, of a list of size bits. An error is no rejection: the state is damaged.
func parseFlips(b []byte, size int) (f flips, err error) {
	if len(b) < 8 {
		return f, fmt.Errorf("status: flips of %d bytes", len(b))
	}
	f.time = tangle.Time(binary.BigEndian.Uint64(b))
	index := 0
	for b = b[8:]; len(b) > 0; {
		distance, n := binary.Uvarint(b)
		if n <= 0 || distance >= uint64(size-index) {
			return f, fmt.Errorf("status: flips beyond a list of %d bits", size)
		}
		index += int(distance)
		f.indexes = append(f.indexes, index)
		b = b[n:]
	}
	return f, nil
}

// merged is the ascending union of two ascending lists that share nothing.
func merged(x, y []int) []int {
	all := slices.Concat(x, y)
	slices.Sort(all)
	return all
}
