package config

import (
	"weft/internal/zip215"
	"weft/tangle"
)

// CheckKey refuses keys that nobody should have: ones of small order verify signatures that nobody made.
func CheckKey(m tangle.Member) error { return zip215.CheckKey(m) }
