package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"weft/plugins/streams/channel"
)

// ChannelHappening is one event of a channel's live feed: record, membership, epoch, config, lock or erase, with the event
// it tells of; or rekeyDue, which is none.
type ChannelHappening struct {
	Name  string
	ID    string // what to resume after; empty for rekeyDue
	Event ChannelEvent
	Data  json.RawMessage
}

// FollowChannel delivers what becomes final in a channel, each event once and in order, from the one behind after on, until
// ctx ends, handle fails or the node refuses. A nil after begins with what comes next. It connects again by itself and
// resumes behind the last event that handle took; told reports each interruption, if not nil.
//
// The node ends the stream when the caller's token or right ends: that is an error of code token_expired or revoked.
func (c *Client) FollowChannel(ctx context.Context, id channel.ID, after *uint64, handle func(ChannelHappening) error, told func(error)) error {
	return c.followHappenings(ctx, channelRoute(id, "live"), after, handle, told)
}

func (c *Client) followHappenings(ctx context.Context, path string, after *uint64, handle func(ChannelHappening) error, told func(error)) error {
	last := ""
	if after != nil {
		last = strconv.FormatUint(*after, 10)
	}
	return c.resume(ctx, &last, told, func() error {
		return c.stream(ctx, path, last, func(e event) error { return takeHappening(e, &last, handle) })
	})
}

// takeHappening handles one event and moves the cursor behind it.
func takeHappening(e event, last *string, handle func(ChannelHappening) error) error {
	switch e.name {
	case "end":
		return endOf(e)
	case "":
		return nil
	}
	h := ChannelHappening{Name: e.name, ID: e.id, Data: json.RawMessage(e.data)}
	if e.id != "" {
		if err := json.Unmarshal(h.Data, &h.Event); err != nil {
			return fmt.Errorf("event %s: %w", e.id, err)
		}
	}
	if err := handle(h); err != nil {
		return err
	}
	if e.id != "" {
		*last = e.id
	}
	return nil
}

// endOf is the node's reason for ending a stream. After some of them the same stream does not come again.
func endOf(e event) error {
	var end struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(e.data), &end) == nil && (end.Code == "token_expired" || end.Code == "revoked") {
		return &Problem{Status: 401, Code: end.Code, Title: "the node ended the stream", Detail: end.Detail}
	}
	return fmt.Errorf("%w: %s", errStreamEnded, e.data)
}
