package streams

import (
	"net/http"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// MaxClaims bounds the claims of one request.
const MaxClaims = 500

// claim says what a record's content hashes to.
type claim struct {
	Seq         uint64      `json:"seq"`
	ContentHash tangle.Hash `json:"contentHash"`
}

// verdict is what the ledger says of a claim.
type verdict struct {
	Seq    uint64      `json:"seq"`
	Valid  bool        `json:"valid"`
	Code   string      `json:"code"` // ok, hash_mismatch, not_found, erased
	Author string      `json:"author,omitempty"`
	Time   *string     `json:"time,omitempty"`
	Place  *rest.Place `json:"place,omitempty"`
}

// validate is POST /api/v1/channels/{id}/validate: hashes only, content is never sent.
func (s *streams) validate(w http.ResponseWriter, r *http.Request) error {
	x, err := s.open(r)
	if err == nil {
		err = x.takesPart()
	}
	if err != nil {
		return err
	}
	var claims []claim
	if err := rest.Read(r, &claims); err != nil {
		return err
	}
	if len(claims) == 0 || len(claims) > MaxClaims {
		return plugins.Reject("bad_value", "%d claims: want 1 to %d", len(claims), MaxClaims)
	}
	verdicts := make([]verdict, len(claims))
	for i, c := range claims {
		if verdicts[i], err = s.judgeClaim(x, c); err != nil {
			return err
		}
	}
	return answer(w, http.StatusOK, verdicts)
}

func (s *streams) judgeClaim(x *reader, c claim) (verdict, error) {
	v := verdict{Seq: c.Seq, Code: "not_found"}
	e, found, err := channel.ReadRecord(s.state(), x.ID, c.Seq)
	if err != nil || !found || !x.sees(e) {
		s.damaged(err)
		return v, err
	}
	if v.Author, err = channel.ActorOf(s.state(), x.ID, e); err != nil {
		s.damaged(err)
		return v, err
	}
	v.Time, v.Place = timeText(e.Time), &rest.Place{Position: e.Position, Index: e.Index}
	switch {
	case e.ContentHash != c.ContentHash:
		v.Code = "hash_mismatch"
	case e.ErasedBy != 0:
		v.Code, v.Valid = "erased", true // what was there hashed to this
	default:
		v.Code, v.Valid = "ok", true
	}
	return v, nil
}
