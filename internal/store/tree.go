package store

import "bytes"

// tree is an ordered map that can be frozen at no cost: a treap whose nodes are
// copied when they are changed after a freeze. Its shape depends on its keys
// alone (a node's weight is a hash of its key), so a run with it repeats exactly.
type tree struct {
	root    *node
	edition uint64
}

// node may be changed in place only by the edition that made it.
type node struct {
	key, value  []byte
	weight      uint32
	edition     uint64
	left, right *node
}

// freeze returns the tree's present content, which no later change touches.
func (t *tree) freeze() *node {
	t.edition++
	return t.root
}

func (t *tree) set(key, value []byte) { t.root = t.insert(t.root, key, value) }
func (t *tree) remove(key []byte)     { t.root = t.without(t.root, key) }
func (t *tree) get(key []byte) *node  { return t.root.find(key) }

// own returns n itself or a copy that this edition may change.
func (t *tree) own(n *node) *node {
	if n.edition == t.edition {
		return n
	}
	copied := *n
	copied.edition = t.edition
	return &copied
}

func (t *tree) insert(n *node, key, value []byte) *node {
	if n == nil {
		return &node{key: key, value: value, weight: weigh(key), edition: t.edition}
	}
	n = t.own(n)
	switch order := bytes.Compare(key, n.key); {
	case order < 0:
		n.left = t.insert(n.left, key, value)
		if n.left.weight > n.weight {
			up := n.left
			n.left, up.right = up.right, n
			return up
		}
	case order > 0:
		n.right = t.insert(n.right, key, value)
		if n.right.weight > n.weight {
			up := n.right
			n.right, up.left = up.left, n
			return up
		}
	default:
		n.value = value
	}
	return n
}

func (t *tree) without(n *node, key []byte) *node {
	if n == nil {
		return nil
	}
	order := bytes.Compare(key, n.key)
	if order == 0 {
		return t.join(n.left, n.right)
	}
	n = t.own(n)
	if order < 0 {
		n.left = t.without(n.left, key)
	} else {
		n.right = t.without(n.right, key)
	}
	return n
}

// join makes one tree of two; all keys of a are before those of b.
func (t *tree) join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		a = t.own(a)
		a.right = t.join(a.right, b)
		return a
	default:
		b = t.own(b)
		b.left = t.join(a, b.left)
		return b
	}
}

func (n *node) find(key []byte) *node {
	for n != nil {
		order := bytes.Compare(key, n.key)
		if order == 0 {
			return n
		}
		if order < 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return nil
}

// ascend visits the keys in [from, to) in order and returns false when visit did.
func (n *node) ascend(from, to []byte, visit func(key, value []byte) bool) bool {
	if n == nil {
		return true
	}
	afterFrom := bytes.Compare(n.key, from) >= 0
	beforeTo := to == nil || bytes.Compare(n.key, to) < 0
	if afterFrom && !n.left.ascend(from, to, visit) {
		return false
	}
	if afterFrom && beforeTo && !visit(n.key, n.value) {
		return false
	}
	return !beforeTo || n.right.ascend(from, to, visit)
}

// weigh is FNV-1a with a final mix: neighbouring keys get unrelated weights.
func weigh(key []byte) uint32 {
	hash := uint32(2166136261)
	for _, b := range key {
		hash = (hash ^ uint32(b)) * 16777619
	}
	hash = (hash ^ hash>>16) * 0x85ebca6b
	return hash ^ hash>>13
}
