// The contract of a backend. Node backends (reference, cpu, cuda) supply tactics to the shared
// build in plan/compile.h; whole-model backends (tensorrt) build by themselves.
// Backends never include each other.
#ifndef OSP_BACKENDS_BACKEND_H
#define OSP_BACKENDS_BACKEND_H

#include "backends/tactic.h"

typedef struct osp_backend_def {
    osp_backend id;
    const char *name;
    // NULL: usable on that device; else the reason, written to `reason`.
    const char *(*probe)(osp_context *ctx, int32_t device, char *reason, size_t size);
    // What a plan of it is tied to: "cpu avx512_core_bf16 onednn 3.2.0 threads 2".
    void (*device_key)(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size);
    bool runs_passes;  // false: the graph is compiled as the file has it (reference)
    // Sets the calling thread's number of compute threads, returns the one before. NULL: no matter.
    int32_t (*set_threads)(int32_t threads);
    // The tactics for an operator in order of preference, NULL-terminated; NULL: none.
    const osp_tactic *const *(*tactics)(const osp_op *op);
} osp_backend_def;

extern const osp_backend_def osp_backend_reference;
extern const osp_backend_def osp_backend_cpu;
const char *osp_cpu_isa_name(void);  // what this processor has: "avx512_amx", for names of plans

// The plain reference kernel as a tactic, named "ref", for dense plain operands.
extern const osp_tactic osp_tactic_ref;

#endif
