# Every target sets up what it needs in .venv: the first run installs, later ones only compare time stamps.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
ON_PYTORCH := GEOMSTATS_BACKEND=pytorch SCIPY_ARRAY_API=1
BORDER := $(addprefix tests/manifolds/test_,arrays.py gradients.py space.py) $(addprefix tests/properties/test_,derivatives.py threads.py)
REPORT ?= report

INTEGRATIONS := .venv-integrations
BENCH := .venv-bench

.PHONY: demo test test-long integrations bench docs lint format clean

demo: $(VENV)/.stamp-demo
	$(BIN)/python -m geomstats_vae report --output $(REPORT)

# The tests that every change waits for; those marked `long`, the gallery among them, are test-long's. The border to
# geomstats is tested on its pytorch backend, too; scipy must know of array libraries there for geomstats' TangentPCA.
test: $(VENV)/.stamp-test
	$(ON_PYTORCH) $(PYTEST) -m "not long" $(BORDER)
	$(PYTEST) -m "not long"

test-long: $(VENV)/.stamp-test
	$(ON_PYTORCH) $(PYTEST) tests/manifolds tests/geometry tests/sampling tests/volume tests/estimators tests/properties
	$(PYTEST) -m long

# Small models are trained with pythae, scvi-tools and diffusers. They have an environment of their own, so that all else
# is known to work without them, and their warnings are no errors.
integrations: $(INTEGRATIONS)/.stamp
	OMP_NUM_THREADS=1 $(INTEGRATIONS)/bin/python -m pytest -W default --numprocesses 2 --dist loadfile tests/integrations

# Solvers for geodesics on seven trained decoders, in 15 minutes; BENCH_OPTIONS=--full takes all settings on all pairs.
# The peers have an environment of their own.
bench: $(BENCH)/.stamp
	GEOMSTATS_BACKEND=pytorch OMP_NUM_THREADS=1 PYTHONPATH=benchmarks $(BENCH)/bin/python -m geodesic_bench $(BENCH_OPTIONS)

# SHORT_EXAMPLES=1 runs the gallery on fewer data; DOCS_OPTIONS="-D plot_gallery=0" does not run it.
# A fresh environment, for autosummary writes no pages of modules that an old one does not know.
docs: $(VENV)/.stamp-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going \
		$(DOCS_OPTIONS) docs build/docs

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m numpydoc lint $$(git ls-files --cached --others --exclude-standard 'geomstats_vae/*.py')

format: $(VENV)/.stamp-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(INTEGRATIONS) $(BENCH) $(REPORT) build dist docs/api/generated docs/api/*.rst docs/gallery docs/sg_execution_times.rst .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.stamp-demo: pyproject.toml constraints.txt $(VENV)/.stamp-venv
	$(INSTALL) .
	touch $@

$(VENV)/.stamp-test: pyproject.toml constraints.txt $(VENV)/.stamp-venv
	$(INSTALL) '.[test]'
	touch $@

$(VENV)/.stamp-docs: pyproject.toml constraints.txt $(VENV)/.stamp-venv
	$(INSTALL) '.[docs]'
	touch $@

$(VENV)/.stamp-dev: pyproject.toml constraints.txt $(VENV)/.stamp-venv
	$(INSTALL) '.[dev]'
	touch $@

$(INTEGRATIONS)/.stamp: pyproject.toml constraints.txt constraints-integrations.txt
	test -d $(INTEGRATIONS) || $(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--constraint constraints-integrations.txt --editable '.[pythae,scvi,diffusers]' pytest pytest-xdist
	touch $@

$(BENCH)/.stamp: pyproject.toml constraints.txt
	test -d $(BENCH) || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[bench]'
	touch $@
