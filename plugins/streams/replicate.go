package streams

import (
	"context"

	"weft/plugins"
	"weft/plugins/streams/channel"
)

// MaxWanted bounds the payloads that this node still has to fetch by itself; more are fetched when they are asked for.
const MaxWanted = 10_000

// wantPayload notes that a record's payload is to be fetched.
func (s *streams) wantPayload(id channel.ID, seq uint64) error {
	e, found, err := channel.ReadRecord(s.state(), id, seq)
	if err != nil || !found || e.Blob == nil || e.ErasedBy != 0 || s.blobs.has(id, e.Blob.Root) {
		s.damaged(err)
		return err
	}
	select {
	case s.wanted <- blobKey{id, e.Blob.Root}:
	default:
	}
	return nil
}

// replicate fetches what is wanted, one after the other, until ctx ends. What nobody has now is fetched when it is asked for.
func (s *streams) replicate(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case k := <-s.wanted:
			if err := s.fetch(ctx, k); err != nil && plugins.Rejected(err) == nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// fetch fetches all of a blob.
func (s *streams) fetch(ctx context.Context, k blobKey) error {
	e, found, err := s.recordOfBlob(k)
	if err != nil || !found || e.ErasedBy != 0 {
		return err
	}
	u, err := s.blobs.find(k)
	if err == nil && u == nil {
		u, err = s.fetchLeaves(ctx, k, e.By)
	}
	if err != nil {
		return err
	}
	for _, n := range u.missing() {
		if _, err := s.chunk(ctx, k, u, n); err != nil {
			return err
		}
	}
	return nil
}
