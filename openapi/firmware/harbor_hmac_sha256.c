/* See harbor_hmac_sha256.h. The names of the variables are those of FIPS 180-4, section 6.2. */
#include "harbor_hmac_sha256.h"

#include <string.h>

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return (x >> n) | (x << (32 - n));
}

static void reset(harbor_hmac_sha256 *hash)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memcpy(hash->state, initial, sizeof initial);
    hash->length = 0;
}

static void compress(harbor_hmac_sha256 *hash)
{
    uint32_t w[16], v[8];
    unsigned t;

    memcpy(v, hash->state, sizeof v);
    for (t = 0; t < 64; t++) {
        uint32_t t1, t2;

        if (t < 16) {
            const uint8_t *four = hash->block + 4 * t;

            w[t] = (uint32_t)four[0] << 24 | (uint32_t)four[1] << 16 | (uint32_t)four[2] << 8 |
                   four[3];
        } else {
            const uint32_t x = w[(t + 1) & 15], y = w[(t + 14) & 15];

            w[t & 15] += (rotate(x, 7) ^ rotate(x, 18) ^ (x >> 3)) + w[(t + 9) & 15] +
                         (rotate(y, 17) ^ rotate(y, 19) ^ (y >> 10));
        }
        t1 = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
             ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[t] + w[t & 15];
        t2 = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
             ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (t = 0; t < 8; t++) {
        hash->state[t] += v[t];
    }
}

static int update(void *context, const uint8_t *data, size_t length)
{
    harbor_hmac_sha256 *hash = context;

    while (length-- > 0) {
        hash->block[hash->length++ & 63u] = *data++;
        if ((hash->length & 63u) == 0) {
            compress(hash);
        }
    }
    return 0;
}

static void digest(harbor_hmac_sha256 *hash, uint8_t out[32])
{
    static const uint8_t one_bit = 0x80, none = 0;
    const uint32_t length = hash->length;
    unsigned i;

    update(hash, &one_bit, 1);
    while ((hash->length & 63u) != 56) {
        update(hash, &none, 1);
    }
    for (i = 0; i < 8; i++) {
        /* The length in bits, as eight big-endian bytes. */
        const uint32_t half = i < 4 ? length >> 29 : length << 3;
        const uint8_t byte = (uint8_t)(half >> (8 * (3 - i % 4)));

        update(hash, &byte, 1);
    }
    for (i = 0; i < 32; i++) {
        out[i] = (uint8_t)(hash->state[i / 4] >> (8 * (3 - i % 4)));
    }
}

static int start(void *context, const uint8_t *key, size_t length)
{
    harbor_hmac_sha256 *hash = context;
    uint8_t inner[64];
    size_t i;

    if (length > sizeof inner) {
        return -1;
    }
    for (i = 0; i < sizeof inner; i++) {
        const uint8_t byte = i < length ? key[i] : 0;

        inner[i] = byte ^ 0x36;
        hash->outer[i] = byte ^ 0x5c;
    }
    reset(hash);
    return update(hash, inner, sizeof inner);
}

static int finish(void *context, uint8_t mac[HARBOR_MAC_SIZE])
{
    harbor_hmac_sha256 *hash = context;

    digest(hash, mac);
    reset(hash);
    update(hash, hash->outer, sizeof hash->outer);
    update(hash, mac, HARBOR_MAC_SIZE);
    digest(hash, mac);
    /* What is left is as good as the key. */
    memset(hash->outer, 0, sizeof hash->outer);
    return 0;
}

harbor_hmac harbor_hmac_sha256_on(harbor_hmac_sha256 *context)
{
    harbor_hmac hmac;

    hmac.context = context;
    hmac.start = start;
    hmac.update = update;
    hmac.finish = finish;
    return hmac;
}
