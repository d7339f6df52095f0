package streams

import (
	"testing"

	"weft/plugins"
)

// TestRoutesAreThoseOfTheDocument holds the routes against the description, both ways, also with managed mode.
func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	var plugin plugins.Plugin
	w := startManaged(t, networkOptions{opened: func(_ plugins.Host, p plugins.Plugin) { plugin = p }}, []string{"siem"})
	w.CheckRoutes(plugin.HTTP)
}
