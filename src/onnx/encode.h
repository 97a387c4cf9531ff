// Protobuf's wire format, written: small records go into one growing buffer, weights stay where
// they are and are only referred to, so that writing a model does not copy it.
// Thread rule: an encoder belongs to one thread.
#ifndef OSP_ONNX_ENCODE_H
#define OSP_ONNX_ENCODE_H

#include "base/file.h"
#include "graph/shape.h"

// Out of memory is remembered and reported by osp_encoder_write.
typedef struct osp_encoder {
    osp_mem *mem;
    uint8_t *bytes;  // the small records
    size_t size, capacity;
    struct osp_encoder_piece {
        const void *data;
        size_t size, at;  // goes in before bytes[at]
    } * pieces;
    size_t piece_count, piece_capacity;
    size_t borrowed;  // bytes of all pieces
    bool failed;
} osp_encoder;

void osp_encoder_init(osp_encoder *e, osp_mem *mem);
void osp_encoder_free(osp_encoder *e);
// Writes everything to a file, whole or not at all. UNSUPPORTED over 2 GiB, protobuf's limit.
osp_status osp_encoder_write(const osp_encoder *e, const char *path, osp_error *err);
// The same into one block of e->mem, which the caller frees.
osp_status osp_encoder_join(const osp_encoder *e, void **out, size_t *size, osp_error *err);

void osp_encode_int(osp_encoder *e, uint32_t field, int64_t value);
void osp_encode_float(osp_encoder *e, uint32_t field, float value);
void osp_encode_text(osp_encoder *e, uint32_t field, const char *text);
void osp_encode_bytes(osp_encoder *e, uint32_t field, osp_bytes bytes);   // copied
void osp_encode_borrow(osp_encoder *e, uint32_t field, osp_bytes bytes);  // until written
void osp_encode_records(osp_encoder *e, osp_bytes records);  // ready-made, with their tags

// A message: everything between begin and end is its contents.
typedef struct osp_encode_mark {
    uint32_t field;
    size_t size, pieces, borrowed;
} osp_encode_mark;
osp_encode_mark osp_encode_begin(const osp_encoder *e, uint32_t field);
void osp_encode_end(osp_encoder *e, osp_encode_mark mark);

// The fields of a TensorProto with raw_data, which is borrowed. "" as name: none.
void osp_encode_tensor(osp_encoder *e, const char *name, osp_dtype dtype, int32_t rank,
                       const int64_t *dims, osp_bytes data);

#endif
