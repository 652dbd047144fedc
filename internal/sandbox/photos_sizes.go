package sandbox

// The sizes in which photos are had.

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"strconv"
	"strings"
)

// photoSizes are the widths of the square sizes, ascending.
// https://learn.microsoft.com/graph/api/profilephoto-get
var photoSizes = []int{48, 64, 96, 120, 240, 360, 432, 504, 648}

// picked is a photo in the size that the path names.
type picked struct {
	content []byte
	kind    string
	width   int
	height  int
	scale   bool
	id      string
	tag     string
}

// whole is the photo as it was put.
func whole(photo *entity) picked {
	w, _ := photo.Props["width"].(float64)
	h, _ := photo.Props["height"].(float64)
	kind, _ := photo.Hidden["kind"].(string)
	return picked{
		content: photo.Content, kind: kind, width: int(w), height: int(h),
		id: fmt.Sprintf("%.0fX%.0f", w, h), tag: `"` + strings.ToUpper(strconv.FormatInt(0xBA000000+photo.Seq, 16)) + `"`,
	}
}

// sizes are Graph's sizes that the photo is large enough for.
func (p picked) sizes() []int {
	n := 0
	for n < len(photoSizes) && photoSizes[n] <= min(p.width, p.height) {
		n++
	}
	return photoSizes[:n]
}

// sizedTo says that the photo is wanted in a size.
func (p picked) sizedTo(size int) picked {
	p.id, p.width, p.height, p.scale = fmt.Sprintf("%dx%d", size, size), size, size, p.width != size || p.height != size
	return p
}

// bytes is the photo in the wanted size: each point is the nearest one of the
// photo. One that cannot be read stays as it is.
func (p picked) bytes() (content []byte, kind string) {
	if !p.scale {
		return p.content, p.kind
	}
	src, _, err := image.Decode(bytes.NewReader(p.content))
	if err != nil {
		return p.content, p.kind
	}
	dst, from := image.NewRGBA(image.Rect(0, 0, p.width, p.height)), src.Bounds()
	for y := range p.height {
		for x := range p.width {
			dst.Set(x, y, src.At(from.Min.X+x*from.Dx()/p.width, from.Min.Y+y*from.Dy()/p.height))
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, dst, nil); err != nil {
		return p.content, p.kind
	}
	return b.Bytes(), "image/jpeg"
}

// object is the metadata.
func (p picked) object() map[string]any {
	return map[string]any{
		"@odata.mediaContentType": p.kind, "@odata.mediaEtag": p.tag,
		"id": p.id, "width": p.width, "height": p.height,
	}
}
