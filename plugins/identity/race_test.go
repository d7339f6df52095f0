package identity

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// TestTwoUpdatesOnOnePrev signs two updates for one place of a log and hands them to two nodes at once, a hundred times:
// exactly one wins, and it is the same one on every node.
func TestTwoUpdatesOnOnePrev(t *testing.T) {
	const rounds, atOnce = 100, 10
	w := start(t, networkOptions{nodes: 4})
	people := make([]person, rounds)
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	each := func(do func(i int)) {
		for i := range rounds {
			all.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; all.Done() }()
				do(i)
			}()
		}
		all.Wait()
	}
	each(func(i int) { people[i] = w.create(i%4, fmt.Sprint("racer ", i)) })
	winners := make([]string, rounds)
	positions := make([]string, rounds)
	each(func(i int) { winners[i], positions[i] = w.race(i, people[i]) })
	newest := "0"
	for _, p := range positions {
		if len(p) > len(newest) || len(p) == len(newest) && p > newest {
			newest = p
		}
	}
	for n := range w.Nodes {
		w.call(n, "GET", "/1.0/methods", nil, "Weft-Min-Position", newest).want(200)
	}
	for i, p := range people {
		counted := w.call(0, "GET", identifiers(p.did.String()), nil).want(200).resolution().Version.Conflicts
		for n := range w.Nodes {
			v := w.call(n, "GET", identifiers(p.did.String()), nil).want(200).resolution().Version
			if v.VersionID != winners[i] || v.Conflicts != counted {
				t.Errorf("round %d: node %d has %s and %d conflicts, want %s and %d", i, n, v.VersionID, v.Conflicts, winners[i], counted)
			}
		}
	}
}

// race has two nodes carry one update each and returns the version that won and the position to wait for.
func (w *network) race(i int, p person) (version, position string) {
	head, _, err := did.ReadHead(w.Nodes[i%4].PluginView(Name), p.did)
	if err != nil {
		w.t.Error(err)
		return "", ""
	}
	var replies [2]reply
	var both sync.WaitGroup
	begin := make(chan struct{})
	for k := range replies {
		raw, err := did.Sign(did.Update(w.id, p.did, head, content(p.update, keyOf(fmt.Sprint(i, k)))), p.update)
		if err != nil {
			w.t.Error(err)
			return "", ""
		}
		both.Add(1)
		go func() {
			defer both.Done()
			<-begin
			replies[k] = w.call((i+k)%4, "PUT", p.path("/document?wait=final&timeout=30s"), raw)
		}()
	}
	close(begin)
	both.Wait()
	won := 0
	for _, r := range replies {
		var a rest.StateAnswer
		_ = json.Unmarshal(r.body, &a)
		switch {
		case r.status == 200 && a.Outcome == "accepted":
			won++
			version = resultText(a, "versionId")
		case r.status == 409 && (a.Code == "conflict" || a.Code == "bad_prev"):
		default:
			w.t.Errorf("round %d: HTTP %d %.300s", i, r.status, r.body)
		}
		if got := r.header.Get("Weft-Position"); len(got) > len(position) || len(got) == len(position) && got > position {
			position = got
		}
	}
	if won != 1 {
		w.t.Errorf("round %d: %d updates won", i, won)
	}
	return version, position
}
