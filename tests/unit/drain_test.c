/* The drain on both engines: each call in the database exactly once, whatever ends when; what was charged; calls that never ended; segments that go. */
#include "store_fixture.h"

#include "gateway/ledger/drain.h"

SQL(test_sums, DB_USAGE, SQL_INSTANCE, "",
    "SELECT COUNT(*), CAST(COALESCE(SUM(charged_nanousd), 0) AS BIGINT), COUNT(DISTINCT request_id), COUNT(workspace_id), "
    "COUNT(cost_nanousd) FROM calls");
SQL(test_spends, DB_USAGE, SQL_INSTANCE, "i",
    "SELECT COUNT(*), CAST(COALESCE(SUM(charged_nanousd), 0) AS BIGINT), CAST(COALESCE(SUM(calls), 0) AS BIGINT) FROM spend_days WHERE scope = $1");
SQL(test_opens, DB_USAGE, SQL_INSTANCE, "", "SELECT COUNT(*) FROM calls_open");
SQL(test_hide, DB_USAGE, SQL_INSTANCE, "", "ALTER TABLE calls RENAME TO calls_hidden");
SQL(test_show, DB_USAGE, SQL_INSTANCE, "", "ALTER TABLE calls_hidden RENAME TO calls");
SQL(test_one, DB_USAGE, SQL_INSTANCE, "u",
    "SELECT model, key_name, input, output, outcome, error, is_estimated, cost_nanousd FROM calls WHERE request_id = $1");

static const uuid workspace = {{7}}, project = {{8}}, key = {{9}};

struct scene {
    struct store_fixture *f;
    struct journal *j;
    struct drain *d;
    unsigned n_drained;
};

#define OK(call)                                                       \
    do {                                                               \
        if ((call) != ERR_NONE) fail_msg("%s: %s", #call, f->e.msg);   \
    } while (0)

static void on_drained(void *ctx, const struct usage_record *calls, unsigned n, uint64_t boot)
{
    struct scene *s = ctx;
    (void)calls;
    (void)boot;
    s->n_drained += n;
}

static void open_journal(struct scene *s, unsigned n_writers)
{
    struct store_fixture *f = s->f;
    struct journal_options o = {.segment_bytes = 64 << 10, .n_writers = n_writers};
    struct journal_recovery found;
    OK(journal_open(&s->j, f->dir, &o, &found, &f->e));
}

static void open_drain(struct scene *s)
{
    struct store_fixture *f = s->f;
    struct drain_setup setup = {.store = f->store, .data_dir = f->dir, .journal = s->j, .interval_ms = 5, .drained = on_drained, .ctx = s};
    OK(drain_open(&s->d, &setup, &f->e));
}

static void once(struct scene *s)
{
    struct store_fixture *f = s->f;
    OK(drain_once(s->d, &f->e));
}

static struct usage_record record(usec at, int64_t cost)
{
    struct usage_record r = {
        .request_id = uuid7_make(at), .started_us = at, .status = 200, .tokens = {.input = 10, .output = 20}, .cost_nanousd = cost,
        .charged_nanousd = cost == COST_UNKNOWN ? 0 : cost, .workspace_id = workspace, .project_id = project, .key = S("alice"), .project = S("demo"),
        .provider = S("openai"), .model = S("gpt-4o-mini"), .model_asked = S("fast"), .user = S(""), .task = S(""), .session = S("s"), .tags = S("a,b"),
        .error = S(""), .trace_id = S("")};
    memcpy(r.key_id, key.b, 16);
    return r;
}

static void flush(struct scene *s, unsigned writer)
{
    struct store_fixture *f = s->f;
    uint64_t ticket;
    OK(journal_flush(journal_writer(s->j, writer), &ticket, &f->e));
}

/* Waits for the journal's thread to have a segment ready. */
static void await_room(struct scene *s, unsigned writer)
{
    while (!journal_has_room(journal_writer(s->j, writer), 16))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void write_calls(struct scene *s, unsigned writer, unsigned n, usec at, int64_t cost)
{
    for (unsigned i = 0; i < n; i++) {
        struct usage_record r = record(at + i, cost);
        await_room(s, writer);
        journal_append(journal_writer(s->j, writer), &r);
        flush(s, writer);
    }
}

struct query {
    struct store_fixture *f;
    const struct sql *sql;
    const struct val *params;
    unsigned n;
    struct rows rows;
};
static enum errc query_unit(struct tx *tx, void *ctx, err *e)
{
    struct query *q = ctx;
    return tx_query(tx, &q->f->a, q->sql, q->params, q->n, &q->rows, e);
}
static const struct val *row_of(struct store_fixture *f, const struct sql *sql, const struct val *params, unsigned n)
{
    struct query q = {.f = f, .sql = sql, .params = params, .n = n};
    OK(db_read(store_db(f->store, DB_USAGE), query_unit, &q, &f->e));
    assert_int_equal(q.rows.n, 1);
    return row_at(&q.rows, 0);
}
static enum errc exec_unit(struct tx *tx, void *ctx, err *e) { return tx_exec(tx, ctx, NULL, 0, NULL, e); }
static void exec(struct store_fixture *f, const struct sql *sql)
{
    OK(db_write(store_db(f->store, DB_USAGE), exec_unit, (void *)(uintptr_t)sql, &f->e));
}

static void assert_calls(struct store_fixture *f, int64_t n, int64_t charged)
{
    const struct val *row = row_of(f, &test_sums, NULL, 0);
    assert_int_equal(val_int(&row[0]), n);
    assert_int_equal(val_int(&row[2]), n);
    assert_int_equal(val_int(&row[1]), charged);
}

static void assert_spent(struct store_fixture *f, enum budget_scope scope, int64_t days, int64_t charged, int64_t calls)
{
    struct val v = v_int((int64_t)scope);
    const struct val *row = row_of(f, &test_spends, &v, 1);
    assert_int_equal(val_int(&row[0]), days);
    assert_int_equal(val_int(&row[1]), charged);
    assert_int_equal(val_int(&row[2]), calls);
}

#define NOON (INT64_C(20000) * USEC_PER_DAY + 12 * 3600 * (usec)USEC_PER_S)

/* --- tests --- */

static void calls_are_drained_once_and_rolled_up(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 2);
    open_drain(&s);
    write_calls(&s, 0, 100, NOON, 1000);
    write_calls(&s, 1, 50, NOON + USEC_PER_DAY, COST_UNKNOWN);
    once(&s);
    assert_calls(f, 150, 100000);
    assert_int_equal(s.n_drained, 150);
    once(&s);
    assert_calls(f, 150, 100000);
    write_calls(&s, 1, 7, NOON, 3);
    once(&s);
    assert_calls(f, 157, 100021);
    assert_spent(f, BUDGET_WORKSPACE, 2, 100021, 157);
    assert_spent(f, BUDGET_PROJECT, 2, 100021, 157);
    assert_spent(f, BUDGET_KEY, 2, 100021, 157);
    assert_spent(f, BUDGET_USER, 0, 0, 0);
    struct spent_query q[2] = {{BUDGET_KEY, key, 20000, 0}, {BUDGET_KEY, key, 20001, 0}};
    OK(ledger_spent(f->store, q, 2, &f->e));
    assert_int_equal(q[0].nanousd, 100021);
    assert_int_equal(q[1].nanousd, 0);
    assert_int_equal(drain_key_used(s.d, &key), NOON + USEC_PER_DAY + 49);
    assert_int_equal(drain_key_used(s.d, &project), 0);
    drain_free(s.d);
    journal_close(s.j);
}

static void every_field_arrives(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 1);
    open_drain(&s);
    struct usage_record r = record(NOON, 4210000);
    r.outcome = CALL_CUT;
    r.error = S("upstream_error");
    r.is_estimated = true;
    journal_append(journal_writer(s.j, 0), &r);
    flush(&s, 0);
    once(&s);
    struct val id = v_uuid(&r.request_id);
    const struct val *row = row_of(f, &test_one, &id, 1);
    assert_true(str_eq(val_str(&row[0]), S("gpt-4o-mini")));
    assert_true(str_eq(val_str(&row[1]), S("alice")));
    assert_int_equal(val_int(&row[2]), 10);
    assert_int_equal(val_int(&row[3]), 20);
    assert_int_equal(val_int(&row[4]), CALL_CUT);
    assert_true(str_eq(val_str(&row[5]), S("upstream_error")));
    assert_true(val_bool(&row[6]));
    assert_int_equal(val_int(&row[7]), 4210000);
    drain_free(s.d);
    journal_close(s.j);
}

static void processes_that_die_leave_nothing_out_and_nothing_twice(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    int64_t n = 0;
    for (unsigned boot = 0; boot < 6; boot++) {
        open_journal(&s, 2);
        open_drain(&s);
        assert_calls(f, n, n * 5);
        write_calls(&s, boot % 2, 40 + boot, NOON + boot * 1000, 5);
        n += 40 + boot;
        if (boot % 3 == 1)
            once(&s);
        /* Without a last look of the drain; the journal as kill -9 leaves it would need a process of its own. */
        if (boot % 2)
            write_calls(&s, 0, 300, NOON + boot * 1000 + 500, 5);
        n += boot % 2 ? 300 : 0;
        drain_free(s.d);
        journal_close(s.j);
    }
    open_journal(&s, 2);
    open_drain(&s);
    assert_calls(f, n, n * 5);
    assert_spent(f, BUDGET_KEY, 1, n * 5, n);
    drain_free(s.d);
    journal_close(s.j);
}

static void batches_of_many_calls_follow_each_other(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 1);
    for (unsigned i = 0; i < 90; i++) {
        await_room(&s, 0);
        for (unsigned k = 0; k < 100; k++) {
            struct usage_record r = record(NOON + i * 100 + k, 1);
            journal_append(journal_writer(s.j, 0), &r);
        }
        flush(&s, 0);
    }
    open_drain(&s);
    assert_calls(f, 9000, 9000);
    drain_free(s.d);
    journal_close(s.j);
}

static void a_start_without_an_end_is_charged_when_its_process_is_gone(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 1);
    open_drain(&s);
    struct journal_writer *w = journal_writer(s.j, 0);
    struct usage_record quick = record(NOON, 0), slow = record(NOON + 1, 0), lost = record(NOON + 2, 0), early = record(NOON + 3, 0);
    struct usage_record *all[] = {&quick, &slow, &lost, &early};
    for (unsigned i = 0; i < 4; i++) {
        all[i]->cost_nanousd = all[i]->charged_nanousd = 1000000;
        all[i]->error = S("crashed");
        all[i]->is_estimated = true;
        all[i]->outcome = CALL_CUT;
        journal_append_start(w, all[i]);
    }
    quick.cost_nanousd = quick.charged_nanousd = 10;
    journal_append_end(w, &quick);
    flush(&s, 0);
    once(&s);
    assert_calls(f, 1, 10);
    assert_int_equal(val_int(&row_of(f, &test_opens, NULL, 0)[0]), 3);
    slow.cost_nanousd = slow.charged_nanousd = 20;
    journal_append_end(w, &slow);
    flush(&s, 0);
    once(&s);
    assert_calls(f, 2, 30);
    assert_int_equal(val_int(&row_of(f, &test_opens, NULL, 0)[0]), 2);
    /* The end of this one is in the journal, but the drain never sees it in this process. */
    early.cost_nanousd = early.charged_nanousd = 40;
    journal_append_end(w, &early);
    flush(&s, 0);
    drain_free(s.d);
    journal_close(s.j);
    for (unsigned boot = 0; boot < 2; boot++) { /* once, not at every start */
        open_journal(&s, 1);
        open_drain(&s);
        assert_calls(f, 4, 1000070);
        assert_spent(f, BUDGET_KEY, 1, 1000070, 4);
        assert_int_equal(val_int(&row_of(f, &test_opens, NULL, 0)[0]), 0);
        struct val id = v_uuid(&lost.request_id);
        assert_true(str_eq(val_str(&row_of(f, &test_one, &id, 1)[5]), S("crashed")));
        drain_free(s.d);
        journal_close(s.j);
    }
}

static void a_start_that_is_seen_after_its_end_is_not_charged_again(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 1);
    open_drain(&s);
    struct journal_writer *w = journal_writer(s.j, 0);
    struct usage_record end = record(NOON, 10), start = record(NOON, 1000000);
    end.boot = journal_boot(s.j);
    end.n = 1; /* the first number that the writer will give */
    journal_append_end(w, &end);
    flush(&s, 0);
    once(&s);
    journal_append_start(w, &start);
    assert_int_equal(start.n, end.n);
    flush(&s, 0);
    once(&s);
    drain_free(s.d);
    journal_close(s.j);
    for (unsigned boot = 0; boot < 2; boot++) {
        open_journal(&s, 1);
        open_drain(&s);
        assert_calls(f, 1, 10);
        assert_spent(f, BUDGET_KEY, 1, 10, 1);
        assert_int_equal(val_int(&row_of(f, &test_opens, NULL, 0)[0]), 0);
        drain_free(s.d);
        journal_close(s.j);
    }
}

static void a_batch_whose_commit_was_not_heard_of_counts_once(void **state)
{
    struct store_fixture *f = *state;
    static const uint8_t node[16] = {3};
    struct usage_record call = record(NOON, 10);
    struct ledger_spend spend = {.scope = BUDGET_KEY, .scope_id = key, .day = budget_day(NOON), .nanousd = 10, .calls = 1};
    struct journal_place place = {.boot = 1, .number = 1, .position = 500};
    uint64_t before = 0;
    struct ledger_batch b = {.calls = &call, .n_calls = 1, .spends = &spend, .n_spends = 1, .places = &place, .places_before = &before, .n_places = 1};
    OK(ledger_node(f->store, node, &b.node_no, &f->e));
    call.boot = call.n = 1;
    for (unsigned i = 0; i < 2; i++)
        OK(ledger_write(f->store, &b, &f->e));
    assert_calls(f, 1, 10);
    assert_spent(f, BUDGET_KEY, 1, 10, 1);
    call = record(NOON + 1, 10);
    call.boot = 1;
    call.n = 2;
    place.position = 700;
    before = 500;
    OK(ledger_write(f->store, &b, &f->e));
    assert_calls(f, 2, 20);
    assert_spent(f, BUDGET_KEY, 1, 20, 2);
    /* Another process has come this far already, and stopped elsewhere. */
    call.n = 3;
    place.position = 900;
    assert_int_equal(ledger_write(f->store, &b, &f->e), ERR_CONFLICT);
    assert_calls(f, 2, 20);
    assert_spent(f, BUDGET_KEY, 1, 20, 2);
}

static void another_folder_is_imported_once_with_its_open_calls(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 2);
    write_calls(&s, 0, 30, NOON, 7);
    write_calls(&s, 1, 12, NOON, 7);
    struct usage_record open = record(NOON, 1000);
    journal_append_start(journal_writer(s.j, 0), &open);
    flush(&s, 0);
    journal_close(s.j);
    for (unsigned times = 0; times < 3; times++) {
        struct drain_import found = {.store = f->store, .data_dir = f->dir, .leaves_open = times == 0};
        OK(drain_import(&found, &f->a, &f->e));
        assert_int_equal(found.n_calls, times == 0 ? 42 : 0);
        assert_int_equal(found.charged_nanousd, times == 0 ? 42 * 7 : 0);
        assert_int_equal(found.n_open, times < 2);
        assert_int_equal(found.open_nanousd, times < 2 ? 1000 : 0);
        assert_int_equal(found.n_damaged, 0);
        assert_calls(f, times == 0 ? 42 : 43, times == 0 ? 42 * 7 : 42 * 7 + 1000);
    }
    assert_spent(f, BUDGET_KEY, 1, 42 * 7 + 1000, 43);
    /* Its own server starts again. */
    open_journal(&s, 2);
    open_drain(&s);
    assert_calls(f, 43, 42 * 7 + 1000);
    assert_spent(f, BUDGET_KEY, 1, 42 * 7 + 1000, 43);
    write_calls(&s, 1, 3, NOON, 7);
    once(&s);
    assert_calls(f, 46, 45 * 7 + 1000);
    drain_free(s.d);
    journal_close(s.j);
}

static void a_database_that_takes_nothing_is_caught_up_with(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    const char *reason = "";
    log_set_fd(-1);
    open_journal(&s, 1);
    open_drain(&s);
    write_calls(&s, 0, 10, NOON, 1);
    exec(f, &test_hide);
    assert_int_not_equal(drain_once(s.d, &f->e), ERR_NONE);
    assert_false(drain_is_well(s.d, &reason));
    assert_string_equal(reason, "usage_database_unavailable");
    write_calls(&s, 0, 10, NOON, 1);
    assert_int_not_equal(drain_once(s.d, &f->e), ERR_NONE);
    exec(f, &test_show);
    once(&s);
    assert_true(drain_is_well(s.d, &reason));
    assert_calls(f, 20, 20);
    assert_int_equal(s.n_drained, 20);
    drain_free(s.d);
    journal_close(s.j);
    log_set_fd(2);
}

/* Segments of boots before this one. */
static unsigned n_segments(struct store_fixture *f, uint64_t boot)
{
    struct journal_reader *rd;
    struct journal_place at;
    unsigned n = 0;
    size_t i = 0;
    OK(journal_reader_open(&rd, f->dir, &f->e));
    OK(journal_reader_hold(rd, &f->e));
    while (journal_reader_place(rd, i++, &at))
        n += at.boot < boot;
    journal_reader_free(rd);
    return n;
}

static void segments_go_when_they_are_drained_and_their_readers_had_time(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    usec now = clock_now_us(), mono = clock_mono_us();
    open_journal(&s, 1);
    write_calls(&s, 0, 600, NOON, 1);
    journal_close(s.j);
    open_journal(&s, 1);
    uint64_t boot = journal_boot(s.j);
    unsigned before = n_segments(f, boot);
    assert_true(before > 1);
    clock_freeze(now, mono);
    open_drain(&s);
    once(&s);
    assert_int_equal(n_segments(f, boot), before);
    clock_freeze(now, mono + 6 * USEC_PER_S);
    once(&s);
    assert_int_equal(n_segments(f, boot), 0);
    assert_calls(f, 600, 600);
    clock_unfreeze();
    drain_free(s.d);
    journal_close(s.j);
    open_journal(&s, 1);
    open_drain(&s);
    assert_calls(f, 600, 600);
    drain_free(s.d);
    journal_close(s.j);
}

static void calls_before_the_first_workspace_become_its_own(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 1);
    for (unsigned i = 0; i < 5; i++) {
        struct usage_record r = record(NOON, 9);
        r.workspace_id = r.project_id = (uuid){{0}};
        journal_append(journal_writer(s.j, 0), &r);
    }
    flush(&s, 0);
    open_drain(&s);
    assert_int_equal(val_int(&row_of(f, &test_sums, NULL, 0)[3]), 0);
    for (unsigned i = 0; i < 2; i++) {
        OK(ledger_adopt(f->store, &workspace, &f->e));
        assert_int_equal(val_int(&row_of(f, &test_sums, NULL, 0)[3]), 5);
        assert_spent(f, BUDGET_WORKSPACE, 1, 45, 5);
    }
    drain_free(s.d);
    journal_close(s.j);
}

static void old_calls_are_forgotten_and_what_they_cost_is_not(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    int64_t n;
    open_journal(&s, 1);
    open_drain(&s);
    write_calls(&s, 0, 20, NOON, 1);
    write_calls(&s, 0, 10, NOON + 10 * USEC_PER_DAY, 1);
    once(&s);
    OK(ledger_forget(f->store, NOON + 5 * USEC_PER_DAY, &n, &f->e));
    assert_int_equal(n, 20);
    assert_calls(f, 10, 10);
    assert_spent(f, BUDGET_KEY, 2, 30, 30);
    drain_free(s.d);
    journal_close(s.j);
}

static void the_thread_drains_while_calls_are_written(void **state)
{
    struct store_fixture *f = *state;
    struct scene s = {.f = f};
    open_journal(&s, 2);
    open_drain(&s);
    OK(drain_start(s.d, &f->e));
    for (unsigned i = 0; i < 200; i++)
        write_calls(&s, i % 2, 5, NOON + i * 10, 1);
    drain_stop(s.d); /* takes a last look */
    assert_calls(f, 1000, 1000);
    drain_free(s.d);
    journal_close(s.j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(calls_are_drained_once_and_rolled_up),
        ON_STORE(every_field_arrives),
        ON_STORE(processes_that_die_leave_nothing_out_and_nothing_twice),
        ON_STORE(batches_of_many_calls_follow_each_other),
        ON_STORE(a_start_without_an_end_is_charged_when_its_process_is_gone),
        ON_STORE(a_start_that_is_seen_after_its_end_is_not_charged_again),
        ON_STORE(a_batch_whose_commit_was_not_heard_of_counts_once),
        ON_STORE(another_folder_is_imported_once_with_its_open_calls),
        ON_STORE(a_database_that_takes_nothing_is_caught_up_with),
        ON_STORE(segments_go_when_they_are_drained_and_their_readers_had_time),
        ON_STORE(calls_before_the_first_workspace_become_its_own),
        ON_STORE(old_calls_are_forgotten_and_what_they_cost_is_not),
        ON_STORE(the_thread_drains_while_calls_are_written),
    };
    return RUN_ON_BOTH(tests);
}
