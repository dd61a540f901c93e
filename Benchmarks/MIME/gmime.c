// gmime-bench structure|decode FILE...: reads the files in turn with GMime.
#include <fcntl.h>
#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t parts, octets;
static gboolean decoding;

static void each(GMimeObject *parent, GMimeObject *part, gpointer unused) {
    (void)parent, (void)unused;
    parts++;
    if (!decoding || !GMIME_IS_PART(part)) return;
    GMimeDataWrapper *content = g_mime_part_get_content((GMimePart *)part);
    if (!content) return;
    GMimeStream *memory = g_mime_stream_mem_new();
    octets += g_mime_data_wrapper_write_to_stream(content, memory);
    g_object_unref(memory);
}

int main(int count, char **arguments) {
    if (count < 2) return 64;
    decoding = !strcmp(arguments[1], "decode");
    g_mime_init();
    size_t capacity = 1 << 20;
    char *buffer = malloc(capacity);
    for (int i = 2; i < count; i++) {
        int descriptor = open(arguments[i], O_RDONLY);
        if (descriptor < 0) continue;
        size_t length = 0;
        ssize_t got;
        while ((got = read(descriptor, buffer + length, capacity - length)) > 0) {
            length += got;
            if (length == capacity) buffer = realloc(buffer, capacity *= 2);
        }
        close(descriptor);
        GByteArray *octets_of_message = g_byte_array_new();
        g_byte_array_append(octets_of_message, (const guint8 *)buffer, length);
        GMimeStream *stream = g_mime_stream_mem_new_with_byte_array(octets_of_message);
        GMimeParser *parser = g_mime_parser_new_with_stream(stream);
        GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
        if (message) {
            g_mime_message_foreach(message, each, NULL);
            g_object_unref(message);
        }
        g_object_unref(parser);
        g_object_unref(stream);
    }
    printf("%zu %zu\n", parts, octets);
    return 0;
}
