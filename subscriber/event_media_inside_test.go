package subscriber

import "testing"

func TestTheMediaTypeIsThatOfTheContent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		piece *piece
		want  string
	}{
		"nothing was read":           {nil, mediaJSON},
		"attachments only":           {&piece{}, mediaJSON},
		"raw message":                {&piece{mime: []byte("From: a")}, mediaMIME},
		"raw message in the objects": {&piece{stored: &storedBody{ref: "OUTLOOK_BLOB/m"}}, mediaMIME},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &change{kind: Created, piece: test.piece}
			if got := c.media(&Subscription{}); got != test.want {
				t.Errorf("media type %s, want %s", got, test.want)
			}
		})
	}
}
