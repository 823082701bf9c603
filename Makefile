# What CI runs is `make check`. Tools are pinned in tools/go.mod; nothing has to be installed by hand.
GO     ?= go
TOOL   := $(GO) tool -modfile=tools/go.mod
MODULE := ./...

.PHONY: check format vet static test race noasm cross xla generate-and-diff fuzz quickstart

check: format vet static test race noasm cross xla generate-and-diff

format:
	@out=$$($(TOOL) gofumpt -l .); if [ -n "$$out" ]; then echo "not formatted (run: go tool -modfile=tools/go.mod gofumpt -w .):"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet $(MODULE)

static:
	$(TOOL) staticcheck $(MODULE)

test:
	$(GO) test ./...

# Where goroutines share memory, and the tests are short enough to run slowed down.
race:
	$(GO) test -race -short -run "Threads|Pool|StandAlone" ./kernel ./engine/cpu
	$(GO) test -race -short ./serve ./hub ./internal/progress ./pipeline/... ./shard ./run ./train ./tokenizer

noasm:
	$(GO) test -tags noasm ./kernel ./engine/cpu

cross:
	GOOS=linux GOARCH=arm64 $(GO) vet $(MODULE)
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	GOOS=windows GOARCH=amd64 $(GO) build ./...

# The engine for GPUs needs cgo; its plug-ins are found when it runs, so building needs none.
xla:
	CGO_ENABLED=1 $(GO) build -tags xla $(MODULE)
	CGO_ENABLED=1 $(GO) vet -tags xla $(MODULE)
	CGO_ENABLED=1 $(GO) test -tags xla ./engine/xla

generate-and-diff:
	$(GO) generate ./kernel
	@git diff --exit-code -- '*.s' || (echo "generated assembly differs from what is committed"; exit 1)

# Every fuzz target, a minute each; more with FUZZTIME=5m.
FUZZTIME ?= 1m
fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

quickstart:
	$(GO) run ./cmd/ravn quickstart
