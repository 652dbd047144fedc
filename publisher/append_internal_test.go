package publisher

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// filled fills a value with what may be in it, each member of a structure or not.
func filled(rnd *rand.Rand, v reflect.Value) {
	texts := []string{"me", `a "quoted" \ text`, "<b>&</b>", "ä €\u2028\u2029\U0001f600", "\x00\x1f\x7f\t\n", "cut \xed\xa0\xbd", "\xff"}
	bodies := []string{`{"a": [1, 2 ,{ }], "b":"<&>\u2028\ud83d" }`, "\n null", `"` + texts[5] + `"`, "12"}
	switch v.Interface().(type) {
	case time.Time:
		at := time.Unix(rnd.Int64N(4e9), rnd.Int64N(1e9)).UTC()
		if rnd.IntN(3) == 0 {
			at = at.Truncate(time.Second).In(time.FixedZone("", -3600))
		}
		v.Set(reflect.ValueOf(at))
		return
	case json.RawMessage:
		v.SetBytes([]byte(bodies[rnd.IntN(len(bodies))]))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			if rnd.IntN(3) > 0 {
				filled(rnd, field)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(rnd, v.Elem())
	case reflect.String:
		v.SetString(texts[rnd.IntN(len(texts))])
	case reflect.Int:
		v.SetInt(rnd.Int64N(7) - 3)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic("no value of " + v.Type().String())
	}
}

// TestWhatIsWrittenByHandIsWhatReflectionWrites: for random values, whose members are
// found by reflection, so that a new one cannot be left out.
func TestWhatIsWrittenByHandIsWhatReflectionWrites(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2)) // the same values each time
	for range 5000 {
		var o Outcome
		var r record
		filled(rnd, reflect.ValueOf(&o).Elem())
		filled(rnd, reflect.ValueOf(&r).Elem())
		for _, c := range []struct {
			value  any
			encode func() ([]byte, error)
		}{{o, o.encode}, {r, r.encode}} {
			want, err := encode(c.value)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.encode(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v\n got %s\nwant %s", err, got, want)
			}
		}
	}
}

func TestWhatReflectionRefusesIsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []Outcome{
		{Body: json.RawMessage(`{"a":`)},
		{ReceivedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := encode(o); err == nil {
			t.Errorf("reflection takes %+v", o)
		}
		if text, err := o.encode(); err == nil {
			t.Errorf("written as %s", text)
		}
		r := record{Outcome: &o}
		if text, err := r.encode(); err == nil {
			t.Errorf("written as %s", text)
		}
	}
}
