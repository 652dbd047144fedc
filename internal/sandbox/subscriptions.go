package sandbox

// Change-notification subscriptions: create with the validation handshake, list,
// get, renew, delete, reauthorize, expiry. What they cause is in
// subscriptions_delivery.go, what they may be about in subscriptions_resource.go.
// They belong to the application and, with a delegated token, to its user; a
// delegated one reaches the user's own mailbox only.
// https://learn.microsoft.com/graph/api/resources/subscription
//
// Left out: notifications with resource data (encrypted content), Event Hubs and
// Event Grid, which answer 501 here.

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// How long a subscription may live, and how many a mailbox may have.
// https://learn.microsoft.com/graph/outlook-change-notifications-overview
const (
	subscriptionLife     = 10_080 * time.Minute // of messages, events, contacts
	subscriptionLifeElse = 4_230 * time.Minute
	subscriptionShortest = 45 * time.Minute // shorter ones are made so long
	subscriptionsAtMost  = 1_000
	validationWait       = 10 * time.Second
)

func subscriptionRoutes() []route {
	r := subscriptionResource()
	one := "/subscriptions/{subscription-id}"
	return []route{
		{method: "GET", path: "/subscriptions", handle: r.list},
		{method: "POST", path: "/subscriptions", handle: (*call).createSubscription},
		{method: "GET", path: one, handle: r.get},
		{method: "PATCH", path: one, handle: (*call).updateSubscription},
		{method: "DELETE", path: one, handle: r.delete},
		{method: "POST", path: one + "/reauthorize", handle: (*call).reauthorizeSubscription},
	}
}

func subscriptionResource() *resource {
	return &resource{
		kind: "subscription", param: "subscription-id",
		scan: func(c *call) ([]*entity, error) {
			return slices.DeleteFunc(slices.Clone(c.box.in(0, "subscription")), func(e *entity) bool { return !c.owns(e) }), nil
		},
		find: func(c *call) (*entity, error) { return c.subscription() },
	}
}

// owns says whether the token's application, and its user, made the
// subscription, and that it is not over.
func (c *call) owns(e *entity) bool {
	app, _ := e.Hidden["app"].(string)
	person, _ := e.Hidden["person"].(string)
	return app == c.token.AppID && (c.token.appOnly() || person == c.token.OID) && time.Now().Before(subscriptionEnd(e))
}

func subscriptionEnd(e *entity) time.Time {
	at, err := time.Parse(time.RFC3339, e.text("expirationDateTime"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// subscription finds the one that the path names. It needs the lock.
func (c *call) subscription() (*entity, error) {
	e, err := c.entityNamed("subscription", c.params["subscription-id"])
	if err != nil || !c.owns(e) {
		return nil, newError(http.StatusNotFound, "ResourceNotFound", "The object was not found.")
	}
	return e, nil
}

func errSubscription(format string, args ...any) *graphError {
	return newError(http.StatusBadRequest, "InvalidRequest", format, args...)
}

// createSubscription checks, shakes hands with both addresses and stores.
func (c *call) createSubscription() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	res := subscriptionResource()
	e := newEntity(res.typ())
	if _, err := e.write(res.typ(), body, true); err != nil {
		return nil, err
	}
	var about subscribed
	c.read(func(st *state) { about, err = c.subscribedTo(st, e.text("resource")) })
	if err != nil {
		return nil, err
	}
	if err := c.checkSubscription(e, about); err != nil {
		return nil, err
	}
	for _, name := range []string{"notificationUrl", "lifecycleNotificationUrl"} {
		if address := e.text(name); address != "" {
			if err := c.shakeHands(address); err != nil {
				return nil, err
			}
		}
	}
	e.Props["applicationId"], e.Props["creatorId"] = c.token.AppID, c.token.OID
	e.Hidden = map[string]any{
		"app": c.token.AppID, "person": c.token.OID, "box": about.box, "kind": about.kind,
		"in": fmt.Sprint(about.in), "filter": about.filter, "immutable": c.prefer.immutable,
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		same := 0
		for _, o := range c.box.in(0, "subscription") {
			if o.Hidden["box"] == about.box && time.Now().Before(subscriptionEnd(o)) {
				same++
			}
		}
		if same >= subscriptionsAtMost {
			return newError(http.StatusForbidden, "ExtensionError", "The limit of %d active subscriptions on this mailbox has been reached.", subscriptionsAtMost)
		}
		t.addEntity(c.box, 0, e)
		t.noteEntity(c, e)
		v, err := c.entityViewOf(res, nil, "")
		if err != nil {
			return err
		}
		a = c.oneEntity(http.StatusCreated, v, e)
		return nil
	})
	return a, err
}

// checkSubscription checks what the type alone does not say, and sets the end.
func (c *call) checkSubscription(e *entity, about subscribed) error {
	if e.flag("includeResourceData") {
		return errNotModelled("notifications with resource data")
	}
	kinds := strings.Split(strings.ToLower(e.text("changeType")), ",")
	for i, kind := range kinds {
		if kinds[i] = strings.TrimSpace(kind); !slices.Contains([]string{"created", "updated", "deleted"}, kinds[i]) {
			return errSubscription("Invalid 'changeType' attribute value: '%s'.", kind)
		}
	}
	e.Props["changeType"] = strings.Join(kinds, ",")
	if len(e.text("clientState")) > 128 {
		return errSubscription("The clientState is longer than 128 characters.")
	}
	for _, name := range []string{"notificationUrl", "lifecycleNotificationUrl"} {
		address := e.text(name)
		if address == "" {
			continue
		}
		u, err := url.Parse(address)
		switch {
		case strings.HasPrefix(address, "EventHub:"), strings.HasPrefix(address, "EventGrid:"):
			return errNotModelled("delivery to " + address[:strings.IndexByte(address, ':')])
		case err != nil, u.Host == "", u.Scheme != "https" && !loopback(u):
			return errSubscription("The '%s' must be an https address (the sandbox takes http on loopback).", name)
		}
	}
	return setSubscriptionEnd(e, about.kind)
}

func loopback(u *url.URL) bool {
	return u.Scheme == "http" && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

// setSubscriptionEnd holds the limits on the life of a subscription.
func setSubscriptionEnd(e *entity, kind string) error {
	longest := subscriptionLifeElse
	if slices.Contains([]string{"message", "event", "contact"}, kind) {
		longest = subscriptionLife
	}
	left := time.Until(subscriptionEnd(e))
	switch {
	case left <= 0:
		return errSubscription("Subscription expiration can only be 0 to %d minutes in the future.", int(longest/time.Minute))
	case left > longest+time.Minute: // clocks differ
		return errSubscription("Subscription expiration can only be %d minutes in the future.", int(longest/time.Minute))
	case left < subscriptionShortest:
		e.Props["expirationDateTime"] = time.Now().Add(subscriptionShortest).UTC().Format(time.RFC3339Nano)
	}
	return nil
}

// updateSubscription renews; nothing but the end and the address may change.
func (c *call) updateSubscription() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	res := subscriptionResource()
	err = c.update(func(t *tx) error {
		old, err := c.subscription()
		if err != nil {
			return err
		}
		fresh := old.clone()
		if _, err := fresh.write(res.typ(), body, false); err != nil {
			return err
		}
		if fresh.text("notificationUrl") != old.text("notificationUrl") {
			return errSubscription("The notificationUrl cannot be changed here; make another subscription.")
		}
		kind, _ := fresh.Hidden["kind"].(string)
		if err := setSubscriptionEnd(fresh, kind); err != nil {
			return err
		}
		t.saveEntity(c.box, fresh)
		v, err := c.entityViewOf(res, nil, "")
		if err != nil {
			return err
		}
		a = c.oneEntity(http.StatusOK, v, fresh)
		return nil
	})
	return a, err
}

// reauthorizeSubscription says that the token is still good; it does not make the
// subscription live longer.
func (c *call) reauthorizeSubscription() (*Answer, error) {
	var err error
	c.read(func(*state) { _, err = c.subscription() })
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// shakeHands asks an address to say a token back.
// https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
func (c *call) shakeHands(address string) error {
	token := "Validation: Testing client application reachability for subscription Request-Id: " + c.id
	u, err := url.Parse(address)
	if err != nil {
		return errSubscription("The address cannot be read.")
	}
	q := u.Query()
	q.Set("validationToken", token)
	u.RawQuery = q.Encode()
	fail := func(why string) error {
		return newError(http.StatusBadRequest, "ValidationError",
			"Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request. %s", why)
	}
	resp, err := c.notes.post(u.String(), "text/plain; charset=utf-8", nil, validationWait)
	if err != nil {
		return fail("It could not be reached.")
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch {
	case err != nil:
		return fail("Its answer could not be read.")
	case resp.StatusCode != http.StatusOK:
		return fail("It answered " + resp.Status + ".")
	case !strings.EqualFold(strings.TrimSpace(kind), "text/plain"):
		return fail("Its answer is " + cmp.Or(kind, "of no type") + ", not text/plain.")
	case string(said) != token:
		return fail("It did not answer with the decoded validation token.")
	}
	return nil
}
