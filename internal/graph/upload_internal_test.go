package graph

import (
	"net/url"
	"testing"
)

func TestEachCloudHasItsUploadHosts(t *testing.T) {
	t.Parallel()
	clouds := map[string][]string{
		"https://graph.microsoft.com":              {"https://outlook.office.com", "https://outlook.office365.com"},
		"https://graph.microsoft.us":               {"https://outlook.office365.us"},
		"https://dod-graph.microsoft.us":           {"https://outlook-dod.office365.us", "https://webmail.apps.mil"},
		"https://microsoftgraph.chinacloudapi.cn":  {"https://partner.outlook.cn"},
		"https://gateway.contoso.example":          {"https://outlook.office.com", "https://outlook.office365.com"},
		"http://127.0.0.1:4711":                    {"http://localhost:4711", "http://127.0.0.1:4711", "http://[::1]:4711"},
		"http://localhost:80":                      {"http://127.0.0.1"},
		"https://graph.microsoft.com:8443/somehow": {"https://outlook.office.com", "https://outlook.office365.com"},
	}
	at := func(text string) origin {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return originOf(u)
	}
	for home, own := range clouds {
		allowed := map[string]bool{}
		for _, host := range own {
			allowed[host] = true
			if !uploadHost(at(home), at(host)) {
				t.Errorf("%s does not upload to %s", home, host)
			}
		}
		for _, others := range clouds {
			for _, host := range others {
				if !allowed[host] && uploadHost(at(home), at(host)) && at(host) != at(home) && home != "http://localhost:80" {
					t.Errorf("%s uploads to %s", home, host)
				}
			}
		}
	}
}
