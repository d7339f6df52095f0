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

// ChooseTips picks up to limit parents for a message with entries: the author's previous message while the order has not
// settled it (so that a lost one is noticed), a recent witness where there is one, and the rest uniformly at random among
// the tips. Tips later than latest are left out. The root is a parent while there are fewer than two others.
func (g *Graph) ChooseTips(random *rand.Rand, limit int, previous ID, latest Time) []ID {
	pool := notAfter(g.tips, latest)
	if len(pool) > MaxTipPool {
		pool = pool[len(pool)-MaxTipPool:]
	}
	picked := map[ID]bool{}
	if g.vertices[previous] != nil {
		picked[previous] = true
	}
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
		picked[g.config.Root] = true
	}
	return sortedIDs(picked)
}

// SweepTips returns all tips for a witness that are not later than latest, at most limit, those that were attached first
// before the others.
func (g *Graph) SweepTips(limit int, latest Time) []*Vertex {
	all := slices.Clone(notAfter(g.tips, latest))
	slices.SortFunc(all, func(a, b *Vertex) int { return cmp.Compare(a.Number, b.Number) })
	return all[:min(limit, len(all))]
}

func notAfter(tips []*Vertex, latest Time) []*Vertex {
	if !slices.ContainsFunc(tips, func(v *Vertex) bool { return v.Header.Time > latest }) {
		return tips
	}
	return slices.DeleteFunc(slices.Clone(tips), func(v *Vertex) bool { return v.Header.Time > latest })
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
