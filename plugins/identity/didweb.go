package identity

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/tangle"
)

const webPrefix = "did:web:"

// webAddress is where the document of a did:web is published (did:web, section 2.5.2).
func webAddress(id string) (string, error) {
	host, path, _ := strings.Cut(strings.TrimPrefix(id, webPrefix), ":")
	name, err := url.PathUnescape(host)
	if err != nil || name == "" || strings.ContainsAny(name, "/?#@\\") || strings.ContainsAny(path, "/?#\\") {
		return "", plugins.Reject("bad_value", "%.200q is not a did:web", id)
	}
	if path == "" {
		return "https://" + name + "/.well-known/did.json", nil
	}
	for segment := range strings.SplitSeq(path, ":") {
		if segment == "" || segment == "." || segment == ".." {
			return "", plugins.Reject("bad_value", "%.200q is not a did:web", id)
		}
	}
	return "https://" + name + "/" + strings.ReplaceAll(path, ":", "/") + "/did.json", nil
}

// fetchWeb gets the document of a did:web, as far as this node may fetch from its host.
func (x *identity) fetchWeb(ctx context.Context, id string) (did.Object, error) {
	address, err := webAddress(id)
	if err != nil {
		return nil, err
	}
	raw, err := x.fetcher.get(ctx, address, "application/did", "application/did+json", "application/did+ld+json", rest.TypeJSON)
	if err != nil {
		return nil, err
	}
	doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxFetchBytes, MaxDepth: 32})
	if err != nil {
		return nil, err
	}
	if doc["id"] != id {
		return nil, plugins.Reject("bad_document", "the document at %s is of another DID", address)
	}
	return doc, nil
}

// resolveWeb finds a method in the document that its host publishes now: a did:web has no past.
func (v *verifying) resolveWeb(address string, rel did.Relationship) (did.Method, error) {
	id := didOf(address)
	doc := v.webs[id]
	if doc == nil {
		var err error
		if doc, err = v.fetchWeb(v.ctx, id); err != nil {
			return did.Method{}, err
		}
		if v.webs == nil {
			v.webs = map[string]did.Object{}
		}
		v.webs[id] = doc
	}
	return webMethod(doc, id, address, rel)
}

// webMethod reads a method of a document that somebody wrote by hand: ids may be relative, and relationships may hold
// methods of their own.
func webMethod(doc did.Object, id, address string, rel did.Relationship) (did.Method, error) {
	isIt := func(v any) bool {
		text, ok := v.(string)
		if o, embedded := v.(did.Object); embedded {
			text, ok = o["id"].(string)
		}
		return ok && (text == address || id+text == address)
	}
	list, _ := doc["verificationMethod"].([]any)
	if rel != "" {
		named, _ := doc[string(rel)].([]any)
		at := slices.IndexFunc(named, isIt)
		if at < 0 {
			return did.Method{}, plugins.Reject("not_entitled", "%.150s is not in %s of its document", address, rel)
		}
		list = append(list[:len(list):len(list)], named[at])
	}
	for _, item := range list {
		if o, ok := item.(did.Object); ok && isIt(o) {
			return readMethod(o, id, address)
		}
	}
	return did.Method{}, plugins.Reject("not_entitled", "%.150s is not in its document", address)
}

func readMethod(o did.Object, id, address string) (m did.Method, err error) {
	m = did.Method{ID: address, Controller: id}
	m.Type, _ = o["type"].(string)
	if jwk, given := o["publicKeyJwk"].(did.Object); given {
		m.Key, err = did.ParseJWK(jwk)
	} else {
		text, _ := o["publicKeyMultibase"].(string)
		m.Key, err = did.ParseMultikey(text)
	}
	for name, at := range map[string]*tangle.Time{"expires": &m.Expires, "revoked": &m.Revoked} {
		if text, given := o[name].(string); given && err == nil {
			*at, err = did.ParseTime(text)
		}
	}
	return m, err
}
