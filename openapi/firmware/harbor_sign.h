/*
 * Signs what a tracker sends to Harbor API (Standard Webhooks v1, HMAC-SHA256), in C99.
 *
 * Needs no heap, no floating point, no 64-bit arithmetic, and of libc only memchr and memcmp. The
 * HMAC is yours: hand in three functions, from a TLS library, a crypto peripheral or
 * harbor_hmac_sha256.c beside this file. The body goes through in pieces, so that it is never
 * copied behind its prefix.
 *
 *     char id[HARBOR_ID_SIZE], at[HARBOR_TIMESTAMP_SIZE], signature[HARBOR_SIGNATURES_SIZE];
 *     uint8_t key[HARBOR_KEY_SIZE];
 *
 *     if (harbor_key(key, "whsec_...") == HARBOR_OK &&
 *         harbor_message_id(id, sizeof id, "trk_0001", "1-42") == HARBOR_OK &&
 *         harbor_timestamp(at, sizeof at, unix_seconds_now) == HARBOR_OK &&
 *         harbor_sign(&hmac, key, id, at, body, body_length, signature, sizeof signature)
 *             == HARBOR_OK) {
 *         send webhook-id: id, webhook-timestamp: at, webhook-signature: signature, and the body;
 *     }
 *
 * Every function returns a harbor_result; after anything but HARBOR_OK do not use what it wrote.
 * There is no global state: any number of threads may sign, each with its own HMAC context.
 */
#ifndef HARBOR_SIGN_H
#define HARBOR_SIGN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HARBOR_KEY_SIZE 32
#define HARBOR_MAC_SIZE 32
#define HARBOR_SUFFIX_MAX 64
#define HARBOR_SIGNATURES_MAX 4

/* Room for each header's value, its NUL included. */
#define HARBOR_ID_SIZE (14 + 1 + HARBOR_SUFFIX_MAX + 1) /* "trk_" and at most ten digits */
#define HARBOR_TIMESTAMP_SIZE 11
#define HARBOR_SIGNATURE_SIZE 48                                           /* one signature */
#define HARBOR_SIGNATURES_SIZE (HARBOR_SIGNATURES_MAX * HARBOR_SIGNATURE_SIZE) /* a full header */

typedef enum {
    HARBOR_OK = 0,
    HARBOR_TOO_SMALL,   /* the buffer does not hold the value and its NUL */
    HARBOR_BAD_SECRET,  /* not "whsec_" and the base64 of 32 bytes */
    HARBOR_BAD_ID,      /* an id or timestamp that is empty, too long, or holds a wrong character */
    HARBOR_TOO_MANY,    /* the header already holds HARBOR_SIGNATURES_MAX signatures */
    HARBOR_BAD_DATE,    /* not an IMF-fixdate of the years 1970 to 2105 */
    HARBOR_HMAC_FAILED  /* one of your three functions returned something else than 0 */
} harbor_result;

/* An HMAC-SHA256 and its context. Each function returns 0 when it worked. */
typedef struct {
    void *context;
    int (*start)(void *context, const uint8_t *key, size_t length);
    int (*update)(void *context, const uint8_t *data, size_t length); /* length is never 0 */
    int (*finish)(void *context, uint8_t mac[HARBOR_MAC_SIZE]);
} harbor_hmac;

/* Decode a tracker secret, "whsec_" and 44 characters of base64, into the key that signs. */
harbor_result harbor_key(uint8_t key[HARBOR_KEY_SIZE], const char *secret);

/*
 * Write the webhook-id: the tracker id, "-", and a suffix of 1 to 64 characters of [A-Za-z0-9_-]
 * that names this fix, such as a boot count and a counter. A retry may use it again.
 */
harbor_result harbor_message_id(char *id, size_t size, const char *tracker_id, const char *suffix);

/* Write the webhook-timestamp: the time of this attempt in unix seconds, good until 2106. */
harbor_result harbor_timestamp(char *timestamp, size_t size, uint32_t unix_seconds);

/* Sign a body that lies in memory. A body of length 0 may be NULL. */
harbor_result harbor_sign(const harbor_hmac *hmac, const uint8_t key[HARBOR_KEY_SIZE],
                          const char *id, const char *timestamp, const void *body, size_t length,
                          char *signature, size_t size);

/* The same for a body that comes in pieces: start, update as often as needed, finish. */
harbor_result harbor_sign_start(const harbor_hmac *hmac, const uint8_t key[HARBOR_KEY_SIZE],
                                const char *id, const char *timestamp);
harbor_result harbor_sign_update(const harbor_hmac *hmac, const void *piece, size_t length);
harbor_result harbor_sign_finish(const harbor_hmac *hmac, char *signature, size_t size);

/* While keys rotate: append a second signature, made with the other key, to a header's value. */
harbor_result harbor_join(char *signatures, size_t size, const char *signature);

/*
 * Read an HTTP Date header ("Sun, 06 Nov 1994 08:49:37 GMT") to set a clock that has lost the
 * time. Spaces around the value and a CR or LF after it are fine; the day's name is not compared.
 */
harbor_result harbor_parse_date(uint32_t *unix_seconds, const char *date);

#ifdef __cplusplus
}
#endif

#endif
