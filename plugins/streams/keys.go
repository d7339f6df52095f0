package streams

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// epochView is an epoch with the caller's wraps of its key. Number 0 is that of a hidden channel's profile: wraps alone.
type epochView struct {
	Number    uint32      `json:"number"`
	Commit    tangle.Hash `json:"commit"`
	PublicKey string      `json:"publicKey"`
	Previous  string      `json:"previous,omitempty"`
	Event     uint64      `json:"event"` // that opened it
	Time      *string     `json:"time,omitempty"`
	Seq       uint64      `json:"seq,omitempty"` // of the last record before it
	Wraps     []wrapView  `json:"wraps,omitempty"`
}

// wrapView is a key sealed to one key of one reader.
type wrapView struct {
	To         string `json:"to"`
	Ciphertext string `json:"ct"`
}

// wrapsOf are a DID's wraps of an epoch.
func (s *streams) wrapsOf(id channel.ID, number uint32, did string) (list []wrapView) {
	if did == "" {
		return nil
	}
	for _, event := range channel.WrapEvents(s.state(), id, number, did) {
		op := s.operationAt(id, event)
		if op == nil {
			continue
		}
		for _, w := range op.WrapsTo(number, did) {
			list = append(list, wrapView{w.To, encode(w.Ciphertext)})
		}
	}
	return list
}

// listKeys is GET /api/v1/channels/{id}/keys: per epoch what everybody who takes part may know, and the caller's own wraps as
// far as history lets it have them.
func (s *streams) listKeys(w http.ResponseWriter, r *http.Request) error {
	now := s.asOf()
	x, err := s.open(r)
	if err != nil {
		return err
	}
	from, err := number(r, "from", 0)
	if err != nil || from > 1<<32-1 {
		return plugins.Reject("bad_parameter", "from: want the number of an epoch")
	}
	asked, err := readPage(r)
	if err == nil {
		from, err = asked.firstFrom(from)
	}
	if err != nil {
		return err
	}
	p := page[epochView]{asked: asked}
	if err := s.collectKeys(&p, x, uint32(from)); err != nil {
		return err
	}
	return answer(w, http.StatusOK, listOf(&p, now))
}

func (s *streams) collectKeys(p *page[epochView], x *reader, from uint32) error {
	refused := x.takesPart()
	if from == 0 {
		if wraps := s.wrapsOf(x.ID, 0, x.did); x.Hidden && len(wraps) > 0 {
			p.add(epochView{Wraps: wraps}, "0")
			refused = nil // of the profile's key alone
			if x.takesPart() != nil {
				return nil
			}
		}
	}
	if refused != nil {
		return refused
	}
	epochs, err := channel.Epochs(s.state(), x.ID, max(from, 1), p.Limit+1)
	if err != nil {
		s.damaged(err)
		return err
	}
	reads := x.reads() == nil
	for _, e := range epochs {
		v := epochView{Number: e.Number, Commit: e.Commit, PublicKey: encode(e.PublicKey[:]), Event: e.Event, Time: timeText(e.Time), Seq: e.Seq}
		if reads && x.Opens(x.part, x.head.Epoch, e.Number, x.now) {
			v.Previous, v.Wraps = encode(e.Previous), s.wrapsOf(x.ID, e.Number, x.did)
		}
		if !p.add(v, strconv.FormatUint(uint64(e.Number), 10)) {
			break
		}
	}
	return nil
}

// dues remembers for a moment which channels wait for a new epoch: finding out looks at every reader. It is safe for
// concurrent use.
type dues struct {
	mu    sync.Mutex // guards known
	known map[channel.ID]due
}

type due struct {
	event uint64 // of the channel when it was found out
	at    tangle.Time
	due   bool
}

// The bounds of what is remembered.
const (
	dueLife = 5 * time.Second
	maxDues = 10_000
)

func newDues() *dues { return &dues{known: map[channel.ID]due{}} }

func (d *dues) find(id channel.ID, event uint64, now tangle.Time) (bool, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, found := d.known[id]
	return known.due, found && known.event == event && now.Sub(known.at).Abs() < dueLife
}

func (d *dues) keep(id channel.ID, one due) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxDues {
		clear(d.known)
	}
	d.known[id] = one
}

// rekeyDue says whether somebody has the current key and no right to read now. Only those who take part are told.
func (s *streams) rekeyDue(x *reader) (bool, error) {
	if x.head.Epoch == 0 || x.rights() == 0 {
		return false, nil
	}
	if is, known := s.dues.find(x.ID, x.head.Event, x.now); known {
		return is, nil
	}
	is, err := channel.RekeyDue(s.state(), &x.Channel, x.head, x.now)
	if err != nil {
		s.damaged(err)
		return false, err
	}
	s.dues.keep(x.ID, due{x.head.Event, x.now, is})
	return is, nil
}
