package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// resolve takes the node's word.
func (s *Session) resolve(ctx context.Context, id string) (did.Object, error) {
	var found client.Resolution
	err := s.ask(ctx, func(node *client.Client) (err error) {
		found, err = node.Resolve(ctx, id, client.ResolveOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	if found.Version.Deactivated {
		return nil, fmt.Errorf("%s is deactivated", id)
	}
	return did.DecodeObject(found.Document, did.JSONLimits{MaxBytes: client.MaxEventBytes})
}

// ReaderKeys are the keys that a key is sealed to for a DID: those in keyAgreement of its document, at most MaxReaderKeys, or
// for a did:key the one that its grant or request names.
func (s *Session) ReaderKeys(ctx context.Context, id, agreement string) ([]ReaderKey, error) {
	if strings.HasPrefix(id, "did:key:") {
		return agreementOf(id, agreement)
	}
	document, err := s.Resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	list := keyAgreements(id, document)
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no X25519 key in keyAgreement: nothing can be sealed to it", id)
	}
	return list[:min(len(list), MaxReaderKeys)], nil
}

func agreementOf(id, agreement string) ([]ReaderKey, error) {
	if agreement == "" {
		return nil, fmt.Errorf("%s has no document: its grant must name its key agreement key", id)
	}
	key, err := did.ParseMultikey(agreement)
	if err != nil || key.Type != did.X25519 {
		return nil, fmt.Errorf("%s: %q is not an X25519 multikey", id, agreement)
	}
	return []ReaderKey{{id + "#" + agreement, key.Bytes}}, nil
}

// keyAgreements are the X25519 keys of a document that are in force.
func keyAgreements(id string, document did.Object) (list []ReaderKey) {
	methods := objects(document["verificationMethod"])
	uses, _ := document[string(did.KeyAgreement)].([]any)
	for _, use := range uses {
		method, inline := use.(did.Object)
		if name, ok := use.(string); ok {
			i := slices.IndexFunc(methods, func(m did.Object) bool { return absolute(id, m["id"]) == absolute(id, name) })
			if i < 0 {
				continue
			}
			method = methods[i]
		} else if !inline {
			continue
		}
		key, ok := publicKey(method)
		if ok && key.Type == did.X25519 && method["revoked"] == nil {
			list = append(list, ReaderKey{absolute(id, method["id"]), key.Bytes})
		}
	}
	return list
}

func objects(v any) (list []did.Object) {
	items, _ := v.([]any)
	for _, item := range items {
		if o, ok := item.(did.Object); ok {
			list = append(list, o)
		}
	}
	return list
}

// absolute is a reference inside a document as a DID URL.
func absolute(id string, reference any) string {
	s, _ := reference.(string)
	if strings.HasPrefix(s, "#") {
		return id + s
	}
	return s
}

func publicKey(method did.Object) (did.PublicKey, bool) {
	if text, ok := method["publicKeyMultibase"].(string); ok {
		key, err := did.ParseMultikey(text)
		return key, err == nil
	}
	if jwk, ok := method["publicKeyJwk"].(did.Object); ok {
		key, err := did.ParseJWK(jwk)
		return key, err == nil
	}
	return did.PublicKey{}, false
}

// Reader is somebody that may read, and what is known of its keys without asking.
type Reader struct {
	DID       string
	Agreement string // of a did:key
}

// wrapAll seals a key to all readers. Who has no keys any more is left out and told in change.Skipped: one deactivated DID must
// not hold up a new epoch for the others.
func (s *Session) wrapAll(ctx context.Context, id channel.ID, number uint32, key channel.Key, readers []Reader, change *Change) (wraps []channel.Wrap, err error) {
	type outcome struct {
		keys  []ReaderKey
		wraps []channel.Wrap
		err   error
	}
	outcomes := make([]outcome, len(readers))
	var g errgroup.Group
	g.SetLimit(resolveAtOnce)
	for i, r := range readers {
		g.Go(func() error {
			o := &outcomes[i]
			if o.keys, o.err = s.ReaderKeys(ctx, r.DID, r.Agreement); o.err == nil {
				o.wraps, o.err = wrapEach(id, number, key, o.keys)
			}
			if client.Unreachable(o.err) || ctx.Err() != nil {
				return o.err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, o := range outcomes {
		if o.err != nil {
			change.Skipped = append(change.Skipped, o.err)
			continue
		}
		wraps, change.Sealed = append(wraps, o.wraps...), append(change.Sealed, o.keys...)
	}
	return wraps, nil
}

func wrapEach(id channel.ID, number uint32, key channel.Key, keys []ReaderKey) (wraps []channel.Wrap, err error) {
	for _, k := range keys {
		w, err := key.Wrap(id, number, k.To, k.Public)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.To, err)
		}
		wraps = append(wraps, w)
	}
	return wraps, nil
}
