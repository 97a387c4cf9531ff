// Options: one row each says its spelling, meaning, environment variable and the verbs that know
// it. Parsing, help and the list of what a plan cannot follow all come from these rows.
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_kind {
    FLAG,    // bool
    TEXT,    // const char *
    INT,     // int32_t within [low, high]
    REAL,    // double within [low, high]
    BYTES,   // uint64_t, with k, M or G
    CHOICE,  // int32_t: index into `choices` + low
    SIZE,    // height and width: "640x480", or "640" for both
    COUNTS,  // int32_t[8]: "1,2,4"
    WORDS,   // osp_cli_list, at commas; more than one option adds up
    PAIRS    // osp_cli_list of "NAME=FILE"; more than one option adds up
} option_kind;

typedef struct option_row {
    const char *name;
    char letter;  // 0: none
    option_kind kind;
    const char *argument;  // as help shows it; CHOICE: the choices, at bars
    size_t offset;
    unsigned verbs;
    double low, high;
    const char *variable;  // OSPREY_...; NULL: none
    const char *help;
} option_row;

enum {
    ALL = 127,
    COMPUTE = OSP_VERB_RUN | OSP_VERB_DETECT | OSP_VERB_COMPARE | OSP_VERB_BENCH,
    BUILDS = COMPUTE | OSP_VERB_BUILD,
    THREADED = BUILDS | OSP_VERB_DEVICES | OSP_VERB_INSPECT
};

#define AT(field) offsetof(osp_cli_settings, field)
// clang-format off
static const option_row rows[] = {
    {"help", 'h', FLAG, NULL, AT(help), ALL, 0, 0, NULL, "show this help"},
    {"json", 0, FLAG, NULL, AT(json), ALL, 0, 0, NULL, "print one JSON document on standard output"},
    {"quiet", 'q', FLAG, NULL, AT(quiet), ALL, 0, 0, NULL, "no progress bars, errors only"},
    {"log", 0, CHOICE, "error|warning|info|debug", AT(log), ALL, 1, 0, "OSPREY_LOG",
     "what the library tells on standard error (default: warning)"},
    {"threads", 't', INT, "N", AT(threads), THREADED, 0, 4096, "OSPREY_THREADS",
     "compute threads of all CPU sessions together (default: physical cores)"},
    {"library-dir", 0, TEXT, "DIR", AT(library_dir), THREADED, 0, 0, "OSPREY_LIBRARY_DIR",
     "where to look for TensorRT after the loader's own path (default: Python's tensorrt_libs)"},

    {"output", 'o', TEXT, "FILE", AT(output), OSP_VERB_BUILD, 0, 0, NULL,
     "the plan to write, or a folder for it (default: by device, here)"},
    {"name", 0, TEXT, "PREFIX", AT(name), OSP_VERB_BUILD, 0, 0, NULL,
     "first part of the plan's default name (default: the model's name)"},

    {"input", 'i', PAIRS, "NAME=FILE", AT(inputs), OSP_VERB_RUN | OSP_VERB_COMPARE, 0, 0, NULL,
     "an input tensor, .npy or .pb (default: a seeded random pattern); may be repeated"},
    {"seed", 0, INT, "N", AT(seed), OSP_VERB_RUN | OSP_VERB_COMPARE, 0, 2147483647, NULL,
     "of the random pattern (default: 0)"},
    {"output-dir", 'o', TEXT, "DIR", AT(output_dir), OSP_VERB_RUN, 0, 0, NULL,
     "where the outputs go, as NAME.npy (required)"},
    {"against", 0, TEXT, "BACKEND|FILE", AT(against), OSP_VERB_COMPARE, 0, 0, NULL,
     "what to compare with (default: reference)"},

    {"output", 'o', TEXT, "DIR", AT(output), OSP_VERB_DETECT, 0, 0, NULL,
     "write pictures with boxes, and the detections, into this folder"},
    {"format", 0, CHOICE, "json|csv|coco|txt", AT(format), OSP_VERB_DETECT, 1, 0, NULL,
     "of the detections: in the -o folder (default there: json), else printed"},
    {"no-draw", 0, FLAG, NULL, AT(no_draw), OSP_VERB_DETECT, 0, 0, NULL, "write no pictures"},
    {"conf", 0, REAL, "X", AT(conf), OSP_VERB_DETECT | OSP_VERB_BENCH, 0, 1, NULL,
     "least score (default: 0.25)"},
    {"iou", 0, REAL, "X", AT(iou), OSP_VERB_DETECT | OSP_VERB_BENCH, 0, 1, NULL,
     "overlap above which the lesser box goes (default: 0.7)"},
    {"classes", 0, WORDS, "LIST", AT(classes), OSP_VERB_DETECT, 0, 0, NULL,
     "keep only these classes: names or numbers, at commas"},
    {"names", 0, TEXT, "FILE", AT(names_file), OSP_VERB_DETECT, 0, 0, NULL,
     "class names, one a line (default: the model's)"},
    {"agnostic", 0, FLAG, NULL, AT(agnostic), OSP_VERB_DETECT, 0, 0, NULL,
     "suppress overlaps across classes"},
    {"max-det", 0, INT, "N", AT(max_detections), OSP_VERB_DETECT, 1, 100000, NULL,
     "most boxes of an image (default: 300)"},

    {"sessions", 0, INT, "N", AT(sessions), OSP_VERB_BENCH, 1, 256, NULL,
     "run this many at once (default: 1)"},
    {"seconds", 's', REAL, "S", AT(seconds), OSP_VERB_BENCH, 0.01, 86400, NULL,
     "time of each measurement, after warm-up (default: 5)"},
    {"images", 0, TEXT, "DIR", AT(images), OSP_VERB_BENCH, 0, 0, NULL,
     "measure from pixels to boxes, too, on the images of this folder"},
    {"profile", 0, FLAG, NULL, AT(profile), OSP_VERB_BENCH, 0, 0, NULL, "time every step"},

    // Build options: from "backend" to the end.
    {"backend", 'b', CHOICE, "auto|reference|cpu|cuda|tensorrt", AT(backend), BUILDS, 0, 0,
     "OSPREY_BACKEND", "what runs the model (default: auto)"},
    {"device", 'd', INT, "N", AT(device), BUILDS, 0, 1023, "OSPREY_DEVICE", "CUDA device (default: 0)"},
    {"batch", 0, COUNTS, "LIST", AT(batches), BUILDS, 1, 65536, NULL,
     "batch sizes to build for, where the model leaves them free (default: 1; 1,2,4 on a GPU)"},
    {"size", 0, SIZE, "HxW", AT(height), BUILDS, 1, 65536, NULL,
     "image size, where the model leaves it free (default: 1280x1280)"},
    {"precision", 0, CHOICE, "auto|fp32|fp16|bf16", AT(precision), BUILDS, 0, 0, "OSPREY_PRECISION",
     "of the arithmetic (default: fp32 on the CPU, fp16 on GPUs)"},
    {"cache", 0, TEXT, "FILE", AT(timing_cache), BUILDS, 0, 0, "OSPREY_CACHE",
     "timing cache of the tuner"},
    {"workspace", 0, BYTES, "BYTES", AT(workspace), BUILDS, 0, 0, NULL,
     "scratch memory limit, with k, M or G (default: 90 % of the device, or what is free)"},
    {"builder-level", 0, INT, "N", AT(builder_level), BUILDS, 1, 5, NULL, "effort of TensorRT's builder"},
    {"keep-fp32", 0, WORDS, "NODES", AT(keep_fp32), BUILDS, 0, 0, NULL,
     "names of nodes to leave in fp32, at commas"},
    {"tolerance", 0, REAL, "X", AT(tolerance), BUILDS, 0, 1e9, NULL,
     "largest difference from fp32, relative to the output's range: refuse, or fail, above it"},
    {"head", 0, CHOICE, "auto|none|end2end|yolo8|yolo5|detr|detr-pair", AT(head), BUILDS, 0, 0, NULL,
     "how outputs become boxes (default: by metadata and shape)"},
    {"resize", 0, CHOICE, "auto|letterbox|stretch", AT(resize), BUILDS, 0, 0, NULL,
     "how images get the input's size (default: by head)"},
    {"image-input", 0, CHOICE, "model|auto|uint8", AT(image_input), BUILDS, 0, 0, NULL,
     "model: its own floats; uint8: pixels, NxHxWx3 RGB; auto: those where they win, on cuda in fp16 "
     "(default: auto to detect, else model)"},
    {"fixed-input", 0, PAIRS, "NAME=FILE", AT(fixed_inputs), BUILDS, 0, 0, NULL,
     "value of an input that determines shapes; may be repeated"},
    {"trust", 0, FLAG, NULL, AT(trust), BUILDS | OSP_VERB_INSPECT, 0, 0, NULL,
     "open a TensorRT plan from elsewhere: TensorRT treats plans as code"},
    {"cache-dir", 0, TEXT, "DIR", AT(cache_dir), COMPUTE, 0, 0, "OSPREY_CACHE_DIR",
     "where built engines are kept (default: ~/.cache/osprey)"},
    {"no-cache", 0, FLAG, NULL, AT(no_cache), COMPUTE, 0, 0, NULL, "build anew, keep nothing"},
};
// clang-format on
enum { ROWS = sizeof rows / sizeof *rows };

// Options that a plan cannot follow any more, because it is built.
static bool only_for_builds(const option_row *row)
{
    static const char *const names[] = {"batch",         "size",       "precision",   "workspace",
                                        "builder-level", "keep-fp32",  "fixed-input", "backend",
                                        "cache",         "image-input"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(row->name, names[i]) == 0)
            return true;
    return false;
}

static bool parse_int(const char *text, double low, double high, int32_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || (double)v < low || (double)v > high)
        return false;
    *out = (int32_t)v;
    return true;
}

static bool parse_real(const char *text, double low, double high, double *out)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= low && v <= high))
        return false;
    *out = v;
    return true;
}

static bool parse_bytes(const char *text, uint64_t *out)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || !(v > 0))
        return false;
    static const char units[] = "kMGT";
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (*end && (!unit || end[1]))
        return false;
    for (const char *u = units; unit && u <= unit; u++)
        v *= 1024;
    if (v >= 0x1p63)
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool parse_choice(const option_row *row, const char *text, int32_t *out)
{
    size_t length = strlen(text);
    int32_t index = (int32_t)row->low;
    for (const char *p = row->argument; p; index++) {
        const char *bar = strchr(p, '|');
        size_t n = bar ? (size_t)(bar - p) : strlen(p);
        if (n == length && strncmp(p, text, n) == 0) {
            *out = index;
            return true;
        }
        p = bar ? bar + 1 : NULL;
    }
    return false;
}

static bool parse_size(const option_row *row, const char *text, int32_t hw[2])
{
    char first[16];
    const char *cross = strpbrk(text, "xX");
    size_t n = cross ? (size_t)(cross - text) : strlen(text);
    if (n >= sizeof first)
        return false;
    memcpy(first, text, n);
    first[n] = 0;
    return parse_int(first, row->low, row->high, &hw[0]) &&
           parse_int(cross ? cross + 1 : first, row->low, row->high, &hw[1]);
}

// Cuts at commas into `list`; false for an empty word.
static bool parse_words(const char *text, osp_cli_list *list)
{
    char *copy = osp_cli_text("%s", text), *rest = copy;
    bool fine = true;
    for (char *word; (word = strsep(&rest, ","));) {
        fine = fine && *word;
        osp_cli_list_add(list, word);
    }
    free(copy);
    return fine;
}

static bool parse_counts(const option_row *row, const char *text, int32_t out[8])
{
    osp_cli_list words = {0};
    bool fine = parse_words(text, &words) && words.count <= 8;
    memset(out, 0, 8 * sizeof *out);
    for (int32_t i = 0; fine && i < words.count; i++)
        fine = parse_int(words.items[i], row->low, row->high, &out[i]);
    osp_cli_list_free(&words);
    return fine;
}

static bool parse_value(osp_cli_settings *set, const option_row *row, const char *text)
{
    void *field = (char *)set + row->offset;
    const char *equals = text ? strchr(text, '=') : NULL;
    switch (row->kind) {
    case FLAG:
        *(bool *)field = true;
        return true;
    case TEXT:
        *(const char **)field = text;
        return *text != 0;
    case INT:
        return parse_int(text, row->low, row->high, field);
    case REAL:
        return parse_real(text, row->low, row->high, field);
    case BYTES:
        return parse_bytes(text, field);
    case CHOICE:
        return parse_choice(row, text, field);
    case SIZE:
        return parse_size(row, text, field);
    case COUNTS:
        return parse_counts(row, text, field);
    case WORDS:
        return parse_words(text, field);
    case PAIRS:
        osp_cli_list_add(field, text);
        return equals && equals > text && equals[1];
    }
    return false;
}

static const char *expected(const option_row *row, char text[160])
{
    switch (row->kind) {
    case CHOICE:
        return row->argument;
    case INT:
        snprintf(text, 160, "a whole number from %.0f to %.0f", row->low, row->high);
        return text;
    case REAL:
        snprintf(text, 160, "a number from %g to %g", row->low, row->high);
        return text;
    case BYTES:
        return "a size such as 512M or 2G";
    case SIZE:
        return "HEIGHTxWIDTH, such as 640x640";
    case COUNTS:
        return "up to 8 batch sizes at commas, such as 1,4";
    case PAIRS:
        return "NAME=FILE";
    default:
        return row->argument;
    }
}

void osp_cli_settings_free(osp_cli_settings *set)
{
    osp_cli_list_free(&set->keep_fp32);
    osp_cli_list_free(&set->fixed_inputs);
    osp_cli_list_free(&set->inputs);
    osp_cli_list_free(&set->classes);
}

static int read_environment(osp_cli_settings *set, unsigned verb)
{
    for (size_t i = 0; i < ROWS; i++) {
        const char *text = rows[i].variable ? getenv(rows[i].variable) : NULL;
        char range[160];
        if (text && *text && rows[i].verbs & verb && !parse_value(set, &rows[i], text))
            return osp_cli_usage("%s is '%s': expected %s", rows[i].variable, text,
                                 expected(&rows[i], range));
    }
    return OSP_CLI_DONE;
}

static int read_operands(osp_cli_settings *set, const osp_cli_verb *verb, int count, char **words)
{
    if (count < verb->min_operands)
        return osp_cli_usage("%s: missing operand: usage: osprey %s %s", verb->name, verb->name,
                             verb->operands);
    if (verb->max_operands >= 0 && count > verb->max_operands)
        return osp_cli_usage("%s: unexpected operand '%s': see osprey %s --help", verb->name,
                             words[verb->max_operands], verb->name);
    set->file = count ? words[0] : NULL;
    set->sources = count > 1 ? (const char *const *)words + 1 : NULL;
    set->source_count = count > 1 ? count - 1 : 0;
    return OSP_CLI_DONE;
}

// What getopt_long did not take: `word`, or in a cluster such as -qz the letter it left in optopt.
static int tell_bad_option(const osp_cli_verb *verb, int c, const char *word)
{
    char letter[3] = {'-', (char)optopt, 0};
    const char *option = optopt > 0 && optopt < 256 ? letter : word;
    return osp_cli_usage(c == ':' ? "%s: option '%s' needs a value: see osprey %s --help"
                                  : "%s: unknown option '%s': see osprey %s --help",
                         verb->name, option, verb->name);
}

int osp_cli_options_parse(osp_cli_settings *set, const osp_cli_verb *verb, int argc, char **argv)
{
    *set = (osp_cli_settings){
        .conf = NAN,
        .iou = NAN,
        .tolerance = NAN,
        .sessions = 1,
        .seconds = 5,
        .image_input = verb->bit == OSP_VERB_DETECT ? OSP_PIXELS_AUTO : OSP_PIXELS_MODEL,
    };
    struct option longs[ROWS + 1] = {0};
    char shorts[2 * ROWS + 2] = ":";
    size_t at = 0, s = 1;
    for (size_t i = 0; i < ROWS; i++) {
        if (!(rows[i].verbs & verb->bit))
            continue;
        int argument = rows[i].kind == FLAG ? no_argument : required_argument;
        longs[at++] = (struct option){rows[i].name, argument, NULL, 256 + (int)i};
        if (rows[i].letter) {
            shorts[s++] = rows[i].letter;
            if (argument == required_argument)
                shorts[s++] = ':';
        }
    }
    int status = read_environment(set, verb->bit);
    opterr = 0;
    optind = 1;
    for (int c;
         status == OSP_CLI_DONE && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == '?' || c == ':') {
            status = tell_bad_option(verb, c, argv[optind - 1]);
            break;
        }
        size_t i = c >= 256 ? (size_t)c - 256 : 0;
        for (; c < 256 && (rows[i].letter != c || !(rows[i].verbs & verb->bit)); i++) {
        }
        char range[160];
        if (!parse_value(set, &rows[i], optarg))
            status = osp_cli_usage("%s: --%s '%s': expected %s", verb->name, rows[i].name, optarg,
                                   expected(&rows[i], range));
        if (only_for_builds(&rows[i]))
            set->build_option = rows[i].name;
    }
    if (status != OSP_CLI_DONE || set->help)
        return status;
    return read_operands(set, verb, argc - optind, argv + optind);
}

void osp_cli_options_help(FILE *to, const osp_cli_verb *verb)
{
    fprintf(to, "usage: osprey %s %s%s[OPTION]...\n%s\n\n", verb->name, verb->operands,
            *verb->operands ? " " : "", verb->summary);
    for (size_t i = 0; i < ROWS; i++) {
        const option_row *row = &rows[i];
        if (!(row->verbs & verb->bit))
            continue;
        if (strcmp(row->name, "backend") == 0)
            fputs("\nWhere FILE is an ONNX model, it is built for the device at hand:\n", to);
        char left[96], letter[8] = "    ";
        if (row->letter)
            snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, row->name, row->argument ? " " : "",
                 row->argument ? row->argument : "");
        if (strlen(left) > 26)
            fprintf(to, "  %s\n  %-26s", left, "");
        else
            fprintf(to, "  %-26s", left);
        fprintf(to, "  %s", row->help);
        if (row->variable)
            fprintf(to, " [%s]", row->variable);
        fputc('\n', to);
    }
}
