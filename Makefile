# vpsctl: `make demo` shows it, `make test` proves it. Both install what they need.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO          ?= go
N           ?= 2
FILTER      ?= .
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@latest
FUZZTIME    ?= 20s

include e2e/lab.mk

.PHONY: build collectors check test unit quick test-integration demo bench bench-peers bench-provision bench-truth bench-aa clean help fmt vet staticcheck tidy shellcheck cross reproducible fuzz vuln deps

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: collectors ## the program, at bin/vpsctl
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/vpsctl ./cmd/vpsctl

collectors: ## the collectors and probers that vpsctl embeds
	$(GO) run ./payload/build

check: fmt vet staticcheck quick ## the quick checks, under two minutes

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet:
	$(GO) vet ./...
	$(GO) vet -tags e2e ./e2e/...
	$(GO) vet -tags lab ./payload/...

staticcheck:
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(STATICCHECK) -tags e2e ./e2e/...
	$(GO) run $(STATICCHECK) -tags lab ./payload/...

unit: collectors ## unit and protocol tests with the race detector
	$(GO) test -race -timeout 20m ./...

quick: collectors # unit without the tests that take long
	$(GO) test -race -short ./...

deps: lab-deps ## what the tests need from Debian
	@bash .ci/deps

test: ## everything: checks, fuzzing, builds, real hosts
	@bash .ci/steps deps fmt vet staticcheck tidy shellcheck unit cross reproducible fuzz vuln test-integration demo

test-integration: LAB_PACKAGES += lxcfs
test-integration: lab-deps collectors ## tests on lab hosts; FILTER=TestGuard selects
	@bash .ci/e2e '$(FILTER)' $(if $(LAB_SUDO),-exec $(LAB_SUDO))

tidy:
	$(GO) mod tidy -diff

shellcheck:
	@scripts=$$(git ls-files '*.sh' .ci); echo "shellcheck $$scripts"; shellcheck $$scripts

cross: collectors ## linux, macOS and Windows
	@for t in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
	  echo "build $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/vpsctl; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) vet ./bench/... ./cmd/... ./inventory/... ./phases/... ./remote/... ./report/... ; done

reproducible: ## the same collectors from two folders
	$(GO) test -count=1 -run Reproducible ./payload/

fuzz: collectors ## every fuzz target for FUZZTIME
	@bash .ci/fuzz $(FUZZTIME)

vuln:
	@bash .ci/vuln $(GOVULNCHECK)

demo: lab-deps build ## two lab VPSs, provisioned for real
	@bash e2e/demo.sh

bench: build ## figures for docs/benchmarks.md (long)
	@bash e2e/bench.sh

bench-provision: ## the ten phases beside apt alone, on fresh lab hosts (long)
	@bash e2e/bench-provision.sh

bench-truth: ## the prober beside fio, openssl and iperf3, on lab hosts (long)
	@bash e2e/bench-truth.sh

bench-aa: build ## verdicts on a lab host: sessions without a change, then real ones (long)
	@bash e2e/bench-aa.sh

bench-peers: build ## other tools beside vpsctl, on one lab host (long)
	@PEERS=1 bash e2e/bench.sh

clean: ## what was built here
	rm -rf bin payload/bin/*.gz
