package identity

import (
	"fmt"
	"net/http"
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/rest"
	"weft/tangle"
)

// rules are what rest.Operations needs to know of this plugin's operations.
func (x *identity) rules() rest.Rules {
	return rest.Rules{Check: x.ledger.check, CheckAll: x.ledger.checkAll, Hash: opHash, Counted: x.counted, Find: x.find, Result: x.resultOf, Creates: creates}
}

// submitting makes the handler of a route that takes one signed operation of a kind.
func (x *identity) submitting(kind tangle.Kind, fit rest.Fits) func(http.ResponseWriter, *http.Request) error {
	return x.operations.Submitting(kind, fit)
}

// counted finds the entry with which an operation was accepted.
func (x *identity) counted(hash string) (rest.Found, bool) {
	o, ok := accepted(x.host.View(), x.host.IndexView(), hash)
	return rest.Found{Kind: o.Kind, Entry: o.Entry}, ok
}

// find is counted, or else the first entry.
func (x *identity) find(hash string) (rest.Found, bool) {
	if f, ok := x.counted(hash); ok {
		return f, true
	}
	o, ok := firstRejected(x.host.IndexView(), hash)
	return rest.Found{Kind: o.Kind, Entry: o.Entry, Code: o.Code}, ok
}

// resultOf is what an accepted operation made or changed.
func (x *identity) resultOf(kind tangle.Kind, hash string, op plugins.Op) map[string]any {
	switch op := op.(type) {
	case *status.Operation:
		if list := listOf(op); list != "" {
			return map[string]any{"list": list}
		}
	case *trust.Operation:
		return resultOfTrust(op)
	}
	if kind == KindDID {
		if v, ok := did.FindOperation(x.host.View(), hash); ok {
			return map[string]any{"did": v.DID.String(), "versionId": fmt.Sprintf("%d-%s", v.N, hash)}
		}
	}
	return nil
}

// listOf is the status list that an operation is about; empty if it is about none.
func listOf(op *status.Operation) string {
	if op.Op == status.CreateList {
		return op.Envelope.Hash
	}
	return op.List
}

func resultOfTrust(op *trust.Operation) map[string]any {
	switch op.Op {
	case trust.CreateFederation:
		return map[string]any{"federation": op.Envelope.Hash}
	case trust.MakeGrant:
		return map[string]any{"federation": op.Grant.Federation, "grant": op.Envelope.Hash}
	case trust.Revoke:
		return map[string]any{"grant": op.Revoked}
	}
	return map[string]any{"federation": op.Federation}
}

// creates says whether an operation makes something that has an address of its own.
func creates(op plugins.Op) bool {
	e := envelopeOf(op)
	return e != nil && slices.Contains([]string{did.OpCreate, "federation.create", "grant"}, e.Op)
}
