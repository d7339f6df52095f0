package identity

import (
	"testing"

	"weft/plugins"
	"weft/plugins/plugintest"
)

// TestRoutesAreThoseOfTheDocument holds the routes against the description, both ways.
func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	w := start(t, networkOptions{})
	p, err := openAt(plugins.Host{Network: w.id, Local: plugintest.NewLocal()}, w.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.CheckRoutes(p.HTTP)
}
