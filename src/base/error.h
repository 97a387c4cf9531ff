// How failures travel: the origin formats once, everyone above forwards.
#ifndef OSP_BASE_ERROR_H
#define OSP_BASE_ERROR_H

#include "osprey/osprey.h"

// Formats into err (which may be NULL) and returns `code`. Control characters and bytes that are
// not ASCII printable or UTF-8 are replaced, because names come from untrusted files.
osp_status osp_error_set(osp_error *err, osp_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "prefix: " before a text that is already there; keeps the code.
void osp_error_prefix(osp_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Empties err: code OSP_OK, text "".
void osp_error_clear(osp_error *err);

// Returns from the function with a formatted error.
// The code is returned as it stands here, so that compilers see that it is not OSP_OK.
#define OSP_FAIL(err, code, ...) return (osp_error_set((err), (code), __VA_ARGS__), (code))

// Returns the status of an expression unless it is OSP_OK.
#define OSP_TRY(expression)                                                                        \
    do {                                                                                           \
        osp_status try_status_ = (expression);                                                     \
        if (try_status_ != OSP_OK)                                                                 \
            return try_status_;                                                                    \
    } while (0)

#define OSP_FAIL_MEMORY(err) OSP_FAIL((err), OSP_ERROR_MEMORY, "out of memory")

#endif
