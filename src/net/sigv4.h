/* sigv4.h - signs requests to AWS services (KMS, S3 and what speaks like it): Signature Version 4 in the
 * Authorization field.
 *
 * What is signed: the method, the path, the query, Host, every field of the request, and the SHA-256 of the body. The
 * answer is the list of fields to send, the caller's first; Host is left to who sends, who makes it from the same URL.
 * S3 differs twice: its paths are encoded once instead of twice, and x-amz-content-sha256 is a field too.
 * Paths are taken as they are sent; dot segments and empty ones, which servers other than S3 would normalise, are refused.
 * Threads: pure.
 * Errors: ERR_INVALID (the URL, or a field that stands twice or is ours to make), ERR_TOO_LARGE (the arena).
 * Source: AWS General Reference, "Create a signed AWS API request"; Amazon S3 API Reference, "Authenticating Requests
 * (AWS Signature Version 4)".
 */
#ifndef NET_SIGV4_H
#define NET_SIGV4_H

#include "base/clock.h"
#include "net/fetch.h"

struct sigv4_credentials {
    str access_key, secret_key;
    str session_token; /* of temporary credentials, else empty */
};

struct sigv4_request {
    str region, service;              /* "eu-central-1", "kms" */
    str method;                       /* "GET" */
    str url;                          /* as it will be sent, percent-encoded */
    const struct fetch_field *fields; /* sent and signed; neither Host nor Authorization nor x-amz-date */
    unsigned n_fields;
    str body;
    str payload_hash; /* instead of the body's SHA-256: its hex digits, or "UNSIGNED-PAYLOAD" (S3, over TLS) */
    bool is_s3;
};

/* *fields, in the arena, are all there is to send; `now` is the time of the signature (valid for some minutes). */
WARN_UNUSED enum errc sigv4_sign(struct arena *a, const struct sigv4_credentials *credentials,
                                 const struct sigv4_request *request, usec now, struct fetch_field **fields,
                                 unsigned *n_fields, err *e);

#endif
