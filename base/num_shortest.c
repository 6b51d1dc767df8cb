/* SPDX-License-Identifier: BSD-3-Clause */
/* Digits of a double by Grisu2: scale by a cached power of ten so that the digits before the point
 * fit in 32 bits, then produce digits of the upper end of the interval that rounds to the double
 * until what is left is inside it.
 *
 * The result always reads back as the same double and is the shortest in all but about 2 in 1000
 * cases. Those cases are why it is here and not one of the exact algorithms: servers of this
 * protocol have used Grisu2 for years, and a score must print the same digits here as there.
 *
 * Reference: F. Loitsch, "Printing floating-point numbers quickly and accurately with integers",
 * PLDI 2010. */
#include "base/num_shortest.h"

#include "base/check.h"

#include <string.h>

/* significand * 2^exponent */
struct num_float {
    uint64_t significand;
    int exponent;
};

#define NUM_POWER_FIRST (-348)
#define NUM_POWER_STEP  8
#define NUM_POWERS      87

/* 10^-348, 10^-340 ... 10^340, each rounded to 64 bits with the top bit set. */
/* clang-format off */
static const struct num_float num_powers[NUM_POWERS] = {
    {0xfa8fd5a0081c0288u, -1220}, {0xbaaee17fa23ebf76u, -1193}, {0x8b16fb203055ac76u, -1166},
    {0xcf42894a5dce35eau, -1140}, {0x9a6bb0aa55653b2du, -1113}, {0xe61acf033d1a45dfu, -1087},
    {0xab70fe17c79ac6cau, -1060}, {0xff77b1fcbebcdc4fu, -1034}, {0xbe5691ef416bd60cu, -1007},
    {0x8dd01fad907ffc3cu, -980}, {0xd3515c2831559a83u, -954}, {0x9d71ac8fada6c9b5u, -927},
    {0xea9c227723ee8bcbu, -901}, {0xaecc49914078536du, -874}, {0x823c12795db6ce57u, -847},
    {0xc21094364dfb5637u, -821}, {0x9096ea6f3848984fu, -794}, {0xd77485cb25823ac7u, -768},
    {0xa086cfcd97bf97f4u, -741}, {0xef340a98172aace5u, -715}, {0xb23867fb2a35b28eu, -688},
    {0x84c8d4dfd2c63f3bu, -661}, {0xc5dd44271ad3cdbau, -635}, {0x936b9fcebb25c996u, -608},
    {0xdbac6c247d62a584u, -582}, {0xa3ab66580d5fdaf6u, -555}, {0xf3e2f893dec3f126u, -529},
    {0xb5b5ada8aaff80b8u, -502}, {0x87625f056c7c4a8bu, -475}, {0xc9bcff6034c13053u, -449},
    {0x964e858c91ba2655u, -422}, {0xdff9772470297ebdu, -396}, {0xa6dfbd9fb8e5b88fu, -369},
    {0xf8a95fcf88747d94u, -343}, {0xb94470938fa89bcfu, -316}, {0x8a08f0f8bf0f156bu, -289},
    {0xcdb02555653131b6u, -263}, {0x993fe2c6d07b7facu, -236}, {0xe45c10c42a2b3b06u, -210},
    {0xaa242499697392d3u, -183}, {0xfd87b5f28300ca0eu, -157}, {0xbce5086492111aebu, -130},
    {0x8cbccc096f5088ccu, -103}, {0xd1b71758e219652cu, -77}, {0x9c40000000000000u, -50},
    {0xe8d4a51000000000u, -24}, {0xad78ebc5ac620000u, 3}, {0x813f3978f8940984u, 30},
    {0xc097ce7bc90715b3u, 56}, {0x8f7e32ce7bea5c70u, 83}, {0xd5d238a4abe98068u, 109},
    {0x9f4f2726179a2245u, 136}, {0xed63a231d4c4fb27u, 162}, {0xb0de65388cc8ada8u, 189},
    {0x83c7088e1aab65dbu, 216}, {0xc45d1df942711d9au, 242}, {0x924d692ca61be758u, 269},
    {0xda01ee641a708deau, 295}, {0xa26da3999aef774au, 322}, {0xf209787bb47d6b85u, 348},
    {0xb454e4a179dd1877u, 375}, {0x865b86925b9bc5c2u, 402}, {0xc83553c5c8965d3du, 428},
    {0x952ab45cfa97a0b3u, 455}, {0xde469fbd99a05fe3u, 481}, {0xa59bc234db398c25u, 508},
    {0xf6c69a72a3989f5cu, 534}, {0xb7dcbf5354e9beceu, 561}, {0x88fcf317f22241e2u, 588},
    {0xcc20ce9bd35c78a5u, 614}, {0x98165af37b2153dfu, 641}, {0xe2a0b5dc971f303au, 667},
    {0xa8d9d1535ce3b396u, 694}, {0xfb9b7cd9a4a7443cu, 720}, {0xbb764c4ca7a44410u, 747},
    {0x8bab8eefb6409c1au, 774}, {0xd01fef10a657842cu, 800}, {0x9b10a4e5e9913129u, 827},
    {0xe7109bfba19c0c9du, 853}, {0xac2820d9623bf429u, 880}, {0x80444b5e7aa7cf85u, 907},
    {0xbf21e44003acdd2du, 933}, {0x8e679c2f5e44ff8fu, 960}, {0xd433179d9c8cb841u, 986},
    {0x9e19db92b4e31ba9u, 1013}, {0xeb96bf6ebadf77d9u, 1039}, {0xaf87023b9bf0ee6bu, 1066},
};

static const uint64_t num_tens[20] = {
    1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u, 10000000000u,
    100000000000u, 1000000000000u, 10000000000000u, 100000000000000u, 1000000000000000u,
    10000000000000000u, 100000000000000000u, 1000000000000000000u, 10000000000000000000u,
};
/* clang-format on */

#define NUM_HIDDEN_BIT ((uint64_t)1 << 52)

static struct num_float num_unpack(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint64_t fraction = bits & (NUM_HIDDEN_BIT - 1);
    int biased = (int)(bits >> 52) & 0x7ff;
    return biased ? (struct num_float){fraction | NUM_HIDDEN_BIT, biased - 1075}
                  : (struct num_float){fraction, -1074};
}

static struct num_float num_normalize(struct num_float x) {
    int shift = __builtin_clzll(x.significand);
    return (struct num_float){x.significand << shift, x.exponent - shift};
}

/* The high half of the product, rounded. */
static struct num_float num_multiply(struct num_float a, struct num_float b) {
    unsigned __int128 product = (unsigned __int128)a.significand * b.significand;
    uint64_t high = (uint64_t)(product >> 64) + (uint64_t)((uint64_t)product >> 63);
    return (struct num_float){high, a.exponent + b.exponent + 64};
}

/* The power of ten that brings a normalized number of this exponent to an exponent of -60 to -32.
 */
static const struct num_float *num_scale(int exponent, int *ret_power) {
    int guess = (int)(-(exponent + NUM_POWERS) * 0.30102999566398114);
    int i = (guess - NUM_POWER_FIRST) / NUM_POWER_STEP;
    for (;;) {
        check(i >= 0 && i < NUM_POWERS);
        int scaled = exponent + num_powers[i].exponent + 64;
        if (scaled < -60) {
            i++;
        } else if (scaled > -32) {
            i--;
        } else {
            *ret_power = NUM_POWER_FIRST + i * NUM_POWER_STEP;
            return &num_powers[i];
        }
    }
}

/* Takes the last digit down while that brings it closer to the number itself, which lies `distance`
 * below the upper end; `rest` is how far below the digits are, `step` what one unit of the last
 * digit is worth. */
static void num_approach(char *last, uint64_t delta, uint64_t rest, uint64_t step,
                         uint64_t distance) {
    while (rest < distance && delta - rest >= step &&
           (rest + step < distance || distance - rest > rest + step - distance)) {
        (*last)--;
        rest += step;
    }
}

/* Digits of `upper`, as few as tell it from `lower`; *power is the place of the last one. */
static int num_generate(struct num_float number, struct num_float upper, struct num_float lower,
                        char *digits, int *power) {
    int shift = -upper.exponent;
    uint64_t one = (uint64_t)1 << shift;
    uint64_t distance = upper.significand - number.significand;
    uint64_t delta = upper.significand - lower.significand;
    uint64_t whole = upper.significand >> shift;
    uint64_t part = upper.significand & (one - 1);
    int n = 0;
    for (int place = 9; place >= 0; place--) {
        uint64_t digit = whole / num_tens[place];
        if (digit || n) {
            digits[n++] = (char)('0' + digit);
        }
        whole -= digit * num_tens[place];
        uint64_t rest = (whole << shift) + part;
        if (rest <= delta) {
            *power += place;
            num_approach(digits + n - 1, delta, rest, num_tens[place] << shift, distance);
            return n;
        }
    }
    for (int place = 1;; place++) {
        check(place < 20);
        part *= 10;
        delta *= 10;
        uint64_t digit = part >> shift;
        if (digit || n) {
            digits[n++] = (char)('0' + digit);
        }
        part &= one - 1;
        if (part < delta) {
            *power -= place;
            num_approach(digits + n - 1, delta, part, one, distance * num_tens[place]);
            return n;
        }
    }
}

int num_shortest(double value, char *digits, int *ret_power) {
    struct num_float exact = num_unpack(value);
    struct num_float upper =
        num_normalize((struct num_float){exact.significand * 2 + 1, exact.exponent - 1});
    /* Below a power of two the neighbour is only half as far away. */
    int shift = exact.significand == NUM_HIDDEN_BIT ? 2 : 1;
    struct num_float lower = {(exact.significand << shift) - 1, exact.exponent - shift};
    lower.significand <<= lower.exponent - upper.exponent;
    lower.exponent = upper.exponent;
    int power;
    const struct num_float *scale = num_scale(upper.exponent, &power);
    struct num_float number = num_multiply(num_normalize(exact), *scale);
    upper = num_multiply(upper, *scale);
    lower = num_multiply(lower, *scale);
    /* Each product may be off by one: stay inside. */
    upper.significand--;
    lower.significand++;
    *ret_power = -power;
    return num_generate(number, upper, lower, digits, ret_power);
}
