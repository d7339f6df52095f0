package identity

import (
	"net/http"
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/trust"
	"weft/plugins/rest"
	"weft/tangle"
)

// trustRoutes are who may attest what (identity.md, section 8), and whom this node believes.
func (x *identity) trustRoutes() []plugins.Route {
	roots := rest.Open(http.MethodGet, v1+"/trust/roots", plugins.RateRead, x.believedRoots)
	believe := rest.WithBody(rest.Token(http.MethodPut, "/trust/roots", plugins.ScopeAdmin, x.believe), rest.MaxBody)
	believe.Auth = plugins.AuthAdmin
	post := func(path string, fit rest.Fits) plugins.Route {
		return rest.Signed(http.MethodPost, "/trust"+path, x.submitting(KindTrust, fit))
	}
	return []plugins.Route{
		roots, believe,
		rest.Reading("/trust/federations", x.federations, rest.PageQuery()...),
		post("/federations", fitsTrust(trust.CreateFederation)),
		rest.Reading("/trust/federations/{id}", x.federation),
		rest.Reading("/trust/federations/{id}/graph", x.graph, rest.PageQuery()...),
		post("/federations/{id}/roots", fitsTrust(trust.AddRoot, trust.RevokeRoot, trust.ReinstateRoot, trust.SetThreshold)),
		post("/federations/{id}/properties", fitsTrust(trust.AddProperty, trust.RevokeProperty)),
		post("/federations/{id}/accreditations", fitsTrust(trust.MakeGrant)),
		rest.Reading("/trust/accreditations/{grant}", x.grant),
		post("/accreditations/{grant}/revoke", fitsTrust(trust.Revoke)),
		rest.WithBody(rest.Open(http.MethodPost, v1+"/trust/evaluate", plugins.RateVerify, x.evaluate), rest.MaxBody),
	}
}

// fitsTrust wants one of some operations, about what the path names.
func fitsTrust(want ...trust.Op) rest.Fits {
	return func(o plugins.Op, r *http.Request) error {
		op := o.(*trust.Operation)
		if !slices.Contains(want, op.Op) {
			return plugins.Reject("bad_value", "the operation is %s; this route takes %v", op.Op, want)
		}
		federation := op.Federation
		if op.Op == trust.MakeGrant {
			federation = op.Grant.Federation
		}
		if id := r.PathValue("id"); id != "" && id != federation {
			return plugins.Reject("bad_value", "the operation is about another federation than the path")
		}
		if grant := r.PathValue("grant"); grant != "" && grant != op.Revoked {
			return plugins.Reject("bad_value", "the operation is about another grant than the path")
		}
		return nil
	}
}

// believed is whom this node believes, whatever others do.
type believed struct {
	DIDs        []string `json:"dids"`
	Federations []string `json:"federations"`
}

// MaxBelieved bounds each list of believed roots.
const MaxBelieved = 256

const believedID = "roots"

func (x *identity) readBelieved() (b believed, err error) {
	_, _, err = x.records.get(sortBelieved, believedID, &b)
	if b.DIDs == nil {
		b.DIDs = []string{}
	}
	if b.Federations == nil {
		b.Federations = []string{}
	}
	return b, err
}

func (x *identity) believedRoots(w http.ResponseWriter, _ *http.Request) error {
	b, err := x.readBelieved()
	if err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, b)
}

// believe is PUT /api/v1/trust/roots: the whole list.
func (x *identity) believe(w http.ResponseWriter, r *http.Request) error {
	b := believed{DIDs: []string{}, Federations: []string{}}
	if err := rest.Read(r, &b); err != nil {
		return err
	}
	if len(b.DIDs) > MaxBelieved || len(b.Federations) > MaxBelieved {
		return plugins.Reject("limit_reached", "at most %d DIDs and as many federations", MaxBelieved)
	}
	for _, who := range b.DIDs {
		if u, err := did.ParseURL(who); err != nil || u.DID != who {
			return plugins.Reject("bad_value", "dids: %.100q is not a DID", who)
		}
	}
	for _, id := range b.Federations {
		if _, err := trust.ReadFederation(x.host.View(), id); err != nil {
			return err
		}
	}
	if err := x.records.put(sortBelieved, believedID, "", time.Time{}, b); err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, b)
}

// federationView is a federation with its properties.
type federationView struct {
	trust.Federation
	Properties []trust.PropertyRecord `json:"properties"`
}

// federations is GET /api/v1/trust/federations.
func (x *identity) federations(w http.ResponseWriter, r *http.Request) error {
	p, err := rest.ReadPage(r)
	if err != nil {
		return err
	}
	from := p.After
	if from != "" {
		from += "\x00" // the one after
	}
	list, err := trust.Federations(x.host.View(), from, p.Limit+1)
	if err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, rest.PageOf(list, p, func(f trust.Federation) string { return f.ID }))
}

func (x *identity) federation(w http.ResponseWriter, r *http.Request) error {
	f, err := x.findFederation(r)
	if err != nil {
		return err
	}
	properties, err := trust.Properties(x.host.View(), f.ID)
	if err != nil {
		return err
	}
	if properties == nil {
		properties = []trust.PropertyRecord{}
	}
	return rest.Answer(w, http.StatusOK, federationView{*f, properties})
}

// findFederation finds that of the path. One that this node has not heard of may be known to others already.
func (x *identity) findFederation(r *http.Request) (*trust.Federation, error) {
	f, err := trust.ReadFederation(x.host.View(), r.PathValue("id"))
	if plugins.Rejected(err) != nil {
		x.host.CatchUp(r.Context())
		f, err = trust.ReadFederation(x.host.View(), r.PathValue("id"))
	}
	return f, err
}

// graph is GET /api/v1/trust/federations/{id}/graph: the grants, whose under and subject are its edges.
func (x *identity) graph(w http.ResponseWriter, r *http.Request) error {
	p, err := rest.ReadPage(r)
	if err != nil {
		return err
	}
	f, err := x.findFederation(r)
	if err != nil {
		return err
	}
	list, next, err := trust.Graph(x.host.View(), f.ID, p.After, p.Limit)
	if err != nil {
		return err
	}
	a := rest.List[trust.Grant]{Items: list}
	if list == nil {
		a.Items = []trust.Grant{}
	}
	if next != "" {
		cursor := encodeBase64(next)
		a.Next = &cursor
	}
	return rest.Answer(w, http.StatusOK, a)
}

// grant is GET /api/v1/trust/accreditations/{grant}.
func (x *identity) grant(w http.ResponseWriter, r *http.Request) error {
	g, err := trust.ReadGrant(x.host.View(), r.PathValue("grant"))
	if plugins.Rejected(err) != nil {
		x.host.CatchUp(r.Context())
		g, err = trust.ReadGrant(x.host.View(), r.PathValue("grant"))
	}
	if err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, g)
}

// evaluation is an answer of a federation, and whether this node believes that federation at all.
type evaluation struct {
	trust.Answer
	Believed bool `json:"believed"`
}

// evaluate is POST /api/v1/trust/evaluate.
func (x *identity) evaluate(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Federation string    `json:"federation"`
		Attester   string    `json:"attester"`
		Property   string    `json:"property"`
		Value      anyJSON   `json:"value"`
		At         time.Time `json:"at"`
		AsOf       time.Time `json:"asOf"`
		TrustTime  string    `json:"trustTime"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	if body.Federation == "" || body.Attester == "" || body.Property == "" || body.Value.v == nil {
		return plugins.Reject("bad_value", "want federation, attester, property and value")
	}
	if body.TrustTime != "" && body.TrustTime != "issuance" && body.TrustTime != "both" {
		return plugins.Reject("bad_value", "trustTime: want issuance or both")
	}
	q := trust.Question{
		Federation: body.Federation, Attester: body.Attester, Property: body.Property, Value: body.Value.v,
		Now: tangle.TimeOf(x.now()), Both: body.TrustTime == "both",
	}
	for _, t := range []struct {
		at time.Time
		to *tangle.Time
	}{{body.At, &q.At}, {body.AsOf, &q.AsOf}} {
		switch {
		case t.at.IsZero():
		case t.at.Year() < 1970:
			return plugins.Reject("bad_value", "at and asOf: want times since 1970")
		default:
			*t.to = tangle.TimeOf(t.at)
		}
	}
	a, err := trust.Evaluate(x.host.View(), q)
	if err != nil {
		return err
	}
	if a.Path == nil {
		a.Path = []trust.Step{}
	}
	b, err := x.readBelieved()
	if err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, evaluation{a, slices.Contains(b.Federations, body.Federation)})
}
