package audittrail

import (
	"context"
	"crypto/rand"
	"fmt"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
)

// newActor makes a key file in memory, puts its DID on the ledger and begins a session: one key signs, another one opens what
// is sealed to it, and the one that changes the DID is neither.
func (t *Tour) newActor(ctx context.Context, node *client.Client) (*audit.Session, error) {
	info, err := node.Node(ctx)
	if err != nil {
		return nil, err
	}
	file, err := keyfile.New("", keyfile.Protection{Unencrypted: true})
	if err != nil {
		return nil, err
	}
	t.files = append(t.files, file)
	update, err := file.Add(keyfile.Update, "", keyfile.Ed25519)
	if err != nil {
		return nil, err
	}
	methods := []any{}
	for id, algorithm := range map[string]keyfile.Algorithm{"#key-1": keyfile.Ed25519, "#key-2": keyfile.X25519} {
		key, err := file.Add(keyfile.Document, id, algorithm)
		if err != nil {
			return nil, err
		}
		methods = append(methods, did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": key.Public})
	}
	var nonce [did.NonceBytes]byte
	rand.Read(nonce[:])
	body, name, err := did.Create(info.NetworkID, nonce, did.Content{
		Params:   did.NewParams([]string{update.Public}),
		Document: did.Object{"verificationMethod": methods, "authentication": []any{"#key-1"}, "keyAgreement": []any{"#key-2"}},
	})
	if err != nil {
		return nil, err
	}
	ask, err := did.Prepare(body, update.Public)
	if err != nil {
		return nil, err
	}
	signature, err := file.Sign(update.Public, ask.HashData)
	if err != nil {
		return nil, err
	}
	entry, err := did.Attach(body, map[string][]byte{update.Public: signature})
	if err != nil {
		return nil, err
	}
	done, err := node.SubmitOperation(ctx, entry, client.OperationOptions{Final: wait})
	if err == nil && done.Status != client.Final {
		err = fmt.Errorf("operation %s is %s after %s", done.OpHash, done.Status, wait)
	}
	if err != nil {
		return nil, err
	}
	file.DID = name.String()
	who, err := audit.FromKeyFile(file, "")
	if err != nil {
		return nil, err
	}
	return audit.NewSession(audit.Config{Node: node, Network: info.NetworkID, Identity: who}), nil
}
