# What a newcomer needs: make demo, make test. What a change needs: make check.

export CGO_ENABLED = 0
GO     ?= go
BIN     = bin/weft
BUILD  ?= -trimpath
FUZZ   ?= 20s
SEEDS  ?= 200

# Packages with goroutines of their own; the others have none to race.
CONCURRENT = ./node ./gossip/wire ./internal/store/... ./client/... ./testnet ./plugins/identity ./plugins/identity/jsonld ./plugins/metrics ./plugins/plugintest ./plugins/rest ./plugins/streams ./plugins/streams/managed

.PHONY: build demo test check lint race fuzz sim mutants crash bench docker-testnet docker-testnet-down clean

build: ## the one binary
	$(GO) build $(BUILD) -o $(BIN) ./cmd/weft

demo: build ## four validators, a real log, a killed node, a receipt, an age check, an encrypted audit trail
	$(BIN) testnet demo

test: ## all tests, with $(SEEDS) simulated networks of each size
	$(GO) test -timeout 10m ./...

check: lint race test ## what CI runs, through .ci/run

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run gofmt -w on: $$unformatted"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
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

docker-testnet: ## four containers on this machine; nothing is pulled
	GOOS=linux $(GO) build $(BUILD) -o bin/linux/weft ./cmd/weft
	testnet/docker up bin/linux/weft

docker-testnet-down: ## end them and remove their data and image
	testnet/docker down

clean:
	rm -rf bin
