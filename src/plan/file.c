// Plan header and file: encoding an engine into parts, and the checks of opening in their order:
// magic, header checksum, format and device (STALE), checksums of the rest (CORRUPT), then the
// meaning of everything (graph_codec.c and osp_compile_restore). A checksum stops accidents, not
// attackers: nothing below trusts a byte because a checksum matched.
#include "plan/file.h"

#include "base/hash.h"
#include "plan/codec.h"
#include "plan/graph_codec.h"
#include "plan/whole.h"

static const char magic[8] = "OSPPLAN\n";

// Offsets of the header's fields.
enum {
    AT_CHECKSUM = 8,  // of the header with this field 0
    AT_FORMAT = 16,
    AT_VERSION = 20,
    AT_BACKEND = 24,
    AT_PRECISION = 28,
    AT_VARIANTS = 32,
    AT_STEPS = 36,
    AT_FILE_BYTES = 40,
    AT_BODY_BYTES = 48,
    AT_BODY_HASH = 56,
    AT_KEY = 64
};

bool osp_plan_is(const void *bytes, size_t size)
{
    return size >= sizeof magic && !memcmp(bytes, magic, sizeof magic);
}

static uint64_t header_checksum(const uint8_t *header)
{
    uint8_t copy[OSP_PLAN_HEADER_BYTES];
    memcpy(copy, header, sizeof copy);
    memset(copy + AT_CHECKSUM, 0, 8);
    return osp_hash64(copy, sizeof copy, 0);
}

static uint64_t field64(const uint8_t *header, size_t at)
{
    osp_decoder d = {header, OSP_PLAN_HEADER_BYTES, at, false};
    return osp_get_u64(&d);
}

static uint32_t field32(const uint8_t *header, size_t at)
{
    osp_decoder d = {header, OSP_PLAN_HEADER_BYTES, at, false};
    return osp_get_u32(&d);
}

osp_status osp_plan_read_header(const void *bytes, size_t size, osp_plan_info *out, osp_error *err)
{
    const uint8_t *h = bytes;
    if (!osp_plan_is(bytes, size))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "not a plan of Osprey: give a file that osprey build wrote");
    if (size < OSP_PLAN_HEADER_BYTES)
        OSP_FAIL(err, OSP_ERROR_CORRUPT, "the plan ends inside its header: build it again");
    if (field64(h, AT_CHECKSUM) != header_checksum(h))
        OSP_FAIL(err, OSP_ERROR_CORRUPT, "the plan's header is damaged: build it again");
    *out = (osp_plan_info){
        .backend = (osp_backend)field32(h, AT_BACKEND),
        .precision = (osp_precision)field32(h, AT_PRECISION),
        .format = (int32_t)field32(h, AT_FORMAT),
        .writer_version = (int32_t)field32(h, AT_VERSION),
        .variants = (int32_t)field32(h, AT_VARIANTS),
        .steps = (int32_t)field32(h, AT_STEPS),
        .bytes = field64(h, AT_FILE_BYTES),
    };
    memcpy(out->device_key, h + AT_KEY, sizeof out->device_key);
    if (out->device_key[sizeof out->device_key - 1])
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the plan's device key is not terminated: build it again");
    return OSP_OK;
}

static void put_header(uint8_t *h, const osp_compiled *c, const char *device_key,
                       const osp_encoder *body, uint64_t file_bytes)
{
    osp_encoder e = {.data = h, .capacity = OSP_PLAN_HEADER_BYTES};
    uint32_t steps = 0;
    for (int32_t i = 0; i < c->variant_count; i++)
        steps += (uint32_t)c->variants[i].step_count;
    osp_put_bytes(&e, magic, sizeof magic);
    osp_put_u64(&e, 0);
    osp_put_u32(&e, OSP_PLAN_FORMAT);
    osp_put_u32(&e, OSP_VERSION);
    osp_put_u32(&e, (uint32_t)c->backend->id);
    osp_put_u32(&e, (uint32_t)c->precision);
    osp_put_u32(&e, (uint32_t)c->variant_count);
    osp_put_u32(&e, steps);
    osp_put_u64(&e, file_bytes);
    osp_put_u64(&e, body->size);
    osp_put_u64(&e, osp_hash64(body->data, body->size, 0));
    osp_put_bytes(&e, device_key, strlen(device_key));
    uint64_t sum = header_checksum(h);
    osp_encoder at_sum = {.data = h, .size = AT_CHECKSUM, .capacity = OSP_PLAN_HEADER_BYTES};
    osp_put_u64(&at_sum, sum);
}

// header, body, then each blob; zeros up to the next multiple of 64 between them.
static osp_status lay_out(const osp_blobs *blobs, const osp_encoder *body, osp_arena *arena,
                          osp_bytes *parts, size_t *count, uint64_t *file_bytes, osp_error *err)
{
    static const uint8_t zeros[64];
    size_t n = 1;
    uint64_t at = OSP_PLAN_HEADER_BYTES + body->size;
    void *copy = osp_arena_alloc(arena, body->size);
    if (!copy)
        OSP_FAIL_MEMORY(err);
    memcpy(copy, body->data, body->size);
    parts[n++] = (osp_bytes){copy, body->size};
    for (size_t i = 0; i < blobs->count; i++) {
        parts[n++] = (osp_bytes){zeros, (size_t)(-at & 63)};
        at += -at & 63;
        parts[n++] = (osp_bytes){blobs->list[i].data, blobs->list[i].size};
        at += blobs->list[i].size;
    }
    *count = n;
    *file_bytes = at;
    return OSP_OK;
}

osp_status osp_plan_encode(const osp_compiled *c, const osp_plan_facts *facts,
                           const char *device_key, osp_arena *arena, osp_bytes **parts,
                           size_t *part_count, osp_error *err)
{
    osp_encoder body = {.mem = &c->ctx->mem};
    osp_blobs blobs = {.mem = &c->ctx->mem};
    uint8_t *header = osp_arena_alloc(arena, OSP_PLAN_HEADER_BYTES);
    uint64_t file_bytes = 0;
    osp_status status = c->backend->whole ? osp_whole_encode(&body, &blobs, c, facts, err)
                                          : osp_body_encode(&body, &blobs, c, facts, err);
    if (!status) {
        *parts = osp_arena_array(arena, 2 + 2 * blobs.count, sizeof **parts);
        if (!header || !*parts || strlen(device_key) >= OSP_DEVICE_KEY_BYTES)
            status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    }
    if (!status)
        status = lay_out(&blobs, &body, arena, *parts, part_count, &file_bytes, err);
    if (!status) {
        put_header(header, c, device_key, &body, file_bytes);
        (*parts)[0] = (osp_bytes){header, OSP_PLAN_HEADER_BYTES};
    }
    osp_mem_free(&c->ctx->mem, body.data);
    osp_mem_free(&c->ctx->mem, blobs.list);
    return status;
}

static osp_status check_blob(osp_blobs *blobs, size_t i, const uint8_t *file, size_t size,
                             uint64_t *at, osp_error *err)
{
    osp_blob *blob = blobs->list + i;
    uint64_t pad = -*at & 63;
    if (pad > size - *at || blob->size > size - *at - pad)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the plan's weights are larger than its file");
    for (uint64_t p = 0; p < pad; p++)
        if (file[*at + p])
            OSP_FAIL(err, OSP_ERROR_CORRUPT,
                     "the plan is damaged between its weights: build it "
                     "again");
    *at += pad;
    blob->data = file + *at;
    if (osp_hash64(blob->data, blob->size, 0) != blob->hash)
        OSP_FAIL(err, OSP_ERROR_CORRUPT, "the plan's weights are damaged: build it again");
    *at += blob->size;
    return OSP_OK;
}

osp_status osp_plan_decode(osp_compiled *c, osp_plan_facts *facts, const void *bytes, size_t size,
                           int32_t device, const char *device_key, osp_error *err)
{
    const uint8_t *file = bytes;
    osp_plan_info info;
    OSP_TRY(osp_plan_read_header(bytes, size, &info, err));
    if (info.format != OSP_PLAN_FORMAT)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "the plan has format %d, this library reads %d: build it "
                 "again",
                 info.format, OSP_PLAN_FORMAT);
    if (info.backend != c->backend->id ||
        (!c->backend->check_key && strcmp(info.device_key, device_key)))
        OSP_FAIL(err, OSP_ERROR_STALE, "the plan is for '%s', this device is '%s': build it again",
                 info.device_key, device_key);
    if (c->backend->check_key)
        OSP_TRY(c->backend->check_key(c->ctx, device, info.device_key, err));
    uint64_t body_bytes = field64(file, AT_BODY_BYTES);
    if (info.bytes != size || body_bytes > size - OSP_PLAN_HEADER_BYTES)
        OSP_FAIL(err, OSP_ERROR_CORRUPT,
                 "the plan has %zu bytes and should have %llu: build it "
                 "again",
                 size, (unsigned long long)info.bytes);
    osp_decoder body = {file + OSP_PLAN_HEADER_BYTES, (size_t)body_bytes, 0, false};
    if (osp_hash64(body.data, body.size, 0) != field64(file, AT_BODY_HASH))
        OSP_FAIL(err, OSP_ERROR_CORRUPT, "the plan's graph is damaged: build it again");
    // One from elsewhere that was saved again does not know its precision.
    const osp_precision least = c->backend->whole ? OSP_PRECISION_AUTO : OSP_PRECISION_FP32;
    if (info.precision < least || info.precision > OSP_PRECISION_BF16 || info.variants < 1 ||
        info.variants > 8)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the plan's header makes no sense: build it again");
    c->precision = info.precision;

    osp_blobs blobs = {.mem = &c->ctx->mem};
    osp_status status = osp_blobs_decode(&body, &blobs, err);
    uint64_t at = OSP_PLAN_HEADER_BYTES + body_bytes;
    for (size_t i = 0; !status && i < blobs.count; i++)
        status = check_blob(&blobs, i, file, size, &at, err);
    if (!status && at != size)
        status = osp_error_set(err, OSP_ERROR_FORMAT, "the plan has bytes after its weights");
    if (!status)
        status = c->backend->whole ? osp_whole_decode(&body, &blobs, c, info.variants, facts, err)
                                   : osp_body_decode(&body, &blobs, c, info.variants, facts, err);
    osp_mem_free(&c->ctx->mem, blobs.list);
    return status;
}
