package sandbox

// Faults of the token endpoint, in Entra's words. Whoever adds one matches the
// route /{tenant}/oauth2/v2.0/token.

import "net/http"

// FailToken answers with an error body of the token endpoint and no effect:
// errorCode is OAuth's, such as invalid_grant or temporarily_unavailable, aadsts
// the number, such as 50076. The status is the one that goes with the code. With
// interaction_required come a suberror and a claims request, as conditional
// access sends them.
func FailToken(errorCode string, aadsts int) ControlFunc {
	e := newSigninError(http.StatusBadRequest, errorCode, aadsts, "%s", faultText(aadsts))
	switch errorCode {
	case "invalid_client":
		e.status = http.StatusUnauthorized
	case "temporarily_unavailable":
		e.status = http.StatusServiceUnavailable
	case "server_error":
		e.status = http.StatusInternalServerError
	case "interaction_required":
		e.suberror = "basic_action"
		e.claims = `{"access_token":{"capolids":{"essential":true,"values":["3a5b7c9d-0000-4000-8000-000000000001"]}}}`
	}
	if aadsts == 65001 {
		e.suberror = "consent_required"
	}
	return func(r *Request) bool {
		r.Answer(*tokenFailure(e, r.ID, r.Header))
		return true
	}
}

// faultText is what Entra says with a number; the texts are for people.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func faultText(number int) string {
	switch number {
	case 50076, 50079:
		return "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '" + graphAppID + "'."
	case 50173:
		return "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password."
	case 50057:
		return "The user account is disabled."
	case 53003:
		return "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
	case 65001:
		return "The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource."
	case 70008, 700082:
		return "The refresh token has expired due to inactivity."
	case 7000112:
		return "Application is disabled."
	case 7000215:
		return "Invalid client secret provided."
	case 7000222:
		return "The provided client secret keys for app are expired."
	case 90033:
		return "A transient error has occurred. Please try again."
	}
	return "A fault that the sandbox was told to make."
}
