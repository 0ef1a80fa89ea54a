/* What a reservation under hard budgets costs: reserved and settled on three counters, by one thread and by several, of counters that one process has to itself and
 * of leased ones. Nanoseconds of CPU a pair. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "gateway/budget.h"

#define PAIRS 3000000
#define GATES 3
#define THREADS 4

static struct budget budgets[GATES];
static struct budget_gate gates[GATES];

static void *work(void *arg)
{
    usec now = *(usec *)arg;
    struct budget_ask ask = {.input_pico = 1000, .mono_us = 1};
    for (unsigned i = 0; i < PAIRS; i++) {
        struct budget_hold hold;
        struct budget_refusal why;
        int64_t granted;
        if (budget_reserve(gates, GATES, now, &ask, &hold, &granted, &why) != BUDGET_GRANTED)
            abort();
        budget_settle(&hold, 0);
    }
    return NULL;
}

static void measure(bool is_shared, unsigned n_threads)
{
    pthread_t threads[THREADS];
    usec now = clock_now_us();
    for (unsigned i = 0; i < GATES; i++) {
        uuid id = {{(uint8_t)i}};
        budgets[i] = (struct budget){.scope = (enum budget_scope)i, .scope_id = id, .period = BUDGET_MONTHLY, .is_hard = true, .limit_nanousd = INT64_MAX / 4};
        gates[i] = (struct budget_gate){budget_counter_new((enum budget_scope)i, &id, BUDGET_MONTHLY, is_shared, 1, now, 0), &budgets[i]};
        if (!gates[i].counter)
            abort();
        if (is_shared) {
            struct budget_share share = budget_counter_share(gates[i].counter, now, false);
            budget_share_learn(&share, 0, INT64_MAX / 8, 0, 0);
        }
    }
    clock_t start = clock();
    for (unsigned i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, work, &now))
            abort();
    for (unsigned i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    double ns = (double)(clock() - start) * (1e9 / CLOCKS_PER_SEC) / PAIRS / n_threads;
    printf("%-7s %u thread%s %6.1f ns a reservation and its settling on %u counters\n", is_shared ? "leased" : "alone", n_threads, n_threads > 1 ? "s" : " ", ns, GATES);
    for (unsigned i = 0; i < GATES; i++)
        budget_counter_put(gates[i].counter);
}

int main(void)
{
    for (unsigned shared = 0; shared < 2; shared++) {
        measure(shared, 1);
        measure(shared, THREADS);
    }
    return 0;
}
