/*
 * Print the three headers for a body read from standard input, on a host with a C compiler:
 *
 *     cc -std=c99 -o sign example.c harbor_sign.c harbor_hmac_sha256.c
 *     TRACKER_SECRET=whsec_... ./sign trk_0001 1-42 1767323045 < body.json
 *
 * With TRACKER_OTHER_SECRET set as well, as while keys rotate, the header holds two signatures.
 * And print the unix seconds of an HTTP Date:
 *
 *     ./sign --date 'Fri, 02 Jan 2026 03:04:05 GMT'
 *
 * On a failure it prints the number of the harbor_result and exits with it; 64 is a wrong use.
 */
#include "harbor_hmac_sha256.h"
#include "harbor_sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(harbor_result result)
{
    fprintf(stderr, "harbor_result %d\n", (int)result);
    return (int)result;
}

static int print_date(const char *date)
{
    uint32_t unix_seconds;
    const harbor_result result = harbor_parse_date(&unix_seconds, date);

    if (result != HARBOR_OK) {
        return failed(result);
    }
    printf("%" PRIu32 "\n", unix_seconds);
    return 0;
}

int main(int argc, char **argv)
{
    const char *secrets[2];
    size_t secret_count, i, length;
    uint8_t key[HARBOR_KEY_SIZE], piece[512];
    harbor_hmac_sha256 contexts[2];
    harbor_hmac hmacs[2];
    char id[HARBOR_ID_SIZE], timestamp[HARBOR_TIMESTAMP_SIZE];
    char signatures[HARBOR_SIGNATURES_SIZE], signature[HARBOR_SIGNATURE_SIZE];
    harbor_result result;

    if (argc == 3 && strcmp(argv[1], "--date") == 0) {
        return print_date(argv[2]);
    }
    /* The secrets come by environment: other users of a host can read a command line. */
    secrets[0] = getenv("TRACKER_SECRET");
    secrets[1] = getenv("TRACKER_OTHER_SECRET");
    if (argc != 4 || secrets[0] == NULL) {
        fprintf(stderr, "usage: TRACKER_SECRET=whsec_... %s tracker suffix unix-seconds < body\n",
                argv[0]);
        return 64;
    }
    secret_count = secrets[1] == NULL ? 1 : 2;

    result = harbor_message_id(id, sizeof id, argv[1], argv[2]);
    if (result == HARBOR_OK) {
        result = harbor_timestamp(timestamp, sizeof timestamp, (uint32_t)strtoul(argv[3], NULL, 10));
    }
    for (i = 0; result == HARBOR_OK && i < secret_count; i++) {
        hmacs[i] = harbor_hmac_sha256_on(&contexts[i]);
        result = harbor_key(key, secrets[i]);
        if (result == HARBOR_OK) {
            result = harbor_sign_start(&hmacs[i], key, id, timestamp);
        }
    }
    while (result == HARBOR_OK && (length = fread(piece, 1, sizeof piece, stdin)) > 0) {
        for (i = 0; result == HARBOR_OK && i < secret_count; i++) {
            result = harbor_sign_update(&hmacs[i], piece, length);
        }
    }
    if (result == HARBOR_OK) {
        result = harbor_sign_finish(&hmacs[0], signatures, sizeof signatures);
    }
    if (result == HARBOR_OK && secret_count == 2) {
        result = harbor_sign_finish(&hmacs[1], signature, sizeof signature);
        if (result == HARBOR_OK) {
            result = harbor_join(signatures, sizeof signatures, signature);
        }
    }
    if (result != HARBOR_OK) {
        return failed(result);
    }
    printf("webhook-id: %s\nwebhook-timestamp: %s\nwebhook-signature: %s\n", id, timestamp,
           signatures);
    return 0;
}
