# A short front for CMake. `make demo` and `make check` install what they lack (scripts/deps).
BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
CMAKE_ARGS ?=
# Tests run side by side: threads that wait must leave the cores to others instead of spinning.
CTEST = OMP_WAIT_POLICY=passive ctest --test-dir $(BUILD) --output-on-failure

MAKEFLAGS += --no-print-directory

.PHONY: all deps configure build demo check check-models bench size fuzz fmt install clean
all: build

deps:
	scripts/deps build

# Libraries and program, without the tests.
build: deps
	cmake -S . -B $(BUILD) -DOSPREY_TESTS=OFF -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_ARGS)
	cmake --build $(BUILD) --parallel $(JOBS)

# Boxes in the sample pictures: a table here, drawn pictures in demo-out.
demo: build
	$(BUILD)/bin/osprey detect models/osprey-aerial.onnx models/samples -o demo-out

check:
	scripts/deps test
	cmake -S . -B $(BUILD) -DOSPREY_TESTS=ON -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_ARGS)
	cmake --build $(BUILD) --parallel $(JOBS)
	scripts/test-data
	$(CTEST) --parallel $(JOBS)

# All conditioned networks, not only the two of `make check`.
check-models:
	scripts/deps test
	cmake -S . -B $(BUILD) -DOSPREY_TESTS=ON $(CMAKE_ARGS)
	cmake --build $(BUILD) --parallel $(JOBS)
	scripts/test-data all
	$(CTEST) -C models -L networks

# Beside ONNX Runtime and OpenVINO, in one run; BENCH_ARGS: see bench/bench.py --help.
bench: build
	scripts/deps bench
	scripts/test-data yolo11n yolo11s yolov8n
	.cache/venv/bin/python3 bench/bench.py --library $(BUILD)/libosprey.so \
		--program $(BUILD)/bin/osprey --json $(BUILD)/bench.json $(BENCH_ARGS)

# Bytes of program and library; CMAKE_ARGS=-DOSPREY_CUDA_ARCHS=90a for one architecture.
size: build
	scripts/size $(BUILD)

# Ten minutes for each target; SECONDS_EACH=60 make fuzz for less.
fuzz:
	scripts/deps ci
	fuzz/run

fmt:
	scripts/deps ci
	scripts/format --fix

install: build
	cmake --install $(BUILD)

clean:
	rm -rf $(BUILD) demo-out
