// The command-line program: what its verbs share. It uses the public header only.
// Thread rule: one thread, but for the sessions of `bench`.
#ifndef OSP_CLI_CLI_H
#define OSP_CLI_CLI_H

#include <stdio.h>

#include "osprey/osprey.h"

enum {
    OSP_CLI_DONE = 0,
    OSP_CLI_FAILED = 1,  // while running
    OSP_CLI_USAGE = 2,
    OSP_CLI_INPUT = 3,        // a bad or missing input file
    OSP_CLI_UNSUPPORTED = 4,  // an operator, format or feature
    OSP_CLI_DEVICE = 5
};

typedef struct osp_cli_list {
    char **items;  // copies of its own
    int32_t count;
    size_t capacity;
} osp_cli_list;

typedef enum osp_cli_format {
    OSP_CLI_FORMAT_NONE = 0,
    OSP_CLI_FORMAT_JSON,
    OSP_CLI_FORMAT_CSV,
    OSP_CLI_FORMAT_COCO,
    OSP_CLI_FORMAT_TXT
} osp_cli_format;

// What all options of all verbs come to; cli_options.c says which verb knows which.
typedef struct osp_cli_settings {
    bool help, json, quiet, verbose;
    int32_t log, threads;
    const char *cache_dir, *library_dir;
    bool no_cache;
    // build
    int32_t backend, device, precision, height, width, builder_level, head, resize, image_input;
    int32_t batches[8];
    double tolerance;
    uint64_t workspace;
    const char *timing_cache;
    osp_cli_list keep_fp32, fixed_inputs;
    bool trust;
    // run, compare
    osp_cli_list inputs;
    int32_t seed;
    const char *output, *output_dir, *name, *against;
    // detect
    double conf, iou;
    int32_t max_detections, format;
    osp_cli_list classes;
    const char *names_file;
    bool no_draw, agnostic;
    // bench
    int32_t sessions;
    double seconds;
    const char *images;
    bool profile;
    // What the user wrote on the line that only a model being built can follow: "--batch"; or NULL.
    const char *build_option;
    // operands
    const char *file;
    const char *const *sources;
    int32_t source_count;
} osp_cli_settings;

// Named tensors, read from files or made here.
typedef struct osp_cli_tensors {
    osp_tensor *items;
    osp_tensor *read;  // as the library gave each; dtype 0: made here, by osp_host_alloc
    int32_t count;
    size_t capacity;
    osp_runtime *runtime;
} osp_cli_tensors;

typedef struct osp_cli {
    osp_cli_settings set;
    osp_runtime *runtime;
    osp_cli_tensors fixed;  // of --fixed-input, and inputs that determine shapes
    osp_cli_list said;      // log lines
} osp_cli;

// ---- Verbs: each returns an exit status ---------------------------------------------------------

int osp_cli_devices(osp_cli *cli);
int osp_cli_inspect(osp_cli *cli);
int osp_cli_build(osp_cli *cli);
int osp_cli_run(osp_cli *cli);
int osp_cli_detect(osp_cli *cli);
int osp_cli_compare(osp_cli *cli);
int osp_cli_bench(osp_cli *cli);

// ---- Options (cli_options.c) --------------------------------------------------------------------

enum {
    OSP_VERB_DEVICES = 1,
    OSP_VERB_INSPECT = 2,
    OSP_VERB_BUILD = 4,
    OSP_VERB_RUN = 8,
    OSP_VERB_DETECT = 16,
    OSP_VERB_COMPARE = 32,
    OSP_VERB_BENCH = 64
};

typedef struct osp_cli_verb {
    const char *name, *operands, *summary;
    unsigned bit;
    int32_t min_operands, max_operands;  // max -1: any number
    int (*run)(osp_cli *cli);
} osp_cli_verb;

// Reads OSPREY_* and the words after the verb. A mistake is told in one line: OSP_CLI_USAGE.
int osp_cli_options_parse(osp_cli_settings *set, const osp_cli_verb *verb, int argc, char **argv);
void osp_cli_options_help(FILE *to, const osp_cli_verb *verb);
void osp_cli_settings_free(osp_cli_settings *set);

// ---- Messages (cli_messages.c) ------------------------------------------------------------------

// "osprey: TEXT" on stderr.
void osp_cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The same; returns OSP_CLI_USAGE.
int osp_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
// "osprey: FILE: text of err" (FILE once, NULL for none); returns the exit status for its code.
int osp_cli_fail(const char *file, const osp_error *err);
// The same for a file that was to be written: never OSP_CLI_INPUT.
int osp_cli_fail_output(const char *file, const osp_error *err);
int osp_cli_exit_status(osp_status status);

// A bar on stderr for a long phase, on a terminal only; `quiet` turns it off.
osp_progress osp_cli_progress(const osp_cli *cli);
void osp_cli_progress_clear(void);
bool osp_cli_progress_step(void *user, const char *phase, int32_t done, int32_t total);

void *osp_cli_alloc(size_t count, size_t size);  // cleared; never NULL: ends the program
void *osp_cli_grow(void *array, size_t *capacity, size_t need, size_t size);  // never NULL
char *osp_cli_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

const char *osp_cli_backend_name(osp_backend backend);
const char *osp_cli_precision_name(osp_precision precision);
const char *osp_cli_head_name(osp_head head);
const char *osp_cli_resize_name(osp_resize resize);
// "12.3 MB" into text; returns text.
const char *osp_cli_bytes_text(uint64_t bytes, char text[32]);
// "float32 Nx3x640x640" into text; returns text.
const char *osp_cli_shape_text(const osp_tensor_info *info, char *text, size_t size);

// ---- Table (cli_table.c): columns as wide as their widest cell ----------------------------------

typedef struct osp_cli_table {
    int32_t columns;
    const char *align;  // one letter a column: l or r; a last l column is not padded
    char **cells;
    size_t count, capacity;
} osp_cli_table;

void osp_cli_table_init(osp_cli_table *table, const char *align);
void osp_cli_table_add(osp_cli_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void osp_cli_table_print(osp_cli_table *table, const char *indent);  // and empties it
void osp_cli_table_free(osp_cli_table *table);
// Text of a file's making, without control characters.
void osp_cli_print_clean(FILE *to, const char *text);

// ---- JSON (cli_json.c) --------------------------------------------------------------------------

typedef struct osp_cli_json {
    FILE *to;
    int32_t depth;
    bool first;
} osp_cli_json;

// Writes to `to`, ended by osp_cli_json_end, which adds the last newline.
void osp_cli_json_init(osp_cli_json *json, FILE *to);
void osp_cli_json_end(osp_cli_json *json);
// `key` NULL inside arrays and at the top.
void osp_cli_json_open(osp_cli_json *json, const char *key, char bracket);         // '{' or '['
void osp_cli_json_close(osp_cli_json *json, char bracket);                         // '}' or ']'
void osp_cli_json_string(osp_cli_json *json, const char *key, const char *value);  // NULL: null
void osp_cli_json_int(osp_cli_json *json, const char *key, int64_t value);
void osp_cli_json_uint(osp_cli_json *json, const char *key, uint64_t value);
void osp_cli_json_real(osp_cli_json *json, const char *key, double value, int32_t digits);
void osp_cli_json_bool(osp_cli_json *json, const char *key, bool value);

// ---- Engines (cli_engine.c) ---------------------------------------------------------------------

typedef enum osp_cli_kind { OSP_CLI_ONNX = 0, OSP_CLI_PLAN, OSP_CLI_TENSORRT } osp_cli_kind;

// What a file is, by its first bytes; OSP_CLI_INPUT (told) when it cannot be read.
int osp_cli_sniff(const char *file, osp_cli_kind *kind);
// Makes cli->runtime.
int osp_cli_runtime_open(osp_cli *cli);
void osp_cli_close(osp_cli *cli);
// The build options of the line. Reads the tensors of --fixed-input.
int osp_cli_engine_options(osp_cli *cli, osp_engine_options *options);
// Opens a plan, or builds a model or takes it from the engine cache.
int osp_cli_engine_open(osp_cli *cli, const char *file, const osp_engine_options *options,
                        osp_engine **out);
// The device an engine is for.
osp_status osp_cli_engine_device(const osp_cli *cli, const osp_engine_info *info,
                                 osp_device_info *out, osp_error *err);
// A threshold of the line (NaN: not given) as the library's options have it: 0 means "default"
// there, and negative means 0.
float osp_cli_threshold(double value);
// The members of an open JSON object, or lines of text, that describe an engine.
void osp_cli_engine_json(osp_cli_json *json, const osp_engine *engine);
void osp_cli_engine_print(const osp_engine *engine);
void osp_cli_tensor_json(osp_cli_json *json, const char *key, const osp_tensor_info *info);

// ---- Tensors (cli_tensors.c) --------------------------------------------------------------------

// Reads "NAME=FILE" and appends the tensor, named so.
int osp_cli_tensor_read(osp_cli *cli, const char *pair, osp_cli_tensors *to);
// Looks through --input for inputs of an ONNX file that determine shapes, and moves them to
// --fixed-input.
int osp_cli_fix_inputs(osp_cli *cli, const char *file);
// One tensor for each input of the engine: from --input, else a pattern of n rows.
int osp_cli_inputs(osp_cli *cli, const osp_engine *engine, int32_t n, osp_cli_tensors *out);
void osp_cli_tensors_free(osp_cli_tensors *tensors);
// Element i of a dense tensor.
double osp_cli_element(const osp_tensor *tensor, size_t i);
size_t osp_cli_element_count(const osp_tensor *tensor);

// ---- Files (cli_files.c) ------------------------------------------------------------------------

// Folders and patterns become the images in them, sorted. OSP_CLI_INPUT (told) for a source
// without any; the others are kept.
int osp_cli_images(const char *const *sources, int32_t count, osp_cli_list *out);
int osp_cli_make_dirs(const char *path);  // OSP_CLI_FAILED (told)
const char *osp_cli_base_name(const char *path);
// base name without its ending; the caller frees it
char *osp_cli_stem(const char *path);
// The lines of a text file, blank ones left out.
int osp_cli_read_lines(const char *path, osp_cli_list *out);
// `name` if no earlier call for this list gave it, else name_2, name_3 before its ending.
char *osp_cli_unique(osp_cli_list *taken, const char *name);
// The engine cache: --cache-dir, XDG_CACHE_HOME/osprey or HOME/.cache/osprey; NULL: none.
char *osp_cli_cache_dir(const osp_cli_settings *set);
// Where TensorRT's libraries are: --library-dir, else the folder of its Python packages in the
// environment that is active, the user's own, or the system's; NULL: none. The caller frees it.
char *osp_cli_library_dir(const osp_cli_settings *set);

void osp_cli_list_add(osp_cli_list *list, const char *item);
void osp_cli_list_free(osp_cli_list *list);

#endif
