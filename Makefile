# `make leaderboard` and `make test` are all a newcomer needs; each makes .venv first.
PYTHON ?= python3
# Where torch comes from: `auto` is PyTorch's CPU index on Linux without nvidia-smi, else (or where that index fails)
# pip's own index; empty is pip's own; an address is that index and no other.
TORCH_INDEX ?= auto
CPU_INDEX := https://download.pytorch.org/whl/cpu
# The main job: what runs in seconds, eight seeds of each, so that its rows are tested. FULL=1 runs what is shipped too.
TASKS ?= decoys-v1,gaussian-v1,queens-v1,lock-v1$(if $(FULL),$(comma)$(LONG))
BASELINES ?= shortfall,banel,rnd,pseudo-count,pretrained,tail,uniform
LONG ?= addition-v1
SEEDS ?= 8
BUDGET ?= 7500
JOBS ?= 2
RESULTS ?= results
OUT ?= leaderboard
# A Markdown file whose marked block is to hold table and curves, as for `make leaderboard OUT=docs/results README=docs/results/README.md`.
README ?=
MODE ?= pr
AGAINST ?=
FULL ?=
comma := ,

BIN := .venv/bin
STAMP := .venv/.installed
# worksteal: tests of one file mostly run in one process, which makes their tasks and fixtures once
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

.PHONY: install leaderboard shipped sweeps test test-fast test-server test-all check engine gate docs format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@pin=$$(grep '^torch==' constraints.txt) || exit 1; \
	if [ '$(TORCH_INDEX)' != auto ]; then \
		$(BIN)/pip install -q $$pin $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)); \
	elif [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
		echo 'no NVIDIA driver found: torch without CUDA (TORCH_INDEX= takes the usual build)'; \
		$(BIN)/pip install -q --retries 1 $$pin --index-url $(CPU_INDEX) || { \
			echo "$(CPU_INDEX) failed: torch from pip's own index"; $(BIN)/pip install -q $$pin; }; \
	else \
		$(BIN)/pip install -q $$pin; \
	fi
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

leaderboard: $(STAMP)
	@$(BIN)/suite bench --tasks $(TASKS) --baselines $(BASELINES) --seeds $(SEEDS) --budget $(BUDGET) \
		--jobs $(JOBS) --results $(RESULTS); status=$$?; \
	$(BIN)/suite report --results $(RESULTS) --out $(OUT) $(if $(FULL),,--shipped) $(if $(README),--readme $(README)) && \
	printf '%s\n' "Next: open $(OUT)/leaderboard.html" \
		"      $(BIN)/suite run --task decoys-v1 --baseline shortfall --seed 8" \
		"      a task or a method of your own: docs/adding-a-task.md, docs/adding-a-baseline.md" && \
	exit $$status

# Make the records anew that come with the suite: of tasks that take minutes a run.
shipped: $(STAMP)
	$(BIN)/suite bench --tasks $(LONG) --baselines $(BASELINES) --seeds $(SEEDS) --budget $(BUDGET) --jobs $(JOBS) \
		--points final --tracking off --results $(RESULTS)-shipped
	$(BIN)/python -m reports.read.shipped $(RESULTS)-shipped

# Write every committed sweep file anew, as its first line says, and those that a new task or method lacks.
sweeps: $(STAMP)
	$(BIN)/python docs/experiments/sweep_files.py

# All that needs no server, the slow tests too.
test: $(STAMP)
	$(PYTEST) -m "not server"

test-fast: $(STAMP)
	$(PYTEST) -m "not server and not slow"

# PostgreSQL, Dask, a browser, real agents; where they are missing a test is skipped, but not where $$CI is set.
test-server: $(STAMP)
	$(PYTEST) -m server

test-all: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Accept the sources behind a cell's numbers with the number in suite/engine.py; docs/decisions/009 says when.
engine: $(STAMP)
	$(BIN)/python tests/gate/engine.py

# Is the code worse than its reference, or slower than it was? Runs the gated cells afresh; MODE=nightly takes more seeds.
# Slower than here before (.speed.json), or, with AGAINST=origin/main, than the commit that HEAD shares with that.
gate: $(STAMP)
	rm -rf .gate
	OMP_NUM_THREADS=1 $(BIN)/suite check --reference tests/gate/reference/suite --results .gate --mode $(MODE) --run
	$(BIN)/python -m tests.benchmarks.speed $(if $(AGAINST),--against '$(AGAINST)',--baseline .speed.json)

# The documentation as a site in site/; a broken link, or a page that the navigation lacks, is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
