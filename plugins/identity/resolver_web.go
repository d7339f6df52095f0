package identity

import (
	"context"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// MaxWebDocument bounds the document of a did:web in bytes, in canonical form.
const MaxWebDocument = 64 << 10

// webResolver resolves did:web by a guarded fetch (see fetcher); other methods are refused.
func (x *identity) webResolver(ctx context.Context) func(did.URL, did.Options) did.Result {
	return func(u did.URL, o did.Options) did.Result {
		refuse := func(name, detail string) did.Result { return did.Result{DID: u.DID, Error: did.NewError(name, detail)} }
		switch {
		case u.Method != "web" || len(x.settings.Fetch.Allow) == 0:
			return refuse("METHOD_NOT_SUPPORTED", "did:"+u.Method)
		case o.VersionID != "" || o.VersionTime != "":
			return refuse("NOT_FOUND", "a did:web has no versions")
		}
		doc, err := x.fetchWeb(ctx, u.DID)
		if err == nil {
			err = checkWebDocument(doc)
		}
		if err != nil {
			return refuse(webError(err), detailOf(err))
		}
		return did.Result{DID: u.DID, Document: doc}
	}
}

// webError is the resolver's name for what went wrong.
func webError(err error) string {
	r := plugins.Rejected(err)
	switch {
	case r == nil:
		return "INTERNAL_ERROR"
	case r.Code == "fetch_refused":
		return "METHOD_NOT_SUPPORTED" // for this host
	case r.Code == "unavailable":
		return "NOT_FOUND"
	case r.Code == "bad_value":
		return "INVALID_DID"
	}
	return "INVALID_DID_DOCUMENT"
}

// checkWebDocument judges the form of a document that somebody else has made, as far as the resolver takes it apart.
func checkWebDocument(doc did.Object) error {
	for _, name := range []string{"verificationMethod", "service"} {
		list, isList := doc[name].([]any)
		if doc[name] != nil && !isList {
			return plugins.Reject("bad_document", "%s is not a list", name)
		}
		for _, item := range list {
			if _, ok := item.(did.Object); !ok {
				return plugins.Reject("bad_document", "%s holds something else than objects", name)
			}
		}
	}
	text, err := did.ASCII(doc)
	switch {
	case err != nil:
		return plugins.Reject("bad_document", "%s", detailOf(err))
	case len(text) > MaxWebDocument:
		return plugins.Reject("bad_document", "%d bytes, at most %d", len(text), MaxWebDocument)
	}
	return nil
}
