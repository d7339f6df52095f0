package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"weft/config"
	"weft/config/genesis"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// backend is what the API needs of a node: Node is one, tests have another.
type backend interface {
	// The ledger; ErrUnknown and ErrNotFinal as Ledger has them.
	Head() Head
	Message(tangle.ID) (*tangle.Message, Settled, error)
	Children(id tangle.ID, limit int) ([]tangle.ID, error)
	AtPosition(tangle.Position) (tangle.ID, error)
	Entry(tangle.Hash) (EntryRecord, error)
	Receipt(tangle.Hash) ([]byte, error)
	Commit(uint64) (CommitRecord, error)
	Checkpoint(size uint64) (CheckpointRecord, error)
	LatestCheckpoint() (CheckpointRecord, error)
	Checkpoints(before uint64, limit int) ([]CheckpointRecord, error)
	Tile(level int, n int64, width int) ([]byte, error)
	EntryBundle(n int64, width int) ([]byte, error)

	// Publish makes entries durable and starts them on their way: all of them or none.
	Publish(context.Context, []plugins.Submission) (tangle.ID, []tangle.Hash, error)
	// PublishSalted is Publish with the salts given.
	PublishSalted(context.Context, []plugins.Submission, []tangle.Salt) (tangle.ID, []tangle.Hash, error)
	// Salted are the entries that submissions become under these salts, and what the plugins' checks say of them.
	Salted([]plugins.Submission, []tangle.Salt) ([]tangle.Entry, []Checked)
	// WaitFinal returns when all entries are final, or with the context's error.
	WaitFinal(ctx context.Context, hashes []tangle.Hash, in tangle.ID) error
	// Changed is closed when Head moves; ask again for the next change.
	Changed() <-chan struct{}
	// Watch delivers events as they happen and drops them for a receiver that is slower than size.
	Watch(size int) (events <-chan Event, stop func())
	// PurgeState says which erased bodies may still be in the store's files, and AskPurge lets them be written anew.
	PurgeState() (PurgeState, error)
	AskPurge() error
	// CatchUp returns when everything attached here by now has its place, or after a short while.
	CatchUp(context.Context)
	Peers() []wire.PeerInfo
	Vitals() Vitals
}

// Vitals is how the node is doing: what health, ready and the dashboard tell.
type Vitals struct {
	StepAge time.Duration // since the core stepped
	Synced  bool
	Quorum  bool
	Idle    bool          // nothing waits to become final
	DiskLow bool          // or full
	Skew    time.Duration // this clock against the committee's median, either way
	Pending int           // own entries without a place
	Tips    int
	Parked  int
	Facts   []plugins.Fact
}

// APIConfig is what the API needs to know beyond node.json's api section.
type APIConfig struct {
	config.API
	TLSCert       string // path; empty: plain HTTP
	TLSKey        string
	Socket        string // path of the operator's unix socket; empty: none
	OperatorToken string // lets a caller on loopback act as the operator; empty: nobody
	Version       string
	Level         *slog.LevelVar // of the log; nil: cannot be changed
}

// apiParts is what newAPI puts together.
type apiParts struct {
	Config  APIConfig
	Genesis *genesis.Genesis
	Self    tangle.Member
	Store   store.Store // for keys of the API and of requests; never for the ledger
	Node    backend
	Plugins []NamedPlugin // that serve HTTP or are listed
	Log     *slog.Logger
}

// NamedPlugin is an opened plugin.
type NamedPlugin struct {
	Name   string
	Plugin plugins.Plugin
}

// api is the node's HTTP face: the routes of api.md for everyone, and the operator's on a socket of their own.
type api struct {
	apiParts
	keys     *keyring
	rates    *rateTable
	replays  *replays
	answers  *answers
	cursors  apiSecret
	document apiDocument
	codes    map[string]int // HTTP statuses of plugins' codes
	opened   time.Time
	public   *apiDoor
	operator *apiDoor

	inFlight atomic.Int64
	streams  streamCount
	closing  context.Context // ends when the node stops serving
	close    context.CancelFunc

	listeners []apiListener
}

// Bounds of the whole API (api.md, section 1).
const (
	MaxRequestsInFlight = 2000
	MaxURLBytes         = 8 << 10
	MaxHeaderBytes      = 16 << 10
	MaxBodyBytes        = 64 << 10 // of JSON; some routes allow more
)

const (
	headerTime   = 5 * time.Second  // to send a request's headers
	answerTime   = time.Minute      // for a request from its headers to the end of its answer; streams have their own
	idleTime     = 90 * time.Second // of a kept connection
	shutdownTime = 5 * time.Second  // for requests in flight
)

// newAPI prepares everything that can fail and opens the listeners; Run serves them, Close gives up before Run.
func newAPI(p apiParts) (*api, error) {
	a := &api{apiParts: p, rates: newRateTable(p.Config.Limits), opened: time.Now(), answers: newAnswers()}
	a.closing, a.close = context.WithCancel(context.Background())
	var err error
	if a.keys, err = openKeyring(p.Store); err != nil {
		return nil, err
	}
	if a.replays, err = openReplays(p.Store); err != nil {
		return nil, err
	}
	if a.cursors, err = openSecret(p.Store, "cursorkey"); err != nil {
		return nil, err
	}
	if a.codes, err = mergeCodes(p.Plugins); err != nil {
		return nil, err
	}
	if a.document, err = mergeDocuments(p.Plugins); err != nil {
		return nil, err
	}
	a.public, err = newDoor(a, false)
	if err != nil {
		return nil, err
	}
	if a.operator, err = newDoor(a, true); err != nil {
		return nil, err
	}
	return a, a.listen()
}

// apiListener is an open listener and who answers there.
type apiListener struct {
	net.Listener
	door *apiDoor
}

// listen opens the listeners; after an error none is open.
func (a *api) listen() error {
	err := a.listenPublic()
	if err == nil && a.Config.Socket != "" {
		err = a.listenSocket()
	}
	if err != nil {
		a.Close()
	}
	return err
}

func (a *api) listenPublic() error {
	c := a.Config
	if c.Listen == "" {
		return nil
	}
	if c.TLSCert == "" && !c.Insecure && !isLoopback(c.Listen) {
		return fmt.Errorf("api.listen %s: plain HTTP off loopback needs api.tls, or api.insecure behind a proxy", c.Listen)
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("api.listen: %w", err)
	}
	if c.TLSCert != "" {
		secure, err := tlsListener(l, c.TLSCert, c.TLSKey)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		l = secure
	}
	a.listeners = append(a.listeners, apiListener{l, a.public})
	return nil
}

func (a *api) listenSocket() error {
	l, err := socketListener(a.Config.Socket)
	if err != nil {
		return fmt.Errorf("operator's socket: %w", err)
	}
	a.listeners = append(a.listeners, apiListener{l, a.operator})
	return nil
}

// Addr is where the public listener is; empty if there is none.
func (a *api) Addr() string {
	for _, l := range a.listeners {
		if l.door == a.public {
			return l.Addr().String()
		}
	}
	return ""
}

// Close closes the listeners of an API that was never run.
func (a *api) Close() {
	a.close()
	for _, l := range a.listeners {
		l.Close()
	}
	a.listeners = nil
}

// Run serves until ctx ends, then ends streams, lets requests finish for a few seconds, and closes everything.
func (a *api) Run(ctx context.Context) error {
	defer a.close()
	failed := make(chan error, len(a.listeners))
	servers := make([]*http.Server, len(a.listeners))
	for i, l := range a.listeners {
		servers[i] = a.server(l.door)
		go func() { failed <- servers[i].Serve(l) }()
	}
	flushed := make(chan error, 1)
	go func() { flushed <- a.replays.run(a.closing) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("http: %w", err)
	case err = <-flushed:
		flushed <- nil
	}
	a.close()
	for _, s := range servers {
		shutDown(s)
	}
	return errors.Join(err, <-flushed)
}

func (a *api) server(door *apiDoor) *http.Server {
	return &http.Server{
		Handler:           door,
		ReadHeaderTimeout: headerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    4 * MaxHeaderBytes, // beyond MaxHeaderBytes the answer is a problem; beyond this, net/http's
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
}

func shutDown(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close() // whoever still waits had five seconds
	}
}

// apiDoor is one way in: for everyone, or for the operator, who finds more routes there and needs no key.
type apiDoor struct {
	*api
	asOperator bool
	echo       *echo.Echo
	anyOrigin  []string // prefixes of paths that web pages of every origin may GET
}

func newDoor(a *api, operator bool) (*apiDoor, error) {
	d := &apiDoor{api: a, asOperator: operator, echo: echo.New()}
	d.echo.HTTPErrorHandler = d.routeError
	for _, r := range apiRoutes() {
		d.add(&r)
	}
	return d, d.mountPlugins()
}

// add serves a route, if it is one of this door.
func (d *apiDoor) add(r *apiRoute) {
	if r.auth == authOperator && !d.asOperator {
		return
	}
	d.echo.Add(r.method, r.path, d.serve(r))
	if r.method == http.MethodGet && !r.streams() {
		d.echo.Add(http.MethodHead, r.path, d.serve(r)) // net/http drops the body
	}
	if r.anyOrigin {
		d.anyOrigin = append(d.anyOrigin, r.path[:strings.IndexAny(r.path+":", ":*")])
	}
}
