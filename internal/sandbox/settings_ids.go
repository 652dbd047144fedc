package sandbox

// user: translateExchangeIds, between the five forms of the ids of messages,
// events, contacts and folders. What cannot be translated has errorDetails.
// https://learn.microsoft.com/graph/api/user-translateexchangeids
//
// The sandbox's ids of one kind differ in spelling alone: ewsId is restId in plain
// base64, entryId is restId without its padding, with the number of padding
// characters behind; likewise the immutable ones.

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// maxTranslated is documented.
const maxTranslated = 1000

func translateRoutes() []route {
	return []route{{method: "POST", path: "~/translateExchangeIds", handle: (*call).translateIDs}}
}

type convertIDResult struct {
	SourceID     string          `json:"sourceId"`
	TargetID     *string         `json:"targetId"`
	ErrorDetails json.RawMessage `json:"errorDetails"`
}

func (c *call) translateIDs() (*Answer, error) {
	params, err := c.readParameters("translateExchangeIds", "inputIds", "sourceIdType", "targetIdType")
	if err != nil {
		return nil, err
	}
	var ids []string
	var from, to string
	formats := typeNamed("exchangeIdFormat").values
	if err := readValue(params["inputIds"], "Collection(Edm.String)", &ids); err != nil {
		return nil, err
	}
	if err := readEnum(params["sourceIdType"], "exchangeIdFormat", &from, formats...); err != nil {
		return nil, err
	}
	if err := readEnum(params["targetIdType"], "exchangeIdFormat", &to, formats...); err != nil {
		return nil, err
	}
	if len(ids) > maxTranslated {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidArgument", "At most %d ids can be translated at once.", maxTranslated)
	}
	list := []convertIDResult{}
	c.read(func(*state) {
		for _, id := range ids {
			out := convertIDResult{SourceID: id, ErrorDetails: json.RawMessage("null")}
			if target, err := c.translated(id, from, to); err != nil {
				out.ErrorDetails = appendJSON(nil, map[string]string{"code": err.code, "message": err.message})
			} else {
				out.TargetID = &target
			}
			list = append(list, out)
		}
	})
	return c.collectionOf("microsoft.graph.convertIdResult", list), nil
}

// translated needs the lock.
func (c *call) translated(text, from, to string) (string, *graphError) {
	plain, ok := plainID(text, from)
	id, good := parseID(plain)
	immutable := strings.Contains(strings.ToLower(from), "immutable")
	if !ok || !good || immutable && id.kind == idOrdinary || !immutable && id.kind == idImmutable {
		return "", errIDMalformed()
	}
	gen, known := c.generationOf(id)
	if id.mailbox != c.box.ID || !known || id.kind == idOrdinary && id.gen != gen {
		return "", errItemNotFound()
	}
	switch {
	case id.kind == idFolder: // constant
	case strings.Contains(strings.ToLower(to), "immutable"):
		plain = makeID(idImmutable, c.box.ID, id.key, 0)
	default:
		plain = makeID(idOrdinary, c.box.ID, id.key, gen)
	}
	return spellID(plain, to), nil
}

// generationOf finds an item or folder, and how often it has moved.
func (c *call) generationOf(id itemID) (uint32, bool) {
	if id.kind == idFolder {
		e := c.box.entities[id.key]
		return 0, c.box.folders[id.key] != nil || e != nil && typeNamed(e.Type).ids == idsFixed
	}
	if m := c.box.messages[id.key]; m != nil {
		return m.Gen, true
	}
	if e := c.box.entities[id.key]; e != nil && typeNamed(e.Type).ids == idsItem {
		return e.Gen, true
	}
	return 0, false
}

var webToPlain, plainToWeb = strings.NewReplacer("-", "/", "_", "+"), strings.NewReplacer("/", "-", "+", "_")

// plainID brings a spelling into that of Graph's own ids.
func plainID(text, format string) (string, bool) {
	switch format {
	case "ewsId":
		return plainToWeb.Replace(text), true
	case "entryId", "immutableEntryId":
		if text == "" {
			return "", false
		}
		n, err := strconv.Atoi(text[len(text)-1:])
		if err != nil || n > 2 {
			return "", false
		}
		return text[:len(text)-1] + strings.Repeat("=", n), true
	}
	return text, text != ""
}

func spellID(plain, format string) string {
	switch format {
	case "ewsId":
		return webToPlain.Replace(plain)
	case "entryId", "immutableEntryId":
		bare := strings.TrimRight(plain, "=")
		return bare + strconv.Itoa(len(plain)-len(bare))
	}
	return plain
}
