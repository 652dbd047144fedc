package graph_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

func TestABodyThatIsNoJSONIsSentByteForByteWithItsType(t *testing.T) {
	t.Parallel()
	for kind, body := range map[string][]byte{
		"image/jpeg": {0xff, 0xd8, 0xff, 0, 1, 2}, "text/plain": []byte("RnJvbTog"), "": []byte(`{"a":1}`),
	} {
		want := kind
		if kind == "" {
			want = "application/json"
		}
		w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, body) || r.Header.Get("Content-Type") != want || r.ContentLength != int64(len(body)) {
				t.Errorf("%d bytes %q of type %q: %v", r.ContentLength, got, r.Header.Get("Content-Type"), err)
			}
			rw.WriteHeader(http.StatusAccepted)
		}, nil)
		req := sendMail(t)
		req.Body, req.ContentType = body, kind
		if _, err := w.Do(t.Context(), req); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}
