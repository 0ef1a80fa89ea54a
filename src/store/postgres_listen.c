/* postgres_listen.c - the thread that hears what other nodes tell.
 *
 * It keeps one connection that LISTENs. A connection that is cut without a word looks like silence, so it is asked now and
 * then whether it is still there.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "store/postgres.h"

#define ASK_US (5 * USEC_PER_S)            /* how often a silent connection is asked */
#define ANSWER_US (3 * USEC_PER_S)         /* how long it may take */
#define RETRY_FIRST_US (100 * USEC_PER_MS)
#define RETRY_MOST_US (2 * USEC_PER_S)

struct listening {
    struct store *store;
    pthread_t thread;
    int stop; /* eventfd */
};

/* Until the socket has something, the time is over, or the thread is to end: false then. fd -1: only waits. */
static bool wait_for(const struct listening *l, int fd, usec most_us)
{
    struct pollfd fds[2] = {{.fd = l->stop, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    if (poll(fds, 2, (int)(most_us / USEC_PER_MS)) < 0 && errno != EINTR) return false;
    return !(fds[0].revents & POLLIN);
}

static void hand_on(struct listening *l, struct pg_conn *c)
{
    bool is_told[STORE_TOPICS] = {false};
    for (PGnotify *n; (n = PQnotifies(c->pg)) != NULL; PQfreemem(n))
        for (unsigned t = 0; t < STORE_TOPICS; t++)
            if (strcmp(n->extra, store_topics[t]) == 0) is_told[t] = true;
    for (unsigned t = 0; t < STORE_TOPICS; t++)
        if (is_told[t]) store_told(l->store, (enum store_topic)t);
}

static enum errc ask(struct pg_conn *c, const char *text, err *e)
{
    c->deadline_us = store_mono_us() + ANSWER_US;
    return pg_run(c, text, "listening to other nodes", e);
}

/* Hears until the connection breaks or the thread is to end: ERR_NONE then. */
static enum errc hear(struct listening *l, struct pg_conn *c, err *e)
{
    enum errc rc = ask(c, "LISTEN catalyst", e);
    if (rc != ERR_NONE) return rc;
    store_told(l->store, STORE_TOPICS);
    usec heard_us = store_mono_us();
    while (wait_for(l, PQsocket(c->pg), ASK_US)) {
        if (!PQconsumeInput(c->pg)) return err_set(e, ERR_UNAVAILABLE, "the connection that listens broke");
        usec now = store_mono_us();
        if (now - heard_us >= ASK_US) {
            heard_us = now;
            if ((rc = ask(c, "SELECT 1", e)) != ERR_NONE) return rc;
        }
        hand_on(l, c);
    }
    return ERR_NONE;
}

static void *listening_main(void *arg)
{
    struct listening *l = arg;
    struct pg_pool *pool = l->store->dbs[DB_MAIN].state;
    usec retry_us = RETRY_FIRST_US;
    bool goes_on = true, was_well = true;
    while (goes_on) {
        struct pg_conn *c = NULL;
        err e = {0};
        usec since_us = store_mono_us();
        enum errc rc = pg_conn_open(pool, DB_MAIN, &c, &e);
        if (rc == ERR_NONE) rc = hear(l, c, &e);
        pg_conn_close(c);
        if (rc == ERR_NONE) break;
        if (store_mono_us() - since_us > ASK_US) { /* it was well for a while */
            retry_us = RETRY_FIRST_US;
            was_well = true;
        }
        if (was_well) log_error(LOG_WARN, "not_listening_to_other_nodes", &e);
        was_well = false;
        goes_on = wait_for(l, -1, retry_us);
        retry_us = retry_us * 2 < RETRY_MOST_US ? retry_us * 2 : RETRY_MOST_US;
    }
    return NULL;
}

enum errc pg_listen(struct store *s, err *e)
{
    struct listening *l = calloc(1, sizeof *l);
    sigset_t all, before;
    if (!l) return err_code(e, ERR_NO_MEMORY);
    l->store = s;
    l->stop = eventfd(0, EFD_CLOEXEC);
    if (l->stop < 0) {
        int number = errno;
        free(l);
        return err_errno(e, ERR_INTERNAL, number, "listening to other nodes");
    }
    s->listening = l;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&l->thread, NULL, listening_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) return ERR_NONE;
    s->listening = NULL;
    close(l->stop);
    free(l);
    return err_errno(e, ERR_INTERNAL, failed, "starting the thread that listens to other nodes");
}

void pg_deafen(struct store *s)
{
    struct listening *l = s->listening;
    if (!l) return;
    uint64_t one = 1;
    while (write(l->stop, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(l->thread, NULL);
    s->listening = NULL;
    close(l->stop);
    free(l);
}
