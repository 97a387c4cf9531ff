// A stand-in for TensorRT's libraries, for tests without a GPU: what a test tells it and asks it.
//
// libnvinfer.so.MAJOR exports `standin_control_of_library`; libnvonnxparser.so.MAJOR calls it. The
// vtables are complete: a slot that should not have been called counts as
// misuse. Its network computes y = 2 x + 1 for each row, into as many elements as y has.
// Thread rule: setting up from one thread; the rest as TensorRT.
#ifndef OSP_TESTS_STANDIN_H
#define OSP_TESTS_STANDIN_H

#include <stdbool.h>
#include <stdint.h>

enum { STANDIN_IO_MAX = 4, STANDIN_PROFILES_MAX = 8, STANDIN_OPEN = -2 };

typedef struct standin_io {
    char name[32];
    int32_t input, dtype, rank, host;
    int64_t dims[8];  // -1: the batch; STANDIN_OPEN: only the run knows
} standin_io;

typedef struct standin_network {
    int32_t count;
    standin_io io[STANDIN_IO_MAX];
} standin_network;

// Faults: each is played while it is set.
typedef struct standin_faults {
    bool null_runtime, small_pointer;  // createInfer*_INTERNAL: NULL, or 0x200, after a log message
    bool null_engine;                  // deserializing
    bool null_context;
    bool parse_error;  // two errors, with node, operator and text
    bool build_fails;
    bool enqueue_fails;
    bool bad_timings;  // a timing cache from a file is refused
} standin_faults;

typedef struct standin_control {
    standin_network network;  // of the next parse
    standin_faults faults;
    int64_t open_rows;    // what dimensions that only the run knows turn out to be
    int32_t build_steps;  // of the progress phase; 0: 4
    // Puts work on a stream of the fake device; 0: it went.
    int (*enqueue)(void *user, void *stream, void (*run)(void *), void *arg);
    void *user;
    // To be read.
    int32_t live;    // objects that were not deleted
    int32_t misuse;  // wrong slots, orders and arguments
    char what[256];  // of the first misuse
    int32_t builds, deserialized, contexts, enqueued;
    // Of the latest build.
    uint32_t network_flags, builder_flags;
    uint64_t workspace;
    int32_t level, aux_streams, verbosity, profiles, onnx_bytes, timings_given;
    bool monitored, cancelled;
    uint8_t onnx_head[16];
} standin_control;

extern standin_control standin_control_of_library;
void *standin_make_parser(void *network, void *logger, int32_t version);

#endif
