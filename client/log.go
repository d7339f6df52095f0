package client

import (
	"context"
	"fmt"
	"strconv"
)

// TilePath is the path of a piece of the log below /log/, as C2SP tlog-tiles defines it: of a hash tile of some level, or
// of a bundle of leaves if level is LeafLevel. Width 256 is a full tile.
func TilePath(level int, n int64, width int) string {
	path := "tile/" + strconv.Itoa(level)
	if level == LeafLevel {
		path = "tile/entries"
	}
	number := fmt.Sprintf("/%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		number = fmt.Sprintf("/x%03d%s", n%1000, number)
	}
	if width < TileWidth {
		return path + number + ".p/" + strconv.Itoa(width)
	}
	return path + number
}

// LeafLevel stands for bundles of leaves in TilePath, where other levels are of hashes.
const LeafLevel = -1

// TileWidth is the number of hashes in a full tile, and of leaves in a full bundle.
const TileWidth = 256

// LogCheckpoint fetches the newest certified checkpoint as a signed note. Whether it is certified, only receipt.OpenNote
// can say.
func (c *Client) LogCheckpoint(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/log/checkpoint", "text/plain")
}

// LogFile fetches a piece of the log by the path of TilePath.
func (c *Client) LogFile(ctx context.Context, path string) ([]byte, error) {
	return c.raw(ctx, "/log/"+path, "application/octet-stream")
}
