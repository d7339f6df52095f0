// Command weft is the whole of Weft in one binary: a member's node, a network of several on one machine for trying it
// out, and the tools that talk to a node or check its receipts offline.
//
// It is wiring only. A member who adds a plugin copies this file and adds a line to the list; everything else is in the
// packages below.
package main

import (
	"os"

	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/metrics"
	"weft/plugins/streams"
)

func main() {
	makers := []plugins.Maker{
		identity.Maker(),
		streams.Maker(),
		metrics.Maker(),
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, makers))
}
