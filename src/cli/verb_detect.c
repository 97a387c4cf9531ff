// osprey detect: images in; tables, files of detections and pictures with boxes out. An image that
// cannot be read costs one line on stderr and the exit status, not the others' results.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "detect_results.h"

typedef struct job {
    osp_cli *cli;
    osp_engine *engine;
    osp_detector *detector;
    osp_cli_list images, names, taken;
    osp_cli_results print;  // to stdout; format NONE: the table
    osp_cli_results file;   // into the -o folder; format NONE: none
    char *file_path, *labels_path;
    int32_t batch, max_detections;
    osp_detection *boxes;  // batch x max_detections
    osp_run_stats total;
    int32_t read_count;
    size_t box_count;
    size_t *per_class;  // name_count
} job;

// ---- Class names and the class filter -----------------------------------------------------------

static int load_names(job *j)
{
    if (j->cli->set.names_file)
        return osp_cli_read_lines(j->cli->set.names_file, &j->names);
    osp_engine_info info;
    osp_engine_get_info(j->engine, &info);
    for (int32_t i = 0; i < info.classes; i++) {
        const char *name = osp_engine_class_name(j->engine, i);
        char *number = osp_cli_text("class %d", i);
        osp_cli_list_add(&j->names, name ? name : number);
        free(number);
    }
    return OSP_CLI_DONE;
}

static int find_class(const job *j, const char *word, int32_t *out)
{
    for (int32_t i = 0; i < j->names.count; i++) {
        if (strcasecmp(j->names.items[i], word) == 0) {
            *out = i;
            return OSP_CLI_DONE;
        }
    }
    char *end;
    long n = strtol(word, &end, 10);
    if (isdigit((unsigned char)*word) && !*end && n < 1000000 &&
        (!j->names.count || n < j->names.count)) {
        *out = (int32_t)n;
        return OSP_CLI_DONE;
    }
    char known[200] = "";
    for (int32_t i = 0; i < j->names.count && strlen(known) + 40 < sizeof known; i++) {
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%.30s", i ? ", " : "", j->names.items[i]);
    }
    return osp_cli_usage("detect: --classes: no class '%s': %s%s", word,
                         *known ? "there are " : "give numbers, or --names FILE", known);
}

// ---- Opening ------------------------------------------------------------------------------------

static int open_detector(job *j)
{
    const osp_cli_settings *set = &j->cli->set;
    int32_t *classes = osp_cli_alloc((size_t)set->classes.count, sizeof *classes);
    int status = OSP_CLI_DONE;
    for (int32_t i = 0; !status && i < set->classes.count; i++)
        status = find_class(j, set->classes.items[i], &classes[i]);
    const osp_detector_options options = {
        .score_threshold = osp_cli_threshold(set->conf),
        .iou_threshold = osp_cli_threshold(set->iou),
        .max_detections = j->max_detections,
        .head = (osp_head)set->head,
        .resize = (osp_resize)set->resize,
        .class_agnostic = set->agnostic ? OSP_ON : OSP_AUTO,
        .classes = classes,
        .class_count = set->classes.count,
    };
    osp_error err;
    if (!status && osp_detector_open(&j->detector, j->engine, &options, &err))
        status = osp_cli_fail(set->file, &err);
    free(classes);
    return status;
}

static int open_results_file(job *j)
{
    static const char *const files[] = {[OSP_CLI_FORMAT_JSON] = "detections.json",
                                        [OSP_CLI_FORMAT_CSV] = "detections.csv",
                                        [OSP_CLI_FORMAT_COCO] = "coco.json"};
    const osp_cli_settings *set = &j->cli->set;
    int status = osp_cli_make_dirs(set->output);
    if (status)
        return status;
    j->file.format = set->format ? (osp_cli_format)set->format : OSP_CLI_FORMAT_JSON;
    if (j->file.format == OSP_CLI_FORMAT_TXT) {
        j->labels_path = osp_cli_text("%s/labels", set->output);
        j->file.labels = j->labels_path;
        return osp_cli_make_dirs(j->labels_path);
    }
    j->file_path = osp_cli_text("%s/%s", set->output, files[j->file.format]);
    j->file.to = fopen(j->file_path, "w");
    if (j->file.to)
        return OSP_CLI_DONE;
    osp_cli_say("%s: %s: name a folder that can be written with -o", j->file_path, strerror(errno));
    return OSP_CLI_FAILED;
}

static int open_job(job *j)
{
    const osp_cli_settings *set = &j->cli->set;
    osp_engine_options options;
    int status = osp_cli_engine_options(j->cli, &options);
    if (!status)
        status = osp_cli_engine_open(j->cli, set->file, &options, &j->engine);
    if (!status)
        status = load_names(j);
    j->max_detections = set->max_detections ? set->max_detections : 300;
    if (!status)
        status = open_detector(j);
    if (!status && set->output)
        status = open_results_file(j);
    if (status)
        return status;
    osp_engine_info info;
    osp_engine_get_info(j->engine, &info);
    j->batch = info.batch_max > 0 ? info.batch_max : 1;
    j->boxes = osp_cli_alloc((size_t)j->batch * (size_t)j->max_detections, sizeof *j->boxes);
    j->per_class = osp_cli_alloc((size_t)j->names.count, sizeof *j->per_class);
    j->print.to = stdout;
    j->print.format = set->json     ? OSP_CLI_FORMAT_JSON
                      : set->output ? OSP_CLI_FORMAT_NONE
                                    : (osp_cli_format)set->format;
    j->print.names = j->file.names = (const char *const *)j->names.items;
    j->print.name_count = j->file.name_count = j->names.count;
    osp_cli_results_begin(&j->print, set->file);
    osp_cli_results_begin(&j->file, set->file);
    return OSP_CLI_DONE;
}

// ---- One batch ----------------------------------------------------------------------------------

// Pictures keep their names; formats that cannot be written become .jpg.
static int write_picture(job *j, osp_image *image, const osp_cli_found *found)
{
    const char *base = osp_cli_base_name(found->source), *dot = strrchr(base, '.');
    char *stem = osp_cli_stem(base);
    bool keep = dot &&
                (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
    char *wanted = osp_cli_text("%s%s", stem, keep ? dot : ".jpg");
    char *name = osp_cli_unique(&j->taken, wanted);
    char *path = osp_cli_text("%s/%s", j->cli->set.output, name);
    osp_error err;
    int status = OSP_CLI_DONE;
    if (osp_image_draw(image, found->boxes, found->count, j->print.names, j->print.name_count,
                       &err) ||
        osp_image_write(j->cli->runtime, path, image, &err))
        status = osp_cli_fail_output(path, &err);
    free(path);
    free(name);
    free(wanted);
    free(stem);
    return status;
}

static int report_image(job *j, osp_image *image, const osp_cli_found *found)
{
    int status = osp_cli_results_add(&j->print, found);
    if (!status)
        status = osp_cli_results_add(&j->file, found);
    if (status || found->error)
        return status;
    if (j->print.format == OSP_CLI_FORMAT_NONE)
        osp_cli_results_print(&j->print, found);
    j->box_count += found->count;
    for (size_t i = 0; i < found->count; i++)
        if (found->boxes[i].class_id >= 0 && found->boxes[i].class_id < j->names.count)
            j->per_class[found->boxes[i].class_id]++;
    if (j->cli->set.output && !j->cli->set.no_draw)
        status = write_picture(j, image, found);
    return status;
}

// Runs images [first, first + n); `failed` is set where one could not be read.
static int run_batch(job *j, int32_t first, int32_t n, int *failed)
{
    osp_image *images = osp_cli_alloc((size_t)n, sizeof *images);
    osp_cli_found *found = osp_cli_alloc((size_t)n, sizeof *found);
    osp_error *errors = osp_cli_alloc((size_t)n, sizeof *errors);
    osp_error err;
    int32_t good = 0;
    for (int32_t i = 0; i < n; i++) {
        found[i].source = j->images.items[first + i];
        if (osp_image_read(j->cli->runtime, found[i].source, &images[good], &errors[i])) {
            *failed = osp_cli_fail(found[i].source, &errors[i]);
            found[i].error = errors[i].text;
            continue;
        }
        found[i].width = images[good].width;
        found[i].height = images[good].height;
        good++;
    }
    size_t count = 0;
    int status = OSP_CLI_DONE;
    if (good && osp_detector_run(j->detector, images, good, j->boxes,
                                 (size_t)good * (size_t)j->max_detections, &count, &err))
        status = osp_cli_fail(j->cli->set.file, &err);
    if (!status && good) {
        osp_run_stats stats;
        osp_detector_stats(j->detector, &stats);
        j->total.pre_us += stats.pre_us;
        j->total.infer_us += stats.infer_us + stats.copy_us;
        j->total.post_us += stats.post_us;
        j->read_count += good;
    }
    size_t at = 0;
    for (int32_t i = 0, g = 0; !status && i < n; i++) {
        found[i].boxes = j->boxes + at;
        while (!found[i].error && at < count && j->boxes[at].image == g) {
            at++;
            found[i].count++;
        }
        status = report_image(j, found[i].error ? NULL : &images[g], &found[i]);
        g += !found[i].error;
    }
    for (int32_t i = 0; i < good; i++)
        osp_image_free(&images[i]);
    free(errors);
    free(found);
    free(images);
    return status;
}

// ---- The end ------------------------------------------------------------------------------------

static void print_summary(const job *j)
{
    const double n = j->read_count ? j->read_count : 1;
    printf("%d image%s, %zu object%s", j->read_count, j->read_count == 1 ? "" : "s", j->box_count,
           j->box_count == 1 ? "" : "s");
    const char *between = " (";
    for (int32_t i = 0; i < j->names.count; i++) {
        if (!j->per_class[i])
            continue;
        fputs(between, stdout);
        osp_cli_print_clean(stdout, j->names.items[i]);
        printf(" %zu", j->per_class[i]);
        between = ", ";
    }
    printf("%s; an image takes %.1f ms to prepare, %.1f to infer, %.1f to finish\n",
           *between == ',' ? ")" : "", j->total.pre_us / 1000 / n, j->total.infer_us / 1000 / n,
           j->total.post_us / 1000 / n);
    if (j->cli->set.output && !j->cli->set.no_draw && j->read_count)
        printf("pictures: %s/\n", j->cli->set.output);
    if (j->labels_path || j->file_path)
        printf("detections: %s\n", j->labels_path ? j->labels_path : j->file_path);
}

static int close_results_file(job *j, bool begun)
{
    if (begun)
        osp_cli_results_end(&j->file);
    if (!j->file.to)
        return OSP_CLI_DONE;
    bool bad = ferror(j->file.to);
    bad = fclose(j->file.to) != 0 || bad;
    if (bad)
        osp_cli_say("%s: cannot be written: %s", j->file_path, strerror(errno));
    return bad ? OSP_CLI_FAILED : OSP_CLI_DONE;
}

int osp_cli_detect(osp_cli *cli)
{
    job j = {.cli = cli};
    int bad = osp_cli_images(cli->set.sources, cli->set.source_count, &j.images);
    int status = j.images.count ? open_job(&j) : bad;
    bool begun = j.boxes != NULL;
    osp_progress progress = osp_cli_progress(cli);
    if (j.print.format == OSP_CLI_FORMAT_NONE)
        progress.step = NULL;  // the tables show how far it is
    for (int32_t i = 0; !status && i < j.images.count; i += j.batch) {
        if (progress.step)
            progress.step(NULL, "images", i, j.images.count);
        int32_t rest = j.images.count - i;
        status = run_batch(&j, i, rest < j.batch ? rest : j.batch, &bad);
    }
    if (progress.step)
        osp_cli_progress_clear();
    if (begun)
        osp_cli_results_end(&j.print);
    int closed = close_results_file(&j, begun);
    status = status ? status : closed;
    if (!status && j.print.format == OSP_CLI_FORMAT_NONE)
        print_summary(&j);
    osp_detector_close(&j.detector);
    osp_engine_close(&j.engine);
    osp_cli_list_free(&j.images);
    osp_cli_list_free(&j.names);
    osp_cli_list_free(&j.taken);
    free(j.file_path);
    free(j.labels_path);
    free(j.boxes);
    free(j.per_class);
    return status ? status : bad;
}
