package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// The bounds of an enrolment.
const (
	enrolmentLife = 24 * time.Hour
	claimBytes    = 32
)

// enrolment is an owner's one-time permission for a device to bring its keys: the claim itself is nowhere, only its hash.
type enrolment struct {
	Owner   string `json:"owner"` // DID
	Claim   []byte `json:"claim"` // SHA-256
	Claimed string `json:"claimed,omitempty"`
}

// devices hands out and redeems enrolments, each of them once.
//
// A device makes its own keys and its own DID, whose controllers include the owner; the ledger wants the owner's consent, a
// proof with the owner's update keys over an operation that only the device can make. So a claim does not have to bring it:
// the device's operation becomes the proposal of the enrolment's id, and the owner adds the proof there. An operation that
// comes with the owner's proof already, because the two talk to each other, is published at once.
type devices struct {
	*identity
	mu sync.Mutex // guards the records of enrolments
}

func (x *identity) deviceRoutes() []plugins.Route {
	d := &devices{identity: x}
	claim := rest.WithBody(rest.Open(http.MethodPost, v1+"/devices/enrolments/{id}/claim", plugins.RateAnonymous, d.claim), rest.MaxOperationBody)
	claim.Query = rest.SubmitQuery()
	return []plugins.Route{
		rest.Token(http.MethodPost, "/devices/enrolments", plugins.ScopeIdentitiesRead, d.enrol), claim,
	}
}

// enrolmentView is shown once: the claim is a secret that nobody can show again.
type enrolmentView struct {
	ID        string `json:"id"`
	Claim     string `json:"claim"`
	Owner     string `json:"owner"`
	ExpiresAt string `json:"expiresAt"`
}

// enrol is POST /api/v1/devices/enrolments.
func (d *devices) enrol(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Owner string `json:"owner"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	caller := plugins.CallerOf(r.Context())
	if body.Owner == "" {
		body.Owner = caller.DID
	}
	if !changes(caller, body.Owner) {
		return plugins.Reject("forbidden", "the owner enrols devices: log in with its DID")
	}
	if err := d.mayOwn(body.Owner); err != nil {
		return err
	}
	if err := d.records.mayOpen(sortEnrolment, body.Owner); err != nil {
		return err
	}
	secret := make([]byte, claimBytes)
	rand.Read(secret) // never fails
	hash := sha256.Sum256(secret)
	id, ends := newID(), d.now().Add(enrolmentLife).Truncate(time.Second)
	if err := d.records.put(sortEnrolment, id, body.Owner, ends, enrolment{Owner: body.Owner, Claim: hash[:]}); err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusCreated, enrolmentView{id, base64.RawURLEncoding.EncodeToString(secret), body.Owner, ends.UTC().Format(time.RFC3339)})
}

// mayOwn wants a DID that can be a controller.
func (x *identity) mayOwn(owner string) error {
	o, err := did.Parse(owner)
	if err != nil {
		return plugins.Reject("bad_value", "owner: %s", detailOf(err))
	}
	head, found, err := did.ReadHead(x.host.View(), o)
	switch {
	case err != nil:
		x.damaged(err)
	case !found:
		err = plugins.Reject("unknown_did", "no such DID on this network")
	case head.Deactivated:
		err = plugins.Reject("deactivated", "the owner is deactivated")
	case len(head.UpdateKeys) == 0:
		err = plugins.Reject("bad_value", "owner: it has no update keys of its own to consent with")
	}
	return err
}

// claimed is the answer to a device whose operation waits for its owner.
type claimed struct {
	Status   string `json:"status"` // proposed
	DID      string `json:"did"`
	OpHash   string `json:"opHash"`
	Proposal string `json:"proposal"`
}

// claim is POST /api/v1/devices/enrolments/{id}/claim.
func (d *devices) claim(w http.ResponseWriter, r *http.Request) error {
	wait, err := rest.ReadWait(r)
	if err != nil {
		return err
	}
	var body struct {
		Claim     string          `json:"claim"`
		Operation json.RawMessage `json:"operation"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	id := r.PathValue("id")
	one, v, err := d.redeem(id, body.Claim, body.Operation)
	if err != nil {
		return err
	}
	rest.NoStore(w)
	if v.missing > 0 {
		w.Header().Set("Location", v1+"/proposals/"+id)
		return rest.Answer(w, http.StatusAccepted, claimed{"proposed", v.op.(*did.Operation).DID.String(), one.OpHash, id})
	}
	s, err := d.publish(r.Context(), id, v)
	if err != nil {
		return err
	}
	if wait > 0 {
		d.operations.Await(r.Context(), &s, wait)
	}
	return d.operations.Answer(w, r, s)
}

// redeem uses a claim up, unless the operation is one that the ledger would refuse in any case.
func (d *devices) redeem(id, claim string, operation json.RawMessage) (one proposal, v verdict, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec, e, err := d.find(id, claim)
	if err != nil {
		return one, v, err
	}
	if one, err = d.parse(operation); err != nil {
		return one, v, err
	}
	if v, err = d.judge(one); err != nil {
		return one, v, err
	}
	op, isDID := v.op.(*did.Operation)
	switch {
	case !isDID || op.Op != did.OpCreate:
		return one, v, plugins.Reject("bad_value", "operation: want a create that the device has signed")
	case !slices.Contains(op.Params.Controllers, e.Owner):
		return one, v, plugins.Reject("bad_value", "operation.params.controllers: want %s among them", e.Owner)
	case v.missing > 0 && signedBy(op.Signers, op.Params.UpdateKeys, false) < op.Params.Threshold:
		return one, v, plugins.Reject("threshold", "the device's own keys do not sign")
	}
	e.Claimed = one.OpHash
	writes, err := d.records.writes(sortEnrolment, id, e.Owner, rec.Expires, e)
	if err != nil {
		return one, v, err
	}
	if v.missing > 0 {
		more, err := d.records.writes(sortProposal, id, e.Owner, d.now().Add(proposalLife), one)
		if err != nil {
			return one, v, err
		}
		writes = append(writes, more...)
	}
	return one, v, d.records.local.Write(writes...)
}

// find wants the claim of an enrolment. Who does not have it learns nothing, not even that there is one.
func (d *devices) find(id, claim string) (rec record, e enrolment, err error) {
	rec, found, err := d.records.read(sortEnrolment, id)
	if err != nil {
		return rec, e, err
	}
	if found {
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			return rec, e, err
		}
	}
	secret, decodeErr := base64.RawURLEncoding.Strict().DecodeString(claim)
	hash := sha256.Sum256(secret)
	if !found || decodeErr != nil || len(secret) != claimBytes || subtle.ConstantTimeCompare(hash[:], e.Claim) != 1 {
		return rec, e, plugins.Reject("not_found", "no such enrolment, or it is over, or that is not its claim")
	}
	if e.Claimed != "" {
		return rec, e, plugins.Reject("already_used", "the claim was redeemed with operation %s", e.Claimed)
	}
	return rec, e, nil
}

// publish sends a complete operation out. If that fails the claim is good again.
func (d *devices) publish(ctx context.Context, id string, v verdict) (rest.State, error) {
	s, err := d.operations.Submit(ctx, KindDID, v.op, v.raw)
	if err == nil {
		return s, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rec, found, readErr := d.records.read(sortEnrolment, id)
	var e enrolment
	if readErr != nil || !found || json.Unmarshal(rec.Value, &e) != nil {
		return s, err
	}
	e.Claimed = ""
	return s, firstOf(d.records.put(sortEnrolment, id, rec.Owner, rec.Expires, e), err)
}
