// Package tidy holds the house rules as tests: who may import whom, where each library lives, what pure code may not do,
// and that packages say what they are. It has no code that runs in a node; a new package adds its line to layers.
package tidy

import (
	"path"
	"strings"
)

// layer says which packages of this module a package may import. External libraries are the business of homes.
type layer struct {
	may  []string // patterns of package directories
	only bool     // nothing but the standard library and x/ besides
}

type table map[string]layer

// layers is the table of ARCHITECTURE.md. Patterns match whole path elements; ... matches everything below.
func layers() table {
	everything := []string{"..."}
	return table{
		"internal/fields":            {only: true},
		"tangle":                     {may: []string{"internal/fields"}, only: true},
		"config/strict":              {only: true},
		"config/genesis":             {may: []string{"tangle", "config/strict"}, only: true},
		"internal/zip215":            {may: []string{"tangle"}},
		"plugins":                    {may: []string{"tangle"}, only: true},
		"consensus":                  {may: []string{"tangle"}, only: true},
		"receipt":                    {may: []string{"internal/fields", "tangle", "config/genesis"}, only: true},
		"gossip":                     {may: []string{"internal/fields", "tangle"}, only: true},
		"gossip/wire":                {may: []string{"tangle", "gossip"}},
		"internal/store":             {},
		"internal/store/storetest":   {may: []string{"internal/store"}},
		"config":                     {may: []string{"config/strict", "tangle", "config/genesis", "internal/zip215"}},
		"node":                       {may: []string{"tangle", "config/genesis", "config", "consensus", "receipt", "gossip", "gossip/wire", "internal/store", "internal/zip215", "plugins"}},
		"internal/sim":               {may: []string{"tangle", "config/genesis", "consensus", "receipt", "gossip", "internal/store", "internal/zip215", "plugins", "plugins/identity/...", "plugins/identity", "plugins/streams/...", "plugins/streams", "node"}},
		"internal/nodetest":          {may: []string{"tangle", "config/genesis", "config", "gossip/wire", "internal/store", "plugins", "node"}},
		"internal/tidy":              {},
		"internal/vectors":           {only: true},
		"plugins/plugintest":         {may: []string{"tangle", "plugins"}},
		"plugins/metrics":            {may: []string{"tangle", "plugins"}},
		"plugins/identity/did":       {may: []string{"tangle", "plugins", "internal/zip215"}},
		"plugins/identity/status":    {may: []string{"tangle", "plugins", "plugins/identity/did", "plugins/identity/operation"}},
		"plugins/identity/trust":     {may: []string{"tangle", "plugins", "plugins/identity/did", "plugins/identity/operation"}},
		"plugins/identity/jsonld":    {may: []string{"plugins", "plugins/identity/did"}},
		"plugins/identity/vc":        {may: []string{"tangle", "plugins", "plugins/identity/did", "plugins/identity/jsonld"}},
		"plugins/identity/keyfile":   {may: []string{"config/strict", "plugins", "plugins/identity/did"}},
		"plugins/rest":               {may: []string{"config/strict", "tangle", "plugins"}},
		"plugins/identity":           {may: []string{"tangle", "config/strict", "plugins", "plugins/rest", "plugins/identity/..."}},
		"plugins/identity/operation": {may: []string{"tangle", "plugins", "plugins/identity/did"}},
		"plugins/streams/channel":    {may: []string{"tangle", "config/genesis", "receipt", "plugins", "plugins/identity/did", "plugins/identity/operation"}},
		"plugins/streams":            {may: []string{"tangle", "config/strict", "plugins", "plugins/rest", "plugins/identity/did", "plugins/identity/operation", "plugins/streams/channel", "plugins/streams/managed"}},
		"plugins/streams/managed":    {may: []string{"tangle", "config/strict", "plugins", "plugins/rest", "plugins/identity/did", "plugins/identity/keyfile", "plugins/streams/channel", "client", "client/audit"}},
		"client":                     {may: []string{"tangle", "config/genesis", "receipt", "plugins/identity/...", "plugins/streams/channel"}},
		"client/audit":               {may: []string{"tangle", "client", "plugins", "plugins/identity/did", "plugins/identity/keyfile", "plugins/streams/channel"}},
		"testnet":                    {may: everything},
		"cmd/weft":                   {may: everything},
		"examples/...":               {may: everything},
	}
}

// homes lists the one place of each library (files or directories).
func homes() map[string][]string {
	return map[string][]string{
		"github.com/libp2p/":                      {"gossip/wire/..."},
		"github.com/multiformats/":                {"gossip/wire/..."},
		"github.com/dgraph-io/":                   {"internal/store/..."},
		"github.com/iotaledger/hive.go":           {"node/events.go"},
		"github.com/labstack/echo":                {"node/api*.go"},
		"github.com/getkin/kin-openapi":           {"node/api*.go", "internal/nodetest/..."},
		"github.com/swaggest/":                    {"node/api*.go"},
		"github.com/prometheus/":                  {"plugins/metrics/..."},
		"github.com/oasisprotocol/curve25519-voi": {"internal/zip215/..."},
		"github.com/knadh/":                       {"config/..."},
		"filippo.io/age":                          {"config/...", "cmd/weft/..."},
		"github.com/spf13/":                       {"cmd/weft/...", "config/..."},
		"golang.org/x/time":                       {"node/..."},
		"github.com/gowebpki/jcs":                 {"plugins/identity/did/..."},
		"github.com/mr-tron/base58":               {"plugins/identity/did/..."},
		"github.com/piprate/json-gold":            {"plugins/identity/jsonld/..."},
		"github.com/lestrrat-go/jwx":              {"plugins/identity/vc/..."},
		"github.com/santhosh-tekuri/jsonschema":   {"plugins/identity/vc/..."},
	}
}

// isPure says whether a file may have no clock, goroutine, lock, context, log or global randomness.
func isPure(file string) bool {
	dir := path.Dir(file)
	switch dir {
	case "internal/fields", "tangle", "consensus", "receipt", "gossip", "config/genesis",
		"plugins/identity/did", "plugins/identity/operation", "plugins/identity/status", "plugins/identity/trust", "plugins/identity/vc",
		"plugins/streams/channel":
		return true
	case "plugins/identity":
		return path.Base(file) == "ledger.go" || path.Base(file) == "index.go"
	case "node":
		return strings.HasPrefix(path.Base(file), "core") || path.Base(file) == "data.go"
	}
	return false
}

func (t table) of(pkg string) (layer, bool) {
	if l, ok := t[pkg]; ok {
		return l, true
	}
	for pattern, l := range t {
		if prefix, ok := strings.CutSuffix(pattern, "/..."); ok && strings.HasPrefix(pkg+"/", prefix+"/") {
			return l, true
		}
	}
	return layer{}, false
}

// refuses says why a package of this layer may not import another, or nothing.
func (l layer) refuses(imported string) string {
	own, ours := strings.CutPrefix(imported, "weft/")
	if !ours {
		if l.only && strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, "golang.org/x/") {
			return "this layer uses the standard library and golang.org/x only"
		}
		return ""
	}
	for _, pattern := range l.may {
		if matches(pattern, own) {
			return ""
		}
	}
	return "the layer table does not allow it"
}

// matches compares a path with a pattern: "..." matches everything, "a/..." everything below a, else path.Match.
func matches(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(p, prefix+"/")
	}
	ok, _ := path.Match(pattern, p)
	return ok
}
