/* A conversation: its turns, how they become tokens, and how they are saved. */
#ifndef APP_CHAT_H
#define APP_CHAT_H

#include <jansson.h>
#include <moped.h>

#include "app/app.h"
#include "app/text.h"

typedef struct app_chat {
    const moped_vocab *vocab;
    json_t *messages; /* [{"role":"user","content":"..."}, ...] */
    int     thinking; /* -1: the template decides; 0, 1 */
    bool    raw;      /* no template: the prompt is the text itself */
    bool    begin;    /* the vocabulary puts its begin token in front of a text */
} app_chat;

/* raw is set by --no-chat, or when the model has no template. Errors: as moped_tokenize. */
mp_err app_chat_open(const app_flags *flags, const moped_model_info *info, const moped_vocab *vocab, app_chat *out);
void   app_chat_close(app_chat *chat);

mp_err app_chat_add(app_chat *chat, const char *role, const char *text, size_t n);
void   app_chat_pop(app_chat *chat);             /* forgets the last turn */
void   app_chat_clear(app_chat *chat);           /* forgets all but the system's turn */
bool   app_chat_drop_oldest(app_chat *chat);     /* forgets the oldest question and its answer; false: only one is left */
size_t app_chat_turns(const app_chat *chat);

/* The whole conversation as tokens, ready for the answer. In raw mode: the last turn's text. *out: app_ids_deinit frees it. */
mp_err app_chat_ids(const app_chat *chat, app_ids *out);

mp_err app_chat_save(const app_chat *chat, const char *path);
mp_err app_chat_load(app_chat *chat, const char *path); /* on error the chat is as it was */
#endif
