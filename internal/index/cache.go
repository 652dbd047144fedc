package index

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"sync"
)

// Cache is a [Store] that keeps what look-ups need of the segments it read: 24
// bytes for each entry, least recently used ones go first. Segments never
// change, so nothing is ever outdated. Walks and merges read past it, because
// they need everything, and once. Safe for concurrent use.
type Cache struct {
	shared *shared
	fetch  func(ctx context.Context, id string) ([]byte, error)
}

// CacheStats are counted since the cache was made, but for Bytes and Segments,
// which say what is in it.
type CacheStats struct {
	Hits, Misses    int64
	Bytes, Segments int64
}

// shared is the memory of a cache.
type shared struct {
	limit int64

	mu      sync.Mutex
	byID    map[segmentID]*list.Element
	order   *list.List // of *cached, the most recently used one first
	loading map[segmentID]*load
	stats   CacheStats
}

type cached struct {
	id segmentID
	c  columns
}

// load is a fetch that is under way.
type load struct {
	done chan struct{}
	c    columns
	err  error
	// stopped says that who fetched gave up; the others try again.
	stopped bool
}

// cachedOverhead is about what a cached segment takes beside its columns.
const cachedOverhead = 256

// NewCache returns a cache of so many bytes. Fetch reads a segment; it is
// called once at a time for each segment.
func NewCache(bytes int64, fetch func(ctx context.Context, id string) ([]byte, error)) *Cache {
	return &Cache{
		shared: &shared{limit: bytes, byID: map[segmentID]*list.Element{}, order: list.New(), loading: map[segmentID]*load{}},
		fetch:  fetch,
	}
}

// With returns a cache that shares the memory of c and reads segments from
// elsewhere: each feed has its own segments, and all of a worker's have one
// cache.
func (c *Cache) With(fetch func(ctx context.Context, id string) ([]byte, error)) *Cache {
	return &Cache{shared: c.shared, fetch: fetch}
}

// Stats returns what the cache and all that share its memory have counted.
func (c *Cache) Stats() CacheStats {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	return c.shared.stats
}

// Segment implements [Store]. It reads a whole segment past the cache.
func (c *Cache) Segment(ctx context.Context, id string) ([]byte, error) { return c.fetch(ctx, id) }

// columns returns the columns of a segment from memory, or fetches them.
func (c *Cache) columns(ctx context.Context, id segmentID) (columns, error) {
	s := c.shared
	for {
		s.mu.Lock()
		if found, ok := s.byID[id]; ok {
			s.order.MoveToFront(found)
			s.stats.Hits++
			s.mu.Unlock()
			return found.Value.(*cached).c, nil
		}
		if l, ok := s.loading[id]; ok {
			s.mu.Unlock()
			select {
			case <-l.done:
			case <-ctx.Done():
				return columns{}, ctx.Err()
			}
			if l.stopped {
				continue
			}
			return l.c, l.err
		}
		l := &load{done: make(chan struct{})}
		s.loading[id] = l
		s.stats.Misses++
		s.mu.Unlock()
		return c.load(ctx, id, l)
	}
}

func (c *Cache) load(ctx context.Context, id segmentID, l *load) (columns, error) {
	s := c.shared
	l.err = errors.New("fetching a segment panicked")
	defer func() {
		s.mu.Lock()
		delete(s.loading, id)
		if l.err == nil {
			s.put(id, l.c)
		}
		s.mu.Unlock()
		close(l.done)
	}()
	var data []byte
	if data, l.err = c.fetch(ctx, id.String()); l.err != nil {
		l.stopped = ctx.Err() != nil
		return columns{}, l.err
	}
	l.c, l.err = columnsOf(data)
	return l.c, l.err
}

// columnsOf checks a segment and copies its columns, so that its ids go.
func columnsOf(data []byte) (columns, error) {
	s, err := decode(data)
	return columns{n: s.n, data: bytes.Clone(s.data)}, err
}

// keep puts a segment into the cache whose bytes are at hand.
func (c *Cache) keep(id segmentID, data []byte) (columns, error) {
	s := c.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.byID[id]; ok {
		s.order.MoveToFront(found)
		s.stats.Hits++
		return found.Value.(*cached).c, nil
	}
	columns, err := columnsOf(data)
	if err == nil {
		s.put(id, columns)
	}
	return columns, err
}

// put adds columns and makes room for them. The lock is held.
func (s *shared) put(id segmentID, c columns) {
	if _, ok := s.byID[id]; ok {
		return
	}
	s.byID[id] = s.order.PushFront(&cached{id, c})
	s.stats.Bytes += int64(len(c.data)) + cachedOverhead
	s.stats.Segments++
	for s.stats.Bytes > s.limit && s.order.Len() > 0 {
		last := s.order.Back()
		gone := s.order.Remove(last).(*cached)
		delete(s.byID, gone.id)
		s.stats.Bytes -= int64(len(gone.c.data)) + cachedOverhead
		s.stats.Segments--
	}
}
