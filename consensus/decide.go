package consensus

import (
	"fmt"

	"weft/tangle"
)

// verdict is what is known of the leader slot of a round.
type verdict struct {
	status status
	leader *witness // if committed
}

type status uint8

const (
	undecided status = iota
	committed
	skipped
)

// decide applies the commit rule from the highest round down and takes the decided prefix: a commit is handed out only
// after all slots below it are decided. It can be called at any time and changes nothing it has said before.
func (e *Engine) decide() error {
	verdicts := map[tangle.Round]verdict{}
	for r := e.highest; r > e.decided; r-- {
		v, err := e.direct(r)
		if err == nil && v.status == undecided {
			v, err = e.indirect(r, verdicts)
		}
		if err != nil {
			return err
		}
		verdicts[r] = v
	}
	for r := e.decided + 1; verdicts[r].status != undecided; r++ {
		e.decided = r
		v := verdicts[r]
		e.pace.decided(e, r, v.status == committed)
		if v.status == committed {
			e.queue = append(e.queue, v.leader)
		}
	}
	return nil
}

// direct is the rule that looks at the two rounds above a slot: a quorum of authors with certificates commits a variant, a
// quorum that refuses every variant skips the slot.
func (e *Engine) direct(r tangle.Round) (verdict, error) {
	var found *witness
	for _, l := range e.variants(r, e.Leader(r)) {
		if e.certifiers(l) < e.quorum {
			continue
		}
		if found != nil {
			return verdict{}, forked(found, l)
		}
		found = l
	}
	switch {
	case found != nil:
		return verdict{committed, found}, nil
	case e.skippable(r):
		return verdict{status: skipped}, nil
	}
	return verdict{}, nil
}

// certifiers counts the authors at round+2 that have a certificate of l.
func (e *Engine) certifiers(l *witness) int {
	return e.count(l.round+2, func(w *witness) bool { return w.cert == l })
}

// voters counts the authors at round+1 that vote for l.
func (e *Engine) voters(l *witness) int {
	return e.count(l.round+1, func(w *witness) bool { return w.vote == l })
}

// skippable says whether a quorum of authors one round up is known and every known variant is refused by a quorum. An
// equivocating author counts on both sides, once each.
func (e *Engine) skippable(r tangle.Round) bool {
	if e.authors(r+1) < e.quorum {
		return false
	}
	for _, l := range e.variants(r, e.Leader(r)) {
		if e.count(r+1, func(w *witness) bool { return w.vote != l }) < e.quorum {
			return false
		}
	}
	return true
}

// count counts the authors of round r of whom some variant satisfies the condition.
func (e *Engine) count(r tangle.Round, condition func(*witness) bool) (n int) {
	round := e.rounds[r]
	if round == nil {
		return 0
	}
	for _, variants := range round.variants {
		for _, w := range variants {
			if condition(w) {
				n++
				break
			}
		}
	}
	return n
}

// indirect decides slot r by its anchor: the first slot from r+3 on that is not skipped. It depends on the anchor's past
// only, and is therefore the same everywhere.
func (e *Engine) indirect(r tangle.Round, verdicts map[tangle.Round]verdict) (verdict, error) {
	for s := r + 3; s <= e.highest; s++ {
		switch v := verdicts[s]; v.status {
		case undecided:
			return verdict{}, nil
		case committed:
			return e.byAnchor(r, v.leader)
		}
	}
	return verdict{}, nil
}

// byAnchor commits the variant of leader(r) that has a certificate in the anchor's past, and skips the slot if none has.
func (e *Engine) byAnchor(r tangle.Round, anchor *witness) (verdict, error) {
	var found *witness
	seen := map[*witness]bool{anchor: true}
	for stack := []*witness{anchor}; len(stack) > 0; {
		w := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if w.round == r+2 && w.cert != nil {
			if found != nil && found != w.cert {
				return verdict{}, forked(found, w.cert)
			}
			found = w.cert
		}
		for _, a := range w.ancestors {
			if a.round >= r+2 && !seen[a] {
				seen[a] = true
				stack = append(stack, a)
			}
		}
	}
	if found == nil {
		return verdict{status: skipped}, nil
	}
	return verdict{committed, found}, nil
}

func forked(a, b *witness) error {
	return fmt.Errorf("%w: round %d, %s and %s", ErrForked, a.round, a.vertex.ID, b.vertex.ID)
}
