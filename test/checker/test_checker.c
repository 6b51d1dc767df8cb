/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories made by hand, one or more per anomaly: each must be refused by its right name, and its
 * nearest good relative must pass. What the two differ in is what the check is about.
 */
#include "test/checker/checker.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* How often the check of a text finds the name; NULL: anything. All findings go to `ret_text`,
 * which the caller frees, when it is not NULL. */
static size_t found(const char *text, const char *name, char **ret_text) {
    struct history history;
    struct verdict verdict;
    history_init(&history);
    verdict_init(&verdict);
    size_t line = 0;
    cr_assert(history_parse(&history, bytes_of_text(text), &line) == 0, "line %zu", line);
    bool good = checker_check(&history, &verdict);
    size_t count = verdict_count(&verdict, name);
    cr_assert(good == (verdict_count(&verdict, NULL) == 0));
    if (ret_text != NULL) {
        size_t bytes;
        FILE *out = open_memstream(ret_text, &bytes);
        verdict_print(&verdict, out);
        fclose(out);
    }
    verdict_fini(&verdict);
    history_fini(&history);
    return count;
}

#define REFUSED(name, text)                                                                        \
    do {                                                                                           \
        char *said;                                                                                \
        size_t count = found(text, name, &said);                                                   \
        cr_expect(count > 0, "no %s, but: %s", name, said);                                        \
        free(said);                                                                                \
    } while (0)
#define PASSES(text)                                                                               \
    do {                                                                                           \
        char *said;                                                                                \
        size_t count = found(text, NULL, &said);                                                   \
        cr_expect(count == 0, "%s", said);                                                         \
        free(said);                                                                                \
    } while (0)

/* One operation: process, call, return, outcome, steps. */
#define OK(p, call, ret, steps)   "> " #p " " #call " X " steps "\n< " #p " " #ret " ok " steps "\n"
#define FAIL(p, call, ret, steps) "> " #p " " #call " X " steps "\n< " #p " " #ret " fail\n"
#define UNKNOWN(p, call, steps)   "> " #p " " #call " X " steps "\n< " #p " " #call " unknown\n"

Test(checker, an_empty_history_passes) {
    PASSES("");
    PASSES("# nothing\n");
}

/* ---- Registers ----------------------------------------------------------------------------- */

Test(checker, a_register_read_after_its_write_passes) {
    PASSES(OK(1, 10, 20, "w:x=1") OK(2, 30, 40, "r:x=1") OK(3, 12, 15, "r:x=nil"));
    /* A write and a read of the old value that overlap are fine in any order. */
    PASSES(OK(1, 10, 20, "w:x=1") OK(2, 30, 60, "w:x=2") OK(3, 35, 40, "r:x=2")
               OK(4, 36, 41, "r:x=2"));
}

Test(checker, a_read_of_what_was_overwritten_is_stale) {
    REFUSED("stale read", OK(1, 10, 20, "w:x=1") OK(1, 30, 40, "w:x=2") OK(2, 50, 60, "r:x=1")
                              OK(2, 70, 80, "r:x=2"));
    REFUSED("not linearizable",
            OK(1, 10, 20, "w:x=1") OK(1, 30, 40, "w:x=2") OK(2, 50, 60, "r:x=1"));
    /* Returned when the other was called at the very same time: concurrent. */
    PASSES(OK(1, 10, 20, "w:x=1") OK(1, 30, 50, "w:x=2") OK(2, 50, 60, "r:x=1"));
}

Test(checker, a_read_of_nil_after_a_write_is_refused) {
    REFUSED("not linearizable", OK(1, 10, 20, "w:x=1") OK(2, 30, 40, "r:x=nil"));
    /* No read ever shows what was written. */
    REFUSED("lost write", OK(1, 10, 20, "w:x=1") OK(2, 30, 40, "r:x=nil"));
}

Test(checker, two_readers_that_see_two_writes_in_two_orders_are_refused) {
    const char *text = OK(1, 10, 100, "w:x=1") OK(2, 10, 100, "w:x=2") OK(3, 20, 30, "r:x=1")
        OK(3, 40, 50, "r:x=2") OK(4, 60, 70, "r:x=1");
    REFUSED("not linearizable", text);
    PASSES(OK(1, 10, 100, "w:x=1") OK(2, 10, 100, "w:x=2") OK(3, 20, 30, "r:x=1")
               OK(3, 40, 50, "r:x=2") OK(4, 60, 70, "r:x=2"));
}

Test(checker, a_value_that_nobody_wrote_is_refused) {
    REFUSED("unwritten value", OK(1, 10, 20, "w:x=1") OK(2, 30, 40, "r:x=7"));
    REFUSED("unwritten value", OK(1, 10, 20, "a:x=1") OK(2, 30, 40, "l:x=1,7"));
}

Test(checker, a_read_before_its_write_was_called_is_refused) {
    REFUSED("future read", OK(1, 10, 20, "r:x=1") OK(2, 30, 40, "w:x=1"));
    REFUSED("G1c-realtime", OK(1, 10, 20, "r:x=1") OK(2, 30, 40, "w:x=1"));
    PASSES(OK(1, 10, 30, "r:x=1") OK(2, 30, 40, "w:x=1"));
}

Test(checker, an_unknown_write_may_happen_late_or_never) {
    PASSES(UNKNOWN(1, 10, "w:x=1") OK(2, 20, 30, "w:x=2") OK(2, 40, 50, "r:x=2")
               OK(2, 60, 70, "r:x=1"));
    PASSES(UNKNOWN(1, 10, "w:x=1") OK(2, 20, 30, "w:x=2") OK(2, 40, 50, "r:x=2"));
    /* But it happens once. */
    REFUSED("not linearizable", UNKNOWN(1, 10, "w:x=1") OK(2, 20, 30, "w:x=2")
                                    OK(2, 40, 50, "r:x=1") OK(2, 60, 70, "r:x=2"));
}

Test(checker, a_write_that_failed_must_not_be_read) {
    REFUSED("aborted read", FAIL(1, 10, 20, "w:x=1") OK(2, 30, 40, "r:x=1"));
    REFUSED("aborted read", FAIL(1, 10, 20, "a:x=1") OK(2, 30, 40, "l:x=1"));
    PASSES(FAIL(1, 10, 20, "w:x=1") OK(2, 30, 40, "r:x=nil"));
}

Test(checker, two_updates_of_one_version_are_a_lost_update) {
    REFUSED("lost update",
            OK(1, 10, 20, "w:x=1") OK(2, 30, 60, "r:x=1 w:x=2") OK(3, 30, 60, "r:x=1 w:x=3"));
    PASSES(OK(1, 10, 20, "w:x=1") OK(2, 30, 60, "r:x=1 w:x=2") OK(3, 30, 60, "r:x=2 w:x=3"));
    REFUSED("lost update", OK(2, 30, 60, "r:x=nil w:x=2") OK(3, 30, 60, "r:x=nil w:x=3"));
}

Test(checker, an_update_of_a_version_that_was_gone_is_refused) {
    const char *text = OK(1, 10, 20, "w:x=1") OK(2, 30, 40, "w:x=2") OK(3, 50, 60, "r:x=1 w:x=3");
    REFUSED("G0-realtime", text);
    /* It read before the other wrote, and wrote after. */
    REFUSED("G1c", OK(1, 10, 20, "r:x=nil w:x=1") OK(2, 30, 90, "r:x=3 w:x=2")
                       OK(3, 30, 90, "r:x=2 w:x=3"));
}

/* ---- Several registers --------------------------------------------------------------------- */

Test(checker, half_of_a_mset_is_a_torn_read) {
    REFUSED("torn read",
            OK(1, 10, 20, "w:x=1 w:y=1") OK(2, 30, 60, "w:x=2 w:y=2") OK(3, 30, 60, "r:x=2 r:y=1"));
    REFUSED("torn read", OK(1, 10, 60, "w:x=1 w:y=1") OK(2, 20, 30, "r:x=1 r:y=nil"));
    /* Another may have written one of them alone. */
    PASSES(OK(1, 10, 20, "w:x=1 w:y=1") OK(2, 10, 60, "w:x=2") OK(3, 30, 60, "r:x=2 r:y=1"));
    REFUSED("torn read",
            OK(2, 10, 20, "w:y=5") OK(1, 30, 60, "w:x=1 w:y=1") OK(3, 30, 60, "r:x=1 r:y=5"));
}

Test(checker, an_unknown_transaction_that_was_seen_is_whole) {
    REFUSED("torn read", UNKNOWN(1, 10, "w:x=1 w:y=1") OK(2, 20, 30, "r:x=1 r:y=nil"));
    REFUSED("stale read",
            UNKNOWN(1, 10, "w:x=1 w:y=1") OK(2, 20, 30, "r:x=1") OK(2, 40, 50, "r:y=nil"));
    PASSES(UNKNOWN(1, 10, "w:x=1 w:y=1") OK(2, 20, 30, "r:x=nil") OK(2, 40, 50, "r:y=1"));
}

Test(checker, readers_that_see_two_transactions_in_two_orders_are_refused) {
    /* The first says 1 then 2 (by y), the second 2 then 1 (by x). */
    REFUSED("G0", OK(1, 10, 90, "w:x=1 w:y=1 w:z=1") OK(2, 10, 90, "w:x=2 w:y=2 w:v=2")
                      OK(3, 20, 90, "r:z=1 r:y=2") OK(4, 20, 90, "r:v=2 r:x=1"));
    PASSES(OK(1, 10, 90, "w:x=1 w:y=1 w:z=1") OK(2, 10, 90, "w:x=2 w:y=2 w:v=2")
               OK(3, 20, 90, "r:z=1 r:y=2") OK(4, 20, 90, "r:v=2 r:x=2"));
}

Test(checker, two_writes_skew_is_refused) {
    REFUSED("G2", OK(1, 10, 90, "r:x=nil r:y=nil w:x=1") OK(2, 10, 90, "r:x=nil r:y=nil w:y=2"));
    PASSES(OK(1, 10, 90, "r:x=nil r:y=nil w:x=1") OK(2, 10, 90, "r:x=1 r:y=nil w:y=2"));
}

Test(checker, a_read_that_was_overtaken_is_refused) {
    /* T3 saw y of T2 and x of before T2, which T2 alone overwrote. */
    REFUSED("G-single", OK(1, 10, 20, "w:x=1") OK(2, 30, 90, "r:x=1 w:x=2 w:z=2")
                            OK(4, 30, 90, "r:z=2 w:y=4") OK(3, 30, 90, "r:x=1 r:y=4"));
    PASSES(OK(1, 10, 20, "w:x=1") OK(2, 30, 90, "r:x=1 w:x=2 w:z=2") OK(4, 30, 90, "r:z=2 w:y=4")
               OK(3, 30, 90, "r:x=2 r:y=4"));
}

Test(checker, an_operation_that_does_not_see_itself_is_refused) {
    REFUSED("internal inconsistency", OK(1, 10, 20, "w:x=1 r:x=nil"));
    REFUSED("internal inconsistency", OK(1, 10, 20, "a:x=1 l:x="));
    REFUSED("internal inconsistency", OK(1, 10, 20, "i:x=1 c:x=0"));
    PASSES(OK(1, 10, 20, "w:x=1 r:x=1 a:y=1 l:y=1 i:z=1 c:z=1"));
}

Test(checker, two_reads_in_one_transaction_must_agree) {
    REFUSED("unrepeatable read", OK(1, 10, 90, "w:x=1") OK(2, 10, 90, "r:x=nil r:x=1"));
    REFUSED("unrepeatable read", OK(1, 10, 90, "a:x=1") OK(2, 10, 90, "l:x= l:x=1"));
}

Test(checker, what_a_transaction_wrote_over_must_not_be_read) {
    REFUSED("intermediate read", OK(1, 10, 90, "w:x=1 w:x=2") OK(2, 10, 90, "r:x=1"));
    REFUSED("intermediate read", OK(1, 10, 90, "a:x=1@1 a:x=2@2") OK(2, 10, 90, "l:x=1"));
    REFUSED("intermediate read", OK(1, 10, 90, "i:x=1 i:x=2") OK(2, 10, 90, "c:x=1"));
    PASSES(OK(1, 10, 90, "a:x=1@1 a:x=2@2") OK(2, 10, 90, "l:x=1,2"));
}

/* ---- Lists --------------------------------------------------------------------------------- */

Test(checker, lists_that_grow_pass) {
    PASSES(OK(1, 10, 20, "a:x=1@1") OK(2, 30, 40, "a:x=2@2 l:x=1,2") OK(3, 15, 16, "l:x=1")
               OK(3, 17, 18, "l:x=1") OK(3, 50, 60, "l:x=1,2"));
}

Test(checker, a_token_twice_is_a_duplicate) {
    REFUSED("duplicate", OK(1, 10, 20, "a:x=1") OK(2, 30, 40, "l:x=1,1"));
    REFUSED("duplicate", OK(1, 10, 20, "a:x=1@3"));
    REFUSED("duplicate", OK(1, 10, 20, "i:x=3"));
}

Test(checker, reads_that_contradict_each_other_are_an_incompatible_order) {
    REFUSED("incompatible order", OK(1, 10, 90, "a:x=1") OK(2, 10, 90, "a:x=2")
                                      OK(3, 20, 90, "l:x=1,2") OK(4, 20, 90, "l:x=2"));
    REFUSED("incompatible order",
            OK(1, 10, 90, "a:x=1@2") OK(2, 10, 90, "a:x=2@1") OK(3, 20, 90, "l:x=1,2"));
}

Test(checker, two_appends_at_one_place_are_a_lost_update) {
    REFUSED("lost update", OK(1, 10, 90, "a:x=1@1") OK(2, 10, 90, "a:x=2@1"));
    REFUSED("lost update",
            OK(1, 10, 20, "a:x=1") OK(2, 30, 60, "l:x=1 a:x=2") OK(3, 30, 60, "l:x=1 a:x=3"));
}

Test(checker, an_append_that_no_later_read_shows_is_a_lost_write) {
    REFUSED("lost write", OK(1, 10, 20, "a:x=1@1") OK(1, 30, 40, "a:x=2") OK(2, 50, 60, "l:x=1"));
    REFUSED("lost write", OK(1, 10, 20, "a:x=1@1") OK(1, 30, 40, "a:x=2@2") OK(2, 50, 60, "l:x=1"));
    PASSES(OK(1, 10, 20, "a:x=1@1") OK(1, 30, 50, "a:x=2") OK(2, 50, 60, "l:x=1"));
    PASSES(OK(1, 10, 20, "a:x=1@1") UNKNOWN(1, 30, "a:x=2") OK(2, 50, 60, "l:x=1"));
}

Test(checker, a_list_that_was_longer_before_is_stale) {
    REFUSED("stale read", OK(1, 10, 20, "a:x=1@1") OK(1, 30, 40, "a:x=2@2") OK(2, 50, 60, "l:x=1")
                              OK(3, 70, 80, "l:x=1,2"));
}

Test(checker, half_of_an_append_to_two_lists_is_a_torn_read) {
    REFUSED("torn read", OK(1, 10, 90, "a:x=1@1 a:y=1@1") OK(2, 20, 80, "l:x=1 l:y="));
    PASSES(OK(1, 10, 90, "a:x=1@1 a:y=1@1") OK(2, 20, 80, "l:x= l:y="));
    PASSES(OK(1, 10, 90, "a:x=1@1 a:y=1@1") OK(2, 20, 80, "l:x=1 l:y=1"));
}

Test(checker, a_transaction_never_seen_whole_is_refused) {
    /* Nobody saw both keys at once: x shows it, and later y does not. */
    REFUSED("lost write",
            OK(1, 10, 20, "a:x=1@1 a:y=2@1") OK(2, 30, 40, "l:x=1") OK(2, 50, 60, "l:y="));
}

Test(checker, writes_of_two_lists_in_two_orders_are_G0) {
    REFUSED("G0", OK(1, 10, 90, "a:x=1@1 a:y=1@2") OK(2, 10, 90, "a:x=2@2 a:y=2@1"));
    PASSES(OK(1, 10, 90, "a:x=1@1 a:y=1@1") OK(2, 10, 90, "a:x=2@2 a:y=2@2"));
}

Test(checker, reading_each_others_appends_is_G1c) {
    REFUSED("G1c", OK(1, 10, 90, "a:x=1@1 l:y=2") OK(2, 10, 90, "a:y=2@1 l:x=1"));
    PASSES(OK(1, 10, 90, "a:x=1@1 l:y=2") OK(2, 10, 90, "a:y=2@1 l:x="));
}

Test(checker, missing_each_others_appends_is_G2) {
    REFUSED("G2", OK(1, 10, 90, "a:x=1@1 l:y=") OK(2, 10, 90, "a:y=2@1 l:x="));
}

Test(checker, an_order_against_time_is_realtime) {
    REFUSED("G0-realtime", OK(1, 10, 20, "a:x=1@2") OK(2, 30, 40, "a:x=2@1"));
    /* A reader that overlaps both keys' writers sees the later and not the earlier. */
    REFUSED("G-single-realtime",
            OK(1, 10, 20, "a:x=1@1") OK(2, 30, 40, "a:y=1@1") OK(3, 5, 90, "l:x= l:y=1"));
    PASSES(OK(1, 10, 20, "a:x=1@1") OK(2, 30, 40, "a:y=1@1") OK(3, 5, 90, "l:x=1 l:y="));
}

Test(checker, a_connection_sees_its_own_pipeline) {
    /* All sent before the first answer. */
    REFUSED("lost write", "> 1 10 X w:x=1\n> 1 10 X w:y=1\n> 1 10 X r:x\n< 1 20 ok w:x=1\n"
                          "< 1 20 ok w:y=1\n< 1 20 ok r:x=nil\n");
    PASSES("> 1 10 X w:x=1\n> 1 10 X r:x\n< 1 20 ok w:x=1\n< 1 20 ok r:x=1\n");
    /* Of different keys it may see any order. */
    PASSES("> 1 10 X w:x=1\n> 1 10 X w:y=1\n< 1 20 ok w:x=1\n< 1 20 ok w:y=1\n" OK(
        2, 11, 15, "r:x=nil r:y=1"));
}

Test(checker, in_strict_order_a_pipeline_happens_as_it_was_sent) {
#define SENT "> 1 10 X w:x=1\n> 1 10 X w:y=1\n< 1 20 ok w:x=1\n< 1 20 ok w:y=1\n"
    const char *text = "! strict\n" SENT OK(2, 11, 15, "r:x=nil r:y=1");
    REFUSED("G-single-realtime", text);
    PASSES(SENT OK(2, 11, 15, "r:x=nil r:y=1"));
    PASSES("! strict\n" SENT OK(2, 11, 15, "r:x=1 r:y=nil"));
    /* Of another connection nothing is known. */
    PASSES("! strict\n" OK(1, 10, 20, "w:x=1") OK(3, 10, 20, "w:y=1")
               OK(2, 11, 15, "r:x=nil r:y=1"));
}

Test(checker, writes_in_order_and_reads_free) {
    REFUSED("G-single-realtime", "! writes\n" SENT OK(2, 11, 15, "r:x=nil r:y=1"));
    PASSES("! writes\n" SENT OK(2, 11, 15, "r:x=1 r:y=nil"));
    /* A read of the same pipeline may come before or after its writes. */
    const char *read = "> 1 10 X w:x=1\n> 1 10 X r:y\n< 1 30 ok w:x=1\n< 1 30 ok r:y=1\n";
    const char *overtaken = OK(2, 11, 15, "r:x=nil r:y=nil") OK(3, 16, 17, "w:y=1")
        OK(4, 18, 19, "r:y=1") OK(5, 20, 21, "w:y=2") OK(6, 22, 23, "r:x=nil");
    char text[1000];
    snprintf(text, sizeof(text), "! writes\n%s%s", read, overtaken);
    PASSES(text);
    snprintf(text, sizeof(text), "! strict\n%s%s", read, overtaken);
    REFUSED("G2-realtime", text);
#undef SENT
}

/* ---- Counters ------------------------------------------------------------------------------ */

Test(checker, counters_that_count_pass) {
    PASSES(OK(1, 10, 20, "i:x=1") OK(2, 10, 20, "i:x=2") OK(3, 30, 40, "c:x=2")
               OK(4, 5, 6, "c:x=0"));
    PASSES(OK(1, 10, 20, "i:x=1") UNKNOWN(2, 15, "i:x=?") OK(3, 30, 40, "i:x=3")
               OK(3, 50, 60, "c:x=3"));
    PASSES(OK(1, 10, 20, "i:x=1") UNKNOWN(2, 15, "i:x=?") OK(3, 30, 40, "c:x=2"));
}

Test(checker, one_count_answered_twice_is_a_lost_update) {
    REFUSED("lost update", OK(1, 10, 90, "i:x=1") OK(2, 10, 90, "i:x=1"));
}

Test(checker, a_count_that_nobody_made_is_refused) {
    /* Increments that failed or that came later do not fill the gap. */
    REFUSED("lost update", OK(1, 10, 20, "i:x=1") OK(2, 30, 40, "i:x=3") FAIL(4, 10, 20, "i:x=?")
                               OK(5, 50, 55, "i:x=4"));
    PASSES(OK(1, 10, 20, "i:x=1") OK(2, 30, 40, "i:x=2") FAIL(4, 10, 20, "i:x=?"));
    /* The unknown one was called too late to be the missing one. */
    REFUSED("not linearizable",
            OK(1, 10, 20, "i:x=1") UNKNOWN(2, 50, "i:x=?") OK(3, 30, 40, "i:x=3"));
    REFUSED("duplicate", OK(1, 10, 20, "i:x=1") OK(2, 30, 40, "c:x=2"));
}

Test(checker, a_count_out_of_its_time_is_refused) {
    REFUSED("not linearizable", OK(1, 10, 20, "i:x=2") OK(2, 30, 40, "i:x=1"));
    REFUSED("stale read", OK(1, 10, 20, "i:x=1") OK(2, 30, 40, "c:x=0"));
    REFUSED("not linearizable", OK(1, 10, 20, "i:x=1") OK(2, 30, 40, "c:x=0"));
}

/* ---- The text form, and what is said ------------------------------------------------------- */

static size_t wrong_line(const char *text) {
    struct history history;
    history_init(&history);
    size_t line = 0;
    int rc = history_parse(&history, bytes_of_text(text), &line);
    cr_assert((rc == 0) == (line == 0));
    history_fini(&history);
    return line;
}

Test(checker, what_is_no_history_is_refused_with_its_line) {
    cr_expect(wrong_line(OK(1, 10, 20, "w:x=1")) == 0);
    cr_expect(wrong_line("# ok\nhello\n") == 2);
    cr_expect(wrong_line("! lax\n") == 1);
    cr_expect(wrong_line("> 1 10 X w:x\n< 1 20 ok w:x\n") != 0);
    cr_expect(wrong_line("> 1 10 X w:x=0\n< 1 20 ok w:x=0\n") != 0);
    cr_expect(wrong_line("> 1 10 X z:x=1\n< 1 20 ok z:x=1\n") != 0);
    cr_expect(wrong_line("> 1 10 X\n< 1 5 ok\n") != 0, "it returns before it is called");
    cr_expect(wrong_line("> 1 10 X\n< 1 20 maybe\n") != 0);
    cr_expect(wrong_line("< 1 20 ok w:x=1\n") != 0, "nobody called");
    cr_expect(wrong_line("> 1 10 X\n> 2 10 X\n< 1 20 ok\n< 1 20 ok\n< 2 20 ok\n") != 0);
}

Test(checker, half_a_line_at_the_end_was_never_written) {
    PASSES(OK(1, 10, 20, "w:x=1") "> 1 30 X w:x");
}

Test(checker, two_writes_of_one_value_make_a_history_unusable) {
    REFUSED("unusable history", OK(1, 10, 20, "w:x=1") OK(2, 10, 20, "w:x=1"));
    REFUSED("unusable history", OK(1, 10, 20, "w:x=1") OK(2, 10, 20, "a:x=2"));
}

Test(checker, a_history_that_is_printed_reads_as_the_same) {
    const char *text = "! strict\n" OK(1, 10, 20, "w:x=1 r:y=nil r:x=1 a:l=7@1 l:l=7 i:c=1 c:c=1")
        FAIL(2, 10, 20, "w:x=2") UNKNOWN(3, 10, "i:c=? a:l=8");
    struct history first, second;
    history_init(&first);
    history_init(&second);
    size_t line;
    cr_assert(history_parse(&first, bytes_of_text(text), &line) == 0);
    char *printed[2];
    size_t bytes[2];
    FILE *out = open_memstream(&printed[0], &bytes[0]);
    history_print(&first, out);
    fclose(out);
    cr_assert(history_parse(&second, bytes_make(printed[0], bytes[0]), &line) == 0);
    out = open_memstream(&printed[1], &bytes[1]);
    history_print(&second, out);
    fclose(out);
    cr_expect_str_eq(printed[0], printed[1]);
    cr_expect(first.op_count == 3 && second.op_count == 3);
    cr_expect(first.order == HISTORY_STRICT && second.order == HISTORY_STRICT);
    cr_expect(first.step_count == second.step_count && first.step_count == 10);
    free(printed[0]);
    free(printed[1]);
    history_fini(&first);
    history_fini(&second);
}

Test(checker, a_finding_names_keys_operations_and_what_each_saw) {
    char *said;
    found("> 7 10000 MSET w:x=1 w:y=1\n< 7 60000 ok w:x=1 w:y=1\n"
          "> 8 20000 MGET\n< 8 30500 ok r:x=1 r:y=nil\n",
          NULL, &said);
    cr_expect(strstr(said, "ANOMALY torn read: 1 found\n") != NULL, "%s", said);
    cr_expect(strstr(said, "T2 saw T1's write of x and not its write of y") != NULL, "%s", said);
    cr_expect(strstr(said, "T1: MSET of process 7, 10.000 to 60.000 us: wrote x = 1, wrote y = 1"),
              "%s", said);
    cr_expect(strstr(said, "T2: MGET of process 8, 20.000 to 30.500 us: read x = 1, read y = nil"),
              "%s", said);
    free(said);
}

Test(checker, a_cycle_is_told_edge_by_edge) {
    char *said;
    found(OK(1, 10, 20, "w:x=1") OK(1, 30, 40, "w:x=2") OK(2, 50, 60, "r:x=1 r:y=nil")
              OK(3, 70, 80, "r:x=2"),
          NULL, &said);
    cr_expect(strstr(said, "ANOMALY stale read: 1 found\n") != NULL, "%s", said);
    cr_expect(strstr(said, "read x as it was before T") != NULL, "%s", said);
    cr_expect(strstr(said, "had returned when T") != NULL, "%s", said);
    free(said);
}
