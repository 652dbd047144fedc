package tokenstore

import (
	"fmt"
	"slices"
)

// signInHint is what a person does about a grant that is gone.
func signInHint(client string) string {
	return "outlook-connector auth login " + client
}

// administratorHint says what to look at when the sign-in server refuses the
// application: by the word of the refusal and by what the client showed ("" for
// a public client). Numbers are not asked: they may change.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func administratorHint(client, code, shown string, appOnly bool) string {
	switch code {
	case "invalid_client":
		return credentialHint(client, shown)
	case "unauthorized_client":
		return fmt.Sprintf("Check tenant and client_id of client %s, and that the app registration is enabled and allows this grant.", client)
	case "invalid_scope", "invalid_resource", "invalid_target":
		if appOnly {
			return fmt.Sprintf("Check scopes of client %s: with client_credentials it is the root of Graph and /.default, or nothing.", client)
		}
		return fmt.Sprintf("Check scopes of client %s.", client)
	case "invalid_request":
		return fmt.Sprintf("Check tenant, client_id and the addresses of client %s, and that its cloud is the tenant's.", client)
	case "unsupported_grant_type", "unsupported_response_type":
		return fmt.Sprintf("Check token_url of client %s, and grant: the sign-in server does not know this kind.", client)
	case "access_denied", "consent_required", "interaction_required", "login_required", "invalid_grant":
		if appOnly {
			return fmt.Sprintf("An administrator must consent to the application permissions in the app registration of client %s, and look at the conditional access policies for workload identities.", client)
		}
	}
	return fmt.Sprintf("An administrator must look at the app registration and the settings of client %s.", client)
}

// credentialHint is about what the client shows.
func credentialHint(client, shown string) string {
	switch shown {
	case keySecret:
		return fmt.Sprintf("Check client_id and client_secret of client %s: the secret's value is needed, not its id, and it may have expired. Then start again.", client)
	case keyCertificate:
		return fmt.Sprintf("Check client_id and certificate of client %s: the certificate must be among those of the app registration and not have expired, and the clock of this machine must be right. A new file is used without a restart.", client)
	case keyAssertion:
		return fmt.Sprintf("Check client_id and assertion_file of client %s: a federated credential of the app registration must name the issuer, subject and audience of the token in that file.", client)
	default:
		return fmt.Sprintf("The app registration expects more than client_id: give client %s a client_secret or certificate, or allow public client flows in the registration.", client)
	}
}

// deniedHint is about a sign-in that the server ended with an error.
func deniedHint(client, code string) string {
	switch code {
	case "access_denied":
		return "The person declined, or may not consent for themselves; then an administrator must consent."
	case "consent_required", "interaction_required", "login_required":
		return signInHint(client)
	case "temporarily_unavailable", "server_error":
		return "The sign-in server has a bad moment; begin again in a while."
	default:
		return administratorHint(client, code, keySecret, false)
	}
}

// usually says in words what the numbers of a refusal usually mean, "" where
// that is not known. It is for people only: numbers change, nothing is decided by
// them. https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func usually(numbers []int) string {
	for _, number := range numbers {
		switch number {
		case 70008, 700082:
			return "the refresh token was not used for too long"
		case 700084:
			return "the redirect address is registered for a single-page application, whose grants end after a day"
		case 50173:
			return "access was revoked or the password was changed"
		case 50057:
			return "the account is disabled"
		case 50076, 50079:
			return "a second factor is asked for"
		case 53003:
			return "a conditional access policy forbids it"
		case 65001:
			return "nobody has consented to the permissions"
		case 50196:
			return "the sign-in server was asked in a loop"
		case 54005:
			return "the code was used already"
		case 7000215:
			return "the secret is wrong, often its id instead of its value"
		case 7000222:
			return "the secret has expired"
		case 7000218:
			return "a secret or certificate is missing"
		case 700027:
			return "the app registration does not know the certificate"
		case 700024:
			return "the clock of this machine is wrong"
		case 700016:
			return "the application is not in this tenant"
		case 7000112:
			return "the application is disabled"
		case 500011:
			return "the tenant does not know this Graph: another cloud"
		case 90002:
			return "there is no such tenant in this cloud"
		}
	}
	return ""
}

// noRefreshHint is what to do about a sign-in that gave no refresh token.
func (c *Client) noRefreshHint() string {
	if !slices.Contains(c.Scopes, "offline_access") {
		return fmt.Sprintf("Add offline_access to scopes of client %s, then run: outlook-connector auth login %s", c.Name, c.Name)
	}
	// https://openid.net/specs/openid-connect-core-1_0.html#OfflineAccess
	return fmt.Sprintf("The sign-in server gave none although offline_access was asked for. Some give one only when they ask the person anew: "+
		"put ?prompt=consent behind authorize_url of client %s, then run: outlook-connector auth login %s", c.Name, c.Name)
}
