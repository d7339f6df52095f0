package identity

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

//go:embed templates/templates.json
var shippedTemplates []byte

// template says what a kind of credential holds: how to ask for it, what is right, and which property of a federation its
// main claim is a value of. A version never changes once it is there: credentials name it.
type template struct {
	Name    string          `json:"name"`
	Version int             `json:"version"`
	Type    string          `json:"type"`
	Schema  json.RawMessage `json:"schema"` // JSON Schema of the whole credential
	Fields  []templateField `json:"fields"`
	Display templateDisplay `json:"display"`
	Trust   vc.Claim        `json:"trust"`
}

type templateField struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"` // string, integer, date, boolean, nullifier
	Title    string    `json:"title"`
	Required bool      `json:"required"`
	Enum     []anyJSON `json:"enum,omitempty"`
}

type templateDisplay struct {
	Title       string `json:"title"`
	Description string `json:"description"`
}

// Bounds of templates.
const (
	MaxTemplates      = 1000
	MaxTemplateFields = 64
	MaxTemplateName   = 64
	MaxTemplateTitle  = 256
)

// vocabulary makes every term of a credential an absolute IRI without a context that would have to be hosted.
func (t template) vocabulary() string {
	return fmt.Sprintf("urn:weft:template:%s:%d#", t.Name, t.Version)
}

func (t template) schemaID() string { return fmt.Sprintf("urn:weft:schema:%s:%d", t.Name, t.Version) }

// shipped are the templates that every node has.
func shipped() (list []template, err error) {
	return list, json.Unmarshal(shippedTemplates, &list)
}

func templateID(name string, version int) string { return fmt.Sprintf("%s\x00%08d", name, version) }

// templates lists the newest version of each, in the order of their names.
func (x *identity) templates() ([]template, error) {
	list, err := shipped()
	if err != nil {
		return nil, err
	}
	newest := map[string]template{}
	for _, t := range list {
		newest[t.Name] = t
	}
	x.records.each(sortTemplate, "", "", func(_ string, rec record) bool {
		var t template
		if err = json.Unmarshal(rec.Value, &t); err == nil {
			newest[t.Name] = t // versions ascend
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	list = list[:0]
	for _, t := range newest {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b template) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// template finds a template by its name, the newest version (0) or the given one. Every verification asks for one, so it
// reads no others.
func (x *identity) template(name string, version int) (t template, err error) {
	id := templateID(name, version)
	if version == 0 {
		x.records.each(sortTemplate, name+"\x00", "", func(one string, _ record) bool {
			id = one // versions ascend
			return true
		})
	}
	if _, found, err := x.records.get(sortTemplate, id, &t); found || err != nil {
		return t, err
	}
	list, err := shipped()
	if err != nil {
		return t, err
	}
	at := slices.IndexFunc(list, func(t template) bool { return t.Name == name && (version == 0 || t.Version == version) })
	if at < 0 {
		return t, plugins.Reject("not_found", "no template %.60q of that version", name)
	}
	return list[at], nil
}

// schema is the verifier's: the schemas of templates that this node has, and no others.
func (x *identity) schema(id string) ([]byte, bool) {
	rest, ours := strings.CutPrefix(id, "urn:weft:schema:")
	name, text, _ := strings.Cut(rest, ":")
	version, err := strconv.Atoi(text)
	if !ours || err != nil || version < 1 {
		return nil, false
	}
	t, err := x.template(name, version)
	return t.Schema, err == nil
}

// check refuses a template that no credential could be made of.
func (t template) check() error {
	plain := func(s string) bool {
		return s != "" && len(s) <= MaxTemplateName && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
	}
	switch {
	case !plain(t.Name) || !plain(t.Type):
		return plugins.Reject("bad_value", "name and type: want 1 to %d letters, digits, _ and -", MaxTemplateName)
	case len(t.Fields) == 0 || len(t.Fields) > MaxTemplateFields:
		return plugins.Reject("bad_value", "fields: want 1 to %d", MaxTemplateFields)
	case t.Trust.Pointer != "" && !strings.HasPrefix(t.Trust.Pointer, "/credentialSubject/"):
		return plugins.Reject("bad_value", "trust.pointer: want a JSON pointer into /credentialSubject")
	case (t.Trust.Pointer == "") != (t.Trust.Property == ""):
		return plugins.Reject("bad_value", "trust: want pointer and property, or neither")
	case t.Schema == nil:
		return plugins.Reject("bad_value", "schema: want a JSON Schema of the credential")
	case len(t.Display.Title) > MaxTemplateTitle || len(t.Display.Description) > MaxTemplateTitle:
		return plugins.Reject("bad_value", "display: at most %d bytes each", MaxTemplateTitle)
	}
	for _, f := range t.Fields {
		if !plain(f.Name) || f.Name == "id" || len(f.Title) > MaxTemplateTitle || !slices.Contains([]string{"string", "integer", "date", "boolean", "nullifier"}, f.Type) {
			return plugins.Reject("bad_value", "field %.60q: want a name of its own, and a type of string, integer, date, boolean, nullifier", f.Name)
		}
	}
	if err := vc.ValidateSchema(t.schemaID(), t.Schema, did.Object{}); err != nil && plugins.Rejected(err) != nil && plugins.Rejected(err).Code == "bad_value" {
		return err
	}
	return nil
}

// listTemplates is GET /api/v1/credential-templates.
func (x *identity) listTemplates(w http.ResponseWriter, r *http.Request) error {
	p, err := rest.ReadPage(r)
	if err != nil {
		return err
	}
	list, err := x.templates()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(t template) bool { return t.Name <= p.After && p.After != "" })
	return rest.Answer(w, http.StatusOK, rest.PageOf(list[:min(len(list), p.Limit+1)], p, func(t template) string { return t.Name }))
}

func (x *identity) getTemplate(w http.ResponseWriter, r *http.Request) error {
	t, err := x.template(r.PathValue("template"), 0)
	if err != nil {
		return err
	}
	return answerTemplate(w, http.StatusOK, t)
}

func answerTemplate(w http.ResponseWriter, status int, t template) error {
	w.Header().Set("ETag", etagOf(t.Version))
	return rest.Answer(w, status, t)
}

func etagOf(version int) string { return `"` + strconv.Itoa(version) + `"` }

// readTemplate reads a body, in which the version is not the caller's to choose.
func readTemplate(r *http.Request) (t template, err error) {
	var body struct {
		Name    string          `json:"name"`
		Type    string          `json:"type"`
		Schema  json.RawMessage `json:"schema"`
		Fields  []templateField `json:"fields"`
		Display templateDisplay `json:"display"`
		Trust   vc.Claim        `json:"trust"`
	}
	if err := rest.Read(r, &body); err != nil {
		return t, err
	}
	t = template{body.Name, 1, body.Type, body.Schema, body.Fields, body.Display, body.Trust}
	return t, t.check()
}

// addTemplate is POST /api/v1/credential-templates.
func (x *identity) addTemplate(w http.ResponseWriter, r *http.Request) error {
	t, err := readTemplate(r)
	if err != nil {
		return err
	}
	x.books.mu.Lock()
	defer x.books.mu.Unlock()
	list, err := x.templates()
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(list, func(o template) bool { return o.Name == t.Name }):
		return plugins.Reject("already_exists", "template %s: PUT makes a new version", t.Name)
	case len(list) >= MaxTemplates:
		return plugins.Reject("limit_reached", "%d templates are there already", len(list))
	}
	if err := x.records.put(sortTemplate, templateID(t.Name, t.Version), plugins.CallerOf(r.Context()).ID, time.Time{}, t); err != nil {
		return err
	}
	w.Header().Set("Location", v1+"/credential-templates/"+t.Name)
	return answerTemplate(w, http.StatusCreated, t)
}

// putTemplate is PUT /api/v1/credential-templates/{template}: a new version beside the old ones.
func (x *identity) putTemplate(w http.ResponseWriter, r *http.Request) error {
	t, err := readTemplate(r)
	if err != nil {
		return err
	}
	if t.Name != r.PathValue("template") {
		return plugins.Reject("bad_value", "name is not that of the path")
	}
	x.books.mu.Lock()
	defer x.books.mu.Unlock()
	now, err := x.template(t.Name, 0)
	if err != nil {
		return err
	}
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && match != etagOf(now.Version) {
		return plugins.Reject("version_mismatch", "the template is at version %d", now.Version)
	}
	t.Version = now.Version + 1
	if err := x.records.put(sortTemplate, templateID(t.Name, t.Version), plugins.CallerOf(r.Context()).ID, time.Time{}, t); err != nil {
		return err
	}
	return answerTemplate(w, http.StatusOK, t)
}
