package identity

import (
	"context"

	"weft/plugins/identity/vc"
)

// verifier is what this node knows when it judges a credential.
func (x *identity) verifier(ctx context.Context) vc.Config {
	return vc.Config{Now: x.now(), Contexts: x.contexts}
}
