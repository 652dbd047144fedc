package sandbox

// People: whom the owner of a mailbox has to do with, most relevant first. The
// list is made when it is asked for, from the mails in the mailbox (each one sent
// to somebody counts two, each one received one), then from the rest of the
// tenant. Modelled: $search over names and addresses, $filter (personType/class),
// $select, $top, $skip, $orderby.
// https://learn.microsoft.com/graph/api/user-list-people
//
// Left out: relations other than mail, topics in $search, people of other people's
// circles, one person by id.

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

func peopleRoutes() []route {
	return []route{{method: "GET", path: "~/people", handle: (*call).listPeople}}
}

func (c *call) listPeople() (*Answer, error) {
	r := &resource{kind: "person", set: "people"}
	v, err := c.entityView(r)
	if err != nil {
		return nil, err
	}
	want := strings.ToLower(strings.Trim(c.query.search, `"`))
	var a *Answer
	c.read(func(st *state) {
		list := st.peopleAround(c.box)
		if want != "" {
			list = slices.DeleteFunc(list, func(e *entity) bool {
				return !beginsWord(e.text("displayName"), want) && !beginsWord(e.text("surname"), want) && !beginsWord(e.ID, want) && !beginsWord(scoredAddress(e), want)
			})
		}
		a, err = c.entityPage(v, list)
	})
	return a, err
}

func scoredAddress(e *entity) string {
	list, _ := e.Props["scoredEmailAddresses"].([]any)
	if len(list) == 0 {
		return ""
	}
	obj, _ := list[0].(map[string]any)
	text, _ := obj["address"].(string)
	return text
}

// peopleAround lists everybody that a mailbox knows, most relevant first. It needs
// the lock.
func (st *state) peopleAround(box *mailbox) []*entity {
	scores, names := map[string]float64{}, map[string]string{}
	count := func(r recipient, points float64) {
		name := strings.ToLower(r.EmailAddress.Address)
		if name == "" || name == box.UPN {
			return
		}
		scores[name] += points
		names[name] = cmp.Or(r.EmailAddress.Name, names[name])
	}
	for _, m := range box.byTime {
		if m.From == nil || m.IsDraft {
			continue
		}
		if !strings.EqualFold(m.From.EmailAddress.Address, box.UPN) {
			count(*m.From, 1)
			continue
		}
		for _, r := range slices.Concat(m.To, m.Cc) {
			count(r, 2)
		}
	}
	for _, b := range slices.Concat(st.boxes, st.groups) {
		if !b.gone && b != box {
			scores[b.UPN] += 0
		}
	}
	addresses := slices.SortedFunc(maps.Keys(scores), func(a, b string) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(a, b))
	})
	list := make([]*entity, 0, len(addresses))
	for _, address := range addresses {
		list = append(list, st.personAt(box, address, names[address], scores[address]))
	}
	return list
}

// personAt makes the entry of an address.
func (st *state) personAt(box *mailbox, address, name string, score float64) *entity {
	e := newEntity(typeNamed("person"))
	e.ID = seededGUID(st.Seed, "person of "+box.ID+" at "+address)
	class, subclass := "Person", "OrganizationUser"
	e.Props["displayName"] = cmp.Or(name, address)
	switch known := st.byName[address]; {
	case known == nil:
		subclass = "ImplicitContact"
	case known.kind == kindGroup:
		class, subclass = "Group", "UnifiedGroup"
		e.ID = known.ID
		e.Props["displayName"] = known.Name()
	default:
		e.ID = known.ID
		if user := st.userNamed(known.ID); user != nil {
			for _, p := range []string{"displayName", "givenName", "surname", "jobTitle", "department", "companyName", "officeLocation", "userPrincipalName"} {
				e.Props[p] = user.Props[p]
			}
		}
		e.Props["imAddress"] = "sip:" + address
	}
	e.Props["personType"] = map[string]any{"class": class, "subclass": subclass}
	e.Props["scoredEmailAddresses"] = []any{map[string]any{
		"address": address, "relevanceScore": score, "selectionLikelihood": "notSpecified", "itemId": nil,
	}}
	return e
}
