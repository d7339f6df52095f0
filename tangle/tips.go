package tangle

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// MaxTipPool bounds the pool that uniform choice draws from; the oldest tips beyond it are left to the witnesses,
// which sweep everything.
const MaxTipPool = 4096

// Tips counts attached vertices without attached children.
func (g *Graph) Tips() int { return len(g.tips) }

// ChooseTips picks up to limit parents for a message with entries: uniformly at random among the tips (Tangle white
// paper, uniform random tip selection), one of them a witness where there is one. Without tips the root is the parent.
// fallback, if not zero, stands in for a second parent when there is only one tip.
func (g *Graph) ChooseTips(random *rand.Rand, limit int, fallback ID) []ID {
	pool := g.tips
	if len(pool) > MaxTipPool {
		pool = pool[len(pool)-MaxTipPool:]
	}
	picked := map[ID]bool{}
	if w := newestWitness(pool); w != nil {
		picked[w.ID] = true
	}
	for _, i := range random.Perm(len(pool)) {
		if len(picked) >= limit {
			break
		}
		picked[pool[i].ID] = true
	}
	if len(picked) < 2 {
		picked[g.second(fallback)] = true
	}
	return sortedIDs(picked)
}

// SweepTips returns all tips for a witness, at most limit, those that were attached first before the others.
func (g *Graph) SweepTips(limit int) []*Vertex {
	all := slices.Clone(g.tips)
	slices.SortFunc(all, func(a, b *Vertex) int { return cmp.Compare(a.Number, b.Number) })
	return all[:min(limit, len(all))]
}

func (g *Graph) second(fallback ID) ID {
	if fallback != (ID{}) && g.Has(fallback) {
		return fallback
	}
	return g.config.Root
}

func newestWitness(pool []*Vertex) (best *Vertex) {
	for _, v := range pool {
		if v.IsWitness() && (best == nil || v.Header.Witness.Round > best.Header.Witness.Round) {
			best = v
		}
	}
	return best
}

func sortedIDs(set map[ID]bool) []ID {
	ids := make([]ID, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

func (g *Graph) addTip(v *Vertex) {
	if v.children == 0 {
		v.tipAt = len(g.tips)
		g.tips = append(g.tips, v)
	}
}

// removeTip takes v out of the pool in constant time; the last tip takes its slot.
func (g *Graph) removeTip(v *Vertex) {
	if v.tipAt < 0 {
		return
	}
	last := g.tips[len(g.tips)-1]
	g.tips[v.tipAt] = last
	last.tipAt = v.tipAt
	g.tips[len(g.tips)-1] = nil
	g.tips = g.tips[:len(g.tips)-1]
	v.tipAt = -1
}
