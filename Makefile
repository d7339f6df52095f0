# What a newcomer needs: make demo, make test. What a change needs: make check.

export CGO_ENABLED = 0
GO     ?= go
BIN     = bin/weft
FUZZ   ?= 20s
SEEDS  ?= 200

.PHONY: build demo test check fuzz sim mutants bench crash docker-testnet docker-testnet-down clean

build: ## the one binary
	$(GO) build -trimpath -o $(BIN) ./cmd/weft

demo: build ## four validators, a real log, a killed node, a receipt
	$(BIN) testnet demo

test: ## all tests
	$(GO) test -timeout 10m ./...

check: ## what CI runs
	./.ci/run

fuzz: ## every fuzz target for $(FUZZ)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$($(GO) test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ) $$dir || exit 1; \
		done; \
	done

sim: ## the simulation over $(SEEDS) seeds
	$(GO) test ./internal/sim -count=1 -timeout 60m -seeds $(SEEDS)

bench: build ## entries a second and time to final, as JSON
	$(BIN) bench

docker-testnet: ## four containers on this machine
	./testnet/docker up

docker-testnet-down: ## end them and remove their data
	./testnet/docker down

clean:
	rm -rf bin
