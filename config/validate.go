package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/config/genesis"
	"weft/config/strict"
	"weft/tangle"
)

// The bounds of node.json.
const (
	MaxFileBytes       = 1 << 20
	MaxPeers           = 256
	MaxAddrs           = 16 // of the node or of one peer
	MaxOrigins         = 64
	MaxRate            = 1_000_000 // a second
	MaxMemoryMebibytes = 1 << 20

	minMemoryMebibytes = 32
	MaxPurgeHours      = 24 * 366
)

// Validate reports everything that is wrong with n, each fault with its path in node.json.
func (n *Node) Validate() error {
	c := checker{n: n}
	c.peers()
	c.tuning()
	c.api()
	c.rest()
	return c.Err()
}

type checker struct {
	strict.Faults
	n *Node
}

func (c *checker) peers() {
	c.addrs("listen", c.n.Listen)
	if len(c.n.Peers) > MaxPeers {
		c.Add("peers", "%d, at most %d", len(c.n.Peers), MaxPeers)
		return
	}
	seen := map[tangle.Member]int{}
	for i, p := range c.n.Peers {
		path := fmt.Sprintf("peers[%d]", i)
		if first, twice := seen[p.Member]; twice {
			c.Add(path+".member", "the same as of peers[%d]", first)
		}
		seen[p.Member] = i
		if len(p.Addrs) == 0 {
			c.Add(path+".addrs", "none: where is this member reached?")
		}
		c.addrs(path+".addrs", p.Addrs)
	}
}

// addrs checks the form only; the network layer knows what it can dial.
func (c *checker) addrs(path string, addrs []string) {
	if len(addrs) > MaxAddrs {
		c.Add(path, "%d, at most %d", len(addrs), MaxAddrs)
		return
	}
	for i, addr := range addrs {
		if strings.HasPrefix(addr, "/") {
			continue
		}
		if err := checkHostPort(addr); err != nil {
			c.Add(fmt.Sprintf("%s[%d]", path, i), "%s", err)
		}
	}
}

func checkHostPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q: want host:port", addr)
	}
	return nil
}

func (c *checker) tuning() {
	t := c.n.Tuning
	c.oneOf("tuning.profile", t.Profile, ProfileLAN, ProfileWAN)
	c.within("tuning.minRound", t.MinRound, Duration(time.Millisecond), Duration(5*time.Second))
	c.within("tuning.leaderTimeout", t.LeaderTimeout, t.MinRound, Duration(30*time.Second))
	c.within("tuning.maxTimeout", t.MaxTimeout, t.LeaderTimeout, Duration(5*time.Minute))
	c.within("tuning.idleRound", t.IdleRound, t.MinRound, Duration(time.Minute))
}

func (c *checker) within(path string, d, least, most Duration) {
	if d < least || d > most {
		c.Add(path, "%s: want %s to %s", time.Duration(d), time.Duration(least), time.Duration(most))
	}
}

func (c *checker) oneOf(path, have string, want ...string) {
	if !slices.Contains(want, have) {
		c.Add(path, "%q: want %s", have, strings.Join(want, " or "))
	}
}

func (c *checker) api() {
	a := c.n.API
	c.listener(a)
	if (a.TLS.Cert == "") != (a.TLS.Key == "") {
		c.Add("api.tls", "want both cert and key, or neither")
	}
	c.oneOf("api.read", a.Read, AccessOpen, AccessToken)
	c.oneOf("api.submit", a.Submit, AccessOpen, AccessToken)
	c.oneOf("api.noQuorum", a.NoQuorum, NoQuorumPending, NoQuorumRefuse)
	if len(a.CORS) > MaxOrigins {
		c.Add("api.cors", "%d, at most %d", len(a.CORS), MaxOrigins)
		return
	}
	for i, origin := range a.CORS {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || origin != u.Scheme+"://"+u.Host || u.Host == "" {
			c.Add(fmt.Sprintf("api.cors[%d]", i), "%q: want an origin such as https://portal.example", origin)
		}
	}
	c.rate("api.limits.readsPerSecond", a.Limits.ReadsPerSecond)
	c.rate("api.limits.writesPerSecond", a.Limits.WritesPerSecond)
	c.rate("api.limits.verifiesPerSecond", a.Limits.VerifiesPerSecond)
	c.rate("api.limits.anonymousPerSecond", a.Limits.AnonymousPerSecond)
	c.rate("api.limits.loginsPerMinute", a.Limits.LoginsPerMinute)
}

func (c *checker) listener(a API) {
	switch {
	case a.Listen == "":
		if !c.n.Operator.Socket {
			c.Add("api.listen", "empty, and operator.socket is off: nobody could reach this node")
		}
	case checkHostPort(a.Listen) != nil:
		c.Add("api.listen", "%s", checkHostPort(a.Listen))
	case a.TLS.Cert == "" && !a.Insecure && !onLoopback(a.Listen):
		c.Add("api.listen", "%s is not a loopback address, and without TLS anyone on the way can read and change what is sent: "+
			"set api.tls, or api.insecure to true if a proxy or a closed network protects it", a.Listen)
	}
}

func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return listen == "" // no listener, only the socket
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (c *checker) rate(path string, n int) {
	if n < 0 || n > MaxRate {
		c.Add(path, "%d: want 1 to %d, or 0 for no limit", n, MaxRate)
	}
}

func (c *checker) rest() {
	c.oneOf("log.level", c.n.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", c.n.Log.Format, "text", "json")
	if h := c.n.PurgeHours; h < 0 || h > MaxPurgeHours {
		c.Add("purgeHours", "%d: want 0 to %d", h, MaxPurgeHours)
	}
	if m := c.n.MemoryMebibytes; m != 0 && (m < minMemoryMebibytes || m > MaxMemoryMebibytes) {
		c.Add("memoryMebibytes", "%d: want %d to %d, or 0 for no limit", m, minMemoryMebibytes, MaxMemoryMebibytes)
	}
	for _, name := range slices.Sorted(maps.Keys(c.n.Plugins)) {
		path := strict.Join("plugins", name)
		if err := genesis.CheckPlugin(name); err != nil {
			c.Add(path, "%s", err)
		}
		if section := c.n.Plugins[name]; len(section) == 0 || section[0] != '{' {
			c.Add(path, "want an object")
		}
	}
}
