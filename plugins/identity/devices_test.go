package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// device makes the unsigned creation of a device that belongs to an owner.
func (w *network) device(name string, owner person) (did.Object, did.DID) {
	w.t.Helper()
	c := content(keyOf(name), keyOf(name))
	c.Params.Controllers, c.Params.ControllerThreshold, c.Params.SubjectType = []string{owner.did.String()}, 1, "device"
	nonce := sha256.Sum256([]byte(name))
	body, d, err := did.Create(w.id, [did.NonceBytes]byte(nonce[:]), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return body, d
}

func TestDevices(t *testing.T) {
	w := start(t, networkOptions{})
	owner, other := w.create(0, "owner"), w.create(0, "other")
	token := w.login(0, owner)
	enrol := func() (e enrolmentView) {
		t.Helper()
		w.call(0, "POST", "/api/v1/devices/enrolments", map[string]string{"owner": owner.did.String()}, bearer(token)...).into(201, &e)
		return e
	}
	claim := func(e enrolmentView, operation []byte) reply {
		return w.call(0, "POST", "/api/v1/devices/enrolments/"+e.ID+"/claim?wait=final&timeout=30s",
			map[string]any{"claim": e.Claim, "operation": json.RawMessage(operation)})
	}
	w.call(0, "POST", "/api/v1/devices/enrolments", map[string]string{"owner": other.did.String()}, bearer(token)...).refused(403, "forbidden")
	e := enrol()

	// Without the owner's consent: it is collected.
	body, d := w.device("meter 1", owner)
	alone, err := did.Sign(body, keyOf("meter 1"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := w.device("meter 1", other)
	raw, _ := did.Sign(foreign, keyOf("meter 1"))
	claim(e, raw).refused(422, "bad_value")
	_, create := w.newPerson("somebody")
	claim(e, create).refused(422, "bad_value")
	unsigned, _ := did.Sign(body, keyOf("another key"))
	claim(e, unsigned).refused(403, "threshold")
	wrong := e
	wrong.Claim = enrol().Claim
	claim(wrong, alone).refused(404, "not_found")
	var c claimed
	claim(e, alone).into(202, &c)
	if c.Status != "proposed" || c.DID != d.String() || c.Proposal != e.ID {
		t.Errorf("%+v", c)
	}
	claim(e, alone).refused(409, "already_used")
	second, _ := w.device("meter 2", owner)
	raw, _ = did.Sign(second, keyOf("meter 2"))
	claim(e, raw).refused(409, "already_used")
	var p proposalView
	w.call(0, "GET", "/api/v1/proposals/"+e.ID, nil, bearer(token)...).into(200, &p)
	if p.Status != "open" || p.Missing != 1 {
		t.Errorf("%+v", p)
	}
	proof := map[string]any{"proof": proofOf(t, body, owner.update)}
	w.call(0, "POST", "/api/v1/proposals/"+e.ID+"/proofs", proof, bearer(token)...).into(200, &p)
	if p.Status != "published" {
		t.Errorf("%+v", p)
	}

	// With it: published at once.
	both, err := did.Sign(second, keyOf("meter 2"), owner.update)
	if err != nil {
		t.Fatal(err)
	}
	var s rest.StateAnswer
	claim(enrol(), both).into(201, &s)
	if s.Status != "final" || s.Outcome != "accepted" {
		t.Errorf("%+v", s)
	}
	v := w.call(0, "GET", identifiers(d.String()), nil).want(200).resolution()
	if list, _ := v.Document["controller"].([]any); len(list) != 1 || list[0] != owner.did.String() {
		t.Errorf("controller %v", v.Document["controller"])
	}

	late := enrol()
	w.clock.Forward(enrolmentLife + time.Second)
	claim(late, alone).refused(404, "not_found")
}

// TestClaimsAreStoredHashed: whoever reads the disk enrols nothing.
func TestClaimsAreStoredHashed(t *testing.T) {
	s := newKeptStore()
	w := start(t, networkOptions{store: s.open})
	owner := w.create(0, "owner")
	var e enrolmentView
	w.call(0, "POST", "/api/v1/devices/enrolments", map[string]string{}, bearer(w.login(0, owner))...).into(201, &e)
	if s.contains(t, []byte(e.Claim)) || !s.contains(t, []byte(e.ID)) || bytes.Contains([]byte(e.ID), []byte(e.Claim)) {
		t.Error("the claim is in the store")
	}
}
