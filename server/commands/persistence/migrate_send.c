/* SPDX-License-Identifier: BSD-3-Clause */
/* migrate_send: MIGRATE at home: the talk with the other server. As Valkey's, step by step, but
 * that nobody else waits for it:
 *
 *     [connect] -> AUTH, SELECT (if it has another database), RESTORE for each key that is still
 *     alive -> an answer to each of these -> the connection is kept
 *
 * A connection that broke before anything was answered is made once more, because one that was kept
 * may have been closed by the other side. Texts of errors tell the step in which it ended. Only
 * what was answered with a status was accepted: what is no answer to RESTORE must not cost a key.
 */
#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "server/call/parcel.h"
#include "server/commands/persistence/migrate.h"
#include "server/commands/persistence/persistence.h"
#include "server/config/config.h"
#include "server/worker/peers.h"
#include "server/worker/view.h"

#include <errno.h>
#include <stdlib.h>

/* Requests are made when those before have left, so many bytes at once or a little more. */
#define FILL_BYTES (256 * 1024)
/* A dump of this size is sent from where it is. */
#define PINNED_BYTES_MIN (8 * 1024)

struct shipment {
    struct sending *sending;
    struct peer *peer;
    struct migrate_args args;
    bool connected; /* the step before is over */
    bool retried;
    /* Answers still to come of AUTH and SELECT, and what they said if it was an error. */
    bool awaits_auth, awaits_select;
    char *auth_error, *select_error;
    uint32_t next;     /* parcel to be sent */
    uint32_t answered; /* parcel whose answer was the last */
    uint32_t sent, answers;
    char *error; /* the first of the other server */
};

/* ---- Requests ---- */

static void put_word(struct outbuf *out, struct bytes word) {
    char head[NUM_I64_BYTES + 3] = "$";
    size_t len = 1 + num_format_i64(head + 1, (int64_t)word.len);
    memcpy(head + len, "\r\n", 2);
    outbuf_append(out, head, len + 2);
    if (word.len >= PINNED_BYTES_MIN) {
        outbuf_append_pinned(out, word, NULL, NULL);
    } else {
        outbuf_append(out, word.ptr, word.len);
    }
    outbuf_append(out, "\r\n", 2);
}

static void put_number(struct outbuf *out, int64_t number) {
    char digits[NUM_I64_BYTES];
    put_word(out, bytes_make(digits, num_format_i64(digits, number)));
}

static void put_head(struct outbuf *out, unsigned words) {
    char head[] = {'*', (char)('0' + words), '\r', '\n'};
    outbuf_append(out, head, sizeof(head));
}

/* What has run out since it was packed is left out. */
static bool put_restore(struct shipment *shipment, struct parcel *parcel, int64_t now_ms) {
    struct outbuf *out = &shipment->peer->out;
    int64_t ttl_ms = 0;
    if (parcel->expires_at != NO_EXPIRY) {
        ttl_ms = parcel->expires_at - now_ms;
        if (ttl_ms < 0) {
            return false;
        }
        ttl_ms = ttl_ms > 0 ? ttl_ms : 1;
    }
    put_head(out, shipment->args.replace ? 5 : 4);
    bool cluster = worker_config(shipment->sending->worker)->cluster_enabled;
    put_word(out, cluster ? BYTES("RESTORE-ASKING") : BYTES("RESTORE"));
    put_word(out, shipment->sending->argv[parcel->index]);
    put_number(out, ttl_ms);
    put_word(out, text_bytes(&parcel->dump));
    if (shipment->args.replace) {
        put_word(out, BYTES("REPLACE"));
    }
    return true;
}

static void fill(struct shipment *shipment) {
    const struct sending *sending = shipment->sending;
    int64_t now_ms = rt_wall_ms(worker_rt(sending->worker));
    while (shipment->next < sending->count && shipment->peer->out.bytes < FILL_BYTES) {
        struct parcel *parcel = &sending->parcels[shipment->next++];
        parcel->sent = parcel->present && put_restore(shipment, parcel, now_ms);
        shipment->sent += parcel->sent;
    }
    peer_send(shipment->peer);
}

static bool all_is_sent(const struct shipment *shipment) {
    return shipment->next == shipment->sending->count && shipment->peer->out.bytes == 0 &&
           !rt_stream_sending(&shipment->peer->stream);
}

/* ---- The end ---- */

static void end(struct shipment *shipment) {
    struct sending *sending = shipment->sending;
    if (shipment->error != NULL) {
        reply_errorf(&sending->reply, "ERR Target instance replied with error: %s",
                     shipment->error);
    }
    bool accepted = false;
    for (uint32_t i = 0; i < sending->count; i++) {
        accepted |= sending->parcels[i].accepted;
    }
    sending->acts = accepted && !shipment->args.copy;
    free(shipment->auth_error);
    free(shipment->select_error);
    free(shipment->error);
    free(shipment);
    sending->over(sending);
}

/* Everything has left and was answered. */
static void end_if_done(struct shipment *shipment) {
    if (shipment->awaits_auth || shipment->awaits_select || shipment->answers < shipment->sent ||
        !all_is_sent(shipment)) {
        return;
    }
    if (shipment->error == NULL) {
        reply_ok(&shipment->sending->reply);
        shipment->peer->last_db = shipment->args.db;
    } else {
        shipment->peer->last_db = -1;
    }
    peer_give_back(shipment->peer);
    end(shipment);
}

/* ---- What comes ---- */

static void ready(void *arg) {
    struct shipment *shipment = arg;
    const struct migrate_args *args = &shipment->args;
    struct outbuf *out = &shipment->peer->out;
    shipment->connected = true;
    if (args->has_auth) {
        put_head(out, args->user.ptr != NULL ? 3 : 2);
        put_word(out, BYTES("AUTH"));
        if (args->user.ptr != NULL) {
            put_word(out, args->user);
        }
        put_word(out, args->password);
    }
    bool selects = shipment->peer->last_db != args->db;
    if (selects) {
        put_head(out, 2);
        put_word(out, BYTES("SELECT"));
        put_number(out, args->db);
    }
    shipment->awaits_auth = args->has_auth;
    shipment->awaits_select = selects;
    fill(shipment);
    end_if_done(shipment); /* of keys that have all run out nothing is sent */
}

static void emptied(void *arg) {
    fill(arg);
    end_if_done(arg);
}

static char *copy_of(struct bytes text) {
    char *copy = must_malloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

static void note_restored(struct shipment *shipment, const struct reader_value *value) {
    struct parcel *parcels = shipment->sending->parcels;
    while (!parcels[shipment->answered].sent) {
        shipment->answered++;
    }
    struct parcel *parcel = &parcels[shipment->answered++];
    shipment->answers++;
    const char *before =
        shipment->auth_error != NULL ? shipment->auth_error : shipment->select_error;
    if (before == NULL && value->kind == READER_STATUS) {
        parcel->accepted = true;
    } else if (shipment->error == NULL) {
        struct bytes text = before != NULL ? bytes_make(before, strlen(before)) : value->text;
        shipment->error = copy_of(text);
    }
}

static void answer(void *arg, const struct reader_value *value) {
    struct shipment *shipment = arg;
    bool is_error = value->kind == READER_ERROR;
    bool expected =
        shipment->awaits_auth || shipment->awaits_select || shipment->answers < shipment->sent;
    if (!expected || (!is_error && value->kind != READER_STATUS)) {
        peer_close(shipment->peer, -EPROTO);
        return;
    }
    if (shipment->awaits_auth) {
        shipment->awaits_auth = false;
        shipment->auth_error = is_error ? copy_of(value->text) : NULL;
    } else if (shipment->awaits_select) {
        shipment->awaits_select = false;
        shipment->select_error = is_error ? copy_of(value->text) : NULL;
    } else {
        note_restored(shipment, value);
    }
    end_if_done(shipment);
}

static void begin(struct shipment *shipment);

/* As a connection that Valkey waits for with its own eyes: whoever refuses it is heard of when
 * something is written. */
static bool is_refusal(int error) {
    return error == -ECONNREFUSED || error == -ECONNRESET || error == -EHOSTUNREACH;
}

static const char *failed_step(const struct shipment *shipment, int error, bool unsent) {
    if (!shipment->connected) {
        return is_refusal(error) ? "writing to target instance" : "connecting to the client";
    }
    bool writing = shipment->next < shipment->sending->count || (unsent && error != 0);
    return writing ? "writing to target instance" : "reading to target instance";
}

static bool may_retry(const struct shipment *shipment, int error) {
    bool again = error != -ETIMEDOUT && error != -EPROTO && error != -ESHUTDOWN &&
                 (shipment->connected || is_refusal(error));
    return again && shipment->answers == 0 && !shipment->retried;
}

static void lost(void *arg, int error, bool unsent) {
    struct shipment *shipment = arg;
    if (may_retry(shipment, error)) {
        shipment->retried = true;
        begin(shipment);
        return;
    }
    if (shipment->error == NULL) {
        reply_errorf(&shipment->sending->reply, "IOERR error or timeout %s",
                     failed_step(shipment, error, unsent));
    }
    end(shipment);
}

static const struct peer_user shipment_user = {
    .ready = ready,
    .emptied = emptied,
    .reply = answer,
    .lost = lost,
};

/* ---- The beginning ---- */

static void begin(struct shipment *shipment) {
    const struct sending *sending = shipment->sending;
    free(shipment->auth_error);
    free(shipment->select_error);
    shipment->auth_error = shipment->select_error = NULL;
    shipment->next = shipment->answered = shipment->sent = 0;
    shipment->connected = false;
    shipment->peer = peer_take(sending->worker, sending->argv[1], num_parse_loose(sending->argv[2]),
                               shipment->args.timeout_ms, &shipment_user, shipment);
    if (peer_is_open(shipment->peer)) {
        ready(shipment);
    }
}

bool migrate_send(struct sending *sending) {
    bool any = false;
    for (uint32_t i = 0; i < sending->count; i++) {
        any |= sending->parcels[i].present;
    }
    if (!any) {
        reply_status(&sending->reply, "NOKEY");
        return true;
    }
    struct shipment *shipment = must_calloc(1, sizeof(*shipment));
    shipment->sending = sending;
    const char *wrong = migrate_args_read(sending->argv, sending->argc, &shipment->args);
    check(wrong == NULL); /* the owners have read them */
    begin(shipment);
    return false;
}
