package streams

import (
	"net/http"
	"strings"

	"weft/plugins"
	"weft/plugins/rest"
)

// showStates is GET /api/v1/channels/{id}/operations?hashes=: what became of operations that were handed over, each with a
// result of its own as in the answer to a batch. Whoever sent many waits for them so, without sending them again.
func (s *streams) showStates(w http.ResponseWriter, r *http.Request) error {
	wait, err := rest.ReadWait(r)
	if err != nil {
		return err
	}
	if _, err := pathID(r); err != nil {
		return err
	}
	hashes := strings.Split(r.URL.Query().Get("hashes"), ",")
	if len(hashes) > MaxBatch || hashes[0] == "" {
		return plugins.Reject("bad_parameter", "hashes: want 1 to %d, with commas between them", MaxBatch)
	}
	list := make([]taken, len(hashes))
	for i, hash := range hashes {
		state, known := s.operations.State(hash)
		if list[i].state = state; !known {
			list[i].err = plugins.Reject("unknown_operation", "%.60q is not known here", hash)
		}
	}
	if wait > 0 {
		s.awaitBatch(r.Context(), list, wait)
	}
	return s.answerBatch(w, r, list)
}
