/* SPDX-License-Identifier: BSD-3-Clause */
/* Ranges of slots that move at once, as commands name them: of both ends (brain_import.c,
 * brain_export.c). */
#include "cluster/brain/brain_private.h"

#include "base/must.h"
#include "base/num.h"

#include <stdlib.h>

void brain_ranges_text(const struct brain_ranges *ranges, struct text *ret) {
    text_init(ret);
    for (unsigned i = 0; i < ranges->count; i++) {
        text_appendf(ret, "%s%u-%u", i > 0 ? " " : "", ranges->list[i].first, ranges->list[i].last);
    }
    text_append(ret, "", 1);
    ret->len--;
}

bool brain_ranges_have(const struct brain_ranges *ranges, unsigned slot) {
    for (unsigned i = 0; i < ranges->count; i++) {
        if (slot >= ranges->list[i].first && slot <= ranges->list[i].last) {
            return true;
        }
    }
    return false;
}

void brain_ranges_bits(const struct brain_ranges *ranges, uint8_t bits[WIRE_SLOTS_BYTES]) {
    for (unsigned i = 0; i < ranges->count; i++) {
        for (unsigned slot = ranges->list[i].first; slot <= ranges->list[i].last; slot++) {
            brain_set_bit(bits, slot);
        }
    }
}

/* ---- Read ---- */

bool brain_refuse(struct brain_request *request, const char *error) {
    reply_error(request->reply, error);
    return false;
}

bool brain_may_migrate(const struct brain *brain, struct reply *reply) {
    const char *why = !brain_is_primary(brain->self)
                          ? "ERR Slot migration can only be used on primary nodes."
                      : brain->importing.count > 0 ? "ERR Slots are being manually imported"
                      : brain->migrating.count > 0 ? "ERR Slots are being manually migrated"
                                                   : NULL;
    if (why != NULL) {
        reply_error(reply, why);
    }
    return why == NULL;
}

static bool read_slot(struct brain_request *request, struct bytes word, unsigned *ret) {
    int64_t n;
    if (!num_parse_i64(word, &n) || n < 0 || n >= MAP_SLOTS) {
        return brain_refuse(request, "ERR Invalid or out of range slot");
    }
    *ret = (unsigned)n;
    return true;
}

static bool check_range(struct brain_request *request, unsigned first, unsigned last) {
    if (first > last) {
        reply_errorf(request->reply, "ERR Start slot number %u is greater than end slot number %u.",
                     first, last);
        return false;
    }
    for (unsigned slot = first; slot <= last; slot++) {
        struct brain_node *owner = brain_owner(request->brain, slot);
        if (request->from_primary) {
            break; /* this one's map may be behind */
        }
        if (owner == NULL) {
            reply_errorf(request->reply, "ERR Slot %u has no node served.", slot);
            return false;
        }
        if (request->owner != NULL && request->owner != owner) {
            return brain_refuse(request, "ERR Requested slots span multiple shards");
        }
        request->owner = owner;
    }
    for (unsigned i = 0; i < request->slots.count; i++) {
        const struct brain_range *before = &request->slots.list[i];
        if (first <= before->last && before->first <= last) {
            reply_errorf(request->reply, "ERR Slot range %u-%u overlaps with previous range %u-%u.",
                         first, last, before->first, before->last);
            return false;
        }
    }
    return true;
}

bool brain_read_ranges(struct brain_request *request) {
    struct brain_ranges *slots = &request->slots;
    int64_t number;
    unsigned first, last;
    slots->list = must_calloc(request->count / 2 + 1, sizeof *slots->list);
    slots->count = 0;
    while (request->at < request->count && num_parse_i64(request->words[request->at], &number)) {
        if (!read_slot(request, request->words[request->at++], &first)) {
            return false;
        }
        if (request->at == request->count) {
            return brain_refuse(request, "ERR No end slot for final slot range");
        }
        if (!read_slot(request, request->words[request->at++], &last) ||
            !check_range(request, first, last)) {
            return false;
        }
        slots->list[slots->count++] = (struct brain_range){(uint16_t)first, (uint16_t)last};
    }
    return slots->count > 0 || brain_refuse(request, "ERR No slot ranges specified");
}
