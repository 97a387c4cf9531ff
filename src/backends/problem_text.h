// Inside problem.c and problem_conv.c only: words and numbers of problem texts.
#ifndef OSP_BACKENDS_PROBLEM_TEXT_H
#define OSP_BACKENDS_PROBLEM_TEXT_H

#include "backends/problem.h"

typedef struct osp_text {
    char *out;
    size_t size, length;
} osp_text;

typedef struct osp_word {
    const char *text;
    size_t length;
} osp_word;

void osp_text_add(osp_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
osp_word osp_word_next(const char **at);  // skips spaces; length 0 at the end
bool osp_word_is(osp_word word, const char *text);
bool osp_word_number(const char *text, size_t length, int64_t *out);  // decimal, not negative

const char *osp_problem_type_name(osp_dtype dtype);
bool osp_problem_type_scan(const char *text, size_t length, osp_dtype *out);

// The short form of convolutions. print: false if this problem has none (nothing is written).
bool osp_problem_is_conv(osp_word word);
bool osp_problem_print_conv(const osp_problem *p, osp_text *t);
osp_status osp_problem_scan_conv(osp_problem *out, osp_arena *arena, const char *text,
                                 osp_error *err);

#endif
