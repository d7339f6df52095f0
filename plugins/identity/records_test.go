package identity

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"weft/internal/nodetest"
	"weft/plugins"
	"weft/plugins/plugintest"
	"weft/plugins/rest"
)

// counting counts the records that are looked at.
type counting struct {
	plugins.Local
	seen int
}

func (c *counting) Scan(from, to []byte, visit func(key, value []byte) bool) {
	c.Local.Scan(from, to, func(key, value []byte) bool {
		c.seen++
		return visit(key, value)
	})
}

// What an owner may still open costs no look at what others have open.
func TestOpenRecordsOfAnOwner(t *testing.T) {
	clock := &nodetest.Clock{}
	local := &counting{Local: plugintest.NewLocal()}
	r := &records{local: local, now: clock.Now}
	put := func(s sort, owner string, n int, life time.Duration) {
		t.Helper()
		for i := range n {
			if err := r.put(s, fmt.Sprintf("%s-%d", owner, i), owner, clock.Now().Add(life), i); err != nil {
				t.Fatal(err)
			}
		}
	}
	mayOpen := func(owner string) string {
		t.Helper()
		if err := r.mayOpen(sortProposal, owner); err != nil {
			return plugins.Rejected(err).Code
		}
		return ""
	}
	put(sortProposal, "many", MaxOpenRecords, time.Hour)
	put(sortProposal, "many-more", 1, time.Hour) // begins with the same letters
	put(sortRequest, "few", MaxOpenRecords, time.Hour)
	put(sortProposal, "few", 2, time.Minute)
	local.seen = 0
	if got := mayOpen("few"); got != "" || local.seen > 2 {
		t.Errorf("few: %q after a look at %d records", got, local.seen)
	}
	if got := mayOpen("many"); got != "limit_reached" {
		t.Errorf("many: %q", got)
	}
	if err := r.erase(sortProposal, "many-0", "many"); err != nil {
		t.Fatal(err)
	}
	if got := mayOpen("many"); got != "" {
		t.Errorf("many, one less: %q", got)
	}
	put(sortProposal, "many", 1, time.Hour)
	clock.Forward(2 * time.Hour)
	if got := mayOpen("many"); got != "" {
		t.Errorf("many, all over: %q", got)
	}
	if err := r.expire(); err != nil {
		t.Fatal(err)
	}
	local.Scan(nil, nil, func(key, _ []byte) bool {
		t.Errorf("%q is left", key)
		return true
	})
}

// An issuer that anyone on this machine may use is not there for whom somebody on this machine speaks.
func TestCallersOnThisMachine(t *testing.T) {
	for _, c := range []struct {
		host, header string
		want         bool
	}{
		{"localhost:8080", "", true}, {"127.0.0.1:8080", "", true}, {"127.0.0.2", "", true}, {"[::1]:8443", "", true}, {"[::1]", "", true}, {"localhost", "", true},
		{"issuer.example:8080", "", false}, {"localhost.example", "", false}, {"10.0.0.1:8080", "", false}, {"", "", false},
		{"localhost:8080", "X-Forwarded-For", false}, {"localhost:8080", "Forwarded", false}, {"localhost:8080", "Via", false},
	} {
		r := httptest.NewRequest("POST", "/credentials/issue", nil)
		r.Host = c.host
		if c.header != "" {
			r.Header.Set(c.header, "203.0.113.1")
		}
		if got := isDirect(r); got != c.want {
			t.Errorf("%q %s: %v", c.host, c.header, got)
		}
	}
}

// A list that few of many records are on ends after a bounded look, and goes on by its cursor.
func TestCredentialListIsBounded(t *testing.T) {
	clock := &nodetest.Clock{}
	x := &identity{records: &records{local: plugintest.NewLocal(), now: clock.Now}}
	for i := range MaxListed + 10 {
		if err := x.records.put(sortCredential, fmt.Sprintf("id-%06d", i), "", time.Time{}, issuedCredential{Issuer: "did:example:other", Type: []string{}}); err != nil {
			t.Fatal(err)
		}
	}
	query := ""
	for want := range 2 {
		r := httptest.NewRequest("GET", "/api/v1/credentials"+query, nil)
		w := httptest.NewRecorder()
		if err := x.listCredentials(w, r.WithContext(plugins.WithCaller(r.Context(), plugins.Caller{ID: "me", DID: "did:example:me"}))); err != nil {
			t.Fatal(err)
		}
		var a rest.List[credentialView]
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Items) != 0 || (a.Next != nil) != (want == 0) {
			t.Fatalf("page %d: %d items, next %v", want, len(a.Items), a.Next)
		}
		if a.Next != nil {
			query = "?cursor=" + *a.Next
		}
	}
}
