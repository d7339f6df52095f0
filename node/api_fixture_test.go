package node

import (
	"crypto/ed25519"
	"crypto/sha256"
	"net/http/httptest"
	"time"

	"weft/config/genesis"
	"weft/tangle"
)

// oneMember is the genesis and the key of a private log.
func oneMember() (*genesis.Genesis, ed25519.PrivateKey) {
	seed := sha256.Sum256([]byte("one"))
	key := ed25519.NewKeyFromSeed(seed[:])
	return &genesis.Genesis{
		Version: 1, Network: "test", Time: tangle.TimeOf(time.Now().Add(-time.Minute)),
		Members:   []genesis.Member{{Key: tangle.Member(key.Public().(ed25519.PublicKey)), Name: "me", Roles: []string{genesis.RoleValidator}}},
		Limits:    tangle.DefaultLimits(),
		Consensus: genesis.DefaultConsensus(),
	}, key
}

// newEchoRecorder gives a call a response that is recorded.
func newEchoRecorder(c *apiCall) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.Context = c.echo.NewContext(httptest.NewRequest("GET", "/", nil), w)
	return w
}
