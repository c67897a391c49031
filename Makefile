# Everything a checkout can do. `make` alone lists it. Needs Python >= 3.11 and the package registry, nothing else:
# what is missing (a virtual environment, Kubo, Cluster, ffmpeg) is made on first use.

PYTHON ?=
BIN := .venv/bin
READY := .venv/.ready
MUTMUT := .venv/.mutmut
LOCKS := .ci/requirements-build.txt .ci/requirements.txt
LANES := "not real and not faults and not slow" "real" "(faults or slow) and not real"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo test lint bench prove mutate audit clean lock

help: ## list what make can do here
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## watch a video being encoded, its supernode dying, and the content staying safe
	@$(BIN)/python -m examples.encoder_harness demo

test: $(READY) ## run every test: quick ones, those on real nodes, those that break things
	@$(BIN)/python -m examples.nodes get
	@failed=0; for lane in $(LANES); do \
		echo "== tests: $$lane"; \
		$(BIN)/python -m pytest -m "$$lane" $(PYTEST_ARGS) || failed=1; \
	done; exit $$failed

lint: $(READY) ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: $(READY) ## measure, each number beside its peer or limit in the same run
	@$(BIN)/python -m tests.benchmarks

prove: $(READY) ## break everything that can break, and count what was lost
	@$(BIN)/python -m tests.faults.prove

# In an environment of its own: pip-audit brings thirty packages along that have no business among the locked ones.
audit: $(READY) ## ask the package index (not a mirror) for known weaknesses of the locked dependencies
	@$(BIN)/python -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	@.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		$(foreach list,$(LOCKS),--requirement $(list)) || { \
		echo "Something was found, or could not be asked about: a mirror of the index tells nothing of weaknesses."; exit 1; }

mutate: $(MUTMUT) ## break the core in small ways, one by one, and see that a test fails for each (AGAIN=1, MODULES="…")
	@$(BIN)/python -m tests.mutation $(if $(AGAIN),--again) $(MODULES)

clean: ## remove what was made in this checkout (never data/ nor logs/)
	@rm -rf .venv dist demo .mutation .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: $(READY) # choose dependencies anew, and write down their hashes
	@$(BIN)/python -m pip install --quiet uv
	@.ci/lock

# Every package is checked against its hash, also those that build others: hence two steps and no build isolation.
$(READY): $(LOCKS) pyproject.toml .ci/find-python
	@python=$$(.ci/find-python $(PYTHON)) && \
	{ $(BIN)/python -c 'import pip' 2>/dev/null || \
		{ echo "Making .venv with $$($$python --version)." && $$python -m venv --clear .venv; }; }
	@echo "Installing the packages of .ci/requirements.txt."
	@for list in $(LOCKS); do $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --no-deps --no-build-isolation --requirement $$list || exit 1; done
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Not among the locked packages: nothing but `make mutate` needs it.
$(MUTMUT): $(READY)
	@echo "Installing mutmut."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$($(BIN)/python -m tests.mutation --requirement)"
	@touch $(MUTMUT)
