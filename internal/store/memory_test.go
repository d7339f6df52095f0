package store_test

import (
	"errors"
	"testing"

	"weft/internal/store"
	"weft/internal/store/storetest"
)

func TestMemoryContract(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		Open: func(*testing.T) store.Store { return store.NewMemory() },
		Crash: func(_ *testing.T, s store.Store) store.Store {
			return s.(*store.Memory).Crash()
		},
	})
}

func TestMemoryCrashLosesUnsyncedTail(t *testing.T) {
	m := store.NewMemory()
	set := func(key string, sync bool) {
		t.Helper()
		var batch store.Batch
		batch.Set([]byte(key), []byte(key))
		if err := m.Apply(&batch, sync); err != nil {
			t.Fatal(err)
		}
	}
	set("synced", true)
	set("lost", false)
	again := m.Crash()
	if _, err := again.Get([]byte("lost")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the unsynced batch survived: %v", err)
	}
	if _, err := again.Get([]byte("synced")); err != nil {
		t.Errorf("the synced batch was lost: %v", err)
	}
	if _, err := m.Get([]byte("synced")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("the crashed store still answers: %v", err)
	}
}

func TestMemoryFailNext(t *testing.T) {
	m := store.NewMemory()
	var batch store.Batch
	batch.Set([]byte("a"), nil)
	m.FailNext(store.ErrDiskFull)
	if err := m.Apply(&batch, true); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
	if _, err := m.Get([]byte("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the refused batch is there: %v", err)
	}
	if err := m.Apply(&batch, true); err != nil {
		t.Errorf("the Apply after: %v", err)
	}
}
