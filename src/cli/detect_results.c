// The formats of detections. json: ours. csv: a row a box. coco: the results list of COCO's tools
// (image_id is the file's name without ending, as a number if it is one; category_id is the class
// number). txt: Ultralytics' labels, "class cx cy w h score" in parts of the image.
#include "detect_results.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *osp_cli_class_text(const osp_cli_results *results, int32_t class_id, char *text)
{
    if (class_id >= 0 && class_id < results->name_count && results->names[class_id])
        return results->names[class_id];
    snprintf(text, 32, "class %d", class_id);
    return text;
}

void osp_cli_results_begin(osp_cli_results *results, const char *model)
{
    osp_cli_json *json = &results->json;
    switch (results->format) {
    case OSP_CLI_FORMAT_JSON:
        osp_cli_json_init(json, results->to);
        osp_cli_json_open(json, NULL, '{');
        osp_cli_json_string(json, "model", model);
        osp_cli_json_open(json, "images", '[');
        break;
    case OSP_CLI_FORMAT_COCO:
        osp_cli_json_init(json, results->to);
        osp_cli_json_open(json, NULL, '[');
        break;
    case OSP_CLI_FORMAT_CSV:
        fputs("image,class_id,class,score,x1,y1,x2,y2\n", results->to);
        break;
    default:
        break;
    }
}

void osp_cli_results_end(osp_cli_results *results)
{
    if (results->format == OSP_CLI_FORMAT_JSON) {
        osp_cli_json_close(&results->json, ']');
        osp_cli_json_close(&results->json, '}');
        osp_cli_json_end(&results->json);
    } else if (results->format == OSP_CLI_FORMAT_COCO) {
        osp_cli_json_close(&results->json, ']');
        osp_cli_json_end(&results->json);
    }
    osp_cli_list_free(&results->taken);
}

static void add_json(osp_cli_results *results, const osp_cli_found *found)
{
    osp_cli_json *json = &results->json;
    osp_cli_json_open(json, NULL, '{');
    osp_cli_json_string(json, "image", found->source);
    if (found->error) {
        osp_cli_json_string(json, "error", found->error);
        osp_cli_json_close(json, '}');
        return;
    }
    osp_cli_json_int(json, "width", found->width);
    osp_cli_json_int(json, "height", found->height);
    osp_cli_json_open(json, "detections", '[');
    for (size_t i = 0; i < found->count; i++) {
        const osp_detection *box = &found->boxes[i];
        char text[32];
        osp_cli_json_open(json, NULL, '{');
        osp_cli_json_int(json, "class_id", box->class_id);
        osp_cli_json_string(json, "class", osp_cli_class_text(results, box->class_id, text));
        osp_cli_json_real(json, "score", box->score, 6);
        osp_cli_json_real(json, "x1", box->x1, 7);
        osp_cli_json_real(json, "y1", box->y1, 7);
        osp_cli_json_real(json, "x2", box->x2, 7);
        osp_cli_json_real(json, "y2", box->y2, 7);
        osp_cli_json_close(json, '}');
    }
    osp_cli_json_close(json, ']');
    osp_cli_json_close(json, '}');
}

static void add_coco(osp_cli_results *results, const osp_cli_found *found)
{
    osp_cli_json *json = &results->json;
    char *stem = osp_cli_stem(found->source);
    bool number = *stem && strspn(stem, "0123456789") == strlen(stem) && strlen(stem) < 18;
    for (size_t i = 0; i < found->count; i++) {
        const osp_detection *box = &found->boxes[i];
        osp_cli_json_open(json, NULL, '{');
        if (number)
            osp_cli_json_int(json, "image_id", strtoll(stem, NULL, 10));
        else
            osp_cli_json_string(json, "image_id", stem);
        osp_cli_json_string(json, "file_name", osp_cli_base_name(found->source));
        osp_cli_json_int(json, "category_id", box->class_id);
        osp_cli_json_open(json, "bbox", '[');
        osp_cli_json_real(json, NULL, box->x1, 7);
        osp_cli_json_real(json, NULL, box->y1, 7);
        osp_cli_json_real(json, NULL, box->x2 - box->x1, 7);
        osp_cli_json_real(json, NULL, box->y2 - box->y1, 7);
        osp_cli_json_close(json, ']');
        osp_cli_json_real(json, "score", box->score, 6);
        osp_cli_json_close(json, '}');
    }
    free(stem);
}

static void put_csv_text(FILE *to, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, to);
        return;
    }
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

static void add_csv(osp_cli_results *results, const osp_cli_found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        const osp_detection *box = &found->boxes[i];
        char text[32];
        put_csv_text(results->to, found->source);
        fprintf(results->to, ",%d,", box->class_id);
        put_csv_text(results->to, osp_cli_class_text(results, box->class_id, text));
        fprintf(results->to, ",%.5f,%.2f,%.2f,%.2f,%.2f\n", box->score, box->x1, box->y1, box->x2,
                box->y2);
    }
}

static int add_txt(osp_cli_results *results, const osp_cli_found *found)
{
    FILE *to = results->to;
    char *path = NULL;
    if (results->labels) {
        char *stem = osp_cli_stem(found->source);
        char *name = osp_cli_text("%s.txt", stem);
        char *unique = osp_cli_unique(&results->taken, name);
        path = osp_cli_text("%s/%s", results->labels, unique);
        to = fopen(path, "w");
        free(unique);
        free(name);
        free(stem);
    } else {
        fprintf(to, "# %s\n", found->source);
    }
    const double w = found->width, h = found->height;
    for (size_t i = 0; to && i < found->count; i++) {
        const osp_detection *box = &found->boxes[i];
        fprintf(to, "%d %.6f %.6f %.6f %.6f %.5f\n", box->class_id, (box->x1 + box->x2) / 2 / w,
                (box->y1 + box->y2) / 2 / h, (box->x2 - box->x1) / w, (box->y2 - box->y1) / h,
                box->score);
    }
    bool failed = !to;
    if (path && to)
        failed = fclose(to) != 0;
    if (failed)
        osp_cli_say("%s: %s: name a folder that can be written with -o", path, strerror(errno));
    free(path);
    return failed ? OSP_CLI_FAILED : OSP_CLI_DONE;
}

int osp_cli_results_add(osp_cli_results *results, const osp_cli_found *found)
{
    switch (results->format) {
    case OSP_CLI_FORMAT_JSON:
        add_json(results, found);
        break;
    case OSP_CLI_FORMAT_COCO:
        add_coco(results, found);
        break;
    case OSP_CLI_FORMAT_CSV:
        add_csv(results, found);
        break;
    case OSP_CLI_FORMAT_TXT:
        return found->error ? OSP_CLI_DONE : add_txt(results, found);
    case OSP_CLI_FORMAT_NONE:
        break;
    }
    return OSP_CLI_DONE;
}

void osp_cli_results_print(const osp_cli_results *results, const osp_cli_found *found)
{
    osp_cli_print_clean(stdout, found->source);
    printf("  %dx%d  %zu object%s\n", found->width, found->height, found->count,
           found->count == 1 ? "" : "s");
    osp_cli_table table;
    osp_cli_table_init(&table, "lrrrrr");
    if (found->count)
        osp_cli_table_add(&table, "class\tscore\tx1\ty1\tx2\ty2");
    for (size_t i = 0; i < found->count; i++) {
        const osp_detection *box = &found->boxes[i];
        char text[32];
        osp_cli_table_add(&table, "%s\t%.3f\t%.1f\t%.1f\t%.1f\t%.1f",
                          osp_cli_class_text(results, box->class_id, text), box->score, box->x1,
                          box->y1, box->x2, box->y2);
    }
    osp_cli_table_print(&table, "  ");
}
