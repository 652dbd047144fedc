package catalog_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
)

func TestTheCatalogueHasEveryOperationOnce(t *testing.T) {
	t.Parallel()
	ops := catalog.Default().Operations()
	if len(ops) != 265 {
		t.Errorf("%d operations, want 265", len(ops))
	}
	templates := 0
	for i, op := range ops {
		if i > 0 && ops[i-1].ID >= op.ID {
			t.Errorf("%s stands behind %s: ids must be unique and sorted", op.ID, ops[i-1].ID)
		}
		if strings.Count(op.ID, ".") != 2 {
			t.Errorf("id %q has not the form area.resource.action", op.ID)
		}
		if !strings.HasPrefix(op.Title, op.Group+" - ") {
			t.Errorf("%s: title %q does not begin with its group %q", op.ID, op.Title, op.Group)
		}
		if !slices.Contains([]string{"GET", "POST", "PATCH", "PUT", "DELETE"}, op.Method) {
			t.Errorf("%s: method %q", op.ID, op.Method)
		}
		if op.DocURL != "" && !strings.HasPrefix(op.DocURL, "https://learn.microsoft.com/graph/") {
			t.Errorf("%s: page %q", op.ID, op.DocURL)
		}
		if op.Pageable && (!op.Collection || op.Method != http.MethodGet) {
			t.Errorf("%s: pageable, but no collection that is read with GET", op.ID)
		}
		for _, status := range op.Success {
			if status < 200 || status > 299 {
				t.Errorf("%s: %d is no success", op.ID, status)
			}
		}
		templates += len(op.Paths)
	}
	if templates != 878 {
		t.Errorf("%d documented templates, want 878", templates)
	}
	if _, err := time.Parse(time.DateOnly, catalog.Default().Date()); err != nil {
		t.Errorf("date of the catalogue: %v", err)
	}
}

func TestSharedPathsNameEachOther(t *testing.T) {
	t.Parallel()
	c := catalog.Default()
	for _, op := range c.Operations() {
		for _, id := range op.SharesPathWith {
			other, err := c.Lookup(id)
			if err != nil {
				t.Errorf("%s shares a path with %q: %v", op.ID, id, err)
				continue
			}
			if other.Method != op.Method || !slices.Contains(other.SharesPathWith, op.ID) {
				t.Errorf("%s shares a path with %s, which does not know of it", op.ID, id)
			}
		}
	}
}

var paramRE = regexp.MustCompile(`\{([^{}]+)\}`)

// sample makes parameters for a template, and the path that they must give.
func sample(op *catalog.Operation, template string) (params catalog.Params, want string) {
	params = catalog.Params{Mailbox: "-", Path: map[string]string{}, Query: map[string]string{}}
	want = template
	switch {
	case template == "/me" || strings.HasPrefix(template, "/me/"):
		params.Mailbox = "me"
	case strings.HasPrefix(template, "/users/{user-id}"):
		params.Mailbox = "ann@contoso.com"
		want = strings.Replace(want, "{user-id}", params.Mailbox, 1)
	case strings.HasPrefix(template, "/groups/{group-id}"):
		params.Mailbox, params.Group = "0a1b2c3d", true
		want = strings.Replace(want, "{group-id}", params.Mailbox, 1)
	}
	for _, name := range paramRE.FindAllStringSubmatch(want, -1) {
		value := "AAMk-" + name[1] + "_="
		params.Path[name[1]] = value
		want = strings.Replace(want, name[0], value, 1)
	}
	for _, name := range op.RequiredQuery {
		params.Query[name] = "2026-01-01T00:00:00Z"
	}
	return params, want
}

func TestEveryTemplateOfEveryOperationBuildsAndIsFoundAgain(t *testing.T) {
	t.Parallel()
	c := catalog.Default()
	built := 0
	for _, op := range c.Operations() {
		for _, template := range slices.Concat(op.Paths, op.ExtraPaths) {
			params, want := sample(op, template)
			params.Path[catalog.TemplateParam] = template
			got, err := op.Build(params)
			if err != nil {
				t.Errorf("%s by %s: %v", op.ID, template, err)
				continue
			}
			if got.Path != want || got.Template != template {
				t.Errorf("%s by %s: built %q by %s, want %q", op.ID, template, got.Path, got.Template, want)
			}
			for _, path := range []string{got.Path, strings.ToUpper(got.Path), template, got.Path + "?$top=1"} {
				if found := c.Match(op.Method, path); !slices.Contains(found, op) {
					t.Errorf("%s %s found %v, want %s among them", op.Method, path, ids(found), op.ID)
				}
			}
			built++
		}
	}
	t.Logf("%d templates", built)
}

func TestEveryDocumentedTemplateIsChosenByItsParameters(t *testing.T) {
	t.Parallel()
	for _, op := range catalog.Default().Operations() {
		for _, template := range op.Paths {
			params, _ := sample(op, template)
			got, err := op.Build(params)
			if err != nil {
				if code(err) != "path_ambiguous" {
					t.Errorf("%s by %s: %v", op.ID, template, err)
				}
				continue
			}
			// Another template is right only where it takes the same parameters.
			if a, b := paramRE.FindAllString(got.Template, -1), paramRE.FindAllString(template, -1); len(a) != len(b) {
				t.Errorf("%s: the parameters of %s chose %s", op.ID, template, got.Template)
			}
		}
	}
}

func TestOperationsWithoutAMailboxSaySo(t *testing.T) {
	t.Parallel()
	for _, op := range catalog.Default().Operations() {
		want := strings.HasPrefix(op.Paths[0], "/me") || strings.Contains(op.Paths[0], "{user-id}") || strings.Contains(op.Paths[0], "{group-id}")
		if op.NeedsMailbox() != want {
			t.Errorf("%s (%s): needs a mailbox: %v", op.ID, op.Paths[0], op.NeedsMailbox())
		}
	}
}

func TestPermissionsAnswerByKind(t *testing.T) {
	t.Parallel()
	c := catalog.Default()
	send := must(t, "mail.message.sendMail")
	for _, kind := range []catalog.Kind{catalog.DelegatedWork, catalog.DelegatedPersonal, catalog.Application} {
		if got := send.Permissions.Least(kind); !slices.Equal(got, []string{"Mail.Send"}) {
			t.Errorf("sendMail needs %v for %s", got, kind)
		}
	}
	list := must(t, "mail.message.list")
	if got := list.Permissions.Accepted(catalog.DelegatedWork); got[0] != list.Permissions.Least(catalog.DelegatedWork)[0] || !slices.Contains(got, "Mail.ReadWrite") {
		t.Errorf("list accepts %v", got)
	}
	if got := list.Permissions.Least("nonsense"); got != nil {
		t.Errorf("an unknown kind has the permissions %v", got)
	}
	create := must(t, "calendar.calendar.createEvent")
	if got := create.PermissionsFor("/groups/{group-id}/calendar/events").Least(catalog.DelegatedWork); !slices.Equal(got, []string{"Group.ReadWrite.All"}) {
		t.Errorf("an event in a group's calendar needs %v", got)
	}
	if got := create.PermissionsFor("/me/calendar/events").Least(catalog.DelegatedWork); !slices.Equal(got, []string{"Calendars.ReadWrite"}) {
		t.Errorf("an event in one's own calendar needs %v", got)
	}
	unknown, byItem := 0, 0
	for _, op := range c.Operations() {
		switch p := op.Permissions; {
		case !p.Known():
			unknown++
		case p.DependsOn != "":
			byItem++
		case len(p.Least(catalog.DelegatedWork))+len(p.Least(catalog.DelegatedPersonal))+len(p.Least(catalog.Application)) == 0:
			t.Errorf("%s: permissions from %s, but for no kind", op.ID, p.Source)
		}
	}
	if unknown != 4 || byItem != 21 {
		t.Errorf("%d operations of unknown permissions and %d that depend on the item, want 4 and 21", unknown, byItem)
	}
}

func must(t *testing.T, name string) *catalog.Operation {
	t.Helper()
	op, err := catalog.Default().Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func ids(ops []*catalog.Operation) []string {
	var list []string
	for _, op := range ops {
		list = append(list, op.ID)
	}
	return list
}
