package identity

import (
	"bytes"
	"sync"
	"testing"

	"weft/plugins/rest"
)

// TestOneOperationThroughAllNodes posts the same operation to four nodes at once, and again: everyone hears of one version.
func TestOneOperationThroughAllNodes(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	p, raw := w.newPerson("sarah")
	answers := make([]rest.StateAnswer, 4)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			w.call(i, "POST", "/api/v1/identities?wait=final&timeout=30s", raw).into(201, &answers[i])
		})
	}
	group.Wait()
	for i, a := range answers {
		if a.Status != "final" || a.Outcome != "accepted" || resultText(a, "did") != p.did.String() || resultText(a, "versionId") != resultText(answers[0], "versionId") {
			t.Errorf("node %d: %+v", i, a)
		}
	}
	var again, state rest.StateAnswer
	w.call(2, "POST", "/api/v1/identities?wait=final", raw).into(201, &again)
	w.call(3, "GET", "/api/v1/operations/"+again.OpHash, nil).into(200, &state)
	if resultText(again, "versionId") != resultText(answers[0], "versionId") || resultText(state, "versionId") != resultText(again, "versionId") || state.EntryHash != again.EntryHash {
		t.Errorf("again %+v\nstate %+v", again, state)
	}
}

// TestOperationsOnTheWrongRoute are refused before anything is published.
func TestOperationsOnTheWrongRoute(t *testing.T) {
	w := start(t, networkOptions{})
	p, raw := w.newPerson("sarah")
	w.call(0, "POST", "/api/v1/identities/"+p.did.String()+"/recover", raw).refused(422, "bad_value")
	w.call(0, "POST", "/api/v1/identities", `{"a":1,"a":2}`).refused(400, "not_canonical")
	w.call(0, "POST", "/api/v1/identities", string(raw)+" ").refused(400, "not_canonical")
	forged := bytes.ReplaceAll(raw, []byte("#key-1"), []byte("#key-9"))
	w.call(0, "POST", "/api/v1/identities", forged).refused(422, "bad_scid")
	w.call(0, "POST", "/api/v1/identities?wait=now", raw).refused(400, "bad_parameter")
	w.call(0, "GET", "/api/v1/operations/zQmNothing", nil).refused(404, "unknown_operation")
	w.call(0, "GET", "/1.0/identifiers/"+p.did.String(), nil).want(404)
}
