// What the two files of the device in host memory share. Thread rule: see fake_gpu.h.
#ifndef OSP_TESTS_FAKE_INTERNAL_H
#define OSP_TESTS_FAKE_INTERNAL_H

#include "fake_gpu.h"

enum {
    INVALID_VALUE = 1,
    INVALID_CONFIGURATION = 9,
    INVALID_HANDLE = 400,
    STREAM_MAGIC = 0x57ea,
    EVENT_MAGIC = 0xe7e7,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNMATCHED = 903,
    CAPTURE_UNJOINED = 904,
    LANES_MOST = 16
};

// What something recorded comes after: of each stream of the capture so many operations.
typedef struct fake_front {
    size_t ops[LANES_MOST];
} fake_front;

typedef struct fake_block {
    struct fake_block *next;
    char *at;
    size_t bytes;
    int place, device;
} fake_block;

typedef enum op_kind { OP_COPY, OP_FILL, OP_LAUNCH, OP_CALL, OP_RECORD } op_kind;

typedef struct op {
    op_kind kind;
    void *dst;
    const void *src;
    size_t dst_pitch, src_pitch, row_bytes, rows;
    int value;
    int kernel;  // number of one that is played; -1: `code`
    const osp_gpu_kernel *code;
    osp_gpu_shape shape;
    char *args;
    size_t args_bytes;
    void (*run)(void *user);
    void *user;
    struct fake_event *event;
    int lane;  // of a recording: the stream, in the order in which they joined
    fake_front front;
} op;

// An event or a recording: first member of each, so that what is left over can be freed.
typedef struct fake_thing {
    struct fake_thing *next, **link;
    bool is_recording;
} fake_thing;

typedef struct recording {
    fake_thing thing;
    op *ops;
    size_t count, capacity;
    int lanes;
    bool spoilt;
} recording;

typedef struct fake_stream {
    struct fake_stream *next;
    int magic, device;
    recording *into;  // being captured
    bool origin;      // the capture began here
    int lane;
    fake_front front;  // its last operation included
} fake_stream;

typedef struct fake_event {
    fake_thing thing;
    int magic, timing;
    bool recorded;
    double us;
    recording *into;
    fake_front front;
} fake_event;

// Captures begun on this thread.
int *fake_captures(void);

// Whether an address in one of the blocks has so many bytes of it behind it; else it is misuse.
bool fake_fits(fake_gpu *fake, const void *ptr, size_t bytes);

void fake_work_calls(osp_gpu_calls *calls);  // fills in the calls of streams, events, work, graphs
void fake_recording_drop(recording *r);

#endif
