// Protobuf's wire format, read in place: fields of one message, one after another.
//
// This reader is ours and not a library's for two reasons. Generic C decoders of protobuf recurse
// into nested messages without a limit, so a file of a few kilobytes can overflow the stack; and
// they build an object tree, which copies every weight. Here nothing is allocated or copied, a
// field is a view into the file, every length is checked against its enclosing message, and
// nesting is the caller's explicit business (nesting.c bounds it for the whole file at once).
// Thread rule: a reader belongs to one thread; it never changes the bytes.
#ifndef OSP_ONNX_WIRE_H
#define OSP_ONNX_WIRE_H

#include "base/file.h"

// Wire types. Groups (3 and 4) are refused: nothing has used them since 2008.
enum { OSP_WIRE_VARINT = 0, OSP_WIRE_FIXED64 = 1, OSP_WIRE_LENGTH = 2, OSP_WIRE_FIXED32 = 5 };

typedef struct osp_wire {
    const uint8_t *at, *end;
    const char *message;  // its type, such as "NodeProto", for errors
} osp_wire;

typedef struct osp_wire_field {
    uint32_t number;  // 0: the message has ended
    uint32_t type;
    uint64_t value;    // VARINT, FIXED64, FIXED32
    osp_bytes bytes;   // LENGTH
    osp_bytes record;  // all of it, with its tag
} osp_wire_field;

static inline osp_wire osp_wire_open(osp_bytes bytes, const char *message)
{
    const uint8_t *at = bytes.data;
    return (osp_wire){at, bytes.size ? at + bytes.size : at, message};
}

// The next field. FORMAT for anything that is not well-formed: a varint of more than 10 bytes, a
// length past the end, field number 0, a group.
osp_status osp_wire_next(osp_wire *wire, osp_wire_field *field, osp_error *err);

// FORMAT unless the field has the wire type; the message names field and message.
osp_status osp_wire_expect(const osp_wire *wire, const osp_wire_field *field, uint32_t type,
                           osp_error *err);

// A singular int64, int32 or enum field.
osp_status osp_wire_int(const osp_wire *wire, const osp_wire_field *field, int64_t *out,
                        osp_error *err);
// A singular string, bytes or message field.
osp_status osp_wire_bytes(const osp_wire *wire, const osp_wire_field *field, osp_bytes *out,
                          osp_error *err);
// Text: valid UTF-8 without a zero byte, at most `max` bytes (OSP_ERROR_LIMIT). Names are held to
// OSP_WIRE_NAME, because they are copied, and copied again into each variant.
enum { OSP_WIRE_NAME = 65535, OSP_WIRE_TEXT = 16 << 20 };
osp_status osp_wire_text(const osp_wire *wire, const osp_wire_field *field, size_t max,
                         osp_bytes *out, osp_error *err);
static inline osp_status osp_wire_name(const osp_wire *wire, const osp_wire_field *field,
                                       osp_bytes *out, osp_error *err)
{
    return osp_wire_text(wire, field, OSP_WIRE_NAME, out, err);
}

// A repeated scalar field may come packed (one LENGTH record) or as single records, or mixed.
// `type` is the wire type of one element. Counts the elements of one record, checking them all,
// and adds to *count.
osp_status osp_wire_count(const osp_wire *wire, const osp_wire_field *field, uint32_t type,
                          size_t *count, osp_error *err);

// Walks the elements of a record that osp_wire_count accepted; false: no more.
typedef struct osp_wire_list {
    const uint8_t *at, *end;
    uint32_t type;
    bool single;  // one element, in `value`
    uint64_t value;
} osp_wire_list;
osp_wire_list osp_wire_list_open(const osp_wire_field *field, uint32_t type);
bool osp_wire_list_next(osp_wire_list *list, uint64_t *value);

#endif
