//go:build !race

package jsonld

import "time"

// soon is how fast hard work must be refused or done.
func soon() time.Duration { return time.Second }
