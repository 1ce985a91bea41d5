# Every target sets up what it needs and may be run twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL: # the cheap checks first, and the Go tests have the last word

export PATH := $(PATH):/usr/local/go/bin
# The server is one static binary. C is for the race detector alone.
export CGO_ENABLED := 0

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Build the server and run it here, until Ctrl-C
	@scripts/run.sh

.PHONY: build
build: ## Build the server into .cache/aicli-web
	scripts/build.sh

.PHONY: web
web: ## Build the explorer, which the server embeds
	scripts/build-web.sh

.PHONY: generate
generate: go ## Generate the code in graph from the schema
	go tool gqlgen generate

.PHONY: test
test: generate-check vet lint web-test image-test go-test ## Run every check and test

.PHONY: generate-check
generate-check: go ## See that the code in graph is what the schema generates
	scripts/generate-check.sh

.PHONY: vet
vet: go ## Static checks that come with Go
	@bad=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); test -z "$$bad" || { echo "Run gofmt -w on:"; echo "$$bad"; exit 1; }
	go vet ./...
	go -C bench vet ./...

.PHONY: lint
lint: go ## Lint what is tracked, the Go code, the scripts and the schema
	scripts/lint.sh

.PHONY: web-test
web-test: web ## Types and unit tests of the explorer
	scripts/with-web.sh npm --prefix web run typecheck
	scripts/with-web.sh npm --prefix web test

.PHONY: clients
clients: go ## Make and compile the typed clients of docs/clients.md
	scripts/build-clients.sh

.PHONY: image-test
image-test: go engine ## Build the image, run it and ask it a few things
	scripts/image-test.sh

.PHONY: go-test
go-test: go web clients engine chromium gcc ## Run the Go tests, with everything real that they need
	scripts/with-web.sh scripts/with-postgres.sh scripts/go-test.sh

.PHONY: test-newest-docker
test-newest-docker: go gcc ## Run the tests that talk to an engine on the newest Docker, built here
	scripts/with-postgres.sh scripts/newest-docker.sh

.PHONY: bench
bench: go engine ## Measure the server beside its peers, which takes some minutes
	scripts/bench.sh

.PHONY: engine
engine: ## Start a container engine if none answers, and give it the base image
	scripts/ensure-docker.sh
	scripts/base-image.sh

.PHONY: chromium
chromium: ## Install the browser that the explorer's test drives, if there is none
	scripts/ensure-chromium.sh

# What only stops early and says why, or does nothing.
.PHONY: go gcc
go:
	@scripts/ensure-go.sh
gcc:
	@scripts/ensure-gcc.sh

.PHONY: clean
clean: ## Remove what was built: the server and the explorer, never data
	rm -rf .cache/aicli-web web/dist/explorer
