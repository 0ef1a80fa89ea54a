#include "base/crypto.h"
#include "core/webauthn/cbor.h"
#include "core/webauthn/internal.h"

#define HEAD_LEN (SHA256_LEN + 1 + 4)
#define ATTESTED_LEN (WEBAUTHN_AAGUID_LEN + 2)

static uint8_t byte_at(str s, size_t i) { return (uint8_t)s.p[i]; }

static enum errc read_attested(str *rest, struct authenticator_data *out, err *e)
{
    struct cbor key;
    if (rest->len < ATTESTED_LEN) return err_set(e, ERR_INVALID, "authenticator data is cut short");
    out->aaguid = str_take(*rest, WEBAUTHN_AAGUID_LEN);
    size_t len = (size_t)(byte_at(*rest, 16) << 8 | byte_at(*rest, 17));
    *rest = str_skip(*rest, ATTESTED_LEN);
    if (len < WEBAUTHN_CREDENTIAL_ID_MIN || len > WEBAUTHN_CREDENTIAL_ID_MAX)
        return err_set(e, ERR_INVALID, "the id of a credential has %d to %d bytes, not %zu",
                       WEBAUTHN_CREDENTIAL_ID_MIN, WEBAUTHN_CREDENTIAL_ID_MAX, len);
    if (rest->len < len) return err_set(e, ERR_INVALID, "authenticator data is cut short");
    out->credential_id = str_take(*rest, len);
    *rest = str_skip(*rest, len);
    str from = *rest;
    enum errc rc = cbor_read(rest, &key, e);
    out->public_key = str_take(from, from.len - rest->len);
    return rc;
}

enum errc authenticator_data_read(str text, struct authenticator_data *out, err *e)
{
    struct cbor extensions;
    enum errc rc = ERR_NONE;
    if (text.len < HEAD_LEN) return err_set(e, ERR_INVALID, "authenticator data is cut short");
    *out = (struct authenticator_data){.rp_id_hash = str_take(text, SHA256_LEN),
                                       .flags = byte_at(text, SHA256_LEN)};
    for (size_t i = SHA256_LEN + 1; i < HEAD_LEN; i++)
        out->sign_count = out->sign_count << 8 | byte_at(text, i);
    str rest = str_skip(text, HEAD_LEN);
    if (out->flags & FLAG_ATTESTED && (rc = read_attested(&rest, out, e)) != ERR_NONE) return rc;
    if (out->flags & FLAG_EXTENSIONS) {
        if ((rc = cbor_read(&rest, &extensions, e)) != ERR_NONE) return rc;
        if (extensions.type != CBOR_MAP)
            return err_set(e, ERR_INVALID, "the extensions in authenticator data are no map");
    }
    if (rest.len) return err_set(e, ERR_INVALID, "%zu bytes stand behind the authenticator data", rest.len);
    if (out->flags & FLAG_BACKED_UP && !(out->flags & FLAG_BACKUP_ELIGIBLE))
        return err_set(e, ERR_INVALID, "the authenticator says that a key is backed up which cannot be");
    return ERR_NONE;
}
