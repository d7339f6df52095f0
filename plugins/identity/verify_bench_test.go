package identity

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
	"weft/tangle"
)

// BenchmarkVerifyOverHTTP verifies a credential of a template, with a revocation list on the ledger, as a client asks for it.
func BenchmarkVerifyOverHTTP(b *testing.B) {
	o := openOffline(b, "")
	now := o.clock.Now()
	issuer := o.person("issuer", now.Add(-time.Hour))
	header := operation.Header{Network: o.id, Actor: issuer.did.String(), NotAfter: tangle.TimeOf(now.Add(time.Hour).Truncate(time.Second))}
	create := status.NewCreateList(header, status.ListTerms{Purpose: status.Revocation, Size: status.MinSize})
	list, err := did.OpHash(create)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := did.Sign(create, issuer.key)
	if err != nil {
		b.Fatal(err)
	}
	if code := o.put(KindStatus, raw, now.Add(-time.Hour)); code != "" {
		b.Fatal(code)
	}
	doc := entered(unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": json.Number("18")}), list, "revocation", 4711)
	doc["credentialSchema"] = did.Object{"id": "urn:weft:schema:AgeOver:1", "type": "JsonSchema"}
	credential := seal(b, doc, vc.ProofOptions{VerificationMethod: issuer.method(), Created: now}, issuer.key)
	body, err := json.Marshal(did.Object{"verifiableCredential": credential})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(o)
	defer server.Close()
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		response, err := server.Client().Post(server.URL+"/credentials/verify", rest.TypeJSON, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 {
			b.Fatalf("HTTP %d %s", response.StatusCode, text)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
