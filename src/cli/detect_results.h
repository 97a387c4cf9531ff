// Writing what `osprey detect` found: a table for people, and four formats for programs.
#ifndef OSP_CLI_DETECT_RESULTS_H
#define OSP_CLI_DETECT_RESULTS_H

#include "cli.h"

typedef struct osp_cli_found {
    const char *source;  // as named by the user
    int32_t width, height;
    const osp_detection *boxes;
    size_t count;
    const char *error;  // NULL, or why there is no result
} osp_cli_found;

typedef struct osp_cli_results {
    osp_cli_format format;
    FILE *to;            // NULL: nothing to write but, for TXT, the files in `labels`
    const char *labels;  // TXT: the folder for NAME.txt, or NULL: all to `to`
    const char *const *names;
    int32_t name_count;
    osp_cli_json json;
    osp_cli_list taken;  // names of files in `labels`
} osp_cli_results;

// Opening lines; one call for each image, in order; closing lines.
void osp_cli_results_begin(osp_cli_results *results, const char *model);
int osp_cli_results_add(osp_cli_results *results, const osp_cli_found *found);
void osp_cli_results_end(osp_cli_results *results);

// "car", or "class 3" where it has no name; `text` at least 32 bytes.
const char *osp_cli_class_text(const osp_cli_results *results, int32_t class_id, char *text);
// The table of one image.
void osp_cli_results_print(const osp_cli_results *results, const osp_cli_found *found);

#endif
