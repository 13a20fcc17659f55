/* A conversation. The whole of it is rendered and tokenized for every turn: the session finds out what it holds already. */
#include "app/chat.h"

#include <stdlib.h>
#include <string.h>

#include "app/json.h"
#include "app/paths.h"

mp_err app_chat_open(const app_flags *flags, const moped_model_info *info, const moped_vocab *vocab, app_chat *out) {
    const char *thinking = app_text(flags, F_THINKING), *system = app_text(flags, F_SYSTEM);
    app_ids ids;
    *out = (app_chat){.vocab = vocab, .raw = app_on(flags, F_NO_CHAT) || !info->has_template};
    out->thinking = !thinking ? -1 : strcmp(thinking, "on") == 0;
    mp_err e = app_ids_of(vocab, "", 0, MOPED_TOK_BOS, &ids);
    if (e) return e;
    out->begin = ids.n > 0 && ids.ids[0] == moped_vocab_bos(vocab);
    app_ids_deinit(&ids);
    out->messages = json_array();
    return system && !out->raw ? app_chat_add(out, "system", system, strlen(system)) : MP_OK;
}

void app_chat_close(app_chat *chat) {
    json_decref(chat->messages);
    *chat = (app_chat){0};
}

/* A template sees no NUL (moped_chat_render refuses it), but a model may have said one. */
static json_t *content_of(const char *text, size_t n) {
    char *copy = malloc(n + 1);
    if (!copy) return NULL;
    for (size_t i = 0; i < n; i++) copy[i] = text[i] ? text[i] : ' ';
    json_t *content = app_json_text(copy, n);
    free(copy);
    return content;
}

mp_err app_chat_add(app_chat *chat, const char *role, const char *text, size_t n) {
    json_t *turn = json_pack("{s:s s:o}", "role", role, "content", content_of(text, n));
    return turn && json_array_append_new(chat->messages, turn) == 0 ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
}

size_t app_chat_turns(const app_chat *chat) {
    return json_array_size(chat->messages);
}

void app_chat_pop(app_chat *chat) {
    size_t n = app_chat_turns(chat);
    if (n > 0) json_array_remove(chat->messages, n - 1);
}

static const char *role_at(const app_chat *chat, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(chat->messages, i), "role"));
    return role ? role : "";
}

void app_chat_clear(app_chat *chat) {
    size_t keep = strcmp(role_at(chat, 0), "system") == 0;
    while (app_chat_turns(chat) > keep) app_chat_pop(chat);
}

bool app_chat_drop_oldest(app_chat *chat) {
    size_t first = strcmp(role_at(chat, 0), "system") == 0, n = app_chat_turns(chat), next = first + 1;
    while (next < n && strcmp(role_at(chat, next), "user") != 0) next++;
    if (next >= n) return false; /* the newest question stays */
    for (size_t i = first; i < next; i++) json_array_remove(chat->messages, first);
    return true;
}

/* The variables of the template, as JSON text (free it). */
static char *request_text(const app_chat *chat) {
    json_t *request = json_pack("{s:O s:b}", "messages", chat->messages, "add_generation_prompt", 1);
    if (request && chat->thinking >= 0) json_object_set_new(request, "enable_thinking", json_boolean(chat->thinking));
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

mp_err app_chat_ids(const app_chat *chat, app_ids *out) {
    *out = (app_ids){0};
    if (chat->raw) {
        const json_t *content = json_object_get(json_array_get(chat->messages, app_chat_turns(chat) - 1), "content");
        return app_ids_of(chat->vocab, json_string_value(content), json_string_length(content), MOPED_TOK_BOS | MOPED_TOK_SPECIAL, out);
    }
    char *request = request_text(chat), *text = NULL;
    size_t n = 0;
    if (!request) return mp_fail(MP_E_FAILED, "out of memory");
    mp_err e = moped_chat_render(chat->vocab, request, NULL, &text, &n);
    free(request);
    if (!e) e = app_ids_of(chat->vocab, text, n, MOPED_TOK_SPECIAL, out);
    if (!e && chat->begin) e = app_ids_begin(chat->vocab, out); /* a template that wrote it itself is left as it is */
    if (e) app_ids_deinit(out);
    moped_free(text);
    return e;
}

mp_err app_chat_save(const app_chat *chat, const char *path) {
    app_output out;
    mp_err e = app_output_open(path, &out);
    if (e) return e;
    json_t *o = json_pack("{s:O}", "messages", chat->messages);
    if (!o || json_dumpf(o, out.file, JSON_INDENT(2)) != 0 || fputc('\n', out.file) == EOF) e = mp_fail(MP_E_FAILED, "cannot write %s", path);
    json_decref(o);
    mp_err closed = app_output_close(&out, e == MP_OK);
    return e ? e : closed;
}

/* Is every turn {"role": text, "content": text}? */
static bool are_turns(const json_t *messages) {
    size_t i;
    json_t *turn;
    if (!json_is_array(messages)) return false;
    json_array_foreach(messages, i, turn)
        if (!json_is_string(json_object_get(turn, "role")) || !json_is_string(json_object_get(turn, "content"))) return false;
    return true;
}

mp_err app_chat_load(app_chat *chat, const char *path) {
    char *text = NULL;
    size_t n = 0;
    json_t *o = NULL;
    mp_err e = app_read_file(path, &text, &n);
    if (!e) e = app_json_parse(text, n, path, &o);
    json_t *messages = json_object_get(o, "messages");
    if (!e && !are_turns(messages)) e = mp_fail(MP_E_USAGE, "%s is not a saved chat: it needs \"messages\" with \"role\" and \"content\"", path);
    if (!e) {
        json_decref(chat->messages);
        chat->messages = json_incref(messages);
    }
    json_decref(o);
    free(text);
    return e;
}
