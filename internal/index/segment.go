package index

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sort"
	"sync"

	"outlook-connector/internal/fault"
)

// A segment is a header, six columns of fixed width, sorted by key, and the ids
// in the same order as one compressed column. All numbers are big-endian.
//
//	 0  "OLIX"
//	 4  format version, 1 byte, and 3 bytes that are zero
//	 8  count of entries, 4 bytes
//	12  length of the compressed ids, 4 bytes
//	16  length of the ids before compression, 4 bytes
//	20  CRC-32C of each of the seven columns, 4 bytes each
//	48  CRC-32C of the header before it
//	52  keys (8), versions (6), flags (1), lives (1), rounds (4), untils (4), ids
//
// An id is its length as a varint and its bytes; the column is compressed with
// DEFLATE (https://www.rfc-editor.org/rfc/rfc1951).
const (
	magic         = "OLIX"
	formatVersion = 1
	headerSize    = 52
	headerSums    = 20
	entrySize     = 24 // all columns but the ids
)

// widths of the columns, in their order.
var widths = [...]int{8, 6, 1, 1, 4, 4}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// columns are the fixed-width part of a segment, one column after the other.
type columns struct {
	n    int
	data []byte
}

func (c columns) key(i int) Key { return Key(binary.BigEndian.Uint64(c.data[i*8:])) }

// entry returns an entry without its id.
func (c columns) entry(i int) Entry {
	n, d := c.n, c.data
	v := d[n*8+i*6:]
	return Entry{
		Version: uint64(binary.BigEndian.Uint16(v))<<32 | uint64(binary.BigEndian.Uint32(v[2:])),
		Flags:   Flags(d[n*14+i]),
		Lives:   d[n*15+i],
		Round:   binary.BigEndian.Uint32(d[n*16+i*4:]),
		Until:   binary.BigEndian.Uint32(d[n*20+i*4:]),
	}
}

// at returns the place of the first key that is not below the given one.
func (c columns) at(key Key) int {
	return sort.Search(c.n, func(i int) bool { return c.key(i) >= key })
}

func (c columns) find(key Key) (Entry, bool) {
	i := c.at(key)
	if i == c.n || c.key(i) != key {
		return Entry{}, false
	}
	return c.entry(i), true
}

// segment is a decoded segment; it refers to the bytes it was decoded from.
type segment struct {
	columns
	packed []byte // the compressed ids
	raw    int    // their length before compression
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Poison, "segment of an index: "+format, args...).WithCode("index_damaged").
		WithHint("read the feed anew with: outlook-connector feeds resync")
}

// decode checks a segment and finds its parts. The result refers to data.
func decode(data []byte) (segment, error) {
	if len(data) < headerSize || string(data[:4]) != magic {
		return segment{}, damaged("%d bytes do not begin like one", len(data))
	}
	if data[4] != formatVersion {
		return segment{}, fault.New(fault.Poison, "segment of an index has format %d, known is %d", data[4], formatVersion).
			WithCode("index_format").WithHint("a newer version of this program wrote it: run that one")
	}
	const last = headerSize - 4
	if binary.BigEndian.Uint32(data[last:]) != crc32.Checksum(data[:last], castagnoli) {
		return segment{}, damaged("the header is damaged")
	}
	n, packed, raw := int64(binary.BigEndian.Uint32(data[8:])), int64(binary.BigEndian.Uint32(data[12:])), int64(binary.BigEndian.Uint32(data[16:]))
	if int64(len(data)) != headerSize+n*entrySize+packed {
		return segment{}, damaged("%d bytes for %d entries and %d bytes of ids", len(data), n, packed)
	}
	at := headerSize
	check := func(column, size int) error {
		if binary.BigEndian.Uint32(data[headerSums+column*4:]) != crc32.Checksum(data[at:at+size], castagnoli) {
			return damaged("column %d is damaged", column)
		}
		at += size
		return nil
	}
	for column, width := range widths {
		if err := check(column, width*int(n)); err != nil {
			return segment{}, err
		}
	}
	s := segment{columns: columns{n: int(n), data: data[headerSize:at]}, packed: data[at:], raw: int(raw)}
	if err := check(len(widths), int(packed)); err != nil {
		return segment{}, err
	}
	for i := 1; i < s.n; i++ {
		if s.key(i-1) >= s.key(i) {
			return segment{}, damaged("keys are out of order")
		}
	}
	return s, nil
}

// ids reads the ids of a segment one after the other.
type ids struct {
	in   *bufio.Reader
	left int64 // bytes before compression that are still to come
	at   int   // the entry whose id comes next
	buf  bytes.Buffer
}

func (s segment) ids() *ids {
	return &ids{in: bufio.NewReader(flate.NewReader(bytes.NewReader(s.packed))), left: int64(s.raw)}
}

// id returns the id of entry i; i must grow from call to call.
func (r *ids) id(i int) (string, error) {
	for ; ; r.at++ {
		length, err := binary.ReadUvarint(r.in)
		if err != nil {
			return "", damaged("id %d: %w", r.at, err)
		}
		r.left -= int64(uvarintLen(length))
		if r.left < 0 || length > uint64(r.left) {
			return "", damaged("id %d has %d bytes where %d are left", r.at, length, r.left)
		}
		r.left -= int64(length)
		if r.at < i {
			if _, err := r.in.Discard(int(length)); err != nil {
				return "", damaged("id %d: %w", r.at, err)
			}
			continue
		}
		r.at++
		// The buffer grows with what is there, not with what the length says.
		r.buf.Reset()
		if _, err := io.CopyN(&r.buf, r.in, int64(length)); err != nil {
			return "", damaged("id %d: %w", i, err)
		}
		return r.buf.String(), nil
	}
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// packers are compressors, which take about a megabyte each to make.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.DefaultCompression)
	if err != nil {
		panic(err) // only for a level that does not exist
	}
	return w
}}

// builder makes one segment of entries that come in the order of their keys.
type builder struct {
	limit   int // most bytes of the segment, see full
	n       int
	columns [len(widths)][]byte
	packed  bytes.Buffer
	packer  *flate.Writer
	raw     int // bytes of ids so far
	pending int // of them, those that may still be inside the packer
}

// full reports that an entry with that id could make the segment larger than
// the limit. An empty one is never full.
func (b *builder) full(id string) bool {
	const (
		slack  = 256     // what closing the compressed column takes, with a margin
		little = 4 << 10 // not worth to ask the packer about
	)
	room := func() int {
		return b.limit - slack - headerSize - (b.n+1)*entrySize - b.packed.Len() - b.pending - len(id) - binary.MaxVarintLen64
	}
	if b.n == 0 {
		return false
	}
	if room() >= 0 {
		return false
	}
	if b.pending < little {
		return true
	}
	b.flush() // so that it is known how long they really are
	return room() < 0
}

func (b *builder) flush() {
	_ = b.packer.Flush() // a bytes.Buffer takes everything
	b.pending = 0
}

func (b *builder) add(key Key, e Entry) {
	if b.packer == nil {
		b.packer = packers.Get().(*flate.Writer)
		b.packer.Reset(&b.packed)
	}
	b.n++
	c := &b.columns
	c[0] = binary.BigEndian.AppendUint64(c[0], uint64(key))
	c[1] = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(c[1], uint16(e.Version>>32)), uint32(e.Version))
	c[2] = append(c[2], byte(e.Flags))
	c[3] = append(c[3], e.Lives)
	c[4] = binary.BigEndian.AppendUint32(c[4], e.Round)
	c[5] = binary.BigEndian.AppendUint32(c[5], e.Until)
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(e.ID)))
	_, _ = b.packer.Write(length[:n])
	_, _ = io.WriteString(b.packer, e.ID)
	b.raw, b.pending = b.raw+n+len(e.ID), b.pending+n+len(e.ID)
}

// finish returns the segment and empties the builder.
func (b *builder) finish() []byte {
	if b.packer != nil {
		_ = b.packer.Close()
		packers.Put(b.packer)
	}
	packed := b.packed.Bytes()
	data := make([]byte, headerSize, headerSize+b.n*entrySize+len(packed))
	copy(data, magic)
	data[4] = formatVersion
	binary.BigEndian.PutUint32(data[8:], uint32(b.n))
	binary.BigEndian.PutUint32(data[12:], uint32(len(packed)))
	binary.BigEndian.PutUint32(data[16:], uint32(b.raw))
	for column, bytes := range append(b.columns[:], packed) {
		binary.BigEndian.PutUint32(data[headerSums+column*4:], crc32.Checksum(bytes, castagnoli))
		data = append(data, bytes...)
	}
	binary.BigEndian.PutUint32(data[headerSize-4:], crc32.Checksum(data[:headerSize-4], castagnoli))
	*b = builder{limit: b.limit}
	return data
}
