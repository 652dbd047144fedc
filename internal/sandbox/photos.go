package sandbox

// Photos of people, groups and contacts. There is none until one is put. A photo
// is JPEG, PNG or GIF by its first bytes and at most 4 MB. Of people and groups
// each of Graph's sizes up to the photo's own can be had; it is scaled (as JPEG)
// where the sandbox can read it, and answered as it came where it cannot.
// https://learn.microsoft.com/graph/api/resources/profilephoto
// https://learn.microsoft.com/graph/api/profilephoto-update
//
// The codes for a photo that is not there are those that people have seen:
// ImageNotFound for accounts, ErrorItemNotFound for contacts. The refusal of bytes
// that are no picture (400 ErrorInvalidImage) is this sandbox's own wording. Left
// out: photos that the directory holds for accounts without a mailbox, cutting to
// a square, If-Match.

import (
	"bytes"
	"image"
	_ "image/gif" // the pictures that image.Decode reads
	_ "image/jpeg"
	_ "image/png"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func photoRoutes() []route {
	var routes []route
	put := func(at string, owner photoOwner, remove string) {
		value := at + "/photo/$value"
		routes = append(routes,
			route{method: "GET", path: at + "/photo", handle: owner.describe},
			route{method: "GET", path: value, handle: owner.content},
			route{method: "PUT", path: value, handle: owner.put},
			route{method: "PATCH", path: value, handle: owner.put},
			route{method: "DELETE", path: value, handle: owner.drop, as: remove},
		)
	}
	account := photoOwner{missing: errNoImage, status: http.StatusOK}
	contact := photoOwner{of: (*call).contactOf, missing: errNoContactPhoto, status: http.StatusNoContent}
	put("~", account, "")
	put("/groups/{group-id}", account, "")
	for _, at := range []string{"~/contacts/{contact-id}", "~/contactFolders/{contactFolder-id}/contacts/{contact-id}"} {
		put(at, contact, "contacts.contactPhoto.update")
	}
	for at, of := range map[string]string{"~": "users", "/groups/{group-id}": "groups"} {
		routes = append(routes,
			route{method: "GET", path: at + "/photos", handle: account.list, as: of + ".photo.get"},
			route{method: "GET", path: at + "/photos/{profilePhoto-id}", handle: account.describe},
			route{method: "GET", path: at + "/photos/{profilePhoto-id}/$value", handle: account.content, as: of + ".photo.getContent"},
		)
	}
	return routes
}

// photoOwner is what kind of thing has the photo.
type photoOwner struct {
	of      func(*call) (*entity, error) // nil: the mailbox itself
	missing func() error
	status  int // of a removal
}

func errNoImage() error {
	return newError(http.StatusNotFound, "ImageNotFound", "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown.")
}

func errNoContactPhoto() error {
	return newError(http.StatusNotFound, "ErrorItemNotFound", "The photo wasn't found.")
}

var photoResource = &resource{kind: "profilePhoto", param: "profilePhoto-id", set: "photo"}

// photoIn is the photo that lies in an object, or nil. It needs the lock.
func photoIn(box *mailbox, key uint64) *entity {
	if list := box.in(key, "profilePhoto"); len(list) > 0 {
		return list[0]
	}
	return nil
}

// find finds the photo, and the item that has it. It needs the lock.
func (o photoOwner) find(c *call) (photo, item *entity, err error) {
	var key uint64
	if o.of != nil {
		if item, err = o.of(c); err != nil {
			return nil, nil, err
		}
		key = item.Key
	}
	return photoIn(c.box, key), item, nil
}

// pick takes the size that the path names, or the photo as it is. Of what Graph
// has no such size, the next smaller one is answered.
func (o photoOwner) pick(c *call) (picked, error) {
	var photo *entity
	var err error
	c.read(func(*state) { photo, _, err = o.find(c) })
	if err == nil && photo == nil {
		err = o.missing()
	}
	if err != nil {
		return picked{}, err
	}
	p := whole(photo)
	name, sized := c.params["profilePhoto-id"]
	if !sized {
		return p, nil
	}
	width, height, _ := strings.Cut(strings.ToLower(name), "x")
	n, err := strconv.Atoi(width)
	if err != nil || width != height || !slices.Contains(photoSizes, n) {
		return picked{}, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The photo size '%s' is not supported.", name)
	}
	sizes := p.sizes()
	for len(sizes) > 0 && sizes[len(sizes)-1] > n {
		sizes = sizes[:len(sizes)-1]
	}
	if len(sizes) == 0 {
		return p, nil
	}
	return p.sizedTo(sizes[len(sizes)-1]), nil
}

// photoObject is the photo of an item for $expand, nil where there is none. It
// needs the lock.
func (c *call) photoObject(key uint64) any {
	if photo := photoIn(c.box, key); photo != nil {
		return whole(photo).object()
	}
	return nil
}

func (o photoOwner) describe(c *call) (*Answer, error) {
	p, err := o.pick(c)
	if err != nil {
		return nil, err
	}
	obj := p.object()
	obj["@odata.context"] = c.metadata("photo/$entity")
	a := c.jsonAnswer(http.StatusOK, appendJSON(nil, obj))
	a.Header.Set("ETag", p.tag)
	return a, nil
}

func (o photoOwner) list(c *call) (*Answer, error) {
	p, err := o.pick(c)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, size := range p.sizes() {
		list = append(list, p.sizedTo(size).object())
	}
	if len(list) == 0 {
		list = append(list, p.object())
	}
	return c.jsonAnswer(http.StatusOK, appendJSON(nil, map[string]any{"@odata.context": c.metadata("photos"), "value": list})), nil
}

func (o photoOwner) content(c *call) (*Answer, error) {
	p, err := o.pick(c)
	if err != nil {
		return nil, err
	}
	body, kind := p.bytes()
	return &Answer{
		Status: http.StatusOK, Body: body,
		Header: http.Header{"Content-Type": {kind}, "ETag": {p.tag}, "Cache-Control": {"private"}},
	}, nil
}

// maxPixels is how large a photo the sandbox reads; decoding takes four bytes for
// each.
const maxPixels = 16 << 20

// photoStarts are the first bytes of pictures.
var photoStarts = map[string]string{"\xff\xd8": "image/jpeg", "\x89PNG\r\n": "image/png", "GIF8": "image/gif"}

// put stores the photo that is the body. Graph takes 4 MB at most, which is the
// bound of every request.
func (o photoOwner) put(c *call) (*Answer, error) {
	kind, _, _ := strings.Cut(c.header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	// Microsoft's own clients say application/octet-stream.
	if !strings.HasPrefix(kind, "image/") && kind != "application/octet-stream" {
		return nil, newError(http.StatusUnsupportedMediaType, "UnsupportedMediaType",
			"A supported MIME type could not be found that matches the content type of the request: '%s'.", kind)
	}
	kind = ""
	for start, name := range photoStarts {
		if bytes.HasPrefix(c.body, []byte(start)) {
			kind = name
		}
	}
	if kind == "" {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidImage", "The image data is not valid.")
	}
	width, height := 1, 1 // of one that cannot be read: no size fits it
	if cfg, _, err := image.DecodeConfig(bytes.NewReader(c.body)); err == nil && cfg.Width*cfg.Height <= maxPixels {
		width, height = cfg.Width, cfg.Height
	}
	err := c.update(func(t *tx) error {
		old, item, err := o.find(c)
		if err != nil {
			return err
		}
		fresh := newEntity(photoResource.typ())
		if old != nil {
			fresh = old.clone()
		}
		fresh.Content = bytes.Clone(c.body)
		fresh.Props["width"], fresh.Props["height"], fresh.Hidden["kind"] = float64(width), float64(height), kind
		switch {
		case old != nil:
			t.saveEntity(c.box, fresh)
		case item != nil:
			t.addEntity(c.box, item.Key, fresh)
		default:
			t.addEntity(c.box, 0, fresh)
		}
		t.touch(c.box, item)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK}, nil
}

func (o photoOwner) drop(c *call) (*Answer, error) {
	err := c.update(func(t *tx) error {
		photo, item, err := o.find(c)
		switch {
		case err != nil:
			return err
		case photo == nil:
			return o.missing()
		}
		t.removeEntity(c.box, photo)
		t.touch(c.box, item)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: o.status}, nil
}

// touch gives an item another change key because of what lies in it. nil is no
// item.
func (t *tx) touch(box *mailbox, item *entity) {
	if item != nil {
		t.saveEntity(box, box.entities[item.Key].clone())
	}
}
