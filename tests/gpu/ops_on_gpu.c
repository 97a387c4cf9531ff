// Every tactic of the cuda backend against the reference kernels, one node at a time, on a GPU or, as
// ops_on_host, on one in host memory (host_gpu.h):
//
//     ops_on_gpu [--problems FILE] [--time] [--only OPERATOR] [--at-least N] [DIR...]
//
// DIR: cases in the layout of ONNX's backend tests (scripts/test-data makes them); each node of each
// is run by every tactic that takes it. FILE: problem texts, one a line, with made-up data. Both are
// run as they are and with float32 turned into float16; cases also as slices, with rows that do not
// start at multiples of 16 bytes, and channels last. Bytes beside a destination must stay as they
// were, and a destination that nobody wrote must not pass. `worst` is the largest difference as a
// share of what is allowed. --time: also the microseconds of each problem. Exit status 0: all that
// ran was right, and at least N ran. Thread rule: one thread.
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/problem.h"
#include "base/file.h"
#include "onnx/load.h"
#include "onnx/tensor.h"
#include "ops/view.h"
#include "ops_run.h"

// ---- Problem texts ------------------------------------------------------------------------------

// Numbers that look random and are the same everywhere.
static float made_up(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / (float)(1 << 23) - 1;
}

// Every `every`-th number of activations from element `first` on is `value`; 0: none is.
typedef struct special {
    size_t first, every;
    float value;
} special;

static void run_line(bench *b, const char *line, special s)
{
    osp_arena arena;
    osp_problem p;
    osp_error err;
    osp_arena_init(&arena, &b->ctx.mem);
    check(osp_problem_scan(&p, &arena, line, &err), &err);
    test t = {.op = p.op,
              .attrs = (void *)(uintptr_t)p.attrs,
              .src_count = p.src_count,
              .dst_count = p.dst_count,
              .name = "problem"};
    uint32_t seed = 1;
    for (int32_t i = 0; i < p.src_count; i++) {
        t.src[i] = p.src[i];
        const size_t n = count_of(t.src + i);
        t.data[i] = take(n * osp_dtype_bytes(p.src[i].dtype));
        const float scale = p.src[i].constant ? 0.25f : 1;
        for (size_t k = 0; k < n; k++)
            osp_store_float(p.src[i].dtype, t.data[i], k,
                            osp_dtype_is_float(p.src[i].dtype) ? scale * made_up(&seed)
                                                               : floorf(4 + 4 * made_up(&seed)));
        for (size_t k = s.first; s.every && !p.src[i].constant && k < n; k += s.every)
            osp_store_float(p.src[i].dtype, t.data[i], k, s.value);
    }
    memcpy(t.dst, p.dst, (size_t)p.dst_count * sizeof *p.dst);
    run_test(b, &t, true);
    for (int32_t i = 0; i < p.src_count; i++)
        free(t.data[i]);
    osp_arena_free(&arena);
}

// What no reference kernel answers: indices outside give zeros, and division by zero gives 0.
static void run_outside(bench *b)
{
    float data[4][8], want[4][8] = {{0}};
    int64_t indices[4] = {0, 9, -1, -9};
    for (int i = 0; i < 32; i++)
        data[i / 8][i % 8] = (float)(i + 1);
    memcpy(want[0], data[0], sizeof want[0]);
    memcpy(want[2], data[3], sizeof want[2]);
    osp_error err;
    osp_arena arena;
    osp_problem p;
    osp_arena_init(&arena, &b->ctx.mem);
    check(osp_problem_scan(&p, &arena, "Gather f32:4x8 i64:4 -> f32:4x8", &err), &err);
    test t = {.op = p.op,
              .attrs = (void *)(uintptr_t)p.attrs,
              .src_count = 2,
              .dst_count = 1,
              .src = {p.src[0], p.src[1]},
              .dst = {p.dst[0]},
              .data = {data, indices},
              .expected = {want},
              .name = "indices outside"};
    run_variant(b, &t, AS_IS);
    int64_t a[3] = {7, -7, 0}, by[3] = {0, 2, 0}, quotients[3] = {0, -3, 0};
    check(osp_problem_scan(&p, &arena, "Div i64:3 i64:3 -> i64:3", &err), &err);
    test d = {.op = p.op,
              .attrs = (void *)(uintptr_t)p.attrs,
              .src_count = 2,
              .dst_count = 1,
              .src = {p.src[0], p.src[1]},
              .dst = {p.dst[0]},
              .data = {a, by},
              .expected = {quotients},
              .name = "division by zero"};
    run_variant(b, &d, AS_IS);
    osp_arena_free(&arena);
}

// NaN and infinity go where the reference lets them go, and nowhere else.
static void run_no_numbers(bench *b)
{
    const char *pools = "osprey.MaxPools f32:1x16x19x23:nhwc -> f32:1x16x19x23:nhwc "
                        "f32:1x16x19x23:nhwc f32:1x16x19x23:nhwc";
    run_line(b, pools, (special){0, 3, NAN});
    run_line(b, pools, (special){3000, 1, NAN});  // whole planes, and a part of one
    run_line(b, pools, (special){5, 11, INFINITY});
    // Pairs of the stem have halves that do not count.
    run_line(b,
             "osprey.FusedConv f32:1x3x16x48 f16:16x3x3x3:const f16:16:const -> f16:1x16x8x24:nhwc "
             "pads=1,1,1,1 strides=2,2",
             (special){2, 97, INFINITY});
    run_line(b,
             "osprey.FusedConv f32:1x3x9x31 f16:24x3x3x3:const f16:24:const -> f16:1x24x9x31:nhwc "
             "pads=1,1,1,1",
             (special){40, 89, NAN});
}

static void run_problems(bench *b, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[OSP_PROBLEM_TEXT_BYTES];
    if (!f)
        fatal("the file of problems cannot be read");
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] && line[0] != '#')
            run_line(b, line, (special){0});
    }
    fclose(f);
    run_outside(b);
    run_no_numbers(b);
}

// ---- Cases --------------------------------------------------------------------------------------

static bool read_input(bench *b, const char *dir, int32_t i, osp_tensor *out)
{
    char path[1024];
    osp_file file;
    osp_error err;
    snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", dir, i);
    if (osp_file_map(&file, path, UINT64_MAX, &err))
        return false;
    check(osp_onnx_tensor_read(&b->ctx, file.data, file.size, out, &err), &err);
    osp_file_unmap(&file);
    return true;
}

static void run_node(bench *b, const osp_graph *g, const osp_node *node, osp_view *views,
                     const char *dir)
{
    test t = {.op = node->op,
              .attrs = node->attrs,
              .src_count = node->input_count,
              .dst_count = node->output_count,
              .name = dir};
    for (int32_t i = 0; i < node->input_count; i++) {
        const osp_vid v = node->inputs[i];
        if (v == OSP_NO_VALUE)
            continue;
        t.src[i] = (osp_operand){.dtype = views[v].dtype,
                                 .shape = views[v].shape,
                                 .constant = g->values[v].data != NULL};
        set_dense(t.src + i);
        t.data[i] = views[v].data;
    }
    for (int32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != OSP_NO_VALUE) {
            t.dst[i] = (osp_operand){.dtype = g->values[node->outputs[i]].dtype,
                                     .shape = g->values[node->outputs[i]].shape};
            set_dense(t.dst + i);
        }
    run_test(b, &t, false);
}

// Inputs whose values decide shapes become constants.
static void fix_inputs(osp_graph *g, osp_tensor *inputs)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        osp_value *v = g->values + g->inputs[i];
        v->shape = (osp_shape){.rank = inputs[i].rank};
        memcpy(v->shape.dims, inputs[i].dims, (size_t)inputs[i].rank * sizeof(int64_t));
        for (size_t n = 0; n < g->node_count; n++)
            for (int32_t k = 0; k < g->nodes[n].input_count; k++)
                if (g->nodes[n].inputs[k] == g->inputs[i] && g->nodes[n].op &&
                    g->nodes[n].op->shape_inputs >> k & 1)
                    v->data = inputs[i].data;
    }
}

static void run_graph(bench *b, osp_graph *g, const osp_tensor *inputs, const char *dir)
{
    osp_error err;
    if (osp_graph_infer(g, false, &err)) {
        b->uninferred++;
        return;
    }
    osp_view *views = take(g->value_count * sizeof *views);
    bool *ours = take(g->value_count);
    for (size_t v = 0; v < g->value_count; v++) {
        const osp_value *value = g->values + v;
        size_t bytes = 0;
        views[v] = (osp_view){value->dtype, value->shape, NULL};
        if (value->data && osp_shape_bytes(&value->shape, value->dtype, &bytes)) {
            views[v].data = take(bytes);  // constants may lie unaligned
            memcpy(views[v].data, value->data, bytes);
            ours[v] = true;
        }
    }
    for (int32_t i = 0; i < g->input_count; i++)
        if (!views[g->inputs[i]].data)
            views[g->inputs[i]].data = inputs[i].data;
    bool good = true;
    for (size_t n = 0; good && n < g->node_count; n++) {
        const osp_node *node = g->nodes + n;
        for (int32_t k = 0; k < node->output_count; k++) {
            size_t bytes = 0;
            if (node->outputs[k] == OSP_NO_VALUE)
                continue;
            osp_view *view = views + node->outputs[k];
            osp_shape_bytes(&view->shape, view->dtype, &bytes);
            view->data = take(bytes);
            ours[node->outputs[k]] = true;
        }
        run_node(b, g, node, views, dir);
        good = !osp_node_run(g, node, views, &err);
    }
    for (size_t v = 0; v < g->value_count; v++)
        if (ours[v])
            free(views[v].data);
    free(ours);
    free(views);
}

static void run_case(bench *b, const char *dir)
{
    char path[1024];
    osp_file file;
    osp_error err;
    osp_graph g;
    osp_onnx_files files = {0};
    osp_tensor inputs[OPERANDS] = {{0}};
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    check(osp_file_map(&file, path, UINT64_MAX, &err), &err);
    osp_graph_init(&g, &b->ctx);
    check(osp_onnx_load(&g, &files, file.data, file.size, dir, &err), &err);
    int32_t count = 0;
    while (count < OPERANDS && read_input(b, dir, count, inputs + count))
        count++;
    if (count == g.input_count) {
        fix_inputs(&g, inputs);
        run_graph(b, &g, inputs, dir);
    } else {
        printf("SKIPPED %s: %d tensors for %d inputs\n", dir, count, g.input_count);
    }
    for (int32_t i = 0; i < count; i++)
        osp_mem_free(&b->ctx.mem, inputs[i].data);
    osp_graph_free(&g);
    osp_onnx_files_free(&files);
    osp_file_unmap(&file);
}

static void walk(bench *b, const char *dir, int depth)
{
    char path[1024];
    struct stat st;
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    if (!stat(path, &st)) {
        run_case(b, dir);
        return;
    }
    DIR *d = depth < 8 ? opendir(dir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        const int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.' && n > 0 && (size_t)n < sizeof path && !stat(path, &st) &&
            S_ISDIR(st.st_mode))
            walk(b, path, depth + 1);
    }
    if (d)
        closedir(d);
}

// ---- Command line -------------------------------------------------------------------------------

static void summarise(const bench *b)
{
    for (size_t i = 0; i < b->kinds; i++) {
        const op_count *c = b->counts + i;
        printf("%-20s ran %5zu failed %4zu worst %5.3f refused %4zu%s%s%s\n", c->name, c->ran,
               c->failed, c->worst, c->refused, c->why ? " (" : "", c->why ? c->why : "",
               c->why ? ")" : "");
    }
    printf("%zu ran, %zu failed, %zu not inferred in a type, %zu blind\n", b->ran, b->failed,
           b->uninferred, b->blind);
}

int main(int argc, char **argv)
{
    static bench b;
    osp_error err;
    osp_gpu_scope scope;
    size_t at_least = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    check(osp_context_init(&b.ctx, NULL, &err), &err);
    check(osp_gpus_open(&b.ctx, &err), &err);
    check(osp_gpu_get(&b.ctx, 0, &b.gpu, &err), &err);
    check(osp_gpu_enter(b.gpu, &scope, &err), &err);
    check(osp_gpu_stream_open(b.gpu, &b.stream, &err), &err);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            walk(&b, argv[i], 0);
        else if (!strcmp(argv[i], "--time"))
            b.time = true;
        else if (i + 1 == argc)
            fatal("an option lacks its value");
        else if (!strcmp(argv[i], "--problems"))
            run_problems(&b, argv[++i]);
        else if (!strcmp(argv[i], "--only"))
            b.only = argv[++i];
        else if (!strcmp(argv[i], "--at-least"))
            at_least = strtoul(argv[++i], NULL, 10);
        else
            fatal("unknown option: see the head of ops_on_gpu.c");
    }
    summarise(&b);
    osp_gpu_stream_close(b.gpu, &b.stream);
    osp_gpu_leave(b.gpu, &scope);
    osp_gpus_close(&b.ctx);
    osp_context_free(&b.ctx);
    return b.failed || b.ran < at_least;
}
