.DEFAULT_GOAL := help
.PHONY: help build test lint demo check-deploy deploy-tools fuzz flip hostile prove prove-oidc sdktest permissions bench docs clean

LINT := go tool -modfile=internal/tools/go.mod golangci-lint
FUZZTIME ?= 30s

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./outlook-connector, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o outlook-connector ./cmd/outlook-connector

test: ## run all tests
	go test ./...

lint: ## go vet and golangci-lint
	go vet ./...
	$(LINT) run ./...

demo: ## the whole way in one command, no account needed
	go run ./cmd/outlook-connector demo --once

# Wants helm, kubeconform, promtool and systemd-analyze in the path; make deploy-tools gets
# the first two. Kubernetes' schemas come as Go modules, so nothing else is fetched.
check-deploy: ## deploy/ with the tools it is for: helm lint, kubeconform -strict, promtool, systemd-analyze, and the image's file system
	PATH="$(CURDIR)/bin:$$PATH" go test -tags deploy -count=1 -v -run 'TestTool' ./internal/deploytest

deploy-tools: ## put helm and kubeconform into ./bin; promtool and systemd-analyze are Debian's packages prometheus and systemd
	GOBIN="$(CURDIR)/bin" go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
	GOBIN="$(CURDIR)/bin" go install helm.sh/helm/v3/cmd/helm@v3.22.0

fuzz: ## run every fuzz target for FUZZTIME (default 30s)
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

prove: ## kill and freeze workers and NATS under load, a million changes among it: is anything lost, repeated, late? An hour; prints its figures
	go test -count=1 -timeout 120m -v -run 'TestProof' ./internal/proof -args -long
	go test -count=1 -timeout 60m -v -run 'EffectOnce|EveryTrace' ./publisher -args -mishaps 3
	go test -count=1 -timeout 20m -v -run 'EffectOnce/D' ./publisher -args -doubles
	PUBLISHER_TEST_UPLOAD_MB=150 go test -count=1 -v -run TestALargeAttachmentTakesNoMemory ./publisher
	TOKENSTORE_TEST_KILLS=1000 go test -count=1 -v -run 'KilledInARefresh|CrashPoints' ./tokenstore

prove-oidc: ## sign in, refresh and lose answers at a certified OpenID provider that is not ours; needs node and npm; prints its figures
	cd internal/proof/oidc && npm ci --no-audit --no-fund
	go test -count=1 -tags oidc -timeout 15m -v -run '^TestOIDC' ./internal/proof

# One package at a time, because one alone takes 4.5 GB to compile; no vet,
# because it would read all of the SDK once more.
sdktest: ## Microsoft's own Go SDK against the sandbox; the first build takes minutes and 4.5 GB
	cd internal/sandbox/sdktest && go test -count=1 -p 1 -vet=off ./...

hostile: ## throw every hostile request at every template of the sandbox; the tests throw a ninth of them
	SANDBOX_HOSTILE=all go test -count=1 -v -run 'NothingThatIsThrown|RefusesJunk|WhateverWasDone' ./internal/sandbox

flip: ## flip 10,000 random bits of a token store, one at a time: none may give a wrong value
	go test -count=1 -v -run TestFlippedBits ./tokenstore -args -flips 10000

permissions: ## take each line out of the NATS permissions in deploy/nats, one after the other: the server must refuse something; twenty minutes
	go test -count=1 -timeout 60m -v -run TestWithoutALine ./internal/permtest -args -lines

bench: ## run the Go benchmarks
	go test -run '^$$' -bench . -benchmem ./...

docs: ## write the generated pages and the configuration's schema again
	go test ./config -args -update
	go test ./internal/sandbox -run TheDocumentationTells -args -update

clean: ## remove what building leaves behind
	rm -rf outlook-connector bin
