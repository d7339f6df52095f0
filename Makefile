# What a newcomer needs: make demo, make test. What a change needs: make check.

export CGO_ENABLED = 0
GO     ?= go
BIN     = bin/weft
FUZZ   ?= 20s
SEEDS  ?= 200

# A second container network beside the first needs its own TESTNET_PROJECT and TESTNET_PORT0 to TESTNET_PORT3.
export TESTNET_PROJECT ?= weft
export TESTNET_CONTEXT  = $(CURDIR)/bin/image-$(TESTNET_PROJECT)
ROOT    = $(TESTNET_CONTEXT)/root
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) \
	--project-name $(TESTNET_PROJECT) --file testnet/compose.yml

# Packages with goroutines of their own; the others have none to race.
CONCURRENT = ./node ./gossip/wire ./internal/store/... ./client ./testnet ./plugins/...

.PHONY: build demo test check lint race fuzz sim mutants crash bench docker-testnet docker-testnet-down clean

build: ## the one binary
	$(GO) build -trimpath -o $(BIN) ./cmd/weft

demo: build ## four validators, a real log, a killed node, a receipt
	$(BIN) testnet demo

test: ## all tests, with $(SEEDS) simulated networks of each size
	$(GO) test -timeout 10m ./...

check: lint race test ## what CI runs

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run gofmt -w on: $$unformatted"; exit 1; }
	$(GO) vet ./...
	@if command -v staticcheck >/dev/null; then staticcheck ./...; else echo "staticcheck is not here: skipped"; fi
	@if command -v govulncheck >/dev/null; then govulncheck ./...; else echo "govulncheck is not here: skipped"; fi

race: # needs a C compiler
	@if command -v $${CC:-cc} >/dev/null; then CGO_ENABLED=1 $(GO) test -race -short -timeout 10m $(CONCURRENT); \
	else echo "no C compiler: the race detector is skipped"; fi

fuzz: ## every fuzz target for $(FUZZ)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$($(GO) test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ) -fuzzminimizetime 10x $$dir || exit 1; \
		done; \
	done

sim: ## the simulation alone, over $(SEEDS) seeds of each size
	$(GO) test ./internal/sim -count=1 -timeout 60m -seeds $(SEEDS)

mutants: ## break the code in known ways; the simulation must catch each
	$(GO) test ./internal/sim -run TestMutants -mutants -v -count=1 -timeout 60m

crash: build ## 120 s of load and SIGKILLs
	$(BIN) bench crash

bench: build ## entries a second and time to final, as JSON
	$(BIN) bench

docker-testnet: build ## four containers on this machine; nothing is pulled
	rm -rf $(TESTNET_CONTEXT) && mkdir -p $(addprefix $(ROOT)/,data net/node0 net/node1 net/node2 net/node3)
	cp $(BIN) $(ROOT)/weft && cp testnet/Dockerfile $(TESTNET_CONTEXT)/
	$(COMPOSE) up --detach --build

docker-testnet-down: ## end them and remove their data and image
	$(COMPOSE) down --volumes --rmi all
	rm -rf $(TESTNET_CONTEXT)

clean:
	rm -rf bin
