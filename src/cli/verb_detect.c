// osprey detect: images in; tables, files of detections and pictures with boxes out. An image that
// cannot be read costs one line on stderr and the exit status, not the others' results.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "detect_run.h"

typedef struct job {
    osp_cli_detection d;
    char *file_path, *labels_path;
} job;

// ---- Class names and the class filter -----------------------------------------------------------

static int load_names(job *j)
{
    if (j->d.cli->set.names_file)
        return osp_cli_read_lines(j->d.cli->set.names_file, &j->d.names);
    osp_engine_info info;
    osp_engine_get_info(j->d.engine, &info);
    for (int32_t i = 0; i < info.classes; i++) {
        const char *name = osp_engine_class_name(j->d.engine, i);
        char *number = osp_cli_text("class %d", i);
        osp_cli_list_add(&j->d.names, name ? name : number);
        free(number);
    }
    return OSP_CLI_DONE;
}

static int find_class(const job *j, const char *word, int32_t *out)
{
    for (int32_t i = 0; i < j->d.names.count; i++) {
        if (strcasecmp(j->d.names.items[i], word) == 0) {
            *out = i;
            return OSP_CLI_DONE;
        }
    }
    char *end;
    long n = strtol(word, &end, 10);
    if (isdigit((unsigned char)*word) && !*end && n < 1000000 &&
        (!j->d.names.count || n < j->d.names.count)) {
        *out = (int32_t)n;
        return OSP_CLI_DONE;
    }
    char known[200] = "";
    for (int32_t i = 0; i < j->d.names.count && strlen(known) + 40 < sizeof known; i++) {
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%.30s", i ? ", " : "", j->d.names.items[i]);
    }
    return osp_cli_usage("detect: --classes: no class '%s': %s%s", word,
                         *known ? "there are " : "give numbers, or --names FILE", known);
}

// ---- Opening ------------------------------------------------------------------------------------

static int open_detector(job *j)
{
    const osp_cli_settings *set = &j->d.cli->set;
    int32_t *classes = osp_cli_alloc((size_t)set->classes.count, sizeof *classes);
    int status = OSP_CLI_DONE;
    for (int32_t i = 0; !status && i < set->classes.count; i++)
        status = find_class(j, set->classes.items[i], &classes[i]);
    const osp_detector_options options = {
        .score_threshold = osp_cli_threshold(set->conf),
        .iou_threshold = osp_cli_threshold(set->iou),
        .max_detections = j->d.max_detections,
        .head = (osp_head)set->head,
        .resize = (osp_resize)set->resize,
        .class_agnostic = set->agnostic ? OSP_ON : OSP_AUTO,
        .classes = classes,
        .class_count = set->classes.count,
    };
    osp_error err;
    if (!status && osp_detector_open(&j->d.detector, j->d.engine, &options, &err))
        status = osp_cli_fail(set->file, &err);
    free(classes);
    return status;
}

static int open_results_file(job *j)
{
    static const char *const files[] = {[OSP_CLI_FORMAT_JSON] = "detections.json",
                                        [OSP_CLI_FORMAT_CSV] = "detections.csv",
                                        [OSP_CLI_FORMAT_COCO] = "coco.json"};
    const osp_cli_settings *set = &j->d.cli->set;
    int status = osp_cli_make_dirs(set->output);
    if (status)
        return status;
    j->d.file.format = set->format ? (osp_cli_format)set->format : OSP_CLI_FORMAT_JSON;
    if (j->d.file.format == OSP_CLI_FORMAT_TXT) {
        j->labels_path = osp_cli_text("%s/labels", set->output);
        j->d.file.labels = j->labels_path;
        return osp_cli_make_dirs(j->labels_path);
    }
    j->file_path = osp_cli_text("%s/%s", set->output, files[j->d.file.format]);
    j->d.file.to = fopen(j->file_path, "w");
    if (j->d.file.to)
        return OSP_CLI_DONE;
    osp_cli_say("%s: %s: name a folder that can be written with -o", j->file_path, strerror(errno));
    return OSP_CLI_FAILED;
}

static int open_job(job *j)
{
    const osp_cli_settings *set = &j->d.cli->set;
    osp_engine_options options;
    int status = osp_cli_engine_options(j->d.cli, &options);
    if (!status)
        status = osp_cli_engine_open(j->d.cli, set->file, &options, &j->d.engine);
    if (!status)
        status = load_names(j);
    j->d.max_detections = set->max_detections ? set->max_detections : 300;
    if (!status)
        status = open_detector(j);
    if (!status && set->output)
        status = open_results_file(j);
    if (status)
        return status;
    osp_engine_info info;
    osp_engine_get_info(j->d.engine, &info);
    j->d.batch = info.batch_max > 0 ? info.batch_max : 1;
    j->d.per_class = osp_cli_alloc((size_t)j->d.names.count, sizeof *j->d.per_class);
    j->d.print.to = stdout;
    j->d.print.format = set->json     ? OSP_CLI_FORMAT_JSON
                        : set->output ? OSP_CLI_FORMAT_NONE
                                      : (osp_cli_format)set->format;
    j->d.print.names = j->d.file.names = (const char *const *)j->d.names.items;
    j->d.print.name_count = j->d.file.name_count = j->d.names.count;
    osp_cli_results_begin(&j->d.print, set->file);
    osp_cli_results_begin(&j->d.file, set->file);
    return OSP_CLI_DONE;
}

// ---- The end ------------------------------------------------------------------------------------

static void print_summary(const job *j)
{
    const double n = j->d.read_count ? j->d.read_count : 1;
    printf("%d image%s, %zu object%s", j->d.read_count, j->d.read_count == 1 ? "" : "s",
           j->d.box_count, j->d.box_count == 1 ? "" : "s");
    const char *between = " (";
    for (int32_t i = 0; i < j->d.names.count; i++) {
        if (!j->d.per_class[i])
            continue;
        fputs(between, stdout);
        osp_cli_print_clean(stdout, j->d.names.items[i]);
        printf(" %zu", j->d.per_class[i]);
        between = ", ";
    }
    printf("%s; an image takes %.1f ms to prepare, %.1f to infer, %.1f to finish\n",
           *between == ',' ? ")" : "", j->d.total.pre_us / 1000 / n, j->d.total.infer_us / 1000 / n,
           j->d.total.post_us / 1000 / n);
    if (j->d.cli->set.output && !j->d.cli->set.no_draw && j->d.read_count)
        printf("pictures: %s/\n", j->d.cli->set.output);
    if (j->labels_path || j->file_path)
        printf("detections: %s\n", j->labels_path ? j->labels_path : j->file_path);
}

static int close_results_file(job *j, bool begun)
{
    if (begun)
        osp_cli_results_end(&j->d.file);
    if (!j->d.file.to)
        return OSP_CLI_DONE;
    bool bad = ferror(j->d.file.to);
    bad = fclose(j->d.file.to) != 0 || bad;
    if (bad)
        osp_cli_say("%s: cannot be written: %s", j->file_path, strerror(errno));
    return bad ? OSP_CLI_FAILED : OSP_CLI_DONE;
}

int osp_cli_detect(osp_cli *cli)
{
    job j = {.d = {.cli = cli}};
    int bad = osp_cli_images(cli->set.sources, cli->set.source_count, &j.d.images);
    int status = j.d.images.count ? open_job(&j) : bad;
    bool begun = j.d.batch != 0;
    if (!status)
        status = osp_cli_detection_run(&j.d, &bad);
    if (begun)
        osp_cli_results_end(&j.d.print);
    int closed = close_results_file(&j, begun);
    status = status ? status : closed;
    if (!status && j.d.print.format == OSP_CLI_FORMAT_NONE)
        print_summary(&j);
    osp_detector_close(&j.d.detector);
    osp_engine_close(&j.d.engine);
    osp_cli_list_free(&j.d.images);
    osp_cli_list_free(&j.d.names);
    osp_cli_list_free(&j.d.taken);
    free(j.file_path);
    free(j.labels_path);
    free(j.d.per_class);
    return status ? status : bad;
}
