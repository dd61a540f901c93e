#pragma once
#include <sqlite3.h>

// Blobs are copied by SQLite before the call returns; Swift has no name for this cast of -1.
static inline int CSQLite_bind_octets(sqlite3_stmt *statement, int index, const void *octets, int count) {
    return sqlite3_bind_blob(statement, index, octets, count, SQLITE_TRANSIENT);
}

static inline int CSQLite_bind_text(sqlite3_stmt *statement, int index, const char *octets, int count) {
    return sqlite3_bind_text(statement, index, octets, count, SQLITE_TRANSIENT);
}
