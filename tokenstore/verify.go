package tokenstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// bbolt's file format, version 2: 16 bytes of header on every page, two meta
// pages in front that take turns, branch and leaf pages, and one list of free
// pages. Numbers are in the machine's own byte order.
// https://pkg.go.dev/go.etcd.io/bbolt
const (
	pageHeader    = 16
	elementSize   = 16
	metaSize      = 64
	metaMagic     = 0xED0CDAED
	metaVersion   = 2
	branchPage    = 0x01
	leafPage      = 0x02
	metaPage      = 0x04
	freelistPage  = 0x10
	noFreelist    = ^uint64(0)
	bucketElement = 0x01
	bucketHeader  = 16
	maxDepth      = 64 // of a tree; a sound one of a token store has three levels
)

// verifier walks the pages of a copy of the file. bbolt trusts its pages: on a
// damaged one it panics, faults or recurses without end, which no recover
// stops. So nothing of the file is given to bbolt before this walk, which
// checks every number that bbolt would follow, has come to its end.
type verifier struct {
	data     []byte
	pageSize uint64
	pages    uint64 // the high-water mark: pages that were ever in use
	seen     map[uint64]bool
}

// verifyFile checks the structure of a bbolt file. Both meta pages must be
// sound: bbolt would fall back to the older one in silence, and an older
// refresh token would come back with it.
func verifyFile(data []byte) error {
	if len(data) < 2*512 {
		return errors.New("it is too short")
	}
	order := binary.NativeEndian
	pageSize := uint64(order.Uint32(data[pageHeader+8:]))
	if pageSize < 512 || pageSize > 1<<20 || pageSize&(pageSize-1) != 0 || uint64(len(data)) < 4*pageSize {
		return errors.New("its first page is not that of a token store")
	}
	var newest []byte
	for number := range uint64(2) {
		page := data[number*pageSize:][:pageSize]
		meta := page[pageHeader:][:metaSize]
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaSize-8])
		switch {
		case order.Uint64(page) != number || order.Uint16(page[8:]) != metaPage,
			order.Uint32(meta) != metaMagic, order.Uint32(meta[4:]) != metaVersion,
			order.Uint64(meta[metaSize-8:]) != sum.Sum64(), uint64(order.Uint32(meta[8:])) != pageSize:
			return fmt.Errorf("meta page %d is not sound", number)
		}
		if newest == nil || order.Uint64(meta[48:]) > order.Uint64(newest[48:]) {
			newest = meta
		}
	}
	v := &verifier{data: data, pageSize: pageSize, pages: order.Uint64(newest[40:]), seen: map[uint64]bool{0: true, 1: true}}
	if v.pages < 4 || v.pages > uint64(len(data))/pageSize || !wholeLength(uint64(len(data)), v.pages, pageSize) {
		return errors.New("it is cut: a part is missing at its end")
	}
	if err := v.tree(order.Uint64(newest[16:]), nil, nil, 0); err != nil {
		return err
	}
	return v.freelist(order.Uint64(newest[32:]))
}

// wholeLength reports whether a file of this length can be whole. Up to 16 MiB
// bbolt makes a file twice as long as soon as no page beyond those in use
// would be left, so a shorter one was cut, even where only free pages are gone.
// A file to which nothing was written yet has its four pages and no more.
func wholeLength(length, pages, pageSize uint64) bool {
	const smallest, steps = 32 << 10, 16 << 20
	switch {
	case length > steps:
		return true
	case pages == 4 && length == 4*pageSize:
		return true
	default:
		return length >= smallest && length&(length-1) == 0 && length >= (pages+1)*pageSize
	}
}

// page returns a page with all pages that it overflows to, and takes note of
// them; a page that is reached twice is an error, so the walk always ends.
func (v *verifier) page(id uint64) (body []byte, kind, count uint16, err error) {
	if id < 2 || id >= v.pages {
		return nil, 0, 0, fmt.Errorf("page %d does not exist", id)
	}
	order := binary.NativeEndian
	head := v.data[id*v.pageSize:]
	kind, count = order.Uint16(head[8:]), order.Uint16(head[10:])
	length := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head) != id || length > v.pages-id {
		return nil, 0, 0, fmt.Errorf("page %d is not what it should be", id)
	}
	for each := id; each < id+length; each++ {
		if v.seen[each] {
			return nil, 0, 0, fmt.Errorf("page %d is in use twice", each)
		}
		v.seen[each] = true
	}
	return v.data[id*v.pageSize:][:length*v.pageSize], kind, count, nil
}

// tree checks the tree whose root is page id. Its keys lie in [low, high);
// nil leaves that side open.
func (v *verifier) tree(id uint64, low, high []byte, depth int) error {
	body, kind, count, err := v.page(id)
	if err != nil {
		return err
	}
	return v.node(fmt.Sprintf("page %d", id), body, kind, count, low, high, depth)
}

// node checks one branch or leaf, and what is below it. The body begins with
// the page header; an inline bucket's body is its own small page.
func (v *verifier) node(name string, body []byte, kind, count uint16, low, high []byte, depth int) error {
	if depth > maxDepth || kind != branchPage && kind != leafPage || kind == branchPage && count == 0 {
		return fmt.Errorf("%s is neither branch nor leaf", name)
	}
	if pageHeader+int(count)*elementSize > len(body) {
		return fmt.Errorf("%s has more entries than room", name)
	}
	order := binary.NativeEndian
	previous := low
	for i := range int(count) {
		at := pageHeader + i*elementSize
		element := body[at:]
		var flags uint32
		var position, keySize, valueSize, child uint64
		if kind == branchPage {
			position, keySize, child = uint64(order.Uint32(element)), uint64(order.Uint32(element[4:])), order.Uint64(element[8:])
		} else {
			flags, position = order.Uint32(element), uint64(order.Uint32(element[4:]))
			keySize, valueSize = uint64(order.Uint32(element[8:])), uint64(order.Uint32(element[12:]))
		}
		start := uint64(at) + position
		if position < uint64(int(count)-i)*elementSize || keySize == 0 || start+keySize+valueSize > uint64(len(body)) {
			return fmt.Errorf("%s: entry %d points outside", name, i)
		}
		key, value := body[start:start+keySize], body[start+keySize:][:valueSize]
		// Only the first key may equal the lower bound, which is that key's copy
		// in the branch above.
		if order := bytes.Compare(key, previous); previous != nil && (order < 0 || order == 0 && i > 0) || high != nil && bytes.Compare(key, high) >= 0 {
			return fmt.Errorf("%s: entry %d is out of order", name, i)
		}
		previous = key
		switch {
		case kind == branchPage:
			upper := high
			if i+1 < int(count) {
				next := pageHeader + (i+1)*elementSize
				from := uint64(next) + uint64(order.Uint32(body[next:]))
				to := from + uint64(order.Uint32(body[next+4:]))
				if to > uint64(len(body)) {
					return fmt.Errorf("%s: entry %d points outside", name, i+1)
				}
				upper = body[from:to]
			}
			err := v.tree(child, key, upper, depth+1)
			if err != nil {
				return err
			}
		case flags == bucketElement:
			if err := v.bucket(fmt.Sprintf("%s: bucket %d", name, i), value, depth); err != nil {
				return err
			}
		case flags != 0:
			return fmt.Errorf("%s: entry %d is of no known kind", name, i)
		}
	}
	return nil
}

// bucket checks a bucket: its own tree, or a small page inside the value.
func (v *verifier) bucket(name string, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("%s is cut", name)
	}
	order := binary.NativeEndian
	if root := order.Uint64(value); root != 0 {
		return v.tree(root, nil, nil, depth+1)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != leafPage {
		return fmt.Errorf("%s is cut", name)
	}
	return v.node(name, inline, leafPage, order.Uint16(inline[10:]), nil, nil, depth+1)
}

// freelist checks that every page is either in use or free, and none is both:
// bbolt would write over a page that is in use and called free.
func (v *verifier) freelist(id uint64) error {
	if id == noFreelist {
		return errors.New("it has no list of free pages")
	}
	body, kind, count, err := v.page(id)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	ids, number := body[pageHeader:], uint64(count)
	if count == 0xFFFF {
		ids, number = ids[8:], order.Uint64(ids)
	}
	if kind != freelistPage || number > uint64(len(ids))/8 {
		return errors.New("its list of free pages is not sound")
	}
	for i := range number {
		free := order.Uint64(ids[i*8:])
		if free < 2 || free >= v.pages || v.seen[free] {
			return fmt.Errorf("page %d is both free and in use", free)
		}
		v.seen[free] = true
	}
	if uint64(len(v.seen)) != v.pages {
		return errors.New("pages are neither free nor in use")
	}
	return nil
}
