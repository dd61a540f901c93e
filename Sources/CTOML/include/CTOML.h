// toml++ for Swift: a document as a sequence of events, each with its line.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CTOML_table,
    CTOML_array,
    CTOML_string,
    CTOML_integer,
    CTOML_boolean,
    /// A kind that no setting has: a float, a date, a time.
    CTOML_other,
    /// The end of the innermost table or array.
    CTOML_end,
} CTOML_kind;

/// One event. Tables and arrays are followed by what is in them and an end.
typedef struct {
    CTOML_kind kind;
    /// The key in the table around it; null in an array and at the root.
    const char *key;
    size_t key_length;
    /// The text of a string.
    const char *text;
    size_t text_length;
    /// The value of an integer or a boolean.
    int64_t number;
    /// Counted from 1; 0 where there is none.
    unsigned line;
} CTOML_event;

/// Parses a document and tells the visitor its events in order. A syntax error is told to `fail` instead, with its line.
/// Returns whether the document could be parsed.
bool CTOML_parse(const char *text, size_t length, void *context, void (*visit)(void *context, const CTOML_event *event),
                 void (*fail)(void *context, const char *reason, size_t reason_length, unsigned line));

#ifdef __cplusplus
}
#endif
