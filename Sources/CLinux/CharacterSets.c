#include "CLinux.h"

#include <errno.h>
#include <iconv.h>

void *CLinux_charset_open(const char *name) {
    iconv_t descriptor = iconv_open("UTF-8", name);
    return descriptor == (iconv_t)-1 ? NULL : descriptor;
}

enum CLinux_charset_status CLinux_charset_convert(void *descriptor, const void *octets, size_t count, size_t *consumed, void *text,
                           size_t capacity, size_t *produced) {
    char *in = (char *)octets, *out = text;
    size_t in_left = count, out_left = capacity;
    size_t result = iconv(descriptor, octets ? &in : NULL, octets ? &in_left : NULL, &out, &out_left);
    int error = result == (size_t)-1 ? errno : 0;
    *consumed = octets ? count - in_left : 0;
    *produced = capacity - out_left;
    switch (error) {
    case 0: return CLinux_charset_all;
    case E2BIG: return CLinux_charset_full;
    case EINVAL: return CLinux_charset_incomplete;
    default: return CLinux_charset_invalid;
    }
}

void CLinux_charset_close(void *descriptor) { iconv_close(descriptor); }
