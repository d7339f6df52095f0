package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/tangle"
)

// Sizes of the identity scenarios.
const (
	benchDIDs        = 10_000 // that resolve asks for
	maxBenchPerCore  = 4000   // operations prepared for a second of load: more than a core can bear
	benchDIDSenders  = 512
	benchDIDBatch    = 32   // of about 0.9 KB: they fit into a body
	benchDIDsTarget  = 2000 // final operations a second
	benchReadTarget  = 5000 // resolutions a second
	benchReadMillis  = 20   // p99
	benchReadSenders = 32
)

// benchKey is the key of all DIDs of a run.
func benchKey(seed uint64) ed25519.PrivateKey {
	var key [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return ed25519.NewKeyFromSeed(key[:])
}

// newDIDs signs create operations on all cores: each another DID, all under the same two keys, which costs a node the same.
func newDIDs(network tangle.ID, seed uint64, count int) (dids []string, operations [][]byte, err error) {
	dids, operations = make([]string, count), make([][]byte, count)
	update := benchKey(seed)
	multikey := did.Ed25519Key(update.Public().(ed25519.PublicKey)).Multikey()
	content := did.Content{
		Params: did.NewParams([]string{multikey}, did.KeyHash(multikey)),
		Document: did.Object{
			"verificationMethod": []any{did.Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": multikey}},
			"authentication":     []any{"#key-1"}, "assertionMethod": []any{"#key-1"},
		},
	}
	var next atomic.Int64
	var group errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				var nonce [did.NonceBytes]byte
				binary.BigEndian.PutUint64(nonce[:], seed)
				binary.BigEndian.PutUint64(nonce[8:], uint64(i))
				body, d, err := did.Create(network, nonce, content)
				if err != nil {
					return err
				}
				if operations[i], err = did.Sign(body, update); err != nil {
					return err
				}
				dids[i] = d.String()
			}
			return nil
		})
	}
	return dids, operations, group.Wait()
}

// networkID is that of the network under test.
func (b *bench) networkID(ctx context.Context) (tangle.ID, error) {
	n, err := b.clients[0].Node(ctx)
	return n.NetworkID, err
}

// dids measures new DIDs, one a request: what signed operations cost over plain entries is verifying and executing them on
// every node.
func (b *bench) dids(ctx context.Context) (benchResult, error) {
	return b.newOperations(ctx, benchDIDSenders, 1, func(target string, batch [][]byte) []byte {
		return postRequest(target, "/api/v1/identities?wait=final&timeout=10s&receipts=false", batch[0])
	})
}

// didsBatched measures new DIDs as a gateway sends them, many a request.
func (b *bench) didsBatched(ctx context.Context) (benchResult, error) {
	return b.newOperations(ctx, benchDIDSenders/8, benchDIDBatch, func(target string, batch [][]byte) []byte {
		body := []byte(`{"entries":[`)
		for i, operation := range batch {
			if i > 0 {
				body = append(body, ',')
			}
			body = fmt.Appendf(body, `{"kind":%d,"data":"`, identity.KindDID)
			body = append(base64.RawURLEncoding.AppendEncode(body, operation), `"}`...)
		}
		return postRequest(target, "/api/v1/messages?wait=final&timeout=10s", append(body, "]}"...))
	})
}

// newOperations sends signed operations, a number of them in each request.
func (b *bench) newOperations(ctx context.Context, connections, batch int, request func(target string, batch [][]byte) []byte) (benchResult, error) {
	network, err := b.networkID(ctx)
	if err != nil {
		return benchResult{}, err
	}
	count := int((b.warmup + b.duration + time.Second).Seconds()) * maxBenchPerCore
	_, operations, err := newDIDs(network, b.seed, count)
	if err != nil {
		return benchResult{}, err
	}
	var next atomic.Int64
	supply := func(_ int, target string) func() []byte {
		return func() []byte {
			to := int(next.Add(int64(batch)))
			if to > len(operations) {
				return nil
			}
			return request(target, operations[to-batch:to])
		}
	}
	r, err := b.load(ctx, &load{connections: connections, batch: batch, supply: supply})
	r.Target = fmt.Sprintf("%d operations/s or more", benchDIDsTarget)
	r.Met = r.PerSecond >= benchDIDsTarget && len(r.Errors) == 0
	return r, err
}

// resolve measures the resolver of one node, over DIDs that it holds.
func (b *bench) resolve(ctx context.Context) (benchResult, error) {
	dids, err := b.publishDIDs(ctx, benchDIDs)
	if err != nil {
		return benchResult{}, err
	}
	supply := func(connection int, target string) func() []byte {
		random := rand.New(rand.NewPCG(b.seed, uint64(connection)))
		return func() []byte {
			return fmt.Appendf(nil, "GET /1.0/identifiers/%s HTTP/1.1\r\nHost: %s\r\n\r\n", dids[random.IntN(len(dids))], target)
		}
	}
	r, err := b.load(ctx, &load{targets: b.targets[:1], connections: benchReadSenders, batch: 1, supply: supply})
	r.Target = fmt.Sprintf("%d resolutions/s or more, p99 of %d ms or less, on one node", benchReadTarget, benchReadMillis)
	r.Met = r.PerSecond >= benchReadTarget && r.Latency != nil && r.Latency.P99 <= benchReadMillis && len(r.Errors) == 0
	return r, err
}

// benchVerifyMillis is the CPU time that verifying a credential by eddsa-jcs-2022 may take, with its HTTP request.
const benchVerifyMillis = 0.5

// credentials measures the verifier of one node: signature, issuer as of the claimed time, validity, report.
func (b *bench) credentials(ctx context.Context) (benchResult, error) {
	dids, err := b.publishDIDs(ctx, 1)
	if err != nil {
		return benchResult{}, err
	}
	body, err := benchCredential(dids[0], benchKey(b.seed))
	if err != nil {
		return benchResult{}, err
	}
	supply := func(_ int, target string) func() []byte {
		request := postRequest(target, "/credentials/verify", body)
		return func() []byte { return request }
	}
	r, err := b.load(ctx, &load{targets: b.targets[:1], connections: benchReadSenders, batch: 1, supply: supply})
	r.Target = fmt.Sprintf("%.1f ms of CPU or less for each, with its request", benchVerifyMillis)
	r.Met = r.CPU > 0 && r.CPU <= 1000*benchVerifyMillis && len(r.Errors) == 0
	return r, err
}

// benchCredential is the body of a request to verify a credential that is good.
func benchCredential(issuer string, key ed25519.PrivateKey) ([]byte, error) {
	now := time.Now().UTC().Add(time.Second).Truncate(time.Second)
	doc := did.Object{
		"@context": []any{vc.ContextV2, did.Object{"@vocab": "urn:weft:template:AgeOver:1#"}}, "type": []any{"VerifiableCredential", "AgeOver"},
		"issuer": issuer, "validUntil": now.AddDate(1, 0, 0).Format(time.RFC3339),
		"credentialSubject": did.Object{"id": "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd", "ageOver": 18},
	}
	signed, err := vc.AddProof(vc.Config{}, doc, vc.ProofOptions{
		Cryptosuite: vc.SuiteJCS, VerificationMethod: issuer + "#key-1", Purpose: "assertionMethod", Created: now,
	}, func(hash []byte) ([]byte, error) { return ed25519.Sign(key, hash), nil })
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"verifiableCredential": signed})
}

// publishDIDs puts DIDs on the ledger in batches, and waits until they are final and the first node has them.
func (b *bench) publishDIDs(ctx context.Context, count int) ([]string, error) {
	network, err := b.networkID(ctx)
	if err != nil {
		return nil, err
	}
	dids, operations, err := newDIDs(network, b.seed, count)
	if err != nil {
		return nil, err
	}
	const batch = benchDIDBatch
	for len(operations) > 0 {
		entries := []client.Entry{}
		for _, operation := range operations[:min(batch, len(operations))] {
			entries = append(entries, client.RawEntry(identity.KindDID, operation))
		}
		operations = operations[len(entries):]
		done, err := b.clients[0].Submit(ctx, entries, client.Options{Final: 20 * time.Second})
		if err != nil {
			return nil, err
		}
		if done.Status != client.Final {
			return nil, errors.New("the DIDs did not become final")
		}
	}
	return dids, nil
}

// postRequest is a whole request.
func postRequest(target, path string, body []byte) []byte {
	head := fmt.Appendf(make([]byte, 0, 256+len(body)), "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, target, len(body))
	return append(head, body...)
}
