// Passes, by golden texts: tests/golden/<pass>.txt holds graphs before a pass and the nodes that it
// must leave. Both graphs also run through the reference kernels on the same random inputs, and
// must give the same results.
//
//     case NAME
//     refuse TYPE                      the backend takes no node of that type
//     refuse TYPE TEXT                 ... whose attributes' text contains TEXT
//     x: float32[1,4,5,5]              an input; its numbers are random, in -1..1 (uint8: all)
//     w: float32[8,4,3,3] random       a constant of random numbers in -1..1
//     v: float32[8] random 0.5 2       ... within bounds
//     c: float32[] = 0.5               a constant with its elements
//     a, b = Split(x, sizes) axis=1    a node; "osprey." before the type for internal ones,
//                                      "_" for an operand that is left out
//     => y, z                          the outputs; what follows up to "end" is expected
//     y = Relu(x)
//     end
//
// In what is expected, "#" begins a constant that the pass made (its shape, or for int64 its
// elements), "%" a value that it made, and "'" after a name says that it lies channels last.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/view.h"
#include "passes/passes.h"

enum { LINE = 512, TEXT = 16384, NAMES = 32 };

typedef struct golden {
    osp_context ctx;
    osp_graph graph;
    char name[LINE], refuse_type[LINE], refuse_text[LINE];
    char expected[TEXT];
    const char *file;
    int line;
} golden;

#define REQUIRE(g, condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s:%d (case %s): %s", (g)->file, (g)->line, (g)->name, #condition);          \
    } while (0)

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void fill_random(osp_dtype dtype, void *data, size_t count, uint32_t seed, float low,
                        float high)
{
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++)
        osp_store_float(dtype, data, i,
                        low + (high - low) * (float)next_random(&state) / (float)(1 << 24));
}

// ---- Reading ------------------------------------------------------------------------------------

static osp_vid find_value(const osp_graph *graph, const char *name)
{
    for (size_t v = 0; v < graph->value_count; v++)
        if (!strcmp(graph->values[v].name, name))
            return (osp_vid)v;
    return OSP_NO_VALUE;
}

static osp_vid value_named(golden *g, const char *name)
{
    osp_vid v = find_value(&g->graph, name);
    if (v == OSP_NO_VALUE)
        v = osp_graph_add_value(&g->graph, name, OSP_DTYPE_UNKNOWN, NULL);
    REQUIRE(g, v != OSP_NO_VALUE);
    return v;
}

// Names between commas, as values; "_" is none. Changes the text.
static int32_t read_names(golden *g, char *text, osp_vid *out)
{
    int32_t count = 0;
    for (char *save, *word = strtok_r(text, ", \n", &save); word;
         word = strtok_r(NULL, ", \n", &save)) {
        REQUIRE(g, count < NAMES);
        out[count++] = strcmp(word, "_") ? value_named(g, word) : OSP_NO_VALUE;
    }
    return count;
}

static osp_dtype dtype_named(golden *g, const char *name)
{
    for (int32_t d = OSP_DTYPE_UNKNOWN + 1; d < 16; d++)
        if (osp_dtype_name((osp_dtype)d) && !strcmp(osp_dtype_name((osp_dtype)d), name))
            return (osp_dtype)d;
    REQUIRE(g, !"a data type");
    return OSP_DTYPE_UNKNOWN;
}

static void read_elements(golden *g, osp_dtype dtype, void *data, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        char *end;
        const double x = strtod(text, &end);
        REQUIRE(g, end != text);
        if (osp_dtype_is_float(dtype))
            osp_store_float(dtype, data, i, (float)x);
        else
            osp_store_int(dtype, data, i, (int64_t)x);
        text = *end == ',' ? end + 1 : end;
    }
}

// "name: type[dims] rest"
static void read_value(golden *g, char *line)
{
    char name[LINE], type[LINE];
    int at = 0;
    REQUIRE(g, sscanf(line, "%511[^:]: %511[^[][%n", name, type, &at) == 2 && at);
    osp_shape shape = {0};
    char *rest = line + at;
    while (*rest != ']') {
        shape.dims[shape.rank++] = strtoll(rest, &rest, 10);
        rest += *rest == ',';
    }
    rest++;
    osp_graph *graph = &g->graph;
    const osp_vid v = osp_graph_add_value(graph, name, dtype_named(g, type), &shape);
    REQUIRE(g, v != OSP_NO_VALUE);
    size_t bytes, count;
    float low = -1, high = 1;
    const osp_dtype dtype = graph->values[v].dtype;
    REQUIRE(g, osp_shape_bytes(&shape, dtype, &bytes) && osp_shape_count(&shape, &count));
    if (strspn(rest, " \n") == strlen(rest)) {
        REQUIRE(g, graph->input_count < NAMES);
        graph->inputs[graph->input_count++] = v;
        return;
    }
    void *data = osp_arena_alloc(&graph->arena, bytes);
    REQUIRE(g, data);
    if (!strncmp(rest, " random", 7)) {
        sscanf(rest + 7, "%f %f", &low, &high);
        fill_random(dtype, data, count, (uint32_t)v + 100, low, high);
    } else {
        REQUIRE(g, !strncmp(rest, " = ", 3));
        read_elements(g, dtype, data, count, rest + 3);
    }
    graph->values[v].data = data;
}

// "a, b = Type(c, d) attributes"
static void read_node(golden *g, char *line)
{
    char *equals = strstr(line, " = "), *open = strchr(line, '('), *close = strchr(line, ')');
    REQUIRE(g, equals && open && close && equals < open && open < close);
    *equals = *open = *close = 0;
    char *type = equals + 3, *attrs_text = close + 1;
    attrs_text[strcspn(attrs_text, "\n")] = 0;
    const bool internal = !strncmp(type, "osprey.", 7);
    const osp_op *op = osp_op_find(internal ? "osprey" : "", internal ? type + 7 : type);
    REQUIRE(g, op);
    void *attrs = osp_arena_alloc(&g->graph.arena, op->attrs_size);
    osp_error err = {0};
    if (osp_attrs_scan(op, attrs_text, attrs, &err))
        fail_msg("%s:%d: %s", g->file, g->line, err.text);
    osp_vid outputs[NAMES], inputs[NAMES];
    const int32_t output_count = read_names(g, line, outputs);
    const int32_t input_count = read_names(g, open + 1, inputs);
    const char *name = g->graph.values[outputs[0]].name;
    REQUIRE(g, osp_graph_insert_node(&g->graph, g->graph.node_count, op, name, inputs, input_count,
                                     outputs, output_count, attrs));
}

// The next case of the file; false: no more. What it makes is freed by free_case.
static bool read_case(golden *g, FILE *file)
{
    char line[LINE];
    g->name[0] = g->refuse_type[0] = g->refuse_text[0] = g->expected[0] = 0;
    bool after = false;
    while (fgets(line, sizeof line, file)) {
        g->line++;
        if (line[0] == '\n' || line[0] == '/')
            continue;
        if (sscanf(line, "case %511s", g->name) == 1) {
            osp_graph_init(&g->graph, &g->ctx);
            g->graph.inputs = osp_arena_array(&g->graph.arena, NAMES, sizeof(osp_vid));
            g->graph.outputs = osp_arena_array(&g->graph.arena, NAMES, sizeof(osp_vid));
            continue;
        }
        REQUIRE(g, g->name[0]);
        if (!strcmp(line, "end\n")) {
            REQUIRE(g, after);
            return true;
        }
        if (after)
            strcat(g->expected, line);
        else if (!strncmp(line, "refuse ", 7))
            sscanf(line, "refuse %511s %511s", g->refuse_type, g->refuse_text);
        else if (!strncmp(line, "=> ", 3)) {
            g->graph.output_count = read_names(g, line + 3, g->graph.outputs);
            after = true;
        } else if (strstr(line, " = ") && strchr(line, '('))
            read_node(g, line);
        else
            read_value(g, line);
    }
    REQUIRE(g, !g->name[0]);
    return false;
}

// ---- Writing ------------------------------------------------------------------------------------

typedef struct writer {
    const osp_graph *graph;
    char text[TEXT];
    size_t length;
    int32_t made;  // values without a name that were met
    osp_vid ids[NAMES];
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(w->text + w->length, sizeof w->text - w->length, format, list);
    va_end(list);
    w->length += (size_t)n;
    assert_true(w->length < sizeof w->text);
}

static void put_constant(writer *w, const osp_value *value)
{
    put(w, "#");
    if (value->dtype == OSP_DTYPE_INT64) {
        size_t count;
        assert_true(osp_shape_count(&value->shape, &count));
        for (size_t i = 0; i < count; i++)
            put(w, "%s%lld", i ? "," : "", (long long)osp_load_int(value->dtype, value->data, i));
        return;
    }
    char text[96];
    put(w, "%s[%s]", osp_dtype_name(value->dtype),
        osp_shape_text(&value->shape, text, sizeof text));
}

static void put_value(writer *w, osp_vid v)
{
    if (v == OSP_NO_VALUE) {
        put(w, "_");
        return;
    }
    const osp_value *value = w->graph->values + v;
    if (value->name[0]) {
        put(w, "%s", value->name);
    } else if (value->data) {
        put_constant(w, value);
    } else {
        int32_t i = 0;
        while (i < w->made && w->ids[i] != v)
            i++;
        assert_true(i < NAMES);
        if (i == w->made)
            w->ids[w->made++] = v;
        put(w, "%%%d", i + 1);
    }
    if (value->layout == OSP_LAYOUT_CHANNELS_LAST)
        put(w, "'");
}

static void put_graph(writer *w, const osp_graph *graph)
{
    *w = (writer){.graph = graph};
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        for (int32_t i = 0; i < node->output_count; i++) {
            put(w, "%s", i ? ", " : "");
            put_value(w, node->outputs[i]);
        }
        put(w, " = %s%s(", node->domain[0] ? "osprey." : "", node->type);
        for (int32_t i = 0; i < node->input_count; i++) {
            put(w, "%s", i ? ", " : "");
            put_value(w, node->inputs[i]);
        }
        char attrs[1024];
        osp_attrs_print(node->op, node->attrs, attrs, sizeof attrs);
        put(w, ")%s\n", attrs);
    }
}

// ---- Running ------------------------------------------------------------------------------------

static osp_view *run_graph(golden *g, const osp_graph *graph)
{
    osp_view *views = calloc(graph->value_count + 1, sizeof *views);
    assert_non_null(views);
    for (size_t v = 0; v < graph->value_count; v++) {
        const osp_value *value = graph->values + v;
        size_t bytes;
        if (!value->dtype || !osp_shape_bytes(&value->shape, value->dtype, &bytes))
            continue;
        views[v] = (osp_view){value->dtype, value->shape, malloc(bytes + 1)};
        assert_non_null(views[v].data);
        if (value->data)
            memcpy(views[v].data, value->data, bytes);
    }
    for (int32_t i = 0; i < graph->input_count; i++) {
        const osp_view *view = views + graph->inputs[i];
        const bool pixels = view->dtype == OSP_DTYPE_UINT8;
        fill_random(view->dtype, view->data, osp_view_count(view), (uint32_t)i + 1, pixels ? 0 : -1,
                    pixels ? 256 : 1);
    }
    osp_error err = {0};
    for (size_t n = 0; n < graph->node_count; n++)
        if (osp_node_run(graph, graph->nodes + n, views, &err))
            fail_msg("case %s: %s", g->name, err.text);
    return views;
}

static void free_views(osp_view *views, size_t count)
{
    for (size_t v = 0; v < count; v++)
        free(views[v].data);
    free(views);
}

static void compare_results(golden *g, const osp_graph *before, const osp_graph *after)
{
    assert_int_equal(before->output_count, after->output_count);
    osp_view *x = run_graph(g, before), *y = run_graph(g, after);
    for (int32_t i = 0; i < before->output_count; i++) {
        const osp_view *a = x + before->outputs[i], *b = y + after->outputs[i];
        assert_string_equal(before->values[before->outputs[i]].name,
                            after->values[after->outputs[i]].name);
        assert_int_equal(a->dtype, b->dtype);
        assert_true(osp_shape_equal(&a->shape, &b->shape));
        const size_t count = osp_view_count(a);
        double most = 0, worst = 0;
        for (size_t k = 0; k < count; k++) {
            const double p = (double)osp_load_float(a->dtype, a->data, k);
            const double q = (double)osp_load_float(b->dtype, b->data, k);
            most = fabs(p) > most ? fabs(p) : most;
            worst = fabs(p - q) <= worst ? worst : fabs(p - q);
        }
        assert_true(most > 0);  // or it would compare nothing
        const double tolerance = a->dtype == OSP_DTYPE_FLOAT16 ? 2e-3 : 1e-5;
        if (!(worst <= tolerance * most))
            fail_msg("case %s: output %d differs by %g of %g", g->name, i, worst, most);
    }
    free_views(x, before->value_count);
    free_views(y, after->value_count);
}

// The backend of these tests.
static bool accepts(void *user, const osp_graph *graph, const osp_node *node)
{
    const golden *g = user;
    (void)graph;
    if (!g->refuse_type[0] || strcmp(node->type, g->refuse_type) != 0)
        return true;
    char attrs[1024];
    osp_attrs_print(node->op, node->attrs, attrs, sizeof attrs);
    return g->refuse_text[0] && !strstr(attrs, g->refuse_text);
}

static const osp_pass *pass_named(const char *name)
{
    for (size_t i = 0; i < osp_pass_count; i++)
        if (!strcmp(osp_passes[i].name, name))
            return osp_passes + i;
    fail_msg("no pass %s", name);
    return NULL;
}

static void run_case(golden *g, const osp_pass *pass)
{
    osp_error err = {0};
    osp_graph after;
    writer w;
    const osp_pass_options options = {.accepts = accepts, .user = g};
    if (osp_graph_infer(&g->graph, false, &err) || osp_graph_clone(&after, &g->graph, &err) ||
        osp_pass_run(pass, &after, &options, &err))
        fail_msg("%s:%d (case %s): %s", g->file, g->line, g->name, err.text);
    put_graph(&w, &after);
    if (strcmp(w.text, g->expected) != 0)
        fail_msg("%s:%d (case %s)\n-- expected\n%s-- is\n%s", g->file, g->line, g->name,
                 g->expected, w.text);
    // It is inferred: doing so again changes nothing. Neither does the pass, but for layouts, which
    // are settled once.
    const int32_t rounds = strcmp(pass->name, "layout") ? 2 : 1;
    for (int32_t again = 0; again < rounds; again++) {
        if (again ? osp_pass_run(pass, &after, &options, &err)
                  : osp_graph_infer(&after, false, &err))
            fail_msg("case %s: %s", g->name, err.text);
        put_graph(&w, &after);
        assert_string_equal(w.text, g->expected);
    }
    compare_results(g, &g->graph, &after);
    osp_graph_free(&after);
}

static void run_file(const char *pass_name)
{
    char path[1024];
    snprintf(path, sizeof path, TEST_DATA_DIR "/golden/%s.txt", pass_name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    static golden g;
    g = (golden){.file = path};
    assert_int_equal(osp_context_init(&g.ctx, NULL, NULL), OSP_OK);
    int cases = 0;
    for (; read_case(&g, file); cases++) {
        run_case(&g, pass_named(pass_name));
        osp_graph_free(&g.graph);
        assert_int_equal(atomic_load(&g.ctx.mem.live), 0);
    }
    fclose(file);
    assert_true(cases > 0);
    osp_context_free(&g.ctx);
}

#define GOLDEN(PASS)                                                                               \
    static void PASS(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_file(#PASS);                                                                           \
    }
GOLDEN(fold)
GOLDEN(batch_norm)
GOLDEN(identity)
GOLDEN(recompose)
GOLDEN(attention)
GOLDEN(expectation)
GOLDEN(transposes)
GOLDEN(fuse_conv)
GOLDEN(pixel_conv)
GOLDEN(views)
GOLDEN(siblings)
GOLDEN(layout)
GOLDEN(box_head)
GOLDEN(max_pools)
GOLDEN(rounding)
GOLDEN(attention_maps)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fold),       cmocka_unit_test(batch_norm),
        cmocka_unit_test(identity),   cmocka_unit_test(recompose),
        cmocka_unit_test(attention),  cmocka_unit_test(expectation),
        cmocka_unit_test(transposes), cmocka_unit_test(fuse_conv),
        cmocka_unit_test(pixel_conv), cmocka_unit_test(views),
        cmocka_unit_test(siblings),   cmocka_unit_test(layout),
        cmocka_unit_test(box_head),   cmocka_unit_test(max_pools),
        cmocka_unit_test(rounding),   cmocka_unit_test(attention_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
