//go:build race

package jsonld

import "time"

// soon is a second, times what the race detector costs.
func soon() time.Duration { return 20 * time.Second }
