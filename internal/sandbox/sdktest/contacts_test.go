package sdktest_test

import (
	"net/http"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func contact(given, surname, addr string) *models.Contact {
	c := models.NewContact()
	c.SetGivenName(&given)
	c.SetSurname(&surname)
	e := models.NewEmailAddress()
	e.SetAddress(&addr)
	e.SetName(new(given + " " + surname))
	c.SetEmailAddresses([]models.EmailAddressable{e})
	c.SetBusinessPhones([]string{"+1 555 0100"})
	return c
}

func TestContacts(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	made, err := c.me.Contacts().Post(t.Context(), contact("Pavel", "Bansky", "pavel@fabrikam.example"), nil)
	ok(t, err, "create a contact")
	_, err = c.me.Contacts().Post(t.Context(), contact("Rosa", "Diaz", "rosa@fabrikam.example"), nil)
	ok(t, err, "create a second contact")
	at := c.me.Contacts().ByContactId(value(made.GetId()))
	got, err := at.Get(t.Context(), nil)
	ok(t, err, "get")
	same(t, "display name", value(got.GetDisplayName()), "Pavel Bansky")
	same(t, "address", value(got.GetEmailAddresses()[0].GetAddress()), "pavel@fabrikam.example")
	sameList(t, "phones", got.GetBusinessPhones(), "+1 555 0100")

	change := models.NewContact()
	change.SetJobTitle(new("Baker"))
	change.SetCompanyName(new("Fabrikam"))
	_, err = at.Patch(t.Context(), change, nil)
	ok(t, err, "patch")
	got, err = at.Get(t.Context(), nil)
	ok(t, err, "get again")
	same(t, "title, company and name", value(got.GetJobTitle())+" "+value(got.GetCompanyName())+" "+value(got.GetSurname()), "Baker Fabrikam Bansky")

	page, err := c.me.Contacts().Get(t.Context(), &users.ItemContactsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemContactsRequestBuilderGetQueryParameters{Filter: new("emailAddresses/any(a:a/address eq 'rosa@fabrikam.example')"), Select: []string{"surname"}},
	})
	ok(t, err, "filter")
	sameList(t, "found", names(page.GetValue(), models.Contactable.GetSurname), "Diaz")

	ok(t, at.Delete(t.Context(), nil), "delete")
	_, err = at.Get(t.Context(), nil)
	refused(t, err, http.StatusNotFound, "ErrorItemNotFound")
	page, err = c.me.Contacts().Get(t.Context(), nil)
	ok(t, err, "list")
	sameList(t, "left", names(page.GetValue(), models.Contactable.GetSurname), "Diaz")
}

func TestContactFolders(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	in := models.NewContactFolder()
	in.SetDisplayName(new("Suppliers"))
	made, err := c.me.ContactFolders().Post(t.Context(), in, nil)
	ok(t, err, "create a folder")
	at := c.me.ContactFolders().ByContactFolderId(value(made.GetId()))
	_, err = at.Contacts().Post(t.Context(), contact("Rosa", "Diaz", "rosa@fabrikam.example"), nil)
	ok(t, err, "create a contact in it")
	page, err := at.Contacts().Get(t.Context(), nil)
	ok(t, err, "list the folder")
	sameList(t, "contacts", names(page.GetValue(), models.Contactable.GetSurname), "Diaz")
	same(t, "folder", value(page.GetValue()[0].GetParentFolderId()), value(made.GetId()))

	name := models.NewContactFolder()
	name.SetDisplayName(new("Vendors"))
	_, err = at.Patch(t.Context(), name, nil)
	ok(t, err, "rename")
	folders, err := c.me.ContactFolders().Get(t.Context(), nil)
	ok(t, err, "list folders") // the default folder is not among them
	sameList(t, "folders", names(folders.GetValue(), models.ContactFolderable.GetDisplayName), "Vendors")
	ok(t, at.Delete(t.Context(), nil), "delete")
	_, err = at.Get(t.Context(), nil)
	refused(t, err, http.StatusNotFound, "ErrorItemNotFound")
}

func TestContactDelta(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	in := models.NewContactFolder()
	in.SetDisplayName(new("Suppliers"))
	made, err := c.me.ContactFolders().Post(t.Context(), in, nil)
	ok(t, err, "create a folder")
	folder := c.me.ContactFolders().ByContactFolderId(value(made.GetId()))
	at := folder.Contacts().Delta()
	follow := func() (items []models.Contactable) {
		for range 20 {
			page, err := at.GetAsDeltaGetResponse(t.Context(), nil)
			ok(t, err, "delta")
			items = append(items, page.GetValue()...)
			if page.GetOdataDeltaLink() != nil {
				at = at.WithUrl(value(page.GetOdataDeltaLink()))
				return items
			}
			at = at.WithUrl(value(page.GetOdataNextLink()))
		}
		t.Fatal("the round does not end")
		return nil
	}
	same(t, "first round", len(follow()), 0)
	rosa, err := folder.Contacts().Post(t.Context(), contact("Rosa", "Diaz", "rosa@fabrikam.example"), nil)
	ok(t, err, "create a contact")
	sameList(t, "second round", names(follow(), models.Contactable.GetSurname), "Diaz")
	ok(t, c.me.Contacts().ByContactId(value(rosa.GetId())).Delete(t.Context(), nil), "delete")
	gone := follow()
	sameList(t, "third round", names(gone, models.Contactable.GetId), value(rosa.GetId()))
	if gone[0].GetAdditionalData()["@removed"] == nil {
		t.Error("the deleted contact is not marked as removed")
	}
}
