package sim

import (
	"encoding/base64"
	"testing"
)

// TestChannels runs a channel under faults, with epochs, removals and ends of grants that race with writes in flight: state
// and outcomes are those of a sequential reference on every node (S16), no record is lost, every reader opens all, and
// whoever was removed opens nothing but by the grace rule.
func TestChannels(t *testing.T) {
	runSeeds(t, Channels, 8, 2, rareInChannels())
}

// rareInChannels must occur, or the seeds prove nothing about them.
func rareInChannels() []string {
	return []string{
		"write ", "write epoch_closed", "write epoch_unknown", "write not_participant", "write not_valid_now", "write not_entitled", "write bad_after",
		"write replayed", "revoke ", "authorize ", "rekey ", "rekey epoch_conflict", "leave ", "configure ", "spoiled not_canonical",
		"sealed again after epoch_closed", "record in after an epoch change", "record opened by a reader",
		"record closed to one without the right", "record open to one without the right: grace", "record open to one without the right: a rekey was due",
		"forgotten", "executed without a body",
	}
}

// TestChannelsReplay runs a seed twice: every event must be the same.
func TestChannelsReplay(t *testing.T) {
	runTwice(t, Channels)
}

// TestBlindness shows that the look into frames finds what it looks for.
func TestBlindness(t *testing.T) {
	for _, frame := range []string{"x" + plaintext + "7", "x" + base64.RawURLEncoding.EncodeToString([]byte(plaintext+"7"))} {
		if isBlind([]byte(frame)) {
			t.Errorf("%q is not found", frame)
		}
	}
	if !isBlind([]byte("sealed")) {
		t.Error("found where it is not")
	}
}
