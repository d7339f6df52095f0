package identity

import (
	"net/http"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// identityRoutes are the life of a DID as signed operations, and what is known of it.
func (x *identity) identityRoutes() []plugins.Route {
	is := func(op string) fits { return func(o plugins.Op, r *http.Request) error { return fitsDID(o.(*did.Operation), op, r) } }
	return []plugins.Route{
		signed(http.MethodPost, "/identities", x.submitting(KindDID, is(did.OpCreate))),
		signed(http.MethodPut, "/identities/{did}/document", x.submitting(KindDID, is(did.OpUpdate))),
		signed(http.MethodPost, "/identities/{did}/recover", x.submitting(KindDID, is(did.OpRecover))),
		signed(http.MethodPost, "/identities/{did}/deactivate", x.submitting(KindDID, is(did.OpDeactivate))),
	}
}

// fitsDID refuses an operation that is not what its route is for: the caller has mixed something up.
func fitsDID(op *did.Operation, want string, r *http.Request) error {
	if op.Op != want {
		return plugins.Reject("bad_value", "the operation is %s; this route takes %s", op.Op, want)
	}
	if path := r.PathValue("did"); path != "" && path != op.DID.String() {
		return plugins.Reject("bad_value", "the operation is about another DID than the path")
	}
	return nil
}
