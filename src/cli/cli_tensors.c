// Tensors for `run`, `compare` and `bench`: read from files, or a seeded random pattern.
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static osp_tensor *append(osp_cli_tensors *to, const osp_tensor *tensor, const osp_tensor *read)
{
    size_t need = (size_t)to->count + 1, capacity = to->capacity;
    to->items = osp_cli_grow(to->items, &capacity, need, sizeof *to->items);
    to->read = osp_cli_grow(to->read, &to->capacity, need, sizeof *to->read);
    to->items[to->count] = *tensor;
    to->read[to->count] = read ? *read : (osp_tensor){0};
    return &to->items[to->count++];
}

int osp_cli_tensor_read(osp_cli *cli, const char *pair, osp_cli_tensors *to)
{
    const char *equals = strchr(pair, '=');
    osp_tensor tensor;
    osp_error err;
    if (osp_tensor_read(cli->runtime, equals + 1, &tensor, &err))
        return osp_cli_fail(equals + 1, &err);
    append(to, &tensor, &tensor)->name = osp_cli_text("%.*s", (int)(equals - pair), pair);
    return OSP_CLI_DONE;
}

static bool pair_is_for(const char *pair, const char *name)
{
    size_t n = strlen(name);
    return strncmp(pair, name, n) == 0 && pair[n] == '=';
}

int osp_cli_fix_inputs(osp_cli *cli, const char *file)
{
    osp_cli_kind kind;
    int status = osp_cli_sniff(file, &kind);
    if (status || kind != OSP_CLI_ONNX || !cli->set.inputs.count)
        return status;
    osp_model *model = NULL;
    osp_error err;
    if (osp_model_open(&model, cli->runtime, file, &err))
        return osp_cli_fail(file, &err);
    osp_tensor_info info;
    for (int32_t i = 0; !osp_model_input(model, i, &info); i++) {
        for (int32_t k = 0; info.determines_shapes && k < cli->set.inputs.count; k++) {
            if (!pair_is_for(cli->set.inputs.items[k], info.name))
                continue;
            osp_cli_list_add(&cli->set.fixed_inputs, cli->set.inputs.items[k]);
            free(cli->set.inputs.items[k]);
            cli->set.inputs.items[k] = cli->set.inputs.items[--cli->set.inputs.count];
            k--;
        }
    }
    osp_model_close(&model);
    return OSP_CLI_DONE;
}

static uint64_t next_random(uint64_t *state)
{
    // xorshift64*: good enough for test patterns, the same everywhere.
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Du;
}

static void put_random(osp_dtype dtype, uint64_t bits, uint8_t *to)
{
    const float real = (float)(bits >> 40) * 0x1p-24f;  // [0, 1)
    uint32_t word;
    memcpy(&word, &real, sizeof word);
    uint16_t half = (uint16_t)(word >> 16);  // truncated to bfloat16
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        memcpy(to, &real, sizeof real);
        break;
    case OSP_DTYPE_FLOAT16:
        half = (uint16_t)(0x3800 | (bits >> 54));  // [0.5, 1)
        memcpy(to, &half, sizeof half);
        break;
    case OSP_DTYPE_BFLOAT16:
        memcpy(to, &half, sizeof half);
        break;
    case OSP_DTYPE_INT32:
        memcpy(to, &(int32_t){(int32_t)(bits >> 63)}, sizeof(int32_t));
        break;
    case OSP_DTYPE_INT64:
        memcpy(to, &(int64_t){(int64_t)(bits >> 63)}, sizeof(int64_t));
        break;
    case OSP_DTYPE_BOOL:
        *to = (uint8_t)(bits >> 63);
        break;
    default:
        *to = (uint8_t)(bits >> 56);
        break;
    }
}

// n rows where the first dimension is free; other free dimensions become 1.
static int make_pattern(osp_cli *cli, const osp_tensor_info *info, int32_t n, osp_cli_tensors *to)
{
    osp_tensor tensor = {.dtype = info->dtype, .rank = info->rank > 0 ? info->rank : 0};
    size_t count = 1;
    for (int32_t i = 0; i < tensor.rank; i++) {
        int64_t dim = info->dims[i] >= 0 ? info->dims[i] : i == 0 ? n : 1;
        tensor.dims[i] = dim;
        if (__builtin_mul_overflow(count, (size_t)dim, &count))
            count = SIZE_MAX;
    }
    size_t each = osp_dtype_bytes(info->dtype), bytes;
    if (each == 0 || __builtin_mul_overflow(count, each, &bytes) ||
        !(tensor.data = osp_host_alloc(cli->runtime, bytes ? bytes : 1))) {
        osp_cli_say("%s: input %s is too large for a pattern: give it with --input", cli->set.file,
                    info->name);
        return OSP_CLI_FAILED;
    }
    uint64_t state = 0x9E3779B97F4A7C15u * ((uint64_t)cli->set.seed + 1) + (uint64_t)to->count * 2 +
                     1;
    for (int i = 0; i < 16; i++)
        next_random(&state);
    for (size_t i = 0; i < count; i++)
        put_random(info->dtype, next_random(&state), (uint8_t *)tensor.data + i * each);
    append(to, &tensor, NULL)->name = osp_cli_text("%s", info->name);
    return OSP_CLI_DONE;
}

// Tells of an --input that names no input of the engine.
static int check_names(const osp_cli *cli, const osp_engine *engine)
{
    for (int32_t k = 0; k < cli->set.inputs.count; k++) {
        const char *pair = cli->set.inputs.items[k];
        osp_tensor_info info;
        bool known = false;
        for (int32_t i = 0; !known && !osp_engine_input(engine, i, &info); i++)
            known = pair_is_for(pair, info.name);
        if (!known) {
            bool any = !osp_engine_input(engine, 0, &info);
            return osp_cli_usage("%s: no input '%.*s': the first is '%s'; see osprey inspect",
                                 cli->set.file, (int)strcspn(pair, "="), pair,
                                 any ? info.name : "");
        }
    }
    return OSP_CLI_DONE;
}

int osp_cli_inputs(osp_cli *cli, const osp_engine *engine, int32_t n, osp_cli_tensors *out)
{
    *out = (osp_cli_tensors){.runtime = cli->runtime};
    int status = check_names(cli, engine);
    osp_tensor_info info;
    for (int32_t i = 0; !status && !osp_engine_input(engine, i, &info); i++) {
        const char *pair = NULL;
        for (int32_t k = 0; k < cli->set.inputs.count; k++)
            if (pair_is_for(cli->set.inputs.items[k], info.name))
                pair = cli->set.inputs.items[k];
        status = pair ? osp_cli_tensor_read(cli, pair, out) : make_pattern(cli, &info, n, out);
    }
    return status;
}

void osp_cli_tensors_free(osp_cli_tensors *tensors)
{
    for (int32_t i = 0; i < tensors->count; i++) {
        free((char *)tensors->items[i].name);
        if (tensors->read[i].dtype)
            osp_tensor_free(tensors->runtime, &tensors->read[i]);
        else
            osp_host_free(tensors->runtime, tensors->items[i].data);
    }
    free(tensors->items);
    free(tensors->read);
    *tensors = (osp_cli_tensors){0};
}

static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, frac = h & 1023;
    double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return frac ? __builtin_nan("") : sign * __builtin_inf();
    return sign *
           (exponent ? __builtin_ldexp(1024 + frac, exponent - 25) : __builtin_ldexp(frac, -24));
}

double osp_cli_element(const osp_tensor *tensor, size_t i)
{
    const uint8_t *at = (const uint8_t *)tensor->data + i * osp_dtype_bytes(tensor->dtype);
    float f;
    uint16_t h;
    uint32_t w;
    int32_t i32;
    int64_t i64;
    switch (tensor->dtype) {
    case OSP_DTYPE_FLOAT32:
        return memcpy(&f, at, sizeof f), f;
    case OSP_DTYPE_FLOAT16:
        return memcpy(&h, at, sizeof h), half_value(h);
    case OSP_DTYPE_BFLOAT16:
        memcpy(&h, at, sizeof h);
        w = (uint32_t)h << 16;
        return memcpy(&f, &w, sizeof f), f;
    case OSP_DTYPE_INT32:
        return memcpy(&i32, at, sizeof i32), i32;
    case OSP_DTYPE_INT64:
        return memcpy(&i64, at, sizeof i64), (double)i64;
    case OSP_DTYPE_INT8:
        return (int8_t)*at;
    default:
        return *at;
    }
}

size_t osp_cli_element_count(const osp_tensor *tensor)
{
    size_t count = 1;
    for (int32_t i = 0; i < tensor->rank; i++)
        count *= (size_t)tensor->dims[i];
    return count;
}
