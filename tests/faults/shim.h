// One shim in front of every fallible call that the library makes: its own allocations, the system
// and the libraries it stands on. The linker's --wrap sends each call named in wrapped.txt to
// __wrap_NAME (shim.S), which asks shim_step whether to fail this one.
// Thread rule: counting is atomic; arm and disarm from one thread.
#ifndef OSP_TESTS_FAULTS_SHIM_H
#define OSP_TESTS_FAULTS_SHIM_H

#include <stdbool.h>
#include <stdint.h>

// From now on, call number `nth` (from 1) fails; 0: none does, calls are only counted.
void shim_arm(uint64_t nth);
void shim_disarm(void);
uint64_t shim_calls(void);      // since the last arm
const char *shim_failed(void);  // name of the call that was failed since then, or NULL

#endif
