// Which head kind a model has: explicit option, else metadata, else shapes. Thread rule: pure
// functions.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "vision/heads.h"

static const char *const kind_names[] = {"auto",  "none", "end2end",  "yolo8",
                                         "yolo5", "detr", "detr-pair"};

const char *osp_head_name(osp_head head)
{
    return (unsigned)head < sizeof kind_names / sizeof *kind_names ? kind_names[head] : NULL;
}

// A dimension of output i; -1 where it is free.
static int64_t dim(const osp_head_query *q, int32_t i, int axis)
{
    return q->outputs[i].dims[axis];
}

static bool is_rows(const osp_head_query *q, int32_t i)
{
    const osp_dtype t = q->outputs[i].dtype;
    return q->outputs[i].rank == 3 &&
           (t == OSP_DTYPE_FLOAT32 || t == OSP_DTYPE_FLOAT16 || t == OSP_DTYPE_BFLOAT16);
}

static bool plausible(int64_t classes, const osp_head_query *q)
{
    return classes >= 1 && classes <= OSP_HEAD_CLASSES_MAX &&
           (q->names == 0 || classes == q->names);
}

// Whether `rows` can be the anchors of the input: the cells of three levels from stride 8, or with
// the levels of stride 4 or 64 beside them, `each` times. Free counts can be.
static bool is_anchors(const osp_head_query *q, int64_t rows, int64_t each)
{
    static const int ranges[][2] = {{8, 32}, {4, 32}, {8, 64}, {4, 64}, {16, 32}};
    if (rows < 0)
        return true;
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        int64_t cells = 0;
        for (int64_t s = ranges[r][0]; s <= ranges[r][1]; s *= 2)
            cells += ((q->input_w + s - 1) / s) * ((q->input_h + s - 1) / s);
        if (rows == cells * each)
            return true;
    }
    return false;
}

// Fills `out` and returns true if output i (and a partner, for pairs) has the shape of `head`.
static bool fits(osp_head_info *out, const osp_head_query *q, osp_head head, int32_t i)
{
    if (!is_rows(q, i))
        return false;
    const int64_t d1 = dim(q, i, 1), d2 = dim(q, i, 2);
    int64_t rows = d1, classes = q->names;
    switch (head) {
    case OSP_HEAD_END2END:
    case OSP_HEAD_DETR:
        if (d2 != 6)
            return false;
        break;
    case OSP_HEAD_YOLO8:
        rows = d2;
        classes = d1 - 4;
        if (d1 < 0 || !plausible(classes, q))
            return false;
        break;
    case OSP_HEAD_YOLO5:
        classes = d2 - 5;
        if (d2 < 0 || !plausible(classes, q))
            return false;
        break;
    default:
        return false;
    }
    *out = (osp_head_info){.head = head,
                           .boxes = i,
                           .scores = i,
                           .rows = rows > 0 ? rows : OSP_HEAD_ROWS_DEFAULT,
                           .classes = (int32_t)classes,
                           .resize = head == OSP_HEAD_DETR ? OSP_RESIZE_STRETCH
                                                           : OSP_RESIZE_LETTERBOX};
    return true;
}

static bool has_word(const char *name, const char *word)
{
    return name && strcasestr(name, word);
}

// Boxes (N,K,4) beside logits (N,K,nc). With four classes only the names tell them apart.
static bool fits_pair(osp_head_info *out, const osp_head_query *q)
{
    for (int32_t b = 0; b < q->output_count; b++)
        for (int32_t s = 0; s < q->output_count; s++) {
            if (b == s || !is_rows(q, b) || !is_rows(q, s) || dim(q, b, 2) != 4 ||
                dim(q, b, 1) != dim(q, s, 1) || !plausible(dim(q, s, 2), q))
                continue;
            if (dim(q, s, 2) == 4 && !has_word(q->outputs[b].name, "box"))
                continue;
            const int64_t rows = dim(q, b, 1);
            *out = (osp_head_info){.head = OSP_HEAD_DETR_PAIR,
                                   .boxes = b,
                                   .scores = s,
                                   .rows = rows > 0 ? rows : OSP_HEAD_ROWS_DEFAULT,
                                   .classes = (int32_t)dim(q, s, 2),
                                   .resize = OSP_RESIZE_STRETCH};
            return true;
        }
    return false;
}

static bool find_kind(osp_head_info *out, const osp_head_query *q, osp_head head)
{
    if (head == OSP_HEAD_DETR_PAIR)
        return fits_pair(out, q);
    for (int32_t i = 0; i < q->output_count; i++)
        if (fits(out, q, head, i))
            return true;
    return false;
}

// "(1,300,6) (1,84,8400)": all outputs' shapes, for messages.
static void describe(const osp_head_query *q, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (int32_t i = 0; i < q->output_count && at + 64 < size; i++) {
        at += (size_t)snprintf(text + at, size - at, "%s(", i ? " " : "");
        for (int32_t k = 0; k < q->outputs[i].rank && at + 32 < size; k++)
            at += (size_t)snprintf(text + at, size - at, "%s%lld", k ? "," : "",
                                   (long long)q->outputs[i].dims[k]);
        at += (size_t)snprintf(text + at, size - at, ")");
    }
}

static osp_status misfit(const osp_head_query *q, osp_head head, osp_error *err)
{
    char shapes[160];
    describe(q, shapes, sizeof shapes);
    OSP_FAIL(err, OSP_ERROR_ARGUMENT,
             "the outputs %s do not fit head \"%s\"%s: end2end and detr need (N,K,6), yolo8 "
             "(N,4+classes,A), yolo5 (N,A,5+classes), detr-pair (N,K,4) and (N,K,classes)",
             shapes, osp_head_name(head), q->names ? " and the number of class names" : "");
}

static bool is_true(const char *text)
{
    return text && (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

// The kind that metadata states, or AUTO. Ultralytics writes the class of its head and whether it
// is end to end; NMS inside the model gives the end-to-end shape whatever the head.
static osp_head stated_kind(const osp_head_query *q)
{
    osp_head_info info;
    if (q->meta_head)
        for (int k = OSP_HEAD_NONE; k <= OSP_HEAD_DETR_PAIR; k++)
            if (strcasecmp(q->meta_head, kind_names[k]) == 0)
                return (osp_head)k;
    if (has_word(q->meta_head, "RTDETR"))
        return OSP_HEAD_DETR;
    if (is_true(q->meta_end2end))
        return OSP_HEAD_END2END;
    if (!q->meta_head && !q->meta_end2end)
        return OSP_HEAD_AUTO;
    if (find_kind(&info, q, OSP_HEAD_YOLO8) &&
        (info.rows == OSP_HEAD_ROWS_DEFAULT || is_anchors(q, info.rows, 1) ||
         !find_kind(&info, q, OSP_HEAD_END2END)))
        return OSP_HEAD_YOLO8;
    return find_kind(&info, q, OSP_HEAD_END2END) ? OSP_HEAD_END2END : OSP_HEAD_AUTO;
}

// All kinds whose shape fits, the unlikely ones left out: of the two layouts of anchors the one
// that has more anchors than values, and (N,A,6) is one class of yolo5 only for that many anchors.
static int possible_kinds(osp_head_info found[6], const osp_head_query *q)
{
    int n = 0;
    if (fits_pair(&found[n], q)) {
        n++;
        return n;
    }
    osp_head_info i8, i5;
    const bool f8 = find_kind(&i8, q, OSP_HEAD_YOLO8), f5 = find_kind(&i5, q, OSP_HEAD_YOLO5);
    if (f8 && is_anchors(q, i8.rows, 1))
        return found[0] = i8, 1;
    if (f5 && is_anchors(q, dim(q, i5.boxes, 1), 3) && dim(q, i5.boxes, 1) > 0)
        return found[0] = i5, 1;
    const bool free5 = f5 && dim(q, i5.boxes, 1) < 0, free8 = f8 && dim(q, i8.boxes, 2) < 0;
    if (f8 && (free8 || dim(q, i8.boxes, 1) < dim(q, i8.boxes, 2)))
        found[n++] = i8;
    if (find_kind(&found[n], q, OSP_HEAD_END2END))
        n++;
    if (find_kind(&found[n], q, OSP_HEAD_DETR))
        n++;
    if (f5 && (dim(q, i5.boxes, 2) != 6 || free5) &&
        (free5 || dim(q, i5.boxes, 1) > dim(q, i5.boxes, 2)))
        found[n++] = i5;
    return n;
}

static osp_status by_shape(osp_head_info *out, const osp_head_query *q, osp_error *err)
{
    osp_head_info found[6];
    const int n = possible_kinds(found, q);
    if (n == 1) {
        *out = found[0];
        return OSP_OK;
    }
    char shapes[160], list[96] = "";
    describe(q, shapes, sizeof shapes);
    if (n == 0)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "the outputs %s%s are no detection head we know: end2end and detr have (N,K,6), "
                 "yolo8 (N,4+classes,A), yolo5 (N,A,5+classes), detr-pair (N,K,4) and "
                 "(N,K,classes)",
                 shapes, q->names ? ", with the class names of the model," : "");
    for (int i = 0; i < n; i++) {
        const size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", osp_head_name(found[i].head));
    }
    OSP_FAIL(err, OSP_ERROR_ARGUMENT,
             "the outputs %s fit more than one kind of head: choose one of %s", shapes, list);
}

osp_status osp_head_find(osp_head_info *out, const osp_head_query *q, osp_error *err)
{
    *out = (osp_head_info){.head = OSP_HEAD_NONE, .resize = OSP_RESIZE_LETTERBOX};
    osp_head head = q->head;
    if (!osp_head_name(head))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "head: unknown kind %d", (int)head);
    if (head == OSP_HEAD_AUTO) {
        if (q->meta_task && *q->meta_task && strcasecmp(q->meta_task, "detect") != 0)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                     "the model's task is \"%.40s\", and only \"detect\" is decoded: run it for "
                     "its "
                     "raw tensors, or export a detection model",
                     q->meta_task);
        head = stated_kind(q);
    }
    if (head == OSP_HEAD_NONE)
        return OSP_OK;
    if (head == OSP_HEAD_AUTO)
        return by_shape(out, q, err);
    if (!find_kind(out, q, head))
        return misfit(q, head, err);
    return OSP_OK;
}
