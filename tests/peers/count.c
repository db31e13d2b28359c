/* The tool as a program for one call: {"text": "..."} on stdin, the counts on stdout. count.wat has the same steps. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static uint64_t lines, words, bytes;
static bool in_line, in_word;

/* One character, or the part of one that a byte holds; only ASCII ones end lines and words. */
static void unit(uint32_t code, unsigned length) {
    bytes += length;
    in_line = code != '\n';
    lines += !in_line;
    bool space = code == ' ' || (code >= '\t' && code <= '\r');
    words += !space && !in_word;
    in_word = !space;
}

/* `"text"` has two quotes, so the value stands between the third and the fourth: nothing else is in these arguments. */
static int quotes;
static bool escaped;
static int digits;
static uint32_t code;

static void byte(uint32_t b) {
    if (quotes != 3) {
        quotes += b == '"';
    } else if (digits > 0) {
        code = code * 16 + (b <= '9' ? b - '0' : (b | 32) - 'a' + 10);
        /* Each half of a surrogate pair is two of its four bytes. */
        if (--digits == 0) unit(code, code < 0x80 ? 1 : code < 0x800 || code >> 11 == 0x1b ? 2 : 3);
    } else if (escaped) {
        escaped = false;
        switch (b) {
        case 'n': unit('\n', 1); break;
        case 't': unit('\t', 1); break;
        case 'r': unit('\r', 1); break;
        case 'f': unit('\f', 1); break;
        case 'u': digits = 4; code = 0; break;
        default: unit('x', 1); /* a quote, a slash, a backspace: part of a word */
        }
    } else if (b == '\\') {
        escaped = true;
    } else if (b == '"') {
        quotes = 4;
    } else {
        unit(b, 1);
    }
}

int main(void) {
    static unsigned char buffer[65536];
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, stdin)) > 0)
        for (size_t i = 0; i < got; i++) byte(buffer[i]);
    printf("{\"lines\":%llu,\"words\":%llu,\"bytes\":%llu}\n", (unsigned long long)(lines + in_line), (unsigned long long)words,
           (unsigned long long)bytes);
    return quotes == 4 ? 0 : 1;
}
