package operation

import (
	"time"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// Instant is a time in JSON: RFC 3339 in UTC with Z. Operations have whole seconds; commit times have milliseconds, which
// are shown where they are not zero.
type Instant tangle.Time

// formMillis is the layout of an instant between seconds; whole seconds have the form of did.FormatTime.
const formMillis = "2006-01-02T15:04:05.000Z"

func (i Instant) String() string {
	if i%1000 == 0 {
		return did.FormatTime(tangle.Time(i))
	}
	return tangle.Time(i).Std().Format(formMillis)
}

// MarshalText lets an instant stand in JSON.
func (i Instant) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (i *Instant) UnmarshalText(b []byte) error {
	form := formMillis
	if len(b) < len(formMillis) {
		form = time.RFC3339
	}
	t, err := time.Parse(form, string(b))
	*i = Instant(tangle.TimeOf(t))
	return err
}
