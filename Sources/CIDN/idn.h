#pragma once
// GNU Libidn's stringprep (RFC 3454): the profile SASLprep (RFC 4013), which libidn2 no longer has.
#include <stringprep.h>
#include <stddef.h>

// Prepares a UTF-8 string in place by SASLprep, for storage: unassigned code points are refused. 0 for success.
static inline int CIDN_saslprep(char *text, size_t room) {
    return stringprep(text, room, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep);
}
