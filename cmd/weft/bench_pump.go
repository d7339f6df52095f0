package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
)

// MaxBenchAnswer bounds one answer in bytes.
const MaxBenchAnswer = 1 << 20

// pump is one connection that sends the same request again and again, each time with other bytes in its entries, or
// requests that are made elsewhere. It does as little as it can: it shares its cores with the nodes it measures.
type pump struct {
	supply  func() []byte // the next request; nil: there is no other. A nil supply means the same one, varied
	target  string
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	spots   []int // where in request each entry's bytes start
	serial  uint64
	body    []byte // of the answer

	accepted []byte // what an answer says of each entry that counts; nil: it is not looked at
}

// pumpAnswer is what a node said to a request.
type pumpAnswer struct {
	final    bool
	accepted int    // entries that count, if they are counted
	code     string // of a problem
	hash     string // of the first entry, if not final
}

// MinBenchEntry is the least size of an entry: room for a number that makes it differ from all others.
const MinBenchEntry = 16

func newPump(target string, batch, entryBytes int, seed uint64) *pump {
	random := rand.New(rand.NewPCG(seed, 2))
	data := make([]byte, entryBytes)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	var body []byte
	p := &pump{target: target, serial: random.Uint64()}
	body = append(body, `{"entries":[`...)
	for i := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"kind":"data","data":{"tag":"bench","bytes":"`...)
		p.spots = append(p.spots, len(body))
		body = base64.RawURLEncoding.AppendEncode(body, data)
		body = append(body, `"}}`...)
	}
	body = append(body, `]}`...)
	head := fmt.Appendf(nil, "POST /api/v1/messages?wait=final&timeout=10s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", target, len(body))
	for i := range p.spots {
		p.spots[i] += len(head)
	}
	p.request = append(head, body...)
	return p
}

func (p *pump) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// send sends one request and reads its answer. After an error the next one uses a new connection.
func (p *pump) send(ctx context.Context) (a pumpAnswer, err error) {
	if err := p.dial(ctx); err != nil {
		return a, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	deadline, _ := ctx.Deadline()
	if err := p.conn.SetDeadline(deadline); err != nil {
		return a, err
	}
	if p.supply != nil {
		p.request = p.supply()
	} else {
		p.vary()
	}
	if p.request == nil {
		return a, errSupply
	}
	if _, err := p.conn.Write(p.request); err != nil {
		return a, err
	}
	return p.answer()
}

// dial connects, if there is no connection.
func (p *pump) dial(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", p.target)
	if err != nil {
		return err
	}
	p.conn, p.in = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

// vary makes every entry of the next request one that was never sent before. It writes 16 hex digits in place: they are
// valid base64url, and a number with its top bit set has no fewer.
func (p *pump) vary() {
	for _, spot := range p.spots {
		p.serial++
		_ = strconv.AppendUint(p.request[spot:spot], p.serial|1<<63, 16)
	}
}

// answer reads one answer. It knows just enough HTTP for nodes: they tell every length beforehand.
func (p *pump) answer() (a pumpAnswer, err error) {
	status, length, err := p.head()
	if err != nil {
		return a, err
	}
	a.final = status < 400 && status != http.StatusAccepted
	if a.final && p.accepted == nil {
		_, err = p.in.Discard(length)
		return a, err
	}
	p.body = slices.Grow(p.body[:0], length)[:length]
	if _, err := io.ReadFull(p.in, p.body); err != nil {
		return a, err
	}
	if a.final {
		a.accepted = bytes.Count(p.body, p.accepted)
		return a, nil
	}
	if status == http.StatusAccepted {
		a.hash = jsonText(p.body, "entryHash")
		return a, nil
	}
	if a.code = jsonText(p.body, "code"); a.code == "" {
		a.code = "http_" + strconv.Itoa(status)
	}
	return a, nil
}

var (
	errAnswer = errors.New("not the answer of a node")
	errSupply = errors.New("no request is left")
)

// head reads the status line and the header of an answer.
func (p *pump) head() (status, length int, err error) {
	line, err := p.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, errAnswer
	}
	for length = -1; ; {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		name, value, more := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(": "))
		if !more {
			break
		}
		if string(name) == "Content-Length" {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, 0, errAnswer
			}
		}
	}
	if length < 0 || length > MaxBenchAnswer {
		return 0, 0, errAnswer
	}
	return status, length, nil
}

// jsonText finds the first string member of that name, without parsing: names and codes hold no escapes.
func jsonText(body []byte, name string) string {
	_, rest, found := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}
