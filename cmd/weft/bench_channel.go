package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Sizes of the channel scenarios.
const (
	benchChannels      = 4
	benchWriters       = 4       // of each channel, or of the one
	benchPayload       = 200     // bytes of a record before it is sealed: 272 sealed
	benchRecordSenders = 64      // connections
	maxBenchPrepared   = 120_000 // records that are made before the load begins; others meanwhile
	benchFollowers     = 100
	benchLiveRate      = 50                          // records a second that are followed
	benchReaders       = channel.MaxParticipants - 1 // of the channel that gets a new key, beside its owner
	benchRecordTarget  = 3000                        // final records a second
	benchLiveMillis    = 1000                        // p95
	benchRekeySeconds  = 20
	benchHeadSeconds   = 10 // until all nodes have applied what one has
)

// benchPerson is a DID with its keys.
type benchPerson struct {
	audit.Identity
	key ed25519.PrivateKey
}

// newPerson is the did:key with a number, and its key agreement key.
func (b *bench) newPerson(number int) (benchPerson, error) {
	seed := sha256.Sum256(fmt.Appendf(nil, "weft bench person %d %d", b.seed, number))
	p := benchPerson{key: ed25519.NewKeyFromSeed(seed[:])}
	secret := sha256.Sum256(seed[:])
	agreement, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		return p, err
	}
	p.Public = did.Ed25519Key(p.key.Public().(ed25519.PublicKey)).Multikey()
	p.DID = "did:key:" + p.Public
	p.Method = p.DID + "#" + p.Public
	p.Sign = func(m []byte) ([]byte, error) { return ed25519.Sign(p.key, m), nil }
	p.Agreements = []audit.Agreement{{Private: agreement}}
	p.Agreements[0].Public = p.Agreement()
	p.Agreements[0].To = p.DID + "#" + p.Agreement()
	return p, nil
}

func (b *bench) newPersons(first, count int) (list []benchPerson, err error) {
	for i := range count {
		p, err := b.newPerson(first + i)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// grants give the same rights to all.
func grants(persons []benchPerson, rights channel.Rights) (list []channel.Grant) {
	for _, p := range persons {
		list = append(list, channel.Grant{Participant: p.DID, Rights: rights, Agreement: p.Agreement()})
	}
	return list
}

// benchOwner is the owner of channels, with a session at the first node.
type benchOwner struct {
	benchPerson
	*audit.Session
	network tangle.ID
}

// newOwner puts a DID on the ledger: a did:key cannot own a channel.
func (b *bench) newOwner(ctx context.Context) (*benchOwner, error) {
	network, err := b.networkID(ctx)
	if err != nil {
		return nil, err
	}
	p, err := b.newPerson(-1)
	if err == nil {
		err = b.register(ctx, network, &p)
	}
	if err != nil {
		return nil, err
	}
	return &benchOwner{p, audit.NewSession(audit.Config{Node: b.clients[0], Network: network, Identity: p.Identity}), network}, nil
}

// register gives a person a DID on the ledger in place of the did:key.
func (b *bench) register(ctx context.Context, network tangle.ID, p *benchPerson) error {
	nonce, err := channel.NewNonce(rand.Reader)
	if err != nil {
		return err
	}
	method := func(id, key string) did.Object {
		return did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": key}
	}
	body, id, err := did.Create(network, nonce, did.Content{
		Params: did.NewParams([]string{p.Public}),
		Document: did.Object{
			"verificationMethod": []any{method("#key-1", p.Public), method("#key-2", p.Agreement())},
			"authentication":     []any{"#key-1"}, "keyAgreement": []any{"#key-2"},
		},
	})
	if err != nil {
		return err
	}
	operation, err := did.Sign(body, p.key)
	if err != nil {
		return err
	}
	if _, err := b.clients[0].SubmitOperation(ctx, operation, client.OperationOptions{Final: client.MaxWait}); err != nil {
		return err
	}
	p.DID = id.String()
	p.Method, p.Agreements[0].To = p.DID+"#key-1", p.DID+"#key-2"
	return nil
}

// create makes a private channel and opens it.
func (o *benchOwner) create(ctx context.Context, name string, list []channel.Grant) (*audit.Channel, error) {
	change, id, err := o.Create(ctx, audit.Creation{CreateTerms: channel.CreateTerms{
		Access: channel.Private, Profile: channel.Stream, Settings: channel.Settings{Name: &name}, Grants: list,
	}})
	if err != nil {
		return nil, err
	}
	if _, err := o.Submit(ctx, change.Body); err != nil {
		return nil, err
	}
	return o.Open(ctx, id)
}

// authorize gives grants without keys, as many in an operation as fit.
func (o *benchOwner) authorize(ctx context.Context, ch *audit.Channel, list []channel.Grant) error {
	var entries [][]byte
	for some := range slices.Chunk(list, channel.MaxGrants) {
		body, err := ch.Build(func(h channel.Header) did.Object { return channel.NewAuthorize(h, some, nil, nil) })
		if err != nil {
			return err
		}
		entry, err := ch.Sign(body)
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	results, err := ch.SendAll(ctx, ch.ID, entries, client.MaxWait)
	for _, r := range results {
		err = errors.Join(err, r.Err())
	}
	return err
}

// login is a client of one node for a DID.
func (b *bench) login(ctx context.Context, node int, p benchPerson) (*client.Client, error) {
	c := b.clients[node%len(b.clients)]
	token, err := c.Login(ctx, client.LoginKey{DID: p.DID, Method: p.Method, Sign: p.Sign}, "", time.Now())
	if err != nil {
		return nil, err
	}
	return c.WithToken(token.Token), nil
}

// sealRecord makes a signed record as a writer of an open channel does.
func sealRecord(ch *audit.Channel, p benchPerson) ([]byte, error) {
	nonce, err := channel.NewNonce(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ch.CurrentKey()
	if err != nil {
		return nil, err
	}
	payload := make([]byte, benchPayload)
	rand.Read(payload)
	header := channel.NewWrite(channel.Header{
		Network: ch.Network, Channel: ch.ID, Actor: p.DID, Nonce: nonce, Created: tangle.TimeOf(time.Now()),
		After: channel.After{Event: ch.Info.LastEvent, Head: ch.Info.Head},
	}, channel.RecordTerms{RecordType: "bench"})
	body, err := channel.Seal(rand.Reader, channel.Sealer{Epoch: ch.Info.Epoch, Key: &key}, header, did.Object{}, payload)
	if err != nil {
		return nil, err
	}
	return channel.Sign(body, p.key)
}

// recordRequest is the body of one request and its channel.
type recordRequest struct {
	id   channel.ID
	body []byte
}

// recordMaker seals and signs on all cores, until it has made as many requests as are wanted or ctx ends.
type recordMaker struct {
	channels []*audit.Channel
	writers  []benchPerson
	size     int // bytes of a record
	batch    int
	requests int
	made     chan recordRequest // has room for what is made before the load begins; closed at the end
	err      error              // once made is closed
}

// newRecordMaker makes channels whose writers are readers too, and learns how many records a request has room for.
func (b *bench) newRecordMaker(ctx context.Context, owner *benchOwner) (*recordMaker, error) {
	m := &recordMaker{}
	var err error
	if m.writers, err = b.newPersons(0, benchWriters); err != nil {
		return nil, err
	}
	var rights []channel.Grant
	for i := range m.writers {
		if err := b.register(ctx, owner.network, &m.writers[i]); err != nil {
			return nil, err
		}
		rights = append(rights, channel.Grant{Participant: m.writers[i].DID, Rights: channel.Read | channel.Order})
	}
	for i := range benchChannels {
		ch, err := owner.create(ctx, fmt.Sprintf("bench %d", i), rights)
		if err != nil {
			return nil, err
		}
		m.channels = append(m.channels, ch)
	}
	one, err := sealRecord(m.channels[0], m.writers[0])
	if err != nil {
		return nil, err
	}
	m.size = len(one)
	m.batch = min(b.batch, client.MaxOperationsBytes/(m.size+1))
	seconds, rate := (b.warmup + b.duration + time.Second).Seconds(), float64(maxBenchPerCore)
	if b.rate > 0 {
		rate = 1.2 * b.rate
	}
	m.requests = int(seconds*rate)/m.batch + 1
	m.made = make(chan recordRequest, min(m.requests, maxBenchPrepared/m.batch))
	return m, nil
}

func (m *recordMaker) run(ctx context.Context) {
	defer close(m.made)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for i := int(next.Add(1) - 1); i < m.requests; i = int(next.Add(1) - 1) {
				r, err := m.request(i)
				if err != nil {
					return err
				}
				select {
				case m.made <- r:
				case <-ctx.Done():
					return nil
				}
			}
			return nil
		})
	}
	m.err = group.Wait()
}

func (m *recordMaker) request(i int) (recordRequest, error) {
	ch := m.channels[i%len(m.channels)]
	operations := make([][]byte, m.batch)
	for k := range operations {
		var err error
		if operations[k], err = sealRecord(ch, m.writers[k%len(m.writers)]); err != nil {
			return recordRequest{}, err
		}
	}
	body := append([]byte(`{"operations":[`), bytes.Join(operations, []byte(","))...)
	return recordRequest{ch.ID, append(body, "]}"...)}, nil
}

// records measures sealed records of several writers in several channels, many a request, through all nodes. Sealing and
// signing is the clients' work: it is done beforehand, so that the network is measured.
func (b *bench) records(ctx context.Context) (r benchResult, err error) {
	owner, err := b.newOwner(ctx)
	if err != nil {
		return r, err
	}
	m, err := b.newRecordMaker(ctx, owner)
	if err != nil {
		return r, err
	}
	making, stop := context.WithCancel(ctx)
	defer stop()
	go m.run(making)
	for len(m.made) < cap(m.made) {
		if err := sleepUntil(ctx, time.Now().Add(20*time.Millisecond)); err != nil {
			return r, err
		}
	}
	supply := func(_ int, target string) func() []byte {
		return func() []byte {
			one, more := <-m.made
			if !more {
				return nil
			}
			return postRequest(target, "/api/v1/channels/"+one.id.String()+"/operations?wait=final&timeout=10s", one.body)
		}
	}
	l := &load{connections: benchRecordSenders, batch: m.batch, rate: b.rate, supply: supply, accepted: []byte(`"outcome":"accepted"`)}
	memory := make(chan []benchMemory, 1)
	go func() { memory <- b.watchMemory(making) }()
	r, err = b.load(ctx, l)
	stop()
	r.Memory = <-memory
	for range m.made { // until it is closed
	}
	if err = errors.Join(err, m.err); err != nil {
		return r, err
	}
	r.Prepared = fmt.Sprintf("%d records of %d bytes by %d writers in %d private channels were sealed and signed before the load",
		cap(m.made)*m.batch, m.size, len(m.writers), len(m.channels))
	if m.requests > cap(m.made) {
		r.Prepared += ", the others meanwhile on the same cores"
	}
	if err := b.checkChannels(ctx, owner, m.channels, l, &r); err != nil {
		return r, err
	}
	r.Target = fmt.Sprintf("%d records/s or more, seq without gaps and one head on all nodes", benchRecordTarget)
	r.Met = r.PerSecond >= benchRecordTarget && len(r.Errors) == 0 && len(r.Violations) == 0
	b.judgeMemory(&r)
	return r, nil
}

// Memory is watched in runs of at least a minute. It is flat if the last quarter needs on average little more than the second
// (the first fills caches): a collected heap is a saw, whose highest tooth of ten says little. The highest of all is reported.
const (
	benchSoak    = time.Minute
	benchSamples = 40
	benchFlat    = 1.2
)

// watchMemory reads what nodes hold, until ctx ends.
func (b *bench) watchMemory(ctx context.Context) (list []benchMemory) {
	if b.duration < benchSoak || b.net == nil {
		return nil
	}
	start := time.Now().Add(b.warmup)
	for i := 1; sleepUntil(ctx, start.Add(time.Duration(i)*b.duration/benchSamples)) == nil; i++ {
		m := benchMemory{Seconds: time.Since(start).Seconds()}
		for _, node := range b.read().nodes {
			m.AnonymousMiB = max(m.AnonymousMiB, float64(node.anonymous)/(1<<20))
			m.MappedMiB = max(m.MappedMiB, float64(node.rss-node.anonymous)/(1<<20))
		}
		list = append(list, m)
	}
	return list
}

// judgeMemory holds a long run to memory that does not grow. Its rate is then the caller's choice, not a target.
func (b *bench) judgeMemory(r *benchResult) {
	n := len(r.Memory) / 4
	if n == 0 {
		return
	}
	mean := func(list []benchMemory) (mib float64) {
		for _, m := range list {
			mib += m.AnonymousMiB / float64(len(list))
			r.PeakMiB = max(r.PeakMiB, m.AnonymousMiB)
		}
		return mib
	}
	mean(r.Memory)
	before := mean(r.Memory[n : 2*n])
	if before == 0 { // this system does not say
		return
	}
	r.Growth = mean(r.Memory[3*n:]) / before
	r.Target = fmt.Sprintf("mean memory of the last quarter at most %.1f times that of the second, seq without gaps and one head on all nodes", benchFlat)
	r.Met = r.Growth <= benchFlat && len(r.Errors) == 0 && len(r.Violations) == 0
}

// checkChannels holds that every record counted once, that their numbers have no gaps, and that all nodes say the same.
func (b *bench) checkChannels(ctx context.Context, owner *benchOwner, channels []*audit.Channel, l *load, r *benchResult) error {
	var nodes []*client.Client
	for i := range b.clients {
		c, err := b.login(ctx, i, owner.benchPerson)
		if err != nil {
			return err
		}
		nodes = append(nodes, c)
	}
	all := uint64(0)
	for i, ch := range channels {
		info, same, err := sameHead(ctx, nodes, ch.ID)
		if err != nil {
			return err
		}
		if !same {
			r.Violations = append(r.Violations, fmt.Sprintf("channel %d has not one head on all nodes", i))
		}
		all += info.LastSeq
		if n, err := countRecords(ctx, nodes[i%len(nodes)], ch.ID); err != nil {
			return err
		} else if n != info.LastSeq {
			r.Violations = append(r.Violations, fmt.Sprintf("channel %d: record %d does not follow, the last one is %d", i, n+1, info.LastSeq))
		}
	}
	if r.Records = all; r.LeftBehind == 0 && len(l.total.pending) == 0 && all != uint64(l.total.accepted) {
		r.Violations = append(r.Violations, fmt.Sprintf("%d records were answered as accepted, the channels have %d", l.total.accepted, all))
	}
	return nil
}

// sameHead waits until all nodes tell the same head of a channel.
func sameHead(ctx context.Context, nodes []*client.Client, id channel.ID) (info client.Channel, same bool, err error) {
	for end := time.Now().Add(benchHeadSeconds * time.Second); !same && time.Now().Before(end); {
		same = true
		for i, node := range nodes {
			other, err := node.Channel(ctx, id)
			if err != nil {
				return info, false, err
			}
			if i == 0 {
				info = other
			}
			same = same && other.Head == info.Head && other.LastEvent == info.LastEvent && other.LastSeq == info.LastSeq
		}
		if !same {
			if err := sleepUntil(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
				return info, false, err
			}
		}
	}
	return info, same, nil
}

// countRecords reads all records and stops at a gap.
func countRecords(ctx context.Context, node *client.Client, id channel.ID) (n uint64, err error) {
	list := func(ctx context.Context, p client.Page) (client.List[client.ChannelRecord], error) {
		return node.ChannelRecords(ctx, id, client.RecordFilter{}, p)
	}
	errGap := errors.New("gap")
	err = client.All(ctx, client.Page{}, list, func(e client.ChannelRecord) error {
		if e.Seq != n+1 {
			return errGap
		}
		n++
		return nil
	})
	if errors.Is(err, errGap) {
		err = nil
	}
	return n, err
}

// liveRun is records on their way to followers, by seq.
type liveRun struct {
	mu        sync.Mutex // guards all below
	sent      map[uint64]time.Time
	final     map[uint64]time.Time // when the node that it was sent to had answered that it is final
	delivered map[uint64][]time.Time
	errors    map[string]int
	latencies []uint32
}

// live measures how long after a record was final its followers have it: 100 of them, each a reader with a login of its own,
// over all nodes. A client cannot see when a record became final at the node that it follows: it is compared with the answer
// to wait=final of the node that the record was sent to.
func (b *bench) live(ctx context.Context) (r benchResult, err error) {
	owner, err := b.newOwner(ctx)
	if err != nil {
		return r, err
	}
	readers, err := b.newPersons(0, benchFollowers)
	if err != nil {
		return r, err
	}
	ch, err := owner.create(ctx, "live", grants(readers[:benchWriters], channel.Read|channel.Order))
	if err != nil {
		return r, err
	}
	if err := owner.authorize(ctx, ch, grants(readers[benchWriters:], channel.Read)); err != nil {
		return r, err
	}
	if err := ch.Refresh(ctx); err != nil {
		return r, err
	}
	r = benchResult{Batch: 1, Connections: benchFollowers, Offered: benchLiveRate, Seconds: b.duration.Seconds(), Errors: map[string]int{}}
	if b.rate > 0 {
		r.Offered = b.rate
	}
	run := &liveRun{sent: map[uint64]time.Time{}, final: map[uint64]time.Time{}, delivered: map[uint64][]time.Time{}, errors: r.Errors}
	following, stop := context.WithCancel(ctx)
	defer stop()
	var followers errgroup.Group
	for i, p := range readers {
		node, err := b.login(ctx, i, p)
		if err != nil {
			return r, err
		}
		followers.Go(func() error { return run.follow(following, node, ch) })
	}
	if err := sleepUntil(ctx, time.Now().Add(time.Second)); err != nil { // until all have connected
		return r, err
	}
	from := b.read()
	if err := b.sendLive(ctx, run, ch, readers[:benchWriters], r.Offered); err != nil {
		return r, err
	}
	to := b.read()
	if err := sleepUntil(ctx, time.Now().Add(answerGrace)); err != nil {
		return r, err
	}
	stop()
	if err := followers.Wait(); !errors.Is(err, context.Canceled) {
		return r, err
	}
	run.report(&r)
	r.use(from, to, len(run.final))
	r.Target = fmt.Sprintf("p95 of %d ms or less from final to each of %d followers", benchLiveMillis, benchFollowers)
	r.Met = r.Delivery.N > 0 && r.Delivery.P95 <= benchLiveMillis && len(r.Errors) == 0 && len(r.Violations) == 0
	return r, nil
}

func (l *liveRun) follow(ctx context.Context, node *client.Client, ch *audit.Channel) error {
	after, last := ch.Info.LastEvent, uint64(0)
	return node.FollowChannel(ctx, ch.ID, &after, func(h client.ChannelHappening) error {
		now := time.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.Name != "record" {
			return nil
		}
		if h.Event.Seq != last+1 {
			l.errors["out_of_order"]++
		}
		last = h.Event.Seq
		l.delivered[last] = append(l.delivered[last], now)
		return nil
	}, func(error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.errors["interrupted"]++
	})
}

// sendLive writes one record after the other through all nodes, at a steady rate whatever the answers.
func (b *bench) sendLive(ctx context.Context, run *liveRun, ch *audit.Channel, writers []benchPerson, rate float64) error {
	var group errgroup.Group
	start := time.Now()
	for i := range int(rate * b.duration.Seconds()) {
		entry, err := sealRecord(ch, writers[i%len(writers)])
		if err != nil {
			return err
		}
		if err := sleepUntil(ctx, start.Add(time.Duration(float64(i)/rate*float64(time.Second)))); err != nil {
			return err
		}
		group.Go(func() error { run.send(ctx, b.clients[i%len(b.clients)], entry); return nil })
	}
	return group.Wait()
}

func (l *liveRun) send(ctx context.Context, node *client.Client, entry []byte) {
	sent := time.Now()
	done, err := node.SubmitOperation(ctx, entry, client.OperationOptions{Final: client.MaxWait})
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.errors[client.ProblemCode(err)]++
	case done.Status != client.Final || done.Outcome != "accepted":
		l.errors["not_final"]++
	default:
		l.sent[done.Result.Seq], l.final[done.Result.Seq] = sent, now
		l.latencies = append(l.latencies, uint32(now.Sub(sent).Microseconds()))
	}
}

func (l *liveRun) report(r *benchResult) {
	var delivery, reach []uint32
	for seq, final := range l.final {
		for _, at := range l.delivered[seq] {
			delivery = append(delivery, uint32(max(0, at.Sub(final).Microseconds()))) // another node may be faster than the answer
			reach = append(reach, uint32(at.Sub(l.sent[seq]).Microseconds()))
		}
		if n := len(l.delivered[seq]); n != benchFollowers {
			r.Violations = append(r.Violations, fmt.Sprintf("record %d came to %d of %d followers", seq, n, benchFollowers))
		}
	}
	latency, d, s := summarize(l.latencies), summarize(delivery), summarize(reach)
	r.Latency, r.Delivery, r.Reach = &latency, &d, &s
	r.PerSecond = float64(len(l.final)) / r.Seconds
}

// newAudience makes a channel, and the readers that it will have.
func (b *bench) newAudience(ctx context.Context, owner *benchOwner, name string) (*audit.Channel, []benchPerson, error) {
	readers, err := b.newPersons(0, benchReaders)
	if err != nil {
		return nil, nil, err
	}
	ch, err := owner.create(ctx, name, nil)
	return ch, readers, err
}

// rekey measures a new key for all readers of a channel, as a client's tool sends it: an epoch with the first wraps, then
// operations with all others. Giving the rights is not part of it.
func (b *bench) rekey(ctx context.Context) (r benchResult, err error) {
	owner, err := b.newOwner(ctx)
	if err != nil {
		return r, err
	}
	start := time.Now()
	ch, readers, err := b.newAudience(ctx, owner, "rekey")
	if err != nil {
		return r, err
	}
	if err := owner.authorize(ctx, ch, grants(readers, channel.Read)); err != nil {
		return r, err
	}
	if err := ch.Refresh(ctx); err != nil {
		return r, err
	}
	r = benchResult{Connections: 1, Errors: map[string]int{}, Rekey: &benchRekey{Readers: len(readers), SetupSeconds: time.Since(start).Seconds()}}
	from := b.read()
	change, err := ch.Rekey(ctx, "bench")
	if err != nil {
		return r, err
	}
	r.Rekey.SealSeconds = time.Since(from.at).Seconds()
	if _, err := ch.Submit(ctx, change.Body); err != nil {
		return r, err
	}
	settled, err := ch.Complete(ctx, change)
	if err != nil {
		return r, err
	}
	to := b.read()
	r.Seconds = to.at.Sub(from.at).Seconds()
	r.use(from, to, len(readers))
	r.Rekey.Keyloads = settled.Keyloads
	for range settled.Skipped {
		r.Errors["skipped"]++
	}
	if err := b.checkRekey(ctx, owner, ch, &r); err != nil {
		return r, err
	}
	r.Target = fmt.Sprintf("%d s or less until the keys for %d readers are final", benchRekeySeconds, benchReaders)
	r.Met = r.Seconds <= benchRekeySeconds && len(r.Errors) == 0 && len(r.Violations) == 0
	return r, nil
}

// checkRekey holds that on the last node nobody misses the key.
func (b *bench) checkRekey(ctx context.Context, owner *benchOwner, ch *audit.Channel, r *benchResult) error {
	var nodes []*client.Client
	for i := range b.clients {
		node, err := b.login(ctx, i, owner.benchPerson)
		if err != nil {
			return err
		}
		nodes = append(nodes, node)
	}
	info, same, err := sameHead(ctx, nodes, ch.ID)
	if err != nil {
		return err
	}
	if !same || info.Epoch != 2 {
		r.Violations = append(r.Violations, fmt.Sprintf("the channel has not one head on all nodes, or epoch %d", info.Epoch))
	}
	readers, missing := 0, 0
	list := func(ctx context.Context, p client.Page) (client.List[client.Subscription], error) {
		return nodes[len(nodes)-1].Subscriptions(ctx, ch.ID, channel.Active, p)
	}
	err = client.All(ctx, client.Page{}, list, func(s client.Subscription) error {
		if s.DID != owner.DID && s.Rights.Reads() {
			readers++
		}
		if s.KeyMissing {
			missing++
		}
		return nil
	})
	if readers != benchReaders || missing > 0 {
		r.Violations = append(r.Violations, fmt.Sprintf("%d of %d readers, %d of them without the key", readers, benchReaders, missing))
	}
	return err
}
