package jsonld

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"

	"weft/plugins"
)

// Hash is the hash function of a canonicalization.
type Hash string

// The hash functions that RDFC-1.0 names.
const (
	SHA256 Hash = "SHA-256"
	SHA384 Hash = "SHA-384"
)

// Canonical is a dataset in its canonical form.
type Canonical struct {
	NQuads []byte            // sorted statements, one a line
	Issued map[string]string // label of the input to canonical label, both without "_:"
}

// Canonicalize is RDFC-1.0 (W3C Recommendation of 2024-05-21). Statements that occur twice count once. Datasets whose blank
// nodes cannot be told apart within the limits are refused with too_large: some need more time than there is.
func Canonicalize(quads []Quad, hash Hash, limits Limits) (Canonical, error) {
	if len(quads) > limits.MaxQuads {
		return Canonical{}, plugins.Reject("too_large", "more than %d quads", limits.MaxQuads)
	}
	c := newCanonicalizer(quads, hash, limits)
	c.hashFirstDegree()
	if err := c.issueAll(); err != nil {
		return Canonical{}, err
	}
	return c.result(), nil
}

// canonicalizer is the canonicalization state of RDFC-1.0, 4.2. Blank nodes are numbered in the order of the input.
type canonicalizer struct {
	quads     []Quad
	nodes     []blankNode
	numbers   map[string]int // label to number
	canonical issuer
	sum       func([]byte) string
	calls     int // of hashNDegree that are left
	steps     int // of all other work that are left, each well below a microsecond
	scratch   []byte
}

type blankNode struct {
	label  string
	quads  []int  // statements it occurs in
	degree string // its first degree hash
}

func newCanonicalizer(quads []Quad, hash Hash, limits Limits) *canonicalizer {
	c := &canonicalizer{
		numbers:   map[string]int{},
		canonical: newIssuer("c14n"),
		sum:       hash.sum,
		calls:     limits.MaxHashCalls,
		steps:     limits.MaxHashSteps,
	}
	seen := make(map[Quad]bool, len(quads))
	for _, q := range quads {
		if !seen[q] {
			seen[q] = true
			c.add(q)
		}
	}
	return c
}

func (h Hash) sum(data []byte) string {
	if h == SHA384 {
		sum := sha512.Sum384(data)
		return hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (c *canonicalizer) add(q Quad) {
	at := len(c.quads)
	c.quads = append(c.quads, q)
	for _, t := range []Term{q.Subject, q.Object, q.Graph} {
		if t.Kind != Blank {
			continue
		}
		n, known := c.numbers[t.Value]
		if !known {
			n = len(c.nodes)
			c.numbers[t.Value] = n
			c.nodes = append(c.nodes, blankNode{label: t.Value})
		}
		if of := c.nodes[n].quads; len(of) == 0 || of[len(of)-1] != at {
			c.nodes[n].quads = append(of, at)
		}
	}
}

// hashFirstDegree gives each blank node the hash of its statements, itself as _:a, others as _:z (4.6).
func (c *canonicalizer) hashFirstDegree() {
	for i := range c.nodes {
		own := c.nodes[i].label
		label := func(other string) string {
			if other == own {
				return "a"
			}
			return "z"
		}
		c.nodes[i].degree = c.sum(bytes.Join(c.lines(c.nodes[i].quads, label), nil))
	}
}

// lines returns statements in canonical form, sorted.
func (c *canonicalizer) lines(quads []int, label func(string) string) [][]byte {
	lines := make([][]byte, len(quads))
	for i, at := range quads {
		start := len(c.scratch)
		c.scratch = appendQuad(c.scratch, c.quads[at], label)
		lines[i] = c.scratch[start:len(c.scratch):len(c.scratch)]
	}
	c.scratch = c.scratch[len(c.scratch):]
	slices.SortFunc(lines, bytes.Compare)
	return lines
}

// issueAll gives every blank node its canonical label (4.4.3, steps 4 and 5): first those with a hash of their own, then
// group by group those that only their surroundings tell apart.
func (c *canonicalizer) issueAll() error {
	groups := map[string][]int{}
	for n := range c.nodes {
		groups[c.nodes[n].degree] = append(groups[c.nodes[n].degree], n)
	}
	hashes := slices.Sorted(maps.Keys(groups))
	for _, hash := range hashes {
		if group := groups[hash]; len(group) == 1 {
			c.canonical.issue(group[0])
		}
	}
	for _, hash := range hashes {
		if group := groups[hash]; len(group) > 1 {
			if err := c.issueGroup(group); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *canonicalizer) issueGroup(group []int) error {
	type path struct {
		hash   string
		issuer issuer
	}
	var paths []path
	for _, n := range group {
		if c.canonical.has(n) {
			continue
		}
		temporary := newIssuer("b")
		temporary.issue(n)
		hash, issuer, err := c.hashNDegree(n, temporary)
		if err != nil {
			return err
		}
		paths = append(paths, path{hash, issuer})
	}
	slices.SortStableFunc(paths, func(a, b path) int { return bytes.Compare([]byte(a.hash), []byte(b.hash)) })
	for _, p := range paths {
		for _, n := range p.issuer.order {
			c.canonical.issue(n)
		}
	}
	return nil
}

// hashNDegree hashes a blank node by its paths to others (4.8). The issuer it returns has named the nodes on the way.
func (c *canonicalizer) hashNDegree(n int, start issuer) (string, issuer, error) {
	if c.calls--; c.calls < 0 {
		return "", issuer{}, c.refuse()
	}
	related, err := c.related(n, start)
	if err != nil {
		return "", issuer{}, err
	}
	var data []byte
	for _, hash := range slices.Sorted(maps.Keys(related)) {
		path, chosen, err := c.shortestPath(related[hash], start)
		if err != nil {
			return "", issuer{}, err
		}
		data = append(append(data, hash...), path...)
		start = chosen
	}
	return c.sum(data), start, nil
}

// related groups the neighbours of a node by their hash (4.8.3, step 3).
func (c *canonicalizer) related(n int, issued issuer) (map[string][]int, error) {
	groups := map[string][]int{}
	for _, at := range c.nodes[n].quads {
		q := &c.quads[at]
		for i, t := range []*Term{&q.Subject, &q.Object, &q.Graph} {
			if t.Kind != Blank || t.Value == c.nodes[n].label {
				continue
			}
			if err := c.spend(1); err != nil {
				return nil, err
			}
			other := c.numbers[t.Value]
			hash := c.hashRelated(other, q, issued, "sog"[i])
			groups[hash] = append(groups[hash], other)
		}
	}
	return groups, nil
}

// hashRelated hashes a neighbour by its position in a statement and the best name it has so far (4.7).
func (c *canonicalizer) hashRelated(n int, q *Quad, issued issuer, position byte) string {
	data := append(c.scratch[:0:cap(c.scratch)], position)
	if position != 'g' {
		data = append(append(append(data, '<'), q.Predicate.Value...), '>')
	}
	switch {
	case c.canonical.has(n):
		data = c.canonical.appendName(append(data, "_:"...), n)
	case issued.has(n):
		data = issued.appendName(append(data, "_:"...), n)
	default:
		data = append(data, c.nodes[n].degree...)
	}
	return c.sum(data)
}

// shortestPath tries all orders of a group and returns the path that sorts first, with the issuer that made it (4.8.3,
// step 5).
func (c *canonicalizer) shortestPath(group []int, start issuer) ([]byte, issuer, error) {
	var best []byte
	var chosen issuer
	order := make([]int, len(group))
	for i := range order {
		order[i] = i
	}
	for more := true; more; more = nextPermutation(order) {
		if err := c.spend(len(group) + len(start.order)); err != nil {
			return nil, issuer{}, err
		}
		path, made, err := c.path(group, order, start.clone(), best)
		if err != nil {
			return nil, issuer{}, err
		}
		if path != nil && (best == nil || bytes.Compare(path, best) < 0) {
			best, chosen = path, made
		}
	}
	return best, chosen, nil
}

// path walks a group in one order. It returns nil as soon as the path cannot become smaller than best.
func (c *canonicalizer) path(group, order []int, issued issuer, best []byte) ([]byte, issuer, error) {
	path := []byte{}
	var unvisited []int
	for _, i := range order {
		n := group[i]
		path = append(path, "_:"...)
		if c.canonical.has(n) {
			path = c.canonical.appendName(path, n)
		} else {
			if !issued.has(n) {
				unvisited = append(unvisited, n)
			}
			issued.issue(n)
			path = issued.appendName(path, n)
		}
		if isWorse(path, best) {
			return nil, issuer{}, nil
		}
	}
	for _, n := range unvisited {
		hash, made, err := c.hashNDegree(n, issued)
		if err != nil {
			return nil, issuer{}, err
		}
		path = issued.appendName(append(path, "_:"...), n)
		path = append(append(append(path, '<'), hash...), '>')
		issued = made
		if isWorse(path, best) {
			return nil, issuer{}, nil
		}
	}
	return path, issued, nil
}

func isWorse(path, best []byte) bool {
	return best != nil && len(path) >= len(best) && bytes.Compare(path, best) > 0
}

func (c *canonicalizer) spend(steps int) error {
	if c.steps -= steps; c.steps < 0 {
		return c.refuse()
	}
	return nil
}

func (c *canonicalizer) refuse() error {
	return plugins.Reject("too_large", "blank nodes take too much work to tell apart")
}

func (c *canonicalizer) result() Canonical {
	all := make([]int, len(c.quads))
	for i := range all {
		all[i] = i
	}
	issued := make(map[string]string, len(c.nodes))
	for n, node := range c.nodes {
		issued[node.label] = string(c.canonical.appendName(nil, n))
	}
	lines := c.lines(all, func(label string) string { return issued[label] })
	return Canonical{bytes.Join(lines, nil), issued}
}

// issuer names blank nodes by a prefix and a counter, in the order they are first met (4.5).
type issuer struct {
	prefix string
	number map[int]int
	order  []int
}

func newIssuer(prefix string) issuer { return issuer{prefix: prefix, number: map[int]int{}} }

func (i *issuer) has(n int) bool {
	_, ok := i.number[n]
	return ok
}

func (i *issuer) issue(n int) {
	if !i.has(n) {
		i.number[n] = len(i.order)
		i.order = append(i.order, n)
	}
}

func (i *issuer) appendName(out []byte, n int) []byte {
	return strconv.AppendInt(append(out, i.prefix...), int64(i.number[n]), 10)
}

func (i *issuer) clone() issuer {
	return issuer{i.prefix, maps.Clone(i.number), slices.Clone(i.order)}
}

// nextPermutation turns order into the one that follows it lexically; false after the last.
func nextPermutation(order []int) bool {
	i := len(order) - 2
	for i >= 0 && order[i] > order[i+1] {
		i--
	}
	if i < 0 {
		return false
	}
	j := len(order) - 1
	for order[j] < order[i] {
		j--
	}
	order[i], order[j] = order[j], order[i]
	slices.Reverse(order[i+1:])
	return true
}
