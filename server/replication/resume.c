/* SPDX-License-Identifier: BSD-3-Clause */
/* resume: see the header. Persistence knows nothing of replication, which begins saves: so it calls
 * what is set here.
 */
#include "server/replication/resume.h"

#include "server/persistence/save.h"
#include "server/replication/primary.h"
#include "server/replication/upstream.h"
#include "server/worker/worker.h"

#include <string.h>

_Static_assert(MANIFEST_STREAM_ID_BYTES == REPLICATION_ID_BYTES, "one id");

static void place(struct worker *parker, struct manifest_stream *ret) {
    const struct server *server = parker->server;
    struct primary_place place;
    *ret = (struct manifest_stream){0};
    ret->is = server->role.replica ? upstream_place(server->upstream, &place)
                                   : primary_own_place(server->primary, parker, &place);
    if (ret->is) {
        memcpy(ret->id, place.id, sizeof ret->id);
        ret->offset = place.offset;
        ret->db = place.db;
    }
}

static void resume(struct worker *parker, const struct manifest_stream *stream) {
    const struct server *server = parker->server;
    struct primary_place place = {.offset = stream->offset, .db = stream->db};
    memcpy(place.id, stream->id, sizeof place.id);
    if (server->role.replica) {
        primary_set(server->primary, &place);
    } else {
        primary_resume(server->primary, parker, &place);
    }
}

void resume_configure(struct server *server) {
    server->saver->place = place;
    server->saver->resume = resume;
}
