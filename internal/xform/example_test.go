package xform_test

import (
	"context"
	"errors"
	"fmt"

	"outlook-connector/internal/xform"
)

func ExampleProgram_RunJSON() {
	program, err := xform.Compile(`select(.importance == "high") | {subject, from: .from.emailAddress.address}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, mail := range []string{
		`{"importance": "high", "subject": "Fire", "from": {"emailAddress": {"address": "ann@contoso.com"}}}`,
		`{"importance": "low", "subject": "Lunch"}`,
	} {
		out, ok, err := program.RunJSON(context.Background(), []byte(mail))
		fmt.Printf("%s %v %v\n", out, ok, err)
	}
	// Output:
	// {"from":"ann@contoso.com","subject":"Fire"} true <nil>
	//  false <nil>
}

func ExampleCompile_mistake() {
	_, err := xform.Compile(`{subject, from: .from.address | lower}`)
	if bad, ok := errors.AsType[*xform.SyntaxError](err); ok {
		fmt.Printf("byte %d, %q: %s\n", bad.Offset, bad.Token, bad.Text)
	}
	// Output:
	// byte 32, "lower": function not defined: lower/0
}
