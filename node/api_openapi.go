package node

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/oasdiff/yaml"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

//go:embed openapi.yaml
var coreOpenAPI []byte

// apiDocument is the description of all routes this node serves, and the pages that show it.
type apiDocument struct {
	json []byte
	etag string
	page http.Handler
}

const (
	htmlType = "text/html"
	anyType  = "*/*"
)

// openAPIDocument is the part of a description that fragments are merged by.
type openAPIDocument struct {
	OpenAPI    string                                `json:"openapi"`
	Info       any                                   `json:"info,omitempty"`
	Tags       []any                                 `json:"tags,omitempty"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components map[string]map[string]json.RawMessage `json:"components,omitempty"`
}

// mergeDocuments joins the core's description and the plugins' fragments. Two owners of a path, a component or an
// operationId stop the start, and so does a fragment that cannot be read.
func mergeDocuments(list []NamedPlugin) (apiDocument, error) {
	merged, err := parseOpenAPI("core", coreOpenAPI)
	if err != nil {
		return apiDocument{}, err
	}
	owners := documentOwners{}
	if err := owners.claimAll("core", merged); err != nil {
		return apiDocument{}, err
	}
	for _, p := range list {
		for _, fragment := range p.Plugin.HTTP.OpenAPI {
			part, err := parseOpenAPI(p.Name, fragment)
			if err == nil {
				err = owners.claimAll(p.Name, part)
			}
			if err != nil {
				return apiDocument{}, err
			}
			merged.add(part)
		}
	}
	return newAPIDocument(merged)
}

func newAPIDocument(merged openAPIDocument) (apiDocument, error) {
	b, err := json.Marshal(merged)
	if err != nil {
		return apiDocument{}, err
	}
	sum := sha256.Sum256(b)
	settings := swgui.Config{ShowTopBar: false, HideCurl: false, SettingsUI: map[string]string{"tryItOutEnabled": "false"}}
	return apiDocument{
		json: b,
		etag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		page: v5emb.NewWithConfig(settings)("Weft API", "/openapi.json", "/docs/"),
	}, nil
}

func parseOpenAPI(owner string, text []byte) (d openAPIDocument, err error) {
	b, err := yaml.YAMLToJSON(text)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		return d, fmt.Errorf("openapi of %s: %w", owner, err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		return d, fmt.Errorf("openapi of %s: version %q, want 3.1", owner, d.OpenAPI)
	}
	return d, nil
}

// documentOwners says who owns each path, component and operationId.
type documentOwners map[string]string

func (o documentOwners) claim(owner, what string) error {
	if other, taken := o[what]; taken {
		return fmt.Errorf("openapi: %s and %s both own %s", other, owner, what)
	}
	o[what] = owner
	return nil
}

func (o documentOwners) claimAll(owner string, d openAPIDocument) error {
	for path, operations := range d.Paths {
		if err := o.claim(owner, "path "+path); err != nil {
			return err
		}
		for method, raw := range operations {
			var operation struct {
				ID string `json:"operationId"`
			}
			if method == "parameters" || json.Unmarshal(raw, &operation) != nil || operation.ID == "" {
				continue
			}
			if err := o.claim(owner, "operationId "+operation.ID); err != nil {
				return err
			}
		}
	}
	for section, parts := range d.Components {
		for name := range parts {
			if err := o.claim(owner, "component "+section+"/"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *openAPIDocument) add(part openAPIDocument) {
	for path, item := range part.Paths {
		d.Paths[path] = item
	}
	for section, parts := range part.Components {
		if d.Components[section] == nil {
			d.Components[section] = map[string]json.RawMessage{}
		}
		for name, component := range parts {
			d.Components[section][name] = component
		}
	}
	d.Tags = append(d.Tags, part.Tags...)
}

// openAPI is GET /openapi.json.
func (c *apiCall) openAPI() error {
	h := c.Response().Header()
	h.Set("ETag", c.document.etag)
	h.Set("Cache-Control", "no-cache")
	if c.Request().Header.Get("If-None-Match") == c.document.etag {
		c.stamp(h)
		return c.NoContent(http.StatusNotModified)
	}
	return c.bytes(http.StatusOK, jsonType, c.document.json)
}

// docs is GET /docs and below: Swagger UI from the binary alone.
func (c *apiCall) docs() error {
	h := c.Response().Header()
	c.stamp(h)
	h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
	c.document.page.ServeHTTP(c.Response(), c.Request())
	return nil
}
