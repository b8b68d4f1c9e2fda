/* See harbor_sign.h for what each function does. */
#include "harbor_sign.h"

#include <string.h>

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* strlen that never looks further than the longest value that any caller accepts. */
static size_t length_up_to(const char *text, size_t most)
{
    size_t length = 0;

    while (length < most && text[length] != '\0') {
        length++;
    }
    return length;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

harbor_result harbor_key(uint8_t key[HARBOR_KEY_SIZE], const char *secret)
{
    static const char prefix[] = "whsec_";
    uint32_t bits = 0;
    unsigned held = 0;
    size_t i;

    for (i = 0; i < sizeof prefix - 1; i++) {
        if (*secret++ != prefix[i]) {
            return HARBOR_BAD_SECRET;
        }
    }
    /* 43 characters hold the 256 bits of the key and two more, which must be zero. */
    for (i = 0; i < 43; i++) {
        const char *found = memchr(base64, secret[i], 64);

        if (found == NULL) {
            return HARBOR_BAD_SECRET;
        }
        bits = ((bits << 6) | (uint32_t)(found - base64)) & 0x3fffu;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *key++ = (uint8_t)(bits >> held);
        }
    }
    if ((bits & 3u) != 0 || secret[43] != '=' || secret[44] != '\0') {
        return HARBOR_BAD_SECRET;
    }
    return HARBOR_OK;
}

harbor_result harbor_message_id(char *id, size_t size, const char *tracker_id, const char *suffix)
{
    const size_t first = length_up_to(tracker_id, HARBOR_ID_SIZE);
    const size_t second = length_up_to(suffix, HARBOR_SUFFIX_MAX + 1);
    size_t i;

    if (first == 0 || first > HARBOR_ID_SIZE - HARBOR_SUFFIX_MAX - 2 || second == 0 ||
        second > HARBOR_SUFFIX_MAX) {
        return HARBOR_BAD_ID;
    }
    if (size < first + 1 + second + 1) {
        return HARBOR_TOO_SMALL;
    }
    for (i = 0; i < first + 1 + second; i++) {
        const char c = i < first ? tracker_id[i] : i == first ? '-' : suffix[i - first - 1];

        /* The tracker id ends at the first "-", so it cannot hold one itself. */
        if (memchr(base64, c, 62) == NULL && c != '_' && (c != '-' || i < first)) {
            return HARBOR_BAD_ID;
        }
        id[i] = c;
    }
    id[i] = '\0';
    return HARBOR_OK;
}

harbor_result harbor_timestamp(char *timestamp, size_t size, uint32_t unix_seconds)
{
    uint32_t rest = unix_seconds;
    size_t length = 0;

    do {
        length++;
        rest /= 10;
    } while (rest != 0);
    if (size < length + 1) {
        return HARBOR_TOO_SMALL;
    }
    timestamp[length] = '\0';
    while (length > 0) {
        timestamp[--length] = (char)('0' + unix_seconds % 10);
        unix_seconds /= 10;
    }
    return HARBOR_OK;
}

harbor_result harbor_sign_update(const harbor_hmac *hmac, const void *piece, size_t length)
{
    if (length != 0 && hmac->update(hmac->context, piece, length) != 0) {
        return HARBOR_HMAC_FAILED;
    }
    return HARBOR_OK;
}

harbor_result harbor_sign_start(const harbor_hmac *hmac, const uint8_t key[HARBOR_KEY_SIZE],
                                const char *id, const char *timestamp)
{
    const size_t id_length = length_up_to(id, HARBOR_ID_SIZE);
    const size_t timestamp_length = length_up_to(timestamp, HARBOR_TIMESTAMP_SIZE);

    if (id_length == 0 || id_length == HARBOR_ID_SIZE || timestamp_length == 0 ||
        timestamp_length == HARBOR_TIMESTAMP_SIZE) {
        return HARBOR_BAD_ID;
    }
    if (hmac->start(hmac->context, key, HARBOR_KEY_SIZE) != 0 ||
        harbor_sign_update(hmac, id, id_length) != HARBOR_OK ||
        harbor_sign_update(hmac, ".", 1) != HARBOR_OK ||
        harbor_sign_update(hmac, timestamp, timestamp_length) != HARBOR_OK) {
        return HARBOR_HMAC_FAILED;
    }
    return harbor_sign_update(hmac, ".", 1);
}

harbor_result harbor_sign_finish(const harbor_hmac *hmac, char *signature, size_t size)
{
    uint8_t mac[HARBOR_MAC_SIZE];
    uint32_t bits = 0;
    unsigned held = 0;
    size_t i;

    if (size < HARBOR_SIGNATURE_SIZE) {
        return HARBOR_TOO_SMALL;
    }
    if (hmac->finish(hmac->context, mac) != 0) {
        return HARBOR_HMAC_FAILED;
    }
    *signature++ = 'v';
    *signature++ = '1';
    *signature++ = ',';
    for (i = 0; i < HARBOR_MAC_SIZE; i++) {
        bits = ((bits << 8) | mac[i]) & 0xffffu;
        held += 8;
        while (held >= 6) {
            held -= 6;
            *signature++ = base64[(bits >> held) & 63u];
        }
    }
    /* 42 characters took 252 bits; the last four bits and two zeros make the 43rd. */
    *signature++ = base64[(bits << 2) & 63u];
    *signature++ = '=';
    *signature = '\0';
    return HARBOR_OK;
}

harbor_result harbor_sign(const harbor_hmac *hmac, const uint8_t key[HARBOR_KEY_SIZE],
                          const char *id, const char *timestamp, const void *body, size_t length,
                          char *signature, size_t size)
{
    harbor_result result = harbor_sign_start(hmac, key, id, timestamp);

    if (result == HARBOR_OK) {
        result = harbor_sign_update(hmac, body, length);
    }
    return result == HARBOR_OK ? harbor_sign_finish(hmac, signature, size) : result;
}

harbor_result harbor_join(char *signatures, size_t size, const char *signature)
{
    const size_t length = length_up_to(signatures, HARBOR_SIGNATURES_SIZE);
    size_t i;

    /* Every signature is as long as every other, so the length tells how many there are. */
    if (length + HARBOR_SIGNATURE_SIZE >= HARBOR_SIGNATURES_SIZE) {
        return HARBOR_TOO_MANY;
    }
    if (size < length + 1 + HARBOR_SIGNATURE_SIZE) {
        return HARBOR_TOO_SMALL;
    }
    signatures[length] = ' ';
    for (i = 0; i < HARBOR_SIGNATURE_SIZE - 1 && signature[i] != '\0'; i++) {
        signatures[length + 1 + i] = signature[i];
    }
    signatures[length + 1 + i] = '\0';
    return HARBOR_OK;
}

static uint32_t number(const char *digits, size_t length)
{
    uint32_t value = 0;

    while (length-- > 0) {
        value = value * 10 + (uint32_t)(*digits++ - '0');
    }
    return value;
}

harbor_result harbor_parse_date(uint32_t *unix_seconds, const char *date)
{
    static const char shape[] = "aaa, 00 aaa 0000 00:00:00 GMT";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const uint16_t days_before[] = {0,   31,  59,  90,  120, 151, 181,
                                           212, 243, 273, 304, 334, 365};
    uint32_t year, day, hour, minute, second, leap, days_in_month;
    const char *after;
    size_t month, i;

    while (*date == ' ' || *date == '\t') {
        date++;
    }
    for (i = 0; i < sizeof shape - 1; i++) {
        if (shape[i] == '0' ? !is_digit(date[i])
                            : shape[i] == 'a' ? date[i] == '\0' : date[i] != shape[i]) {
            return HARBOR_BAD_DATE;
        }
    }
    for (after = date + i; *after != '\0'; after++) {
        if (*after != ' ' && *after != '\t' && *after != '\r' && *after != '\n') {
            return HARBOR_BAD_DATE;
        }
    }
    for (month = 0; month < 12 && memcmp(months + 3 * month, date + 8, 3) != 0; month++) {
    }
    day = number(date + 5, 2);
    year = number(date + 12, 4);
    hour = number(date + 17, 2);
    minute = number(date + 20, 2);
    second = number(date + 23, 2);
    /* 2106 is the year in which 32 bits of seconds run out. Second 60 is a leap second. */
    if (month == 12 || year < 1970 || year > 2105 || hour > 23 || minute > 59 || second > 60) {
        return HARBOR_BAD_DATE;
    }
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    days_in_month = (uint32_t)(days_before[month + 1] - days_before[month]) + (month == 1 && leap);
    if (day < 1 || day > days_in_month) {
        return HARBOR_BAD_DATE;
    }
    /* Leap days before this year: 2000 was one, 1900 lies before the epoch, 2100 was none. */
    day += (year - 1970) * 365 + (year - 1969) / 4 - (year > 2100) + days_before[month] - 1 +
           (month > 1 && leap);
    *unix_seconds = ((day * 24 + hour) * 60 + minute) * 60 + second;
    return HARBOR_OK;
}
