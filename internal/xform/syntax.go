package xform

import (
	"errors"
	"regexp"
	"strings"

	"github.com/itchyny/gojq"
)

// SyntaxError says where a program is wrong.
type SyntaxError struct {
	// Offset is the place in bytes from the beginning of the program. It is the
	// program's length where something is missing at its end, and 0 where the
	// place is not known.
	Offset int
	// Token is the piece of the program at Offset; empty at the end.
	Token string
	// Text says what is wrong, in lower case and without a full stop.
	Text string
}

// Error returns the text without the place.
func (e *SyntaxError) Error() string { return e.Text }

// Compile reads a program that will run within these limits. A mistake in it is
// a *[SyntaxError].
func (l Limits) Compile(src string) (*Program, error) {
	query, err := gojq.Parse(src)
	if err != nil {
		return nil, parseError(src, err)
	}
	if err := vet(query); err != nil {
		return nil, locate(src, err)
	}
	query, err = guarded(query)
	if err != nil {
		return nil, locate(src, err)
	}
	code, err := gojq.Compile(query, guards()...)
	if err != nil {
		return nil, locate(src, err)
	}
	return &Program{code: code, limits: l.withDefaults()}, nil
}

func parseError(src string, err error) *SyntaxError {
	bad, ok := errors.AsType[*gojq.ParseError](err)
	if !ok {
		return &SyntaxError{Text: err.Error()}
	}
	text := bad.Error()
	if text == "unexpected EOF" {
		return &SyntaxError{Offset: len(src), Text: "the program ends too early"}
	}
	// gojq counts what it has read, the token included. A token that is not in
	// the program stands for bytes that are not UTF-8.
	read := min(max(bad.Offset, 0), len(src))
	offset := strings.LastIndex(src[:read], bad.Token)
	if offset < 0 {
		return &SyntaxError{Offset: max(read-1, 0), Text: text}
	}
	return &SyntaxError{Offset: offset, Token: bad.Token, Text: text}
}

// nameRE finds the name that an error of the compiler is about.
var nameRE = regexp.MustCompile(`^(?:function not defined|variable not defined|label not defined): (\$?[A-Za-z0-9_:]+)`)

// locate finds the place of a mistake that is known by its name only: the first
// place where the name stands by itself.
func locate(src string, err error) *SyntaxError {
	found := &SyntaxError{Text: err.Error()}
	if bad, ok := errors.AsType[*nameError](err); ok {
		found.Token = bad.name
	} else if hit := nameRE.FindStringSubmatch(err.Error()); hit != nil {
		found.Token = hit[1]
	}
	if found.Token == "" {
		return found
	}
	word := regexp.MustCompile(`(?:^|[^A-Za-z0-9_$@.])(` + regexp.QuoteMeta(found.Token) + `)(?:$|[^A-Za-z0-9_])`)
	if at := word.FindStringSubmatchIndex(src); at != nil {
		found.Offset = at[2]
	} else {
		found.Token = ""
	}
	return found
}
