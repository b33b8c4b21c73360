# `make` or `make help` lists the targets.

GO ?= go
BIN := bin
KUBECTL ?= $(BIN)/kubectl
# The image that `make docker-build` builds and `make deploy` runs.
IMG ?= acmeca:dev
# The platforms of `make docker-buildx`.
PLATFORMS ?= linux/amd64,linux/arm64
# The time that `make fuzz` spends on each target.
FUZZTIME ?= 10s
# The nodes of `make cluster`: 1 or more.
NODES ?= 1
# Additional arguments of `go test`.
TESTFLAGS ?=
# RACE=1 builds the tests of `make test`, and the operators that they start, with the race detector. A race ends a program.
# The tests take several times as long, and the first build takes minutes longer.
RACE ?=
RACING := $(if $(filter 1,$(RACE)),GOFLAGS="$(GOFLAGS) -race" GORACE=halt_on_error=1)

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

.PHONY: run
run: ## Run acmeca with its own control plane, until Ctrl-C. ISSUER=file.yaml, SELFCHECK=0.
	@$(GO) run ./hack/build etcd kubectl kube-apiserver acmeca-local
	@exec $(BIN)/acmeca-local -stop-with-parent

.PHONY: cluster
cluster: ## Run acmeca in a Kubernetes cluster with real nodes on this machine, as root on Linux. NODES=2.
	@$(GO) run ./hack/cluster -nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## Remove the cluster of `make cluster`.
	@$(GO) run ./hack/cluster -down

.PHONY: clean-local
clean-local: ## Remove the state of `make run`.
	rm -rf .local

.PHONY: build
build: ## Build the operator.
	@$(GO) run ./hack/build acmeca

.PHONY: kubectl-acme
kubectl-acme: ## Build the kubectl plugin, with a link for completion, into bin/.
	@$(GO) run ./hack/build kubectl-acme
	@ln -sf kubectl-acme $(BIN)/kubectl_complete-acme

.PHONY: kubectl-acme-release
kubectl-acme-release: ## Build the plugin's archives for VERSION, and their krew manifest, into dist/.
	hack/release-plugin.sh "$(VERSION)"

.PHONY: release-manifests
release-manifests: ## Render the manifests of VERSION into dist/, for kubectl. Chart and bundle must have this version.
	hack/release-manifests.sh "$(VERSION)"

.PHONY: docker-build
docker-build: ## Build the image IMG.
	docker build -t $(IMG) .

.PHONY: docker-buildx
docker-buildx: ## Build and push the image IMG for PLATFORMS, with an SBOM and provenance.
	docker buildx build --platform $(PLATFORMS) --sbom=true --provenance=mode=max --push -t $(IMG) .

.PHONY: image
image: ## Build the image IMG without Docker, as bin/acmeca-image.tar: for docker load, podman load, kind load image-archive.
	hack/image.sh "$(IMG)" -o $(BIN)/acmeca-image.tar

.PHONY: image-push
image-push: ## Build the image IMG for amd64 and arm64 without Docker, push it, and print its digest.
	@ARCHES="amd64 arm64" hack/image.sh "$(IMG)" -push

.PHONY: release-binary
release-binary: ## Build the operator of the image into bin/acmeca-linux-GOARCH.
	hack/release-binary.sh $(BIN)/acmeca-linux-$$($(GO) env GOARCH)

.PHONY: sbom
sbom: release-binary $(BIN)/cyclonedx-gomod ## Write the operator's SBOM for VERSION to bin/acmeca.cdx.json (CycloneDX).
	$(BIN)/cyclonedx-gomod bin -json -std -noserial -notimestamp $(if $(VERSION),-version $(VERSION)) -output $(BIN)/acmeca.cdx.json $(BIN)/acmeca-linux-$$($(GO) env GOARCH)

.PHONY: reproducible
reproducible: ## Build the operator, its image and the plugin twice, once without a cache, and compare. Takes minutes.
	hack/reproducible.sh

##@ Use in the cluster of your kubeconfig

# A new definition has no conditions yet, and kubectl fails to wait for them.
.PHONY: install
install: $(BIN)/kubectl ## Install the CustomResourceDefinitions.
	$(KUBECTL) apply --server-side -k config/crd
	@for try in 1 2 3 4 5; do $(KUBECTL) wait --for=condition=Established --timeout=1m -f config/crd/bases && exit 0; sleep 1; done; exit 1

.PHONY: uninstall
uninstall: $(BIN)/kubectl ## Remove the CustomResourceDefinitions with all issuers, accounts, orders and authorizations.
	KUBECTL="$(KUBECTL)" hack/uninstall.sh config/crd

.PHONY: deploy
deploy: $(BIN)/kubectl ## Deploy the operator with the image IMG.
	hack/overlay.sh "$(IMG)"
	$(KUBECTL) apply --server-side -k .local/deploy

.PHONY: undeploy
undeploy: $(BIN)/kubectl ## Remove the operator, the CustomResourceDefinitions, and the namespace with the CA keys.
	hack/overlay.sh "$(IMG)"
	KUBECTL="$(KUBECTL)" hack/uninstall.sh .local/deploy

##@ Develop

.PHONY: generate
generate: $(BIN)/controller-gen ## Generate Go code from the kinds, and from the protocol of key services.
	$(BIN)/controller-gen object paths=./api/v1alpha1
	$(GO) -C hack/protogen run . ../.. api/keyservice/v1alpha1/keyservice.proto

.PHONY: manifests
manifests: $(BIN)/controller-gen ## Generate the CustomResourceDefinitions, the two roles, the Helm chart's files and the OLM bundle.
	$(BIN)/controller-gen crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
	$(BIN)/controller-gen rbac:roleName=acmeca-controller paths=./controllers/... output:rbac:dir=config/rbac/controller
	$(BIN)/controller-gen rbac:roleName=acmeca-server paths=./acmeserver/... output:rbac:dir=config/rbac/server
	$(GO) -C hack/packaging run ./generate

.PHONY: api-reference
api-reference: $(BIN)/crd-ref-docs ## Generate docs/reference/api.md from the kinds.
	$(BIN)/crd-ref-docs --log-level ERROR --source-path api/v1alpha1 --max-depth 15 --config hack/apireference/config.yaml --templates-dir hack/apireference/templates --renderer markdown --output-path docs/reference/api.md

.PHONY: bundle
bundle: manifests ## Generate the OLM bundle.

.PHONY: verify
verify: $(BIN)/controller-gen $(BIN)/crd-ref-docs ## Check that generated files are up to date.
	hack/verify.sh

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/actionlint ## Check style, likely mistakes, import directions and the workflows.
	$(BIN)/golangci-lint run --allow-parallel-runners ./...
	$(BIN)/actionlint

.PHONY: supply-chain
supply-chain: ## Check the built-in modules, their licences, and known vulnerabilities if the database is reachable.
	hack/supply-chain.sh

##@ Test

.PHONY: test
test: control-plane kube-controller-manager kube-scheduler helm opm cert-manager step build ## Run all tests, including suites with a control plane and real clients.
	$(GO) -C test/rules test -count=1 ./... # these modules read files outside their directories, which go's test cache does not track
	$(GO) -C test/gitops test -count=1 ./...
	$(GO) -C hack/packaging test -count=1 ./...
	$(GO) -C cmd/acmeca-pkcs11 test -count=1 ./...
	$(GO) -C hack/image test -count=1 ./...
	$(RACING) $(GO) run ./hack/gotest -timeout $(if $(RACING),60m,20m) $(TESTFLAGS) ./...

.PHONY: test-unit
test-unit: ## Run the tests that need no control plane.
	$(GO) run ./hack/gotest -timeout 5m $(TESTFLAGS) $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... \
		| grep -v -e acmeca/internal/test/controlplane -e acmeca/hack/run -e acmeca/test/ -e 'acmeca/hack/chaos ' | cut -d' ' -f1)

.PHONY: test-pure
test-pure: ## Test the pure packages under the race detector. Fails below 90% coverage.
	hack/pure.sh

.PHONY: test-race
test-race: control-plane ## Test both halves together under the race detector. `make test RACE=1` does so for all suites.
	GORACE=halt_on_error=1 $(GO) run ./hack/gotest -race -timeout 20m ./acmeserver/... ./internal/informer ./internal/ordercache ./internal/replaced ./test/model \
		$$($(GO) list ./controllers/... | grep -v -e /controllers/ca -e /controllers/validation) # those are in test-pure

.PHONY: test-cluster
test-cluster: ## Run the suite with a cluster of two nodes, as root on Linux. Skipped where the machine can't run a cluster.
	@$(GO) run ./hack/cluster -build
	ACMECA_TEST_CLUSTER=1 $(GO) run ./hack/gotest -timeout 40m $(TESTFLAGS) ./hack/cluster/... ./internal/test/cluster/... ./test/cluster

.PHONY: test-transit
test-transit: control-plane vault ## Test a CA whose keys are in the transit engine of Vault. `make test` does so too once Vault is built.
	$(GO) run ./hack/gotest -timeout 20m ./test/keyservice -ginkgo.focus=Vault

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME.
	hack/fuzz.sh "$(FUZZTIME)"

.PHONY: fuzz-short
fuzz-short: ## Run each fuzz target for two seconds, compiled without coverage.
	hack/fuzz.sh 2s plain

.PHONY: bench
bench: control-plane ## Measure acmeca beside an earlier build, step-ca and Pebble, in about 40 minutes. BENCHFLAGS=-quick, -parts, -h.
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$(CURDIR)/$(BIN)}" $(GO) run ./hack/bench $(BENCHFLAGS)

.PHONY: chaos
chaos: control-plane ## Kill processes, cut connections and fail writes under a load, and check a CA's promises. CHAOSFLAGS=-h lists the flags.
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$(CURDIR)/$(BIN)}" $(GO) run ./hack/chaos $(CHAOSFLAGS)

.PHONY: clients-matrix
clients-matrix: control-plane step ## Run all ACME clients against acmeca, and write the matrix in docs/clients.md.
	ACMECA_REQUIRE_CLIENTS=1 ACMECA_CLIENTS_MATRIX=$(CURDIR)/docs/clients.md $(GO) test -count=1 -timeout 20m ./test/clients/matrix

.PHONY: revocation-matrix
revocation-matrix: control-plane ## Run all programs that read CRLs, and write the matrix in docs/guides/revocation.md.
	ACMECA_REQUIRE_CLIENTS=1 ACMECA_REVOCATION_MATRIX=$(CURDIR)/docs/guides/revocation.md $(GO) test -count=1 -timeout 20m ./test/relyingparties

.PHONY: quickstart-picture
quickstart-picture: control-plane ## Draw docs/images/quickstart.svg from a real run. Needs lego, and the free ports of make run.
	$(GO) run ./hack/recording docs/images/quickstart.svg

##@ Tools

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver and kubectl, once (about 5 minutes), unless KUBEBUILDER_ASSETS is set.
	@$(GO) run ./hack/build

.PHONY: cert-manager
cert-manager: ## Build cert-manager's controllers for tests, once (about 3 minutes).
	@$(GO) run ./hack/build cert-manager

.PHONY: step
step: ## Build the ACME client step for tests, once (about 3 minutes).
	@$(GO) run ./hack/build step

.PHONY: vault
vault: ## Build Vault for tests of the transit engine, once (about 15 minutes).
	@$(GO) run ./hack/build vault vault-plugin-auth-kubernetes

.PHONY: kube-controller-manager
kube-controller-manager: ## Build kube-controller-manager for tests of garbage collection, once (about 2 minutes).
	@$(GO) run ./hack/build kube-controller-manager

.PHONY: kube-scheduler
kube-scheduler: ## Build kube-scheduler for tests of the spread over nodes, once (about a minute).
	@$(GO) run ./hack/build kube-scheduler

.PHONY: helm
helm: ## Build Helm 4 and Helm 3 for tests of the chart, once (about 2 minutes).
	@$(GO) run ./hack/build helm helm3

.PHONY: opm
opm: ## Build OLM's opm for a test of the bundle, once (about 2 minutes).
	@$(GO) run ./hack/build opm

$(BIN)/kubectl:
	@$(GO) run ./hack/build kubectl

# The nested module hack/tools names the tools and their versions.
$(BIN)/controller-gen: hack/tools/go.mod
	$(GO) -C hack/tools build -o $(CURDIR)/$@ sigs.k8s.io/controller-tools/cmd/controller-gen
	@touch $@

$(BIN)/crd-ref-docs: hack/apireference/go.mod
	$(GO) -C hack/apireference build -o $(CURDIR)/$@ github.com/elastic/crd-ref-docs
	@touch $@

$(BIN)/cyclonedx-gomod: hack/sbom/go.mod
	$(GO) -C hack/sbom build -o $(CURDIR)/$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	@touch $@

# golangci-lint with kube-api-linter compiled in.
$(BIN)/golangci-lint: hack/tools/go.mod hack/tools/golangci-lint/main.go
	@echo "Building golangci-lint (once, about a minute)"
	$(GO) -C hack/tools build -o $(CURDIR)/$@ ./golangci-lint
	@touch $@

$(BIN)/actionlint: hack/tools/go.mod
	$(GO) -C hack/tools build -o $(CURDIR)/$@ github.com/rhysd/actionlint/cmd/actionlint
	@touch $@
