package sandbox_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"slices"
	"testing"
)

// picture is a JPEG of a size.
func picture(t *testing.T, size int) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for i := range size {
		img.Set(i, i, color.RGBA{R: 200, A: 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPhotosOfPeopleAndGroupsHaveSizes(t *testing.T) {
	t.Parallel()
	w := start(t)
	me := w.as(ann, "User.ReadWrite ProfilePhoto.Read.All Group.ReadWrite.All")
	for _, owner := range []string{"/me", "/groups/sales@contoso.example"} {
		me.get(owner+"/photo").is(404, "ImageNotFound")
		me.get(owner+"/photo/$value").is(404, "ImageNotFound")
		me.get(owner+"/photos/48x48").is(404, "ImageNotFound")
		me.with("Content-Type", "image/jpeg").do(http.MethodPut, owner+"/photo/$value", picture(t, 100)).is(200)
		r := me.get(owner + "/photo").is(200)
		if r.json["width"] != 100.0 || r.json["height"] != 100.0 || r.str("@odata.mediaContentType") != "image/jpeg" || r.str("@odata.mediaEtag") == "" {
			t.Errorf("%s: %s", owner, r.raw)
		}
		if got := me.get(owner + "/photo/$value").is(200); string(got.raw) != picture(t, 100) || got.header.Get("Content-Type") != "image/jpeg" || got.header.Get("ETag") != r.str("@odata.mediaEtag") {
			t.Errorf("%s: the bytes are not those that were put: %v", owner, got.header)
		}
		if got := me.get(owner + "/photos").is(200).texts("id"); !slices.Equal(got, []string{"48x48", "64x64", "96x96"}) {
			t.Errorf("%s: sizes %v", owner, got)
		}
		for asked, given := range map[int]int{48: 48, 96: 96, 648: 96} { // the next smaller one that is there
			if got := me.get(fmt.Sprintf("%s/photos/%dx%d", owner, asked, asked)).is(200); got.json["width"] != float64(given) {
				t.Errorf("%s: asked for %d: %s", owner, asked, got.raw)
			}
			raw := me.get(fmt.Sprintf("%s/photos/%dx%d/$value", owner, asked, asked)).is(200).raw
			if cfg, err := jpeg.DecodeConfig(bytes.NewReader(raw)); err != nil || cfg.Width != given {
				t.Errorf("%s: asked for %d: %v %v", owner, asked, cfg.Width, err)
			}
		}
		me.get(owner + "/photos/50x50").is(400)
		me.with("Content-Type", "image/jpeg").do(http.MethodPatch, owner+"/photo/$value", picture(t, 50)).is(200)
		if got := me.get(owner + "/photo").is(200); got.json["width"] != 50.0 || got.str("@odata.mediaEtag") == r.str("@odata.mediaEtag") {
			t.Errorf("%s: replaced: %s", owner, got.raw)
		}
		me.do(http.MethodDelete, owner+"/photo/$value", "").is(200)
		me.get(owner+"/photo").is(404, "ImageNotFound")
		me.do(http.MethodDelete, owner+"/photo/$value", "").is(404)
	}
}

func TestWhatIsNoPhotoIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, "User.ReadWrite")
	w.with("Content-Type", "application/json").do(http.MethodPut, "/me/photo/$value", `{}`).is(415)
	w.with("Content-Type", "image/jpeg").do(http.MethodPut, "/me/photo/$value", "no picture").is(400)
	w.with("Content-Type", "image/jpeg").do(http.MethodPut, "/me/photo/$value", "\xff\xd8"+string(make([]byte, 4<<20))).is(413)
	w.with("Content-Type", "image/jpeg").do(http.MethodPut, "/users/"+ben+"/photo/$value", picture(t, 10)).is(403)
	w.with("Content-Type", "application/octet-stream").do(http.MethodPut, "/me/photo/$value", picture(t, 10)).is(200)
	w.as(ben, "User.ReadBasic.All").get("/users/" + ann + "/photo/$value").is(200)
	w.as(ben, "User.Read").get("/users/" + ann + "/photo/$value").is(403)
}

func TestAContactHasAPhotoOfItsOwn(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	made := w.made("/me/contacts", `{"givenName":"Ann"}`)
	one := "/me/contacts/" + made.str("id")
	w.get(one+"/photo").is(404, "ErrorItemNotFound")
	w.get(one+"/photo/$value").is(404, "ErrorItemNotFound")
	if r := w.get(one + "?$expand=photo").is(200); r.json["photo"] != nil {
		t.Errorf("expanded: %s", r.raw)
	}
	w.with("Content-Type", "image/jpeg").do(http.MethodPut, one+"/photo/$value", picture(t, 30)).is(200)
	if got := w.get(one + "/photo").is(200); got.json["width"] != 30.0 {
		t.Errorf("photo %s", got.raw)
	}
	r := w.get(one + "?$expand=photo").is(200)
	if photo, _ := r.json["photo"].(map[string]any); photo["height"] != 30.0 {
		t.Errorf("expanded: %s", r.raw)
	}
	if r.str("changeKey") == made.str("changeKey") {
		t.Error("the photo does not change the contact")
	}
	folder := "/me/contactFolders/" + made.str("parentFolderId")
	w.get(folder + "/contacts/" + made.str("id") + "/photo/$value").is(200)
	w.do(http.MethodDelete, one+"/photo/$value", "").is(204)
	w.get(one + "/photo").is(404)
	w.get("/me/photo").is(403) // the contact's permission is not the account's
}
