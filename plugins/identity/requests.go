package identity

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/trust"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

// requestRoutes let somebody ask a holder for credentials and read the report (identity.md, section 7.7).
func (x *identity) requestRoutes() []plugins.Route {
	read := plugins.ScopeIdentitiesRead
	return []plugins.Route{
		rest.Token(http.MethodPost, "/presentation-requests", read, x.askPresentation),
		rest.Open(http.MethodGet, v1+"/presentation-requests/{id}", plugins.RateRead, x.presentationRequest),
		rest.WithBody(rest.Open(http.MethodPost, v1+"/presentation-requests/{id}/responses", plugins.RateVerify, x.answerPresentation), rest.MaxVerifyBody),
		rest.Token(http.MethodGet, "/presentation-requests/{id}/result", read, x.presentationResult),
	}
}

// Bounds of presentation requests.
const (
	MaxRequested    = 16
	MaxPurposeText  = 512
	maxRequestTTL   = 600 // seconds
	requestKeptFor  = time.Hour
	MaxRequestClaim = 32 // of each credential
)

// wish is one credential that is asked for.
type wish struct {
	Template string        `json:"template,omitempty"`
	Type     string        `json:"type,omitempty"`
	Claims   []vc.Claim    `json:"claims,omitempty"` // shown to whoever asked; with a property also judged by the federation
	Expect   []expectation `json:"expect,omitempty"`
}

type expectation struct {
	Pointer string  `json:"pointer"`
	Equals  anyJSON `json:"equals"`
}

// presentationAsked is a request as its holder sees it.
type presentationAsked struct {
	ID         string `json:"id"`
	Purpose    string `json:"purpose"`
	Requested  []wish `json:"requested"`
	Federation string `json:"federation,omitempty"`
	Audience   string `json:"audience"`
	Nonce      string `json:"nonce"`
	URI        string `json:"uri"`
	ExpiresAt  string `json:"expiresAt"`
}

// savedRequest is a request with its result. The presentation itself is never kept.
type savedRequest struct {
	Asked  presentationAsked `json:"asked"`
	Ends   time.Time         `json:"ends"` // for responses
	Result json.RawMessage   `json:"result,omitempty"`
}

// askPresentation is POST /api/v1/presentation-requests.
func (x *identity) askPresentation(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Purpose    string `json:"purpose"`
		Requested  []wish `json:"requested"`
		Federation string `json:"federation"`
		Audience   string `json:"audience"`
		TTL        int    `json:"ttl"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	owner := plugins.CallerOf(r.Context()).ID
	if err := x.records.mayOpen(sortRequest, owner); err != nil {
		return err
	}
	if body.TTL == 0 {
		body.TTL = maxRequestTTL
	}
	if body.Audience == "" {
		body.Audience = x.self()
	}
	switch {
	case body.TTL < 1 || body.TTL > maxRequestTTL:
		return plugins.Reject("bad_value", "ttl: want 1 to %d seconds", maxRequestTTL)
	case body.Purpose == "" || len(body.Purpose) > MaxPurposeText || len(body.Audience) > MaxAudience:
		return plugins.Reject("bad_value", "purpose: want 1 to %d bytes; audience: at most %d", MaxPurposeText, MaxAudience)
	case len(body.Requested) == 0 || len(body.Requested) > MaxRequested:
		return plugins.Reject("bad_value", "requested: want 1 to %d credentials", MaxRequested)
	}
	if err := x.checkWishes(body.Requested, body.Federation); err != nil {
		return err
	}
	id, ends := randomID(), x.now().Add(time.Duration(body.TTL)*time.Second).Truncate(time.Second)
	uri := x.baseOf(r) + v1 + "/presentation-requests/" + id
	q := savedRequest{Ends: ends, Asked: presentationAsked{
		id, body.Purpose, body.Requested, body.Federation, body.Audience, randomID() + randomID(), uri, ends.UTC().Format(time.RFC3339),
	}}
	if err := x.records.put(sortRequest, id, owner, ends.Add(requestKeptFor), q); err != nil {
		return err
	}
	w.Header().Set("Location", v1+"/presentation-requests/"+id)
	rest.NoStore(w)
	return rest.Answer(w, http.StatusCreated, map[string]string{"id": id, "nonce": q.Asked.Nonce, "uri": uri, "expiresAt": q.Asked.ExpiresAt})
}

// checkWishes refuses what no presentation could meet.
func (x *identity) checkWishes(wishes []wish, federation string) error {
	if federation != "" {
		if _, err := trust.ReadFederation(x.host.View(), federation); err != nil {
			return err
		}
	}
	for i, one := range wishes {
		at := "requested[" + strconv.Itoa(i) + "]"
		if (one.Template == "") == (one.Type == "") || len(one.Type) > MaxAudience {
			return plugins.Reject("bad_value", "%s: want either a template or a type", at)
		}
		if len(one.Claims) > MaxRequestClaim || len(one.Expect) > MaxRequestClaim {
			return plugins.Reject("bad_value", "%s: at most %d claims", at, MaxRequestClaim)
		}
		if slices.ContainsFunc(one.Claims, func(c vc.Claim) bool { return !strings.HasPrefix(c.Pointer, "/") }) {
			return plugins.Reject("bad_value", "%s.claims: want JSON pointers", at)
		}
		_, policy, err := x.policyOf(one, federation)
		if err != nil {
			return err
		}
		if federation != "" && len(policy.Claims) == 0 {
			return plugins.Reject("bad_value", "%s: the federation is asked about no claim: name a property", at)
		}
	}
	return nil
}

// policyOf is the type of a wish, and what its credential is held to.
func (x *identity) policyOf(one wish, federation string) (typ string, p vc.Policy, err error) {
	p.Federation, typ = federation, one.Type
	claims := one.Claims
	if one.Template != "" {
		t, err := x.template(one.Template, 0)
		if err != nil {
			return "", p, err
		}
		typ = t.Type
		if t.Trust.Property != "" {
			claims = append(slices.Clone(claims), t.Trust)
		}
	}
	for _, c := range claims {
		if federation != "" && c.Property != "" && !slices.Contains(p.Claims, c) {
			p.Claims = append(p.Claims, c)
		}
	}
	for _, e := range one.Expect {
		p.Expect = append(p.Expect, vc.Expectation{Pointer: e.Pointer, Equals: e.Equals.v})
	}
	return typ, p, p.Check()
}

func (x *identity) findRequest(id string) (q savedRequest, owner string, err error) {
	owner, found, err := x.records.get(sortRequest, id, &q)
	if err == nil && !found {
		err = plugins.Reject("not_found", "no such request waits here")
	}
	return q, owner, err
}

// presentationRequest is GET /api/v1/presentation-requests/{id}: whoever knows the id may read what is asked.
func (x *identity) presentationRequest(w http.ResponseWriter, r *http.Request) error {
	q, _, err := x.findRequest(r.PathValue("id"))
	if err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, q.Asked)
}

// answerPresentation is POST /api/v1/presentation-requests/{id}/responses: one presentation, once. One that is not signed
// for this request is refused and does not count, or a stranger could use the request up.
func (x *identity) answerPresentation(w http.ResponseWriter, r *http.Request) error {
	raw, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	q, owner, err := x.findRequest(r.PathValue("id"))
	if err != nil {
		return err
	}
	if !x.now().Before(q.Ends) {
		return plugins.Reject("challenge_expired", "the request was open until %s", q.Asked.ExpiresAt)
	}
	result := x.judgePresentation(r.Context(), q.Asked, raw)
	for _, name := range []string{vc.CheckFormat, vc.CheckSignature, vc.CheckNonce} {
		if c, _ := result.Report.Check(name); !c.OK && c.Facts["credential"] == nil {
			return &plugins.Problem{
				Rejection: plugins.Rejection{Code: "refused", Detail: "this is no presentation that was signed for the request: " + name},
				Status:    http.StatusBadRequest, More: map[string]any{"checks": result.Report.Checks},
			}
		}
	}
	if q.Result, err = json.Marshal(result); err != nil {
		return err
	}
	if err := x.keepResult(q, owner); err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, map[string]bool{"received": true})
}

// keepResult keeps the first result.
func (x *identity) keepResult(q savedRequest, owner string) error {
	x.books.mu.Lock()
	defer x.books.mu.Unlock()
	now, _, err := x.findRequest(q.Asked.ID)
	if err != nil {
		return err
	}
	if now.Result != nil {
		return plugins.Reject("challenge_used", "the request was answered before")
	}
	return x.records.put(sortRequest, q.Asked.ID, owner, q.Ends.Add(requestKeptFor), q)
}

// presentationJudged is the result of a request.
type presentationJudged struct {
	Received   bool      `json:"received"`
	ReceivedAt string    `json:"receivedAt,omitempty"`
	Verified   bool      `json:"verified"`
	Report     vc.Report `json:"report"`
	Requested  []granted `json:"requested"`
}

// granted says how one wish was met: by which credential, and what it says where the request looked.
type granted struct {
	Satisfied  bool               `json:"satisfied"`
	Credential *int               `json:"credential,omitempty"` // its place in the presentation
	Issuer     string             `json:"issuer,omitempty"`
	Claims     map[string]anyJSON `json:"claims,omitempty"` // by pointer
	Checks     []vc.Check         `json:"checks,omitempty"` // of the credential that came nearest
	TrustPath  []string           `json:"trustPath,omitempty"`
}

func (x *identity) judgePresentation(ctx context.Context, q presentationAsked, raw []byte) presentationJudged {
	config := x.verifier(ctx)
	j := presentationJudged{Received: true, ReceivedAt: x.now().UTC().Format(time.RFC3339)}
	j.Report = vc.VerifyPresentation(config, raw, vc.Options{Challenge: q.Nonce, Domain: []string{q.Audience}})
	j.Verified = j.Report.Verified
	for _, one := range q.Requested {
		g := x.grantWish(config, q, one, j.Report)
		j.Verified = j.Verified && g.Satisfied
		j.Requested = append(j.Requested, g)
	}
	return j
}

// grantWish looks for a credential of the presentation that meets a wish.
func (x *identity) grantWish(config vc.Config, q presentationAsked, one wish, report vc.Report) granted {
	typ, policy, err := x.policyOf(one, q.Federation)
	if err != nil {
		return granted{} // its template is gone
	}
	best := granted{}
	for i, c := range report.Credentials {
		if c.Credential == nil || !slices.Contains(c.Credential.Type, typ) {
			continue
		}
		if !c.Verified { // a policy more would not help, and each look can cost as much as the first
			best = granted{Credential: &i, Issuer: c.Credential.Issuer, Checks: c.Checks}
			continue
		}
		raw, err := json.Marshal(presented(report, i))
		if err != nil {
			continue
		}
		r := vc.Verify(config, raw, vc.Options{Policy: policy})
		best = granted{Satisfied: r.Verified, Credential: &i, Issuer: c.Credential.Issuer, Checks: r.Checks, TrustPath: r.TrustPath}
		if r.Verified {
			best.Claims = claimsAt(r.Document, one.Claims)
			return best
		}
	}
	return best
}

// presented is a credential as it stands in the presentation.
func presented(report vc.Report, i int) any {
	list, ok := report.Document["verifiableCredential"].([]any)
	if !ok {
		return report.Document["verifiableCredential"]
	}
	return list[i]
}

// claimsAt are the values that were asked for, and no others.
func claimsAt(doc did.Object, claims []vc.Claim) map[string]anyJSON {
	found := map[string]anyJSON{}
	for _, c := range claims {
		var value any = doc
		for segment := range strings.SplitSeq(strings.TrimPrefix(c.Pointer, "/"), "/") {
			o, _ := value.(did.Object)
			value = o[strings.ReplaceAll(strings.ReplaceAll(segment, "~1", "/"), "~0", "~")]
		}
		if value != nil {
			found[c.Pointer] = anyJSON{value}
		}
	}
	return found
}

// presentationResult is GET /api/v1/presentation-requests/{id}/result: for whoever asked.
func (x *identity) presentationResult(w http.ResponseWriter, r *http.Request) error {
	q, owner, err := x.findRequest(r.PathValue("id"))
	if err != nil {
		return err
	}
	if owner != plugins.CallerOf(r.Context()).ID {
		return plugins.Reject("not_found", "no such request waits here")
	}
	rest.NoStore(w)
	if q.Result == nil {
		return rest.Answer(w, http.StatusOK, map[string]any{"received": false, "expiresAt": q.Asked.ExpiresAt})
	}
	return rest.Answer(w, http.StatusOK, q.Result)
}
