# Every target sets up what it needs and may be run twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help

export CGO_ENABLED ?= 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: vet engine ## Run every check and test
	scripts/with-postgres.sh go test -race -timeout 10m ./...

.PHONY: engine
engine: ## Start a container engine if none answers, and give it the base image
	scripts/ensure-docker.sh
	scripts/base-image.sh

.PHONY: vet
vet: ## Static checks that come with Go
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "Run gofmt -w on:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
