/* HMAC-SHA256 (RFC 2104, FIPS 180-4) for hosts that bring none. Small rather than fast. */
#ifndef HARBOR_HMAC_SHA256_H
#define HARBOR_HMAC_SHA256_H

#include "harbor_sign.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint32_t state[8];
    uint32_t length; /* bytes hashed so far: a body ends well below 4 GB */
    uint8_t block[64];
    uint8_t outer[64];
} harbor_hmac_sha256;

/* Return the interface that harbor_sign.h wants, working on this context. Keys up to 64 bytes. */
harbor_hmac harbor_hmac_sha256_on(harbor_hmac_sha256 *context);

#ifdef __cplusplus
}
#endif

#endif
