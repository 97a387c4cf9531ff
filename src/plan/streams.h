// Which steps of a run may go at the same time: a stream for each step, and what it waits for.
//
// Steps whose data do not depend on each other lie on different streams; a step that needs another
// stream's result waits for an event that was recorded behind it. Inside a captured graph this is a
// graph with branches. The six towers of a detection head, of three levels:
//
//     stream 0  -- P3 -.- P4 -.- P5 -.- tower - tower -.- boxes
//          1           '- tower - tower --------------'
//          2 ...              '- tower - tower -------'
//
// The order of the steps stays one in which they may run one after the other. One pure function of
// the graph and its storage, so a plan need not hold the result, only how many streams to use.
// Thread rule: any thread.
#ifndef OSP_PLAN_STREAMS_H
#define OSP_PLAN_STREAMS_H

#include "plan/storage.h"

enum { OSP_STREAMS_MOST = 8 };

// The last step of each stream that something comes after; -1: none.
typedef struct osp_front {
    int32_t step[OSP_STREAMS_MOST];
} osp_front;

typedef struct osp_turn {
    int32_t stream;   // 0: the run's own; -1: a view, which is no work
    int32_t event;    // number of the event recorded behind the step; -1: no stream waits for it
    osp_front wait;   // by stream: the step whose event is waited for first; -1: none
    osp_front ended;  // by stream: the last step that has ended for certain when this one starts
    int32_t first;    // the first step that may still run then; the step itself: none before it
} osp_turn;

typedef struct osp_streams {
    osp_turn *turns;      // one for each step, then one for the end of the run, on stream 0, which
                          // comes after all. NULL: one stream, one step after the other
    int32_t count;        // of streams, at least 1
    int32_t event_count;  // that a run needs
} osp_streams;

// Spreads the steps over at most `most` streams (1 to OSP_STREAMS_MOST). `storage`: of the graph's
// values. The turns lie in `arena`. A side stream's first step always waits for something, so that the
// stream joins a capture that the run's own stream began. MEMORY.
osp_status osp_streams_spread(osp_streams *out, osp_arena *arena, const osp_graph *graph,
                              const osp_storage *storage, int32_t most, osp_error *err);

// The first step that may run at the same time as `step`, or that itself.
static inline int32_t osp_streams_first(const osp_streams *s, int32_t step)
{
    return s->turns ? s->turns[step].first : step;
}

#endif
