// A small reader of JSON objects: members one by one, their values as spans of the text. For short
// facts in files of others; nothing is allocated. Thread rule: a reader belongs to one thread.
#ifndef OSP_BASE_JSON_H
#define OSP_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

typedef struct osp_json_span {
    const char *text;  // not terminated
    size_t size;
} osp_json_span;

typedef struct osp_json_members {
    const char *at, *end;
    bool first, failed;
} osp_json_members;

// An object's members; white space around it is fine. What comes after it is not looked at.
osp_json_members osp_json_open(osp_json_span object);
// The next one: its key and its value, both as they stand in the text, quotes included. false: the
// end, or (members->failed) something malformed. Values nest at most 64 deep.
bool osp_json_next(osp_json_members *members, osp_json_span *key, osp_json_span *value);

// The value of a member of an object; false where there is none.
bool osp_json_find(osp_json_span object, const char *key, osp_json_span *value);

// A string without its quotes, its escapes resolved, others as they stand, cut to size - 1 bytes;
// returns `out`. Control characters and characters beyond U+FFFF given as escapes become '?'.
char *osp_json_text(osp_json_span value, char *out, size_t size);

#endif
