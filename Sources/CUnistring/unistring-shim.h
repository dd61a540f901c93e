#pragma once
// GNU libunistring, which libidn2 stands on: the tables of Unicode.
#include <unicase.h>
#include <uninorm.h>

// One step of a character's decomposition, whether canonical or for compatibility: how many characters, or less than 0 for none.
static inline int CUnistring_decompose(uint32_t character, uint32_t room[UC_DECOMPOSITION_MAX_LENGTH]) {
    int tag;
    return uc_decomposition(character, &tag, room);
}
