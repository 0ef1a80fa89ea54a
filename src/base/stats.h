/* stats.h - counters, gauges and histograms with one slot per loop, and their Prometheus text (exposition format 0.0.4).
 *
 * Metrics are declared once at start (before threads run) and then updated without locks: every loop writes its own
 * cache-line-aligned slot (relaxed atomics), the reader sums the slots. Labelled series that appear at run time (provider, model, status) are
 * made on first use under a lock and then kept by pointer; their number per metric is limited, beyond which the last label set
 * becomes "other".
 * Base units: seconds, bytes; counters end in _total.
 * Threads: update from the slot's own thread only; everything else any thread.
 */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include "base/buf.h"

enum stat_kind { STAT_COUNTER, STAT_GAUGE, STAT_HISTOGRAM };

struct stat;        /* a metric with its label names */
struct stat_series; /* one label set */

#define STAT_LABELS_MAX 6
#define STAT_SERIES_MAX 2000

/* Starts the registry for n writer slots. */
WARN_UNUSED enum errc stats_init(unsigned n_slots);
void stats_fini(void);
/* Declares a metric. labels: NULL-terminated names or NULL. bounds_us: ascending upper bounds in microseconds (histograms only; shown in
 * seconds). unit_scale: a counter's or gauge's stored integer is shown divided by it (1 for plain counts, 1000000 for microseconds shown
 * as seconds, 1000000000 for nano-USD shown as USD). Strings must be literals. Declared again (by the next pool, for example) it is the same metric. Never NULL (aborts when out of memory at start). */
struct stat *stats_declare(enum stat_kind kind, const char *name, const char *help, const char *const *labels,
                           const int64_t *bounds_us, unsigned n_bounds, int64_t unit_scale);
/* The series of these label values (in the order of the names; NULL values for a metric without labels). Copies the values; never NULL. */
struct stat_series *stats_series(struct stat *m, const str *values);
void stats_add(struct stat_series *s, unsigned slot, int64_t v);     /* counters and gauges (gauges may go down) */
void stats_set(struct stat_series *s, unsigned slot, int64_t v);     /* gauges */
void stats_observe(struct stat_series *s, unsigned slot, int64_t us); /* histograms */
int64_t stats_sum(const struct stat_series *s);
/* All metrics as text, each with HELP and TYPE. */
void stats_write(struct buf *out);

#endif
