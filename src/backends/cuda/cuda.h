// Inside the cuda backend: its families of tactics, and what they share. A family is a .c file with
// the tactics (what a problem may be, and the kernel's arguments worked out at build), a .cu file
// with the kernels, and the structs that both agree on in a header of plain C.
// Thread rule: any thread; a launch enqueues on the stream it is given and touches nothing else.
#ifndef OSP_BACKENDS_CUDA_CUDA_H
#define OSP_BACKENDS_CUDA_CUDA_H

#include "backends/backend.h"

#endif
