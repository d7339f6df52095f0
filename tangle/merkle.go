package tangle

import (
	"crypto/sha256"
	"math/bits"
)

// MerkleRoot is the Merkle tree hash of RFC 6962, section 2.1, over the given leaves; each leaf's data is the 32 bytes
// of the hash itself. The root of no leaves is SHA-256 of the empty string.
func MerkleRoot(leaves []Hash) Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return merkleLeaf(leaves[0])
	default:
		k := splitPoint(n)
		return merkleNode(MerkleRoot(leaves[:k]), MerkleRoot(leaves[k:]))
	}
}

// MerklePath is the audit path of leaf i (RFC 6962, section 2.1.1), from the leaf upwards.
func MerklePath(leaves []Hash, i int) []Hash {
	n := len(leaves)
	if n <= 1 {
		return nil
	}
	k := splitPoint(n)
	if i < k {
		return append(MerklePath(leaves[:k], i), MerkleRoot(leaves[k:]))
	}
	return append(MerklePath(leaves[k:], i-k), MerkleRoot(leaves[:k]))
}

// splitPoint is the largest power of two smaller than n, for n >= 2.
func splitPoint(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

func merkleLeaf(data Hash) Hash {
	var b [33]byte
	copy(b[1:], data[:])
	return sha256.Sum256(b[:])
}

func merkleNode(left, right Hash) Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}
