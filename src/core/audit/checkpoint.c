#include "core/audit/checkpoint.h"


#define ED25519_KIND 1               /* signed-note's number of the algorithm */
#define DASH "\xe2\x80\x94"          /* an em dash begins a signature line */
#define SIGNATURE_BYTES (4 + ED25519_SIGNATURE_LEN)
#define BREAK_MARK "break accepted"

static void put_hash(const struct tree_hash *h, struct buf *out)
{
    char text[BASE64_SIZE(SHA256_LEN)];
    buf_add(out, base64_encode(h->b, sizeof h->b, text));
    buf_add_char(out, '\n');
}

static bool take_hash(str *rest, struct tree_hash *out)
{
    str line = str_cut(rest, '\n');
    uint8_t bytes[BASE64_DECODED_MAX(BASE64_SIZE(SHA256_LEN))];
    size_t len = 0;
    if (line.len != BASE64_SIZE(SHA256_LEN) - 1 || !base64_decode(line, bytes, &len) || len != sizeof out->b) return false;
    memcpy(out->b, bytes, sizeof out->b);
    return true;
}

/* Decimal without leading zeros. */
static bool take_size(str *rest, int64_t *out)
{
    str line = str_cut(rest, '\n');
    return str_to_i64(line, out) && *out >= 0 && (line.len == 1 || line.p[0] != '0');
}

static bool is_name(str s) { return s.len && s.len <= HEAD_ORIGIN_MAX && str_chr(s, ' ') < 0 && str_chr(s, '+') < 0; }

void head_text(const struct head *h, struct buf *out)
{
    buf_add(out, h->origin);
    buf_addf(out, "\n%lld\n", (long long)h->size);
    put_hash(&h->root, out);
}

enum errc head_parse(str text, struct head *out, err *e)
{
    str rest = text;
    *out = (struct head){.origin = str_cut(&rest, '\n')};
    if (!str_ends(text, S("\n")) || !is_name(out->origin) || !take_size(&rest, &out->size) || !take_hash(&rest, &out->root))
        return err_set(e, ERR_CORRUPT, "this is no head of a log");
    return ERR_NONE;
}

/* --- notes --- */

uint32_t note_key_id(const struct note_key *k)
{
    struct buf text;
    uint8_t hash[SHA256_LEN];
    buf_init(&text, HEAD_ORIGIN_MAX + 64);
    buf_add(&text, k->name);
    buf_add_char(&text, '\n');
    buf_add_char(&text, ED25519_KIND);
    buf_add(&text, str_of((const char *)k->key, sizeof k->key));
    sha256(buf_str(&text), hash);
    buf_fini(&text);
    return (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

static void put_u32(uint32_t v, uint8_t out[4])
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

void note_put(str text, const struct note_key *k, const uint8_t signature[ED25519_SIGNATURE_LEN], struct buf *out)
{
    uint8_t bytes[SIGNATURE_BYTES];
    char line[BASE64_SIZE(SIGNATURE_BYTES)];
    put_u32(note_key_id(k), bytes);
    memcpy(bytes + 4, signature, ED25519_SIGNATURE_LEN);
    buf_add(out, text);
    buf_addf(out, "\n" DASH " %.*s ", STR(k->name));
    buf_add(out, base64_encode(bytes, sizeof bytes, line));
    buf_add_char(out, '\n');
}

/* The text ends with the last empty line; what stands behind it are signatures. */
static enum errc split(str note, str *text, str *signatures, err *e)
{
    size_t at = note.len;
    if (note.len > NOTE_MAX || !str_ends(note, S("\n"))) return err_set(e, ERR_CORRUPT, "this is no signed note");
    while (at >= 2 && !(note.p[at - 1] == '\n' && note.p[at - 2] == '\n'))
        at--;
    *text = str_take(note, at < 2 ? 0 : at - 1);
    *signatures = str_skip(note, at);
    return at < 2 || at == note.len || text->len == 0 ? err_set(e, ERR_CORRUPT, "this is no signed note") : ERR_NONE;
}

enum errc note_text(str note, str *text, err *e)
{
    str signatures;
    return split(note, text, &signatures, e);
}

enum errc note_open(str note, const struct note_key *k, str *text, err *e)
{
    str rest;
    uint8_t id[4];
    enum errc rc = split(note, text, &rest, e);
    put_u32(note_key_id(k), id);
    while (rc == ERR_NONE && rest.len) {
        str line = str_cut(&rest, '\n');
        uint8_t bytes[BASE64_DECODED_MAX(BASE64_SIZE(SIGNATURE_BYTES))];
        size_t len = 0;
        if (!str_starts(line, S(DASH " "))) return err_set(e, ERR_CORRUPT, "a signature line of a note is damaged");
        line = str_skip(line, sizeof DASH); /* and the space */
        str name = str_cut(&line, ' ');
        if (!str_eq(name, k->name) || line.len != BASE64_SIZE(SIGNATURE_BYTES) - 1 || !base64_decode(line, bytes, &len) ||
            len != SIGNATURE_BYTES || memcmp(bytes, id, sizeof id) != 0)
            continue; /* of somebody else */
        return ed25519_verify(k->key, *text, bytes + 4) ? ERR_NONE
                                                        : err_set(e, ERR_CORRUPT, "the signature of a head does not hold");
    }
    return rc != ERR_NONE ? rc : err_set(e, ERR_CORRUPT, "this note is not signed under this key");
}

enum errc note_open_any(str note, const struct note_key *keys, unsigned n, str *text, unsigned *which, err *e)
{
    for (unsigned i = 0; i < n; i++)
        if (note_open(note, &keys[i], text, NULL) == ERR_NONE) {
            if (which) *which = i;
            return ERR_NONE;
        }
    return err_set(e, ERR_CORRUPT, "no key of the log has signed this head");
}

bool notes_next(str *rest, str *note)
{
    while (rest->len && rest->p[0] == '\n')
        *rest = str_skip(*rest, 1);
    ptrdiff_t text = str_find(*rest, S("\n\n"));
    if (text < 0) return false;
    size_t at = (size_t)text + 2;
    while (str_starts(str_skip(*rest, at), S(DASH " "))) {
        ptrdiff_t end = str_chr(str_skip(*rest, at), '\n');
        if (end < 0) return false;
        at += (size_t)end + 1;
    }
    *note = str_take(*rest, at);
    *rest = str_skip(*rest, at);
    return true;
}

/* --- keys --- */

void vkey_put(const struct note_key *k, struct buf *out)
{
    uint8_t bytes[1 + ED25519_PUBLIC_LEN] = {ED25519_KIND};
    char text[BASE64_SIZE(sizeof bytes)];
    memcpy(bytes + 1, k->key, sizeof k->key);
    buf_addf(out, "%.*s+%08x+", STR(k->name), note_key_id(k));
    buf_add(out, base64_encode(bytes, sizeof bytes, text));
}

bool vkey_parse(str text, struct note_key *out)
{
    str rest = str_trim(text);
    uint8_t id[4], mine[4], bytes[BASE64_DECODED_MAX(BASE64_SIZE(1 + ED25519_PUBLIC_LEN))];
    size_t len = 0;
    *out = (struct note_key){.name = str_cut(&rest, '+')};
    str hex = str_cut(&rest, '+');
    if (!is_name(out->name) || hex.len != 8 || !hex_decode(hex, id, sizeof id) ||
        rest.len != BASE64_SIZE(1 + ED25519_PUBLIC_LEN) - 1 || !base64_decode(rest, bytes, &len) || len != 1 + ED25519_PUBLIC_LEN ||
        bytes[0] != ED25519_KIND)
        return false;
    memcpy(out->key, bytes + 1, sizeof out->key);
    put_u32(note_key_id(out), mine);
    return memcmp(id, mine, sizeof id) == 0;
}

/* --- breaks --- */

void break_text(const struct break_note *b, struct buf *out)
{
    char time[TIME_TEXT_LEN + 1];
    buf_addf(out, "%.*s\n" BREAK_MARK " %.*s\n%lld\n", STR(b->origin), STR(time_format(b->at_us, time)), (long long)b->lost_size);
    put_hash(&b->lost_root, out);
    buf_addf(out, "%lld\n", (long long)b->size);
    put_hash(&b->root, out);
}

enum errc break_parse(str text, struct break_note *out, err *e)
{
    str rest = text, mark;
    *out = (struct break_note){.origin = str_cut(&rest, '\n')};
    mark = str_cut(&rest, '\n');
    if (!is_name(out->origin) || !str_starts(mark, S(BREAK_MARK " ")) || !time_parse(str_skip(mark, sizeof BREAK_MARK), &out->at_us) ||
        !take_size(&rest, &out->lost_size) || !take_hash(&rest, &out->lost_root) || !take_size(&rest, &out->size) ||
        !take_hash(&rest, &out->root) || rest.len)
        return err_set(e, ERR_CORRUPT, "this is no record of a break");
    return ERR_NONE;
}
