package identity

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

// issuerRoutes are the VC API (identity.md, section 7.3): of each issuer instance below its name, and of the first one at
// the root. Verifying needs no instance and no key, and is there on every node.
func (x *identity) issuerRoutes() (list []plugins.Route) {
	for _, base := range []string{"", "/issuers/{name}"} {
		post := func(path string, rate plugins.Rate, serve func(http.ResponseWriter, *http.Request) error) {
			list = append(list, rest.WithBody(rest.Open(http.MethodPost, base+path, rate, serve), rest.MaxVerifyBody))
		}
		post("/credentials/issue", plugins.RateWrite, x.issueCredential)
		post("/credentials/status", plugins.RateWrite, x.setCredentialStatus)
		post("/credentials/verify", plugins.RateVerify, x.verifyCredential)
		post("/presentations/verify", plugins.RateVerify, x.verifyPresentation)
		lists := rest.Open(http.MethodGet, base+"/status-lists/{list}", plugins.RateRead, x.serveList)
		lists.Query, lists.Gives = []string{"timestamp"}, nil // it looks at Accept itself: clients ask for many kinds of JSON
		challenges := rest.WithBody(rest.Open(http.MethodPost, base+"/challenges", plugins.RateAnonymous, x.makeChallenge), rest.MaxBody)
		challenges.MayLack = true // callers send nothing, or an empty object
		list = append(list, challenges, lists)
	}
	return append(list, x.statusListRoutes()...)
}

// badRequest gives a refusal of what was sent the status that callers of the VC API know, and its problemDetails.
func badRequest(err error) error {
	r := plugins.Rejected(err)
	if r == nil {
		return err
	}
	problem := "https://www.w3.org/TR/vc-data-model#MALFORMED_VALUE_ERROR"
	if r.Code == "bad_json" {
		problem = "https://www.w3.org/TR/vc-data-model#PARSING_ERROR"
	}
	details := []vc.Problem{{Type: problem, Title: "Malformed value", Detail: r.Detail}}
	return &plugins.Problem{Rejection: *r, Status: http.StatusBadRequest, More: map[string]any{"problemDetails": details}}
}

// issueCredential is POST /credentials/issue.
func (x *identity) issueCredential(w http.ResponseWriter, r *http.Request) error {
	in, err := x.instanceFor(r)
	if err != nil {
		return err
	}
	var body struct {
		Credential json.RawMessage `json:"credential"`
		Options    struct {
			CredentialID string `json:"credentialId"`
			Cryptosuite  string `json:"cryptosuite"`
		} `json:"options"`
	}
	if err := rest.Read(r, &body); err != nil {
		return badRequest(err)
	}
	order := issueOrder{id: body.Options.CredentialID, suite: body.Options.Cryptosuite, by: plugins.CallerOf(r.Context()).ID, base: x.baseOf(r)}
	if err := in.read(&order, body.Credential); err != nil {
		return badRequest(err)
	}
	signed, err := in.issue(r.Context(), order)
	if r := plugins.Rejected(err); r != nil && (r.Code == "bad_value" || r.Code == "parse_error" || r.Code == "too_large") {
		return badRequest(err)
	}
	if err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusCreated, did.Object{"verifiableCredential": signed})
}

// baseOf is where this request reached the API, with the issuer's path: what status list URLs begin with.
func (x *identity) baseOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	base := x.publicURL(scheme, r.Host)
	if name := r.PathValue("name"); name != "" {
		base += "/issuers/" + name
	}
	return base
}

// verifyOptions are those of the VC API, and what we add to them.
type verifyOptions struct {
	Checks           []string        `json:"checks"`
	ReturnCredential bool            `json:"returnCredential"`
	Policy           json.RawMessage `json:"policy"`
	AnchorSalts      []string        `json:"anchorSalts"` // base64url: of anchors that may show the credential's age

	Challenge string          `json:"challenge"` // of presentations
	Domain    json.RawMessage `json:"domain"`    // a text or a list
}

// The checks that a caller can leave out by naming others: the VC API's words for them.
const (
	optionProof  = "proof"
	optionStatus = "credentialStatus"
	optionSchema = "credentialSchema"
)

// options makes the verifier's options. The codes are those of a bad body.
func (o *verifyOptions) options() (out vc.Options, err error) {
	for _, name := range o.Checks {
		if name != optionProof && name != optionStatus && name != optionSchema {
			return out, plugins.Reject("bad_value", "options.checks: %.60q is none of %s, %s, %s", name, optionProof, optionStatus, optionSchema)
		}
	}
	out.Challenge = o.Challenge
	if out.Domain, err = textOrList(o.Domain); err != nil {
		return out, plugins.Reject("bad_value", "options.domain: want a text or a list of texts")
	}
	if o.Policy != nil {
		if out.Policy, err = vc.ParsePolicy(o.Policy); err != nil {
			return out, err
		}
	}
	for _, text := range o.AnchorSalts {
		salt, err := decodeBase64(text)
		if err != nil || len(salt) != 32 || len(o.AnchorSalts) > vc.MaxSalts {
			return out, plugins.Reject("bad_value", "options.anchorSalts: want up to %d salts of 32 bytes in base64url", vc.MaxSalts)
		}
		out.Salts = append(out.Salts, salt)
	}
	return out, nil
}

func textOrList(raw json.RawMessage) (list []string, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if raw[0] == '"' {
		list = []string{""}
		return list, json.Unmarshal(raw, &list[0])
	}
	return list, json.Unmarshal(raw, &list)
}

// leftOut are the checks of a report that the caller did not ask for. Everything that has no name of its own in the VC API
// goes with the proof.
func (o *verifyOptions) leftOut() (names []string) {
	if len(o.Checks) == 0 {
		return nil
	}
	for option, check := range map[string]string{optionStatus: vc.CheckStatus, optionSchema: vc.CheckSchema} {
		if !slices.Contains(o.Checks, option) {
			names = append(names, check)
		}
	}
	return names
}

// without is a report without some checks: they are shown as skipped, and the verdict is that of the others.
func without(report vc.Report, names []string) vc.Report {
	if len(names) == 0 {
		return report
	}
	left := map[string]bool{} // titles of problems that no check has any more
	report.Verified = true
	checks := slices.Clone(report.Checks)
	for i, c := range checks {
		if slices.Contains(names, c.Name) {
			left[c.Reason] = c.Failed()
			checks[i] = vc.Check{Name: c.Name, Skipped: true, Reason: "not asked for"}
			continue
		}
		report.Verified = report.Verified && c.OK
	}
	report.Checks = checks
	report.Problems = slices.DeleteFunc(slices.Clone(report.Problems), func(p vc.Problem) bool { return left[p.Detail] })
	for i := range report.Credentials {
		report.Credentials[i] = without(report.Credentials[i], names)
		report.Verified = report.Verified && report.Credentials[i].Verified
	}
	return report
}

// reportAnswer is a report; with returnCredential the credential itself stands where its summary is.
type reportAnswer struct {
	vc.Report
	Whole did.Object `json:"credential,omitempty"`
}

func (x *identity) answerReport(w http.ResponseWriter, report vc.Report, whole bool) error {
	status := http.StatusOK
	if !report.Verified {
		status = http.StatusBadRequest
	}
	rest.NoStore(w)
	if whole && report.Document != nil {
		return rest.Answer(w, status, reportAnswer{report, report.Document})
	}
	return rest.Answer(w, status, report)
}

// verifyCredential is POST /credentials/verify: 200 for a credential that passes, 400 with the same report for one that does
// not.
func (x *identity) verifyCredential(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Credential json.RawMessage `json:"verifiableCredential"`
		Options    verifyOptions   `json:"options"`
	}
	options, err := x.readVerify(r, &body, &body.Options)
	if err != nil {
		return err
	}
	if body.Credential == nil || body.Options.Challenge != "" || body.Options.Domain != nil {
		return badRequest(plugins.Reject("bad_value", "want verifiableCredential, and no challenge or domain"))
	}
	report := vc.Verify(x.verifier(r.Context()), body.Credential, options)
	return x.answerReport(w, without(report, body.Options.leftOut()), body.Options.ReturnCredential)
}

// verifyPresentation is POST /presentations/verify.
func (x *identity) verifyPresentation(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Presentation json.RawMessage `json:"verifiablePresentation"`
		Options      verifyOptions   `json:"options"`
	}
	options, err := x.readVerify(r, &body, &body.Options)
	if err != nil {
		return err
	}
	if body.Presentation == nil || body.Options.ReturnCredential {
		return badRequest(plugins.Reject("bad_value", "want verifiablePresentation, and no returnCredential"))
	}
	report := vc.VerifyPresentation(x.verifier(r.Context()), body.Presentation, options)
	return x.answerReport(w, without(report, body.Options.leftOut()), false)
}

// readVerify reads the body of a verification at an instance that exists.
func (x *identity) readVerify(r *http.Request, body any, o *verifyOptions) (vc.Options, error) {
	if name := r.PathValue("name"); name != "" {
		if _, err := x.issuer(name); err != nil {
			return vc.Options{}, err
		}
	}
	if err := rest.Read(r, body); err != nil {
		return vc.Options{}, badRequest(err)
	}
	options, err := o.options()
	return options, badRequest(err)
}

// makeChallenge is POST /challenges: for presentations that are verified here.
func (x *identity) makeChallenge(w http.ResponseWriter, r *http.Request) error {
	if name := r.PathValue("name"); name != "" {
		if _, err := x.issuer(name); err != nil {
			return err
		}
	}
	text, _ := x.challenges.make(presentPurpose, x.now())
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, map[string]string{"challenge": text})
}

// setCredentialStatus is POST /credentials/status: 200 once the ledger has the bit, or had it.
func (x *identity) setCredentialStatus(w http.ResponseWriter, r *http.Request) error {
	in, err := x.instanceFor(r)
	if err != nil {
		return err
	}
	var body struct {
		CredentialID     string `json:"credentialId"`
		CredentialStatus struct {
			Type          string `json:"type"`
			StatusPurpose string `json:"statusPurpose"`
		} `json:"credentialStatus"`
		Status anyJSON `json:"status"`
	}
	if err := rest.Read(r, &body); err != nil {
		return badRequest(err)
	}
	if body.CredentialStatus.Type != "BitstringStatusListEntry" {
		return badRequest(plugins.Reject("bad_value", "credentialStatus.type: want BitstringStatusListEntry"))
	}
	on, given := body.Status.v.(bool)
	if !given && body.Status.v != nil {
		return badRequest(plugins.Reject("bad_value", "status: want true or false"))
	}
	record, found, err := x.issued(body.CredentialID)
	if err != nil {
		return err
	}
	if !found || record.Issuer != in.DID {
		return plugins.Reject("not_found", "this instance has issued no such credential")
	}
	return x.answerSet(w, r, in, record.refs(body.CredentialStatus.StatusPurpose), on || !given)
}

func (x *identity) answerSet(w http.ResponseWriter, r *http.Request, in instance, refs []statusRef, on bool) error {
	if len(refs) == 0 {
		return badRequest(plugins.Reject("bad_value", "the credential has no status of this purpose"))
	}
	var last rest.State
	for _, set := range byList(refs) {
		var err error
		if last, err = in.set(r.Context(), set.list, set.indexes, on); err != nil {
			return err
		}
	}
	return rest.Answer(w, http.StatusOK, x.operations.View(last))
}

// issuer finds an instance by its name; the empty name is the first one.
func (x *identity) issuer(name string) (Issuer, error) {
	for _, one := range x.settings.Issuers {
		if name == "" || one.Name == name {
			return one, nil
		}
	}
	return Issuer{}, plugins.Reject("not_found", "this node has no issuer %q", name)
}

// instanceFor is the instance that a request is for and whose caller may use it, able to sign.
func (x *identity) instanceFor(r *http.Request) (instance, error) {
	one, err := x.issuer(r.PathValue("name"))
	if err != nil {
		return instance{}, err
	}
	return x.instance(one), one.authorize(r)
}

// authorize applies the instance's rule of who may issue.
func (i Issuer) authorize(r *http.Request) error {
	c := plugins.CallerOf(r.Context())
	if i.Access == AccessLoopback && c.Loopback && isDirect(r) {
		return nil
	}
	return needScope(c, plugins.ScopeCredentialsIssue)
}

// isDirect says whether a caller on this machine has called for themselves, as far as one can tell: a proxy that passes on
// whatever comes says so as a rule, and a web page that had its own name lead here (DNS rebinding) names itself as the host.
func isDirect(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}

// set changes bits of one list by an operation that the instance signs, and waits until it is final.
func (in instance) set(ctx context.Context, list string, indexes []int, on bool) (rest.State, error) {
	return in.publish(ctx, in.setBody(list, indexes, on))
}

// issuerOf is the DID that a credential says it is of.
func issuerOf(doc did.Object) string {
	if o, ok := doc["issuer"].(did.Object); ok {
		id, _ := o["id"].(string)
		return id
	}
	id, _ := doc["issuer"].(string)
	return id
}

// subjectOf is the id of a credential's only subject, if it has one.
func subjectOf(doc did.Object) string {
	o, _ := doc["credentialSubject"].(did.Object)
	if list, ok := doc["credentialSubject"].([]any); ok && len(list) == 1 {
		o, _ = list[0].(did.Object)
	}
	id, _ := o["id"].(string)
	return id
}

// typesOf are the types of a credential without the one that all have.
func typesOf(doc did.Object) (types []string) {
	list, _ := doc["type"].([]any)
	for _, t := range list {
		if name, ok := t.(string); ok && name != "VerifiableCredential" {
			types = append(types, name)
		}
	}
	return types
}

// isV1 says whether a credential follows VC 1.1.
func isV1(doc did.Object) bool {
	list, _ := doc["@context"].([]any)
	return len(list) > 0 && list[0] == vc.ContextV1
}

// namesContext says whether a credential names a context whose URL begins so.
func namesContext(doc did.Object, prefix string) bool {
	list, _ := doc["@context"].([]any)
	return slices.ContainsFunc(list, func(v any) bool {
		url, _ := v.(string)
		return strings.HasPrefix(url, prefix)
	})
}
