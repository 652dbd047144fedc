package publisher

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// decoders are readers of JSON that nobody uses: of a short command, a new one
// costs more than the reading.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// parsing returns a reader of a text, which is not copied; [parsed] takes it back.
func parsing(text []byte, opts ...jsontext.Options) *jsontext.Decoder {
	dec := decoders.Get().(*jsontext.Decoder) //nolint:forcetypeassert // nothing else is in there
	dec.Reset(bytes.NewBuffer(text), opts...)
	return dec
}

// reparsing is parsing for a text that was checked before, names that are there
// twice and letters that are none included.
func reparsing(text []byte) *jsontext.Decoder {
	return parsing(text, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func parsed(dec *jsontext.Decoder) { decoders.Put(dec) }
