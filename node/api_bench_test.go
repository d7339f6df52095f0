package node

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"weft/plugins"
	"weft/tangle"
)

// checkAgainstStandard wants that what the scanner takes is JSON to the standard library too, with as many entries.
func checkAgainstStandard(t *testing.T, body []byte, entries int) {
	t.Helper()
	var v struct {
		Entries []struct {
			Kind any
			Data any
		}
	}
	if err := json.Unmarshal(body, &v); err != nil || len(v.Entries) != entries {
		t.Fatalf("the standard library sees %d entries, %v; the scanner %d", len(v.Entries), err, entries)
	}
}

// benchSubmit measures the API alone: the node behind it answers at once.
func benchSubmit(b *testing.B, entries int, header ...string) {
	n := runNode(b, apiConfig())
	hashes := make([]tangle.Hash, entries)
	n.api.Node = troubled{backend: n, publish: func([]plugins.Submission) (tangle.ID, []tangle.Hash, error) { return tangle.ID{}, hashes, nil }}
	body := []byte(submission("bench", slices.Repeat([]string{strings.Repeat("x", 250)}, entries)...))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(context.Background(), "POST", "/api/v1/messages", bytes.NewReader(body))
		r.Header.Set("Content-Type", jsonType)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1]+newRequestID())
		}
		w := httptest.NewRecorder()
		n.api.public.ServeHTTP(w, r)
		if w.Code != 202 {
			b.Fatal(w.Code, w.Body)
		}
	}
}

func BenchmarkSubmit1(b *testing.B)     { benchSubmit(b, 1) }
func BenchmarkSubmit64(b *testing.B)    { benchSubmit(b, 64) }
func BenchmarkSubmit64Key(b *testing.B) { benchSubmit(b, 64, "Idempotency-Key", "k") }

// BenchmarkFinal is a whole round: publish, wait, read the outcome back.
func benchFinal(b *testing.B, path string, entries int) {
	n := runNode(b, apiConfig())
	body := submission("bench", slices.Repeat([]string{strings.Repeat("x", 250)}, entries)...)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := n.call("POST", path, body); r.status != 201 {
				b.Error(r.status, string(r.body))
			}
		}
	})
}

func BenchmarkFinal1(b *testing.B) {
	b.SetParallelism(200)
	benchFinal(b, "/api/v1/messages?wait=final", 1)
}
func BenchmarkFinal64(b *testing.B) {
	b.SetParallelism(32)
	benchFinal(b, "/api/v1/messages?wait=final", 64)
}
