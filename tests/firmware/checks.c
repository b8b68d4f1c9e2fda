/* Drives what the example program does not: buffers, failures, pieces. Prints each wrong line. */
#include "harbor_hmac_sha256.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(claim)                                    \
    do {                                                \
        if (!(claim)) {                                 \
            printf("line %d: %s\n", __LINE__, #claim);  \
            bad = 1;                                    \
        }                                               \
    } while (0)

static int fails(void *context, const uint8_t *data, size_t length)
{
    (void)context;
    (void)data;
    (void)length;
    return -1;
}

static int fails_on_nothing(void *context, const uint8_t *data, size_t length)
{
    (void)context;
    (void)data;
    return length == 0;
}

static int fails_to_finish(void *context, uint8_t mac[HARBOR_MAC_SIZE])
{
    (void)context;
    (void)mac;
    return -1;
}

int main(void)
{
    static const char secret[] = "whsec_yynsKqKylylnXnYx5PWDFxlcKhhqqSi2VHVZajb40n4=";
    static const char body[] = "{\"at\":\"2026-01-02T03:04:05Z\",\"lat\":59.9,\"lon\":10.7}";
    static const char right[] = "v1,V2EK6f2+AANHoO2RU4CoqhLxAItRUIUoJqkTjEFKOfc=";
    char id[HARBOR_ID_SIZE], at[HARBOR_TIMESTAMP_SIZE], all[HARBOR_SIGNATURES_SIZE];
    uint8_t key[HARBOR_KEY_SIZE];
    harbor_hmac_sha256 context;
    harbor_hmac hmac = harbor_hmac_sha256_on(&context), broken;
    size_t i;
    int bad = 0;

    CHECK(harbor_key(key, secret) == HARBOR_OK);

    /* Of a secret that ends too early nothing is read behind its NUL: it is the array's last byte. */
    for (i = 0; i < sizeof secret - 1; i++) {
        char *cut = malloc(i + 1);

        CHECK(cut != NULL);
        memcpy(cut, secret, i);
        cut[i] = '\0';
        CHECK(harbor_key(key, cut) == HARBOR_BAD_SECRET);
        free(cut);
    }
    CHECK(harbor_key(key, secret) == HARBOR_OK);

    /* The smallest buffer that holds, and one less. */
    CHECK(harbor_message_id(id, 14, "trk_0001", "1-42") == HARBOR_OK);
    CHECK(strcmp(id, "trk_0001-1-42") == 0);
    CHECK(harbor_message_id(id, 13, "trk_0001", "1-42") == HARBOR_TOO_SMALL);
    CHECK(harbor_message_id(id, 0, "trk_0001", "1-42") == HARBOR_TOO_SMALL);
    CHECK(harbor_timestamp(at, 11, 4294967295u) == HARBOR_OK && !strcmp(at, "4294967295"));
    CHECK(harbor_timestamp(at, 10, 4294967295u) == HARBOR_TOO_SMALL);
    CHECK(harbor_timestamp(at, 2, 0) == HARBOR_OK && !strcmp(at, "0"));
    CHECK(harbor_timestamp(at, 1, 0) == HARBOR_TOO_SMALL);
    CHECK(harbor_timestamp(at, 0, 0) == HARBOR_TOO_SMALL);

    CHECK(harbor_timestamp(at, sizeof at, 1767323045u) == HARBOR_OK);
    CHECK(harbor_sign(&hmac, key, id, at, body, strlen(body), all, 48) == HARBOR_OK);
    CHECK(strcmp(all, right) == 0);
    CHECK(harbor_sign(&hmac, key, id, at, body, strlen(body), all, 47) == HARBOR_TOO_SMALL);
    CHECK(harbor_sign(&hmac, key, id, at, NULL, 0, all, sizeof all) == HARBOR_OK);

    /* Byte by byte it is the same signature. */
    CHECK(harbor_sign_start(&hmac, key, id, at) == HARBOR_OK);
    for (i = 0; i < strlen(body); i++) {
        CHECK(harbor_sign_update(&hmac, body + i, 1) == HARBOR_OK);
        CHECK(harbor_sign_update(&hmac, NULL, 0) == HARBOR_OK);
    }
    CHECK(harbor_sign_finish(&hmac, all, sizeof all) == HARBOR_OK && !strcmp(all, right));

    /* Four signatures fill a header to its last byte. */
    CHECK(harbor_join(all, 95, right) == HARBOR_TOO_SMALL);
    CHECK(harbor_join(all, 96, right) == HARBOR_OK && strlen(all) == 95 && all[47] == ' ');
    CHECK(harbor_join(all, sizeof all, right) == HARBOR_OK);
    CHECK(harbor_join(all, sizeof all, right) == HARBOR_OK && strlen(all) == sizeof all - 1);
    CHECK(harbor_join(all, sizeof all, right) == HARBOR_TOO_MANY);

    /* What an HMAC reports is passed on, and nothing empty is signed. */
    broken = hmac;
    broken.start = fails;
    CHECK(harbor_sign(&broken, key, id, at, body, 1, all, sizeof all) == HARBOR_HMAC_FAILED);
    broken = hmac;
    broken.update = fails_on_nothing;
    CHECK(harbor_sign(&broken, key, id, at, NULL, 0, all, sizeof all) == HARBOR_OK);
    broken.update = fails;
    CHECK(harbor_sign(&broken, key, id, at, body, 1, all, sizeof all) == HARBOR_HMAC_FAILED);
    broken = hmac;
    broken.finish = fails_to_finish;
    CHECK(harbor_sign(&broken, key, id, at, body, 1, all, sizeof all) == HARBOR_HMAC_FAILED);
    CHECK(harbor_sign(&hmac, key, "", at, body, 1, all, sizeof all) == HARBOR_BAD_ID);
    CHECK(harbor_sign(&hmac, key, id, "", body, 1, all, sizeof all) == HARBOR_BAD_ID);
    CHECK(harbor_sign(&hmac, key, id, "17673230450", body, 1, all, sizeof all) == HARBOR_BAD_ID);
    return bad;
}
