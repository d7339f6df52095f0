package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"

	"weft/plugins"
)

// Bounds of a fetch.
const (
	MaxFetchBytes = 1 << 20
	fetchTime     = 5 * time.Second
)

// fetcher gets documents of others: over https, from listed hosts only, without redirects, never from an address that is
// private unless the host is listed for that too. The address is judged when it is dialled, after the name was resolved, so
// that a name cannot change its mind in between.
type fetcher struct {
	settings FetchSettings
	client   *http.Client
}

func newFetcher(s FetchSettings) fetcher {
	f := fetcher{settings: s}
	f.client = &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirects are not followed") },
		Transport: &http.Transport{
			Proxy: nil, DisableKeepAlives: true, TLSHandshakeTimeout: fetchTime, ResponseHeaderTimeout: fetchTime,
			MaxResponseHeaderBytes: 32 << 10, DialContext: f.dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.roots()},
		},
	}
	return f
}

// roots adds the file's certificates to the system's; a file that cannot be read leaves the system's alone.
func (f fetcher) roots() *x509.CertPool {
	if f.settings.CAFile == "" {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(f.settings.CAFile); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	return pool
}

// get fetches a document of one of some media types.
func (f fetcher) get(ctx context.Context, address string, types ...string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, plugins.Reject("fetch_refused", "%.200q: want an https URL", address)
	}
	if !slices.Contains(f.settings.Allow, u.Host) {
		return nil, plugins.Reject("fetch_refused", "%.200q is not a host that this node may fetch from", u.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, plugins.Reject("fetch_refused", "%.200q: %s", address, err)
	}
	r.Header.Set("Accept", types[0]+", application/json;q=0.9")
	response, err := f.client.Do(r)
	if err != nil {
		return nil, plugins.Reject("unavailable", "%.200s: %s", u.Host, err)
	}
	defer response.Body.Close()
	return readFetched(response, types)
}

func readFetched(response *http.Response, types []string) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		return nil, plugins.Reject("unavailable", "HTTP %d", response.StatusCode)
	}
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, mediaType) {
		return nil, plugins.Reject("unavailable", "media type %.80q", mediaType)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxFetchBytes+1))
	switch {
	case err != nil:
		return nil, plugins.Reject("unavailable", "%s", err)
	case len(body) > MaxFetchBytes:
		return nil, plugins.Reject("unavailable", "more than %d bytes", MaxFetchBytes)
	}
	return body, nil
}

// dial connects to a host, and refuses the address if it is not one of the open internet and the host is not listed for it.
func (f fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	private := slices.Contains(f.settings.Private, address) || (port == "443" && slices.Contains(f.settings.Private, host))
	d := net.Dialer{Timeout: fetchTime, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !private && !isPublic(ap.Addr()) {
			return fmt.Errorf("%s is a private address", ap.Addr())
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

// isPublic says whether an address is one of the open internet, also behind IPv6 forms that hold an IPv4 address.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is6() {
		b := a.As16()
		switch {
		case b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b: // 64:ff9b::/96, NAT64
			return isPublic(netip.AddrFrom4([4]byte(b[12:])))
		case b[0] == 0x20 && b[1] == 0x02: // 2002::/16, 6to4
			return isPublic(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, reserved := range []string{"100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "0.0.0.0/8", "192.88.99.0/24", "2001:db8::/32", "100::/64", "::/96", "fec0::/10", "2001::/32"} {
		if netip.MustParsePrefix(reserved).Contains(a) {
			return false
		}
	}
	return true
}
