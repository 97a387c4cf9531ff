# What fuzz/run, fuzz/coverage and fuzz/minimise share; sourced from the repository's root.

# Longest input, and what one run may cost: it takes well under a second on an idle machine.
fuzz_options() { # fuzz_options TARGET SEEDS
    local longest
    case $1 in
    onnx) longest=16384 ;;
    plan) longest=40960 ;;
    image) longest=8192 ;;
    tensor) longest=4096 ;;
    problem) longest=512 ;;
    esac
    echo "-max_len=$longest -timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=256 -report_slow_units=25"
    case $1 in
    onnx | plan | problem) echo "-dict=$2/words" ;;
    esac
}

fuzz_build() { # fuzz_build FOLDER [OPTION...]
    local log
    log=$(mktemp)
    if ! { CC=clang cmake -S . -B "$1" -DOSPREY_FUZZ=ON -DOSPREY_TESTS=OFF -DOSPREY_CUDA=OFF "${@:2}" &&
        cmake --build "$1" --parallel "${JOBS:-$(nproc)}" --target fuzz_targets; } \
        >"$log" 2>&1; then
        tail -n 60 "$log"
        rm -f "$log"
        echo "fuzz: the targets do not build" >&2
        return 1
    fi
    rm -f "$log"
}

# Inputs that are made and not stored: plans hold this machine's device key and weights packed for
# its processor, so the committed corpus cannot have all of them.
fuzz_seeds() { # fuzz_seeds BUILD FOLDER
    mkdir -p "$2"/{onnx,plan,image,tensor,problem}
    "$1/bin/fuzz_seeds" "$2" tests/data/tiny.onnx tests/data/heads/*.onnx 2>"$2/log" ||
        { cat "$2/log" >&2; return 1; }
    rm "$2/log"
}
