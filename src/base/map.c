#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/random.h"

struct map_slot {
    str key;
    void *value; /* NULL = free */
    uint64_t hash;
};

static struct {
    uint64_t k0, k1;
    pthread_once_t once;
} seed = {.once = PTHREAD_ONCE_INIT};

static void seed_make(void)
{
    uint64_t k[2];
    random_bytes(k, sizeof k);
    seed.k0 = k[0];
    seed.k1 = k[1];
}

static uint64_t rotl(uint64_t x, int b) { return x << b | x >> (64 - b); }

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein 2012), the variant that hash tables commonly use. */
uint64_t hash_bytes(str s)
{
    pthread_once(&seed.once, seed_make);
    uint64_t v[4] = {seed.k0 ^ 0x736f6d6570736575ull, seed.k1 ^ 0x646f72616e646f6dull,
                     seed.k0 ^ 0x6c7967656e657261ull, seed.k1 ^ 0x7465646279746573ull};
    size_t whole = s.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t m;
        memcpy(&m, s.p + i, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)s.len << 56;
    for (size_t i = whole; i < s.len; i++)
        last |= (uint64_t)(unsigned char)s.p[i] << (8 * (i - whole));
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m) { *m = (struct map){0}; }

void map_fini(struct map *m)
{
    free(m->slots);
    map_init(m);
}

/* The slot of the key, or the free slot where it would go. cap is a power of two and never full. */
static struct map_slot *find(struct map_slot *slots, size_t cap, str key, uint64_t hash)
{
    for (size_t i = hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
        struct map_slot *slot = &slots[i];
        if (!slot->value || (slot->hash == hash && str_eq(slot->key, key)))
            return slot;
    }
}

void *map_get(const struct map *m, str key)
{
    return m->n ? find(m->slots, m->cap, key, hash_bytes(key))->value : NULL;
}

enum errc map_put(struct map *m, str key, void *value)
{
    if (m->n + 1 > m->cap / 4 * 3) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        struct map_slot *slots = calloc(cap, sizeof *slots);
        if (!slots)
            return ERR_NO_MEMORY;
        for (size_t i = 0; i < m->cap; i++)
            if (m->slots[i].value)
                *find(slots, cap, m->slots[i].key, m->slots[i].hash) = m->slots[i];
        free(m->slots);
        m->slots = slots;
        m->cap = cap;
    }
    uint64_t hash = hash_bytes(key);
    struct map_slot *slot = find(m->slots, m->cap, key, hash);
    m->n += slot->value == NULL;
    *slot = (struct map_slot){key, value, hash};
    return ERR_NONE;
}

/* Backward shift keeps probe chains whole without tombstones. */
void *map_del(struct map *m, str key)
{
    if (!m->n)
        return NULL;
    struct map_slot *slot = find(m->slots, m->cap, key, hash_bytes(key));
    void *value = slot->value;
    if (!value)
        return NULL;
    size_t hole = (size_t)(slot - m->slots), mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
    m->n--;
    return value;
}

bool map_next(const struct map *m, size_t *it, str *key, void **value)
{
    while (*it < m->cap) {
        const struct map_slot *slot = &m->slots[(*it)++];
        if (slot->value) {
            *key = slot->key;
            *value = slot->value;
            return true;
        }
    }
    return false;
}
