#include "CTOML.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <string_view>
#include <toml++/toml.h>

namespace {

struct Walk {
    void *context;
    void (*visit)(void *, const CTOML_event *);

    void tell(CTOML_kind kind, const toml::node *node, std::string_view key, std::string_view text = {}, int64_t number = 0) const {
        CTOML_event event = {kind, key.data(), key.size(), text.data(), text.size(), number, node ? node->source().begin.line : 0};
        visit(context, &event);
    }

    void walk(const toml::node &node, std::string_view key) const {
        if (auto table = node.as_table()) {
            tell(CTOML_table, &node, key);
            for (auto &&[name, value] : *table) walk(value, name.str());
            tell(CTOML_end, nullptr, {});
        } else if (auto array = node.as_array()) {
            tell(CTOML_array, &node, key);
            for (auto &&value : *array) walk(value, {});
            tell(CTOML_end, nullptr, {});
        } else if (auto string = node.as_string()) {
            tell(CTOML_string, &node, key, string->get());
        } else if (auto integer = node.as_integer()) {
            tell(CTOML_integer, &node, key, {}, integer->get());
        } else if (auto boolean = node.as_boolean()) {
            tell(CTOML_boolean, &node, key, {}, boolean->get() ? 1 : 0);
        } else {
            tell(CTOML_other, &node, key);
        }
    }
};

}  // namespace

bool CTOML_parse(const char *text, size_t length, void *context, void (*visit)(void *, const CTOML_event *),
                 void (*fail)(void *, const char *, size_t, unsigned)) {
    toml::parse_result result = toml::parse(std::string_view(text, length));
    if (!result) {
        const auto &error = result.error();
        fail(context, error.description().data(), error.description().size(), error.source().begin.line);
        return false;
    }
    Walk{context, visit}.walk(result.table(), {});
    return true;
}
