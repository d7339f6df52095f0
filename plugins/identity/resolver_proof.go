package identity

import (
	"context"
	"encoding/base64"
	"time"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// The bounds of a proof in metadata.
const (
	MaxProofReceipts = 100 // of the newest versions up to the one shown; the log has all
	proofWait        = 5 * time.Second
)

// prove adds the receipts of a version and those before it (identity.md, section 3). They say that each was accepted in that
// order, not that nothing followed. A version that no checkpoint covers in time gets no proof.
func (x *identity) prove(ctx context.Context, q question, r *did.Result) {
	d, err := did.Parse(r.DID)
	if !q.options.Proof || r.Error != nil || r.Version == 0 || err != nil {
		return
	}
	from := max(1, r.Version-MaxProofReceipts+1)
	log, err := readLog(x.host.View(), d, from, r.Version-from+1)
	if err != nil {
		x.damaged(err)
		*r = did.Result{DID: r.DID, Error: did.NewError("INTERNAL_ERROR", "the node's state is damaged"), Fault: err}
		return
	}
	var receipts []any
	for _, record := range log {
		proof, ok := x.receiptOf(ctx, record.Entry)
		if !ok {
			return
		}
		receipts = append(receipts, did.Object{"op": record.OpHash, "position": int64(record.Position), "receipt": proof})
	}
	r.Metadata.Proof = []any{did.Object{
		"type": "WeftCheckpointProof2026", "network": x.host.Network.String(), "versionId": r.Metadata.VersionID, "receipts": receipts,
		"log": v1 + "/identities/" + r.DID + "/log?receipts=true",
	}}
}

// receiptOf is the offline proof of an entry, in base64url. An entry that is not final yet is waited for.
func (x *identity) receiptOf(ctx context.Context, entry tangle.Hash) (string, bool) {
	proof, err := x.host.Receipt(entry)
	if err != nil {
		ctx, cancel := context.WithTimeout(ctx, proofWait)
		defer cancel()
		if x.host.WaitFinal(ctx, []tangle.Hash{entry}, tangle.ID{}) != nil {
			return "", false
		}
		if proof, err = x.host.Receipt(entry); err != nil {
			return "", false
		}
	}
	return base64.RawURLEncoding.EncodeToString(proof), true
}
