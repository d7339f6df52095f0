package identity

import (
	"encoding/base64"

	"weft/plugins/identity/did"
)

// anyJSON is a member of a body that may be any JSON value; numbers keep their text.
type anyJSON struct{ v any }

// UnmarshalJSON reads the value.
func (a *anyJSON) UnmarshalJSON(raw []byte) (err error) {
	a.v, err = did.DecodeJSON(raw, did.JSONLimits{})
	return err
}

func encodeBase64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decodeBase64(text string) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// MarshalJSON writes the value.
func (a anyJSON) MarshalJSON() ([]byte, error) { return did.Canonical(a.v) }
