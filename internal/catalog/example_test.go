package catalog_test

import (
	"fmt"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

func ExampleOperation_Build() {
	op, err := catalog.Default().Lookup("Mail - Get a message")
	if err != nil {
		fmt.Println(err)
		return
	}
	target, err := op.Build(catalog.Params{
		Mailbox: "me",
		Path:    map[string]string{"message-id": "AAMk/1="},
		Query:   map[string]string{"$select": "subject,from"},
	})
	fmt.Println(op.Method, target, err)

	_, err = op.Build(catalog.Params{Mailbox: "me", Path: map[string]string{"message-id": "../../users/ceo"}})
	fmt.Println(err)
	_, err = op.Build(catalog.Params{Mailbox: "me"})
	fmt.Println(err)
	fmt.Println(fault.HintOf(err))
	// Output:
	// GET /me/messages/AAMk%2F1=?$select=subject%2Cfrom <nil>
	// mail.message.get: path parameter message-id: the value has a dot segment
	// mail.message.get: /me/messages/{message-id} needs the path parameter message-id
	// give message-id, or mailFolder-id + message-id
}

func ExampleCatalog_Match() {
	for _, op := range catalog.Default().Match("POST", "/users/ann@contoso.com/sendMail") {
		fmt.Println(op.ID, "-", op.Title)
	}
	// Output:
	// mail.message.sendMail - Mail - Send mail
}
