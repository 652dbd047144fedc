package deploytest_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/config"
)

// stopTimeout is what the program takes at most to end, see docs/architecture.md.
const stopTimeout = 25 * time.Second

type composeFile struct {
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
	Networks map[string]any            `yaml:"networks"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Ports       []string          `yaml:"ports"`
	Networks    []string          `yaml:"networks"`
	DependsOn   []string          `yaml:"depends_on"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	StopGrace   string            `yaml:"stop_grace_period"`
	Deploy      struct {
		Replicas int `yaml:"replicas"`
	} `yaml:"deploy"`
}

const composePath = "deploy/compose/compose.yaml"

// ours are the services that run the program.
func ours(c composeFile) map[string]composeService {
	found := make(map[string]composeService)
	for name, service := range c.Services {
		if strings.Contains(service.Image, "outlook-connector") {
			found[name] = service
		}
	}
	return found
}

// example is a value for a variable of compose.
func example(name string) string {
	switch {
	case strings.Contains(name, "KEY"):
		return strings.Repeat("5a", 32)
	case strings.Contains(name, "TENANT"):
		return "contoso.onmicrosoft.com"
	}
	return "an-example-of-" + strings.ToLower(name)
}

func TestTheConfigurationOfComposeLoadsInEveryService(t *testing.T) {
	t.Parallel()
	services := ours(load[composeFile](t, composePath))
	if len(services) != 2 {
		t.Fatalf("there are %d services of ours", len(services))
	}
	text := read(t, "deploy/compose/outlook-connector.yaml")
	for name, service := range services {
		c, err := config.Parse(config.Source{
			File: "/etc/outlook-connector/outlook-connector.yaml", Data: []byte(text),
			LookupEnv: func(name string) (string, bool) {
				if _, ok := service.Environment[name]; !ok {
					return "", false
				}
				return example(name), true
			},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, port, _ := net.SplitHostPort(c.HTTP.Listen); port != "8480" {
			t.Errorf("%s listens at %s", name, c.HTTP.Listen)
		}
		if c.NATS.Replicas != 3 || c.NATS.Embedded != nil {
			t.Errorf("%s does not use the three servers", name)
		}
		runs(t, service.Command...)
		if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) {
			t.Errorf("%s could do more than it needs", name)
		}
		if grace, err := time.ParseDuration(service.StopGrace); err != nil || grace < stopTimeout {
			t.Errorf("%s is killed after %s", name, service.StopGrace)
		}
		if !slices.ContainsFunc(service.Volumes, func(v string) bool {
			return strings.HasSuffix(v, ":/etc/outlook-connector/outlook-connector.yaml:ro")
		}) {
			t.Errorf("%s has no configuration", name)
		}
	}
}

func TestOnlyTheOwnerOfTheTokensHasSecretsOfMicrosoft(t *testing.T) {
	t.Parallel()
	c := load[composeFile](t, composePath)
	owner, worker := c.Services["tokens"], c.Services["worker"]
	if !strings.Contains(owner.Environment["OUTLOOK_TOKEN_KEY"], "OUTLOOK_TOKEN_KEY") {
		t.Error("the owner has no key of its own")
	}
	if strings.Contains(worker.Environment["OUTLOOK_TOKEN_KEY"], "$") || worker.Environment["OUTLOOK_CLIENT_SECRET"] != "" {
		t.Error("a worker has a secret that it does not need")
	}
	if slices.ContainsFunc(worker.Volumes, func(v string) bool { return strings.HasPrefix(v, "tokens:") }) {
		t.Error("a worker has the volume of the grants")
	}
	if !slices.Contains(owner.Volumes, "tokens:/var/lib/outlook-connector") || owner.Deploy.Replicas > 1 {
		t.Error("the owner is not one, with a volume of its own")
	}
	if worker.Deploy.Replicas != 2 {
		t.Errorf("there are %d workers", worker.Deploy.Replicas)
	}
}

func TestWhatComposeNamesIsThere(t *testing.T) {
	t.Parallel()
	c := load[composeFile](t, composePath)
	for name, service := range c.Services {
		for _, volume := range service.Volumes {
			from, to, _ := strings.Cut(volume, ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s: there is no volume %s", name, from)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join(root, "deploy/compose", from)); err != nil {
				t.Errorf("%s: %s: %v", name, to, err)
			}
		}
		for _, other := range service.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s: there is no service %s", name, other)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", name, port)
			}
		}
	}
}

func TestThePromptForSecretsWritesAllThatComposeWants(t *testing.T) {
	t.Parallel()
	script, compose := read(t, "deploy/compose/secrets.sh"), read(t, composePath)
	for _, match := range regexp.MustCompile(`\$\{([A-Z_]+):[?-]`).FindAllStringSubmatch(compose, -1) {
		if name := match[1]; name != "OUTLOOK_CONNECTOR_IMAGE" && !strings.Contains(script, name) {
			t.Errorf("secrets.sh does not write %s", name)
		}
	}
}

func TestPrometheusAndGrafanaFindWhatIsMounted(t *testing.T) {
	t.Parallel()
	c := load[composeFile](t, composePath)
	mounted := func(service, path string) bool {
		return slices.ContainsFunc(c.Services[service].Volumes, func(v string) bool {
			parts := strings.Split(v, ":")
			return parts[1] == path || strings.HasPrefix(parts[1], path+"/")
		})
	}
	scrape := load[struct {
		RuleFiles []string `yaml:"rule_files"`
		Jobs      []struct {
			DNS []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}](t, "deploy/compose/prometheus.yml")
	for _, file := range scrape.RuleFiles {
		if !mounted("prometheus", file) {
			t.Errorf("prometheus does not see %s", file)
		}
	}
	var names []string
	for _, job := range scrape.Jobs {
		for _, dns := range job.DNS {
			names = append(names, dns.Names...)
			if dns.Port != 8480 {
				t.Errorf("prometheus asks at port %d", dns.Port)
			}
		}
	}
	for name := range ours(c) {
		if !slices.Contains(names, name) {
			t.Errorf("prometheus does not ask %s", name)
		}
	}
	dashboards := load[struct {
		Providers []struct{ Options struct{ Path string } }
	}](t, "deploy/compose/grafana/dashboards/outlook-connector.yaml")
	if len(dashboards.Providers) != 1 || !mounted("grafana", dashboards.Providers[0].Options.Path) {
		t.Error("grafana does not see the dashboard")
	}
	sources := load[struct {
		Datasources []struct{ URL string }
	}](t, "deploy/compose/grafana/datasources/prometheus.yaml")
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:9090" {
		t.Error("grafana does not ask prometheus")
	}
}
