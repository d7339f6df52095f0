package identity

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weft/config/strict"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
)

// Settings is the plugin's section of node.json. Everything may be left out.
type Settings struct {
	PublicURL string         `json:"publicURL,omitempty"` // how others reach this node's API: in status list URLs and tokens
	Issuers   []Issuer       `json:"issuers,omitempty"`   // the first one also answers at the root
	Roles     []RoleRule     `json:"roles,omitempty"`
	Contexts  []ContextPin   `json:"contexts,omitempty"` // JSON-LD contexts beside the known ones
	Fetch     FetchSettings  `json:"fetch,omitzero"`
	Test      TestIdentities `json:"testIdentifiers,omitzero"`

	KeystorePassphraseFile string `json:"keystorePassphraseFile,omitempty"` // unlocks the issuers' keys at the start; relative to the data folder
}

// Issuer is an issuer instance: the one place where a node signs with a key that is in its care.
type Issuer struct {
	Name           string   `json:"name"`
	DID            string   `json:"did"`
	Method         string   `json:"method"`      // verification method: DID URL
	KeystoreKey    string   `json:"keystoreKey"` // name of its key in the keystore
	Cryptosuites   []string `json:"cryptosuites,omitempty"`
	StatusPurposes []string `json:"statusPurposes,omitempty"` // a credential that is issued gets an entry for each
	Access         string   `json:"access,omitempty"`         // token, loopback
}

// The rules of who may use an issuer instance.
const (
	AccessToken    = "token"    // a token or key with the scope credentials:issue
	AccessLoopback = "loopback" // anyone on this machine
)

// RoleRule gives a role to a DID, or to whoever shows a credential that a federation stands behind.
type RoleRule struct {
	Role       string          `json:"role"`
	DID        string          `json:"did"`
	Federation string          `json:"federation"`
	Property   string          `json:"property"`
	Value      json.RawMessage `json:"value"` // JSON: a string, an integer or a boolean
}

// ContextPin allows a JSON-LD context by its published hash.
type ContextPin struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
}

// FetchSettings say what this node may fetch from elsewhere: nothing, unless listed.
type FetchSettings struct {
	Allow   []string `json:"allow,omitempty"`   // hosts, with a port if it is not 443
	Private []string `json:"private,omitempty"` // of these, hosts whose private or loopback addresses are meant
	CAFile  string   `json:"caFile,omitempty"`  // PEM of further roots
}

// TestIdentities are what GET /1.0/testIdentifiers shows, for test suites of resolvers.
type TestIdentities struct {
	Active      []string `json:"active,omitempty"`
	Deactivated []string `json:"deactivated,omitempty"`
	NotFound    []string `json:"notFound,omitempty"`
}

// Bounds of the settings.
const (
	MaxIssuers  = 64
	MaxRoles    = 1024
	MaxContexts = 64
)

// roles are those that a rule may give (identity.md, section 9).
func roles() []string { return []string{"operator", "orgAdmin", "issuer", "member", "auditor"} }

func parseSettings(section json.RawMessage) (Settings, error) {
	var s Settings
	if section != nil {
		if err := strict.Decode(section, &s, false); err != nil {
			return s, err
		}
	}
	for i := range s.Issuers {
		if s.Issuers[i].Cryptosuites == nil {
			s.Issuers[i].Cryptosuites = []string{"eddsa-jcs-2022", "eddsa-rdfc-2022"}
		}
		if s.Issuers[i].Access == "" {
			s.Issuers[i].Access = AccessToken
		}
	}
	return s, s.validate()
}

func (s Settings) validate() error {
	var f strict.Faults
	if u, err := url.Parse(s.PublicURL); s.PublicURL != "" && (err != nil || u.Host == "" || u.RawQuery != "" || (u.Scheme != "https" && u.Scheme != "http")) {
		f.Add("publicURL", "%q: want https://host[:port]", s.PublicURL)
	}
	if len(s.Issuers) > MaxIssuers || len(s.Roles) > MaxRoles || len(s.Contexts) > MaxContexts {
		f.Add("", "at most %d issuers, %d roles, %d contexts", MaxIssuers, MaxRoles, MaxContexts)
	}
	seen := map[string]bool{}
	for i, one := range s.Issuers {
		one.validate(fmt.Sprintf("issuers[%d]", i), &f)
		if seen[one.Name] {
			f.Add(fmt.Sprintf("issuers[%d].name", i), "%q is there twice", one.Name)
		}
		seen[one.Name] = true
	}
	for i, rule := range s.Roles {
		path := fmt.Sprintf("roles[%d]", i)
		if !slices.Contains(roles(), rule.Role) {
			f.Add(path+".role", "%q: want one of %s", rule.Role, strings.Join(roles(), ", "))
		}
		if (rule.DID == "") == (rule.Federation == "" || rule.Property == "" || rule.Value == nil) {
			f.Add(path, "want either a did, or a federation with a property and a value")
		}
	}
	return f.Err()
}

func (one Issuer) validate(path string, f *strict.Faults) {
	if one.Name == "" || strings.ContainsAny(one.Name, "/?#% ") {
		f.Add(path+".name", "%q: want a name for URLs", one.Name)
	}
	if u, err := did.ParseURL(one.Method); err != nil || u.Fragment == "" || u.DID != one.DID {
		f.Add(path+".method", "%q: want a verification method of %s", one.Method, one.DID)
	}
	if one.KeystoreKey == "" {
		f.Add(path+".keystoreKey", "missing")
	}
	for _, suite := range one.Cryptosuites {
		if suite != "eddsa-jcs-2022" && suite != "eddsa-rdfc-2022" {
			f.Add(path+".cryptosuites", "%q is not known", suite)
		}
	}
	for _, purpose := range one.StatusPurposes {
		if purpose != "revocation" && purpose != "suspension" {
			f.Add(path+".statusPurposes", "%q is not known", purpose)
		}
	}
	if one.Access != AccessToken && one.Access != AccessLoopback {
		f.Add(path+".access", "%q: want %s or %s", one.Access, AccessToken, AccessLoopback)
	}
}

// ContextDir is where a node's data folder has the JSON-LD contexts: one file each, whatever its name.
const ContextDir = "contexts"

// KnownContexts accepts the contexts that a node with this section of node.json would; none is installed.
func KnownContexts(section json.RawMessage) (*jsonld.Contexts, error) {
	s, err := parseSettings(section)
	if err != nil {
		return nil, err
	}
	return openContexts("", s.Contexts)
}

// openContexts loads the contexts of the data folder. What is pinned by nobody is refused: a context decides what signed
// words mean.
func openContexts(dir string, pins []ContextPin) (*jsonld.Contexts, error) {
	c := jsonld.NewContexts()
	for _, p := range pins {
		if err := c.Pin(p.URL, p.SHA256); err != nil {
			return nil, fmt.Errorf("contexts: %s: %w", p.URL, err)
		}
	}
	if dir == "" {
		return c, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, ContextDir, "*"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := addContext(c, file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

// addContext adds a file for all the URLs that it is pinned for.
func addContext(c *jsonld.Contexts, file []byte) error {
	urls := c.Identify(file)
	if len(urls) == 0 {
		return plugins.Reject("not_pinned", "no context of this hash is known: add it to contexts in node.json")
	}
	for _, u := range urls {
		if err := c.Add(u, file); err != nil {
			return err
		}
	}
	return nil
}

// publicURL is how others reach this node: as set, or as the caller did.
func (x *identity) publicURL(scheme, host string) string {
	if x.settings.PublicURL != "" {
		return strings.TrimRight(x.settings.PublicURL, "/")
	}
	return scheme + "://" + host
}

// needScope refuses a caller without a scope; for rules that a route's auth cannot say.
func needScope(c plugins.Caller, scope string) error {
	if c.May(scope) {
		return nil
	}
	if c.DID == "" && len(c.Scopes) == 0 {
		return plugins.Reject("unauthenticated", "this needs a token or API key with the scope %s", scope)
	}
	return plugins.Reject("forbidden", "the caller does not have the scope %s", scope)
}
