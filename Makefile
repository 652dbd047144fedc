.DEFAULT_GOAL := help
.PHONY: help build test lint demo fuzz prove sdktest bench docs clean

LINT := go tool -modfile=internal/tools/go.mod golangci-lint
FUZZTIME ?= 30s

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./outlook-connector, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o outlook-connector ./cmd/outlook-connector

test: ## run all tests
	go test ./...

lint: ## go vet and golangci-lint
	go vet ./...
	$(LINT) run ./...

demo: ## the whole way in one command, no account needed
	go run ./cmd/outlook-connector demo --once

fuzz: ## run every fuzz target for FUZZTIME (default 30s)
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

prove: ## kill -9 the worker 20 times under 2,000 incoming and 500 outgoing mails; two workers on one NATS; prints its figures
	go test -count=1 -timeout 30m -v -run 'TestProof' ./internal/proof -args -long

# One package at a time, because one alone takes 4.5 GB to compile; no vet,
# because it would read all of the SDK once more.
sdktest: ## Microsoft's own Go SDK against the sandbox; the first build takes minutes and 4.5 GB
	cd internal/sandbox/sdktest && go test -count=1 -p 1 -vet=off ./...

bench: ## run the Go benchmarks
	go test -run '^$$' -bench . -benchmem ./...

docs: ## write the generated pages and the configuration's schema again
	go test ./config -args -update
	go test ./internal/sandbox -run TheDocumentationTells -args -update

clean: ## remove what building leaves behind
	rm -rf outlook-connector bin
