package gossip

import "weft/tangle"

// Lane separates witnesses from bulk traffic: they travel on streams of their own.
type Lane uint8

// The two lanes.
const (
	LaneWitness Lane = 0
	LaneBulk    Lane = 1
)

// Envelope is a frame on its way out.
type Envelope struct {
	To    tangle.Member // zero: every connected peer
	Lane  Lane
	Frame Frame
}
