// What the kernels' own code is checked for while it runs on the host: the compiler puts a call here
// behind each access that is not aligned to its type, and each index outside its array
// (-fsanitize=alignment,bounds; these functions stand in for the sanitizer's library).
// Thread rule: see host/host_device.h.
#include "host/host_device.h"

namespace {

// The head of what the compiler says about a place in the source.
struct Place {
    const char *file;
    uint32_t line, column;
};

}  // namespace

extern "C" {
void __ubsan_handle_type_mismatch_v1_abort(const Place *place, uintptr_t address)
{
    host_die("%s:%u: address %#zx is not aligned to what is accessed there, or null", place->file,
             place->line, (size_t)address);
}

void __ubsan_handle_out_of_bounds_abort(const Place *place, uintptr_t index)
{
    host_die("%s:%u: index %zd is outside the array", place->file, place->line, (std::ptrdiff_t)index);
}
}
