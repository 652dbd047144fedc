package xform

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
)

const (
	// maxDepth is how deep values may be nested. Go's JSON decoder stops at
	// 10,000; the functions of gojq recurse, and a stack overflow would end the
	// process.
	maxDepth = 1_000
	// maxDigits is how long a number may be written. Longer ones serve only to
	// keep the processor busy with arithmetic.
	maxDigits = 1_000
)

var (
	errDepth  = fmt.Errorf("nested deeper than %d", maxDepth)
	errDigits = fmt.Errorf("a number of more than %d digits", maxDigits)
)

// weigh returns about as many bytes as the value has as JSON text, and stops
// soon after limit: a value may hold parts of itself many times over and then
// be far larger in text than in memory.
func weigh(value any, limit int) (int, error) {
	s := scale{limit: limit}
	err := s.add(value, 0)
	return s.sum, err
}

type scale struct{ sum, limit int }

func (s *scale) add(value any, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch v := value.(type) {
	case nil, bool:
		s.sum += 4
	case int, float64:
		s.sum += 8
	case string:
		s.sum += textSize(v)
	case json.Number:
		if s.sum += len(v); len(v) > maxDigits {
			return errDigits
		}
	case *big.Int:
		digits := v.BitLen() * 3 / 10
		if s.sum += digits + 1; digits > maxDigits {
			return errDigits
		}
	case []any:
		s.sum += 2
		for _, item := range v {
			s.sum++
			if err := s.add(item, depth+1); err != nil || s.sum > s.limit {
				return err
			}
		}
	case map[string]any:
		s.sum += 2
		for name, item := range v {
			s.sum += textSize(name) + 2
			if err := s.add(item, depth+1); err != nil || s.sum > s.limit {
				return err
			}
		}
	case *budget:
		return errors.New("a value that is not JSON")
	default:
		return fmt.Errorf("%T is not a JSON value", value)
	}
	return nil
}

// textSize is the size of a string with its quotes, escapes not counted: an
// exact limit is checked where the text exists.
func textSize(s string) int { return len(s) + 2 }

// plain replaces what JSON cannot say: NaN by null and the infinities by the
// largest numbers. Where there is nothing to replace it returns the value
// itself; it never changes one, since parts may belong to the input.
func plain(value any) any {
	if !odd(value) {
		return value
	}
	switch v := value.(type) {
	case float64:
		switch {
		case math.IsNaN(v):
			return nil
		case v > 0:
			return math.MaxFloat64
		default:
			return -math.MaxFloat64
		}
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = plain(item)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, item := range v {
			object[name] = plain(item)
		}
		return object
	default:
		return value
	}
}

// odd reports whether a value has a NaN or an infinity somewhere.
func odd(value any) bool {
	switch v := value.(type) {
	case float64:
		return math.IsNaN(v) || math.IsInf(v, 0)
	case []any:
		return slices.ContainsFunc(v, odd)
	case map[string]any:
		for _, item := range v {
			if odd(item) {
				return true
			}
		}
	}
	return false
}
