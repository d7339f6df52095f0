package identity

import (
	"net/http"
	"strings"

	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// What a driver of the DIF Universal Resolver tells about itself, in the shapes that it has there: a list, and maps by
// method.

// methods are the DID methods that this node resolves.
func (x *identity) methods() []string {
	list := []string{did.MethodName, "key", "jwk"}
	if len(x.settings.Fetch.Allow) > 0 {
		list = append(list, "web")
	}
	return list
}

func (x *identity) resolverMethods(w http.ResponseWriter, _ *http.Request) error {
	return rest.Answer(w, http.StatusOK, x.methods())
}

func (x *identity) resolverProperties(w http.ResponseWriter, _ *http.Request) error {
	properties := map[string]any{}
	for _, m := range x.methods() {
		properties[m] = map[string]any{}
	}
	head := x.host.Head()
	properties[did.MethodName] = map[string]any{
		"network": x.label(), "networkId": x.host.Network, "position": head.Position, "final": head.Final, "operation": did.OperationType,
	}
	return rest.Answer(w, http.StatusOK, properties)
}

// traits are what a method can do, by the names of the DIF.
type traits struct {
	Updatable        bool `json:"updatable"`
	Deactivatable    bool `json:"deactivatable"`
	Enumerable       bool `json:"enumerable"`
	HistoryAvailable bool `json:"historyAvailable"`
	HumanReadable    bool `json:"humanReadable"`
	SelfCertifying   bool `json:"selfCertifying"`
	HistorySigned    bool `json:"historySigned"`
	FeesRequired     bool `json:"feesRequired"`
	Offline          bool `json:"resolvableLocally"`
}

func (x *identity) resolverTraits(w http.ResponseWriter, _ *http.Request) error {
	all := map[string]traits{
		did.MethodName: {Updatable: true, Deactivatable: true, Enumerable: true, HistoryAvailable: true, SelfCertifying: true, HistorySigned: true, Offline: true},
		"key":          {SelfCertifying: true, Offline: true},
		"jwk":          {SelfCertifying: true, Offline: true},
		"web":          {Updatable: true, Deactivatable: true, HumanReadable: true},
	}
	known := map[string]traits{}
	for _, m := range x.methods() {
		known[m] = all[m]
	}
	return rest.Answer(w, http.StatusOK, known)
}

// resolverTests lists the DIDs that the operator set out for test suites, those that resolve, by method.
func (x *identity) resolverTests(w http.ResponseWriter, _ *http.Request) error {
	tests := map[string][]string{}
	for _, m := range x.methods() {
		tests[m] = []string{}
	}
	for _, list := range [][]string{x.settings.Test.Active, x.settings.Test.Deactivated} {
		for _, id := range list {
			if parts := strings.SplitN(id, ":", 3); len(parts) == 3 {
				tests[parts[1]] = append(tests[parts[1]], id)
			}
		}
	}
	return rest.Answer(w, http.StatusOK, tests)
}
