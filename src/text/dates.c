/* Civil date arithmetic after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms":
 * years begin in March, so that the leap day is the last of its year. */
#include "text/dates.h"

#include <string.h>

#define MS_PER_DAY 86400000u

static const char weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

typedef struct {
    unsigned year, month, day; /* 1970..9999, 1..12, 1..31 */
    unsigned hour, minute, second, ms;
    unsigned weekday; /* 0 is Sunday */
} Civil;

static Civil civil_of(uint64_t ms)
{
    if (ms > DATE_MS_MAX) ms = DATE_MS_MAX;
    unsigned days = (unsigned)(ms / MS_PER_DAY);
    unsigned rest = (unsigned)(ms % MS_PER_DAY);
    unsigned z = days + 719468; /* days since 0000-03-01 */
    unsigned era = z / 146097;
    unsigned day_of_era = z % 146097;
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                            day_of_era / 146096) /
                           365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    Civil c = {
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
        .month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9,
        .hour = rest / 3600000,
        .minute = rest / 60000 % 60,
        .second = rest / 1000 % 60,
        .ms = rest % 1000,
        .weekday = (days + 4) % 7,
    };
    c.year = year_of_era + era * 400 + (c.month <= 2 ? 1 : 0);
    return c;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Days since 1970-01-01 of a date that exists. */
static int64_t days_of(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2 ? 1 : 0);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t month_from_march = month > 2 ? (int64_t)month - 3 : (int64_t)month + 9;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + (int64_t)day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* Milliseconds, minus the offset of the place in minutes; false if no such time exists here. */
static bool to_ms(const Civil *c, int offset_minutes, uint64_t *ms)
{
    if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > days_in_month(c->year, c->month))
        return false;
    if (c->hour > 23 || c->minute > 59 || c->second > 59) return false;
    int64_t t = days_of(c->year, c->month, c->day) * (int64_t)MS_PER_DAY;
    t += ((int64_t)c->hour * 3600 + (int64_t)c->minute * 60 + (int64_t)c->second) * 1000;
    t += (int64_t)c->ms - (int64_t)offset_minutes * 60000;
    if (t < 0 || t > (int64_t)DATE_MS_MAX) return false;
    *ms = (uint64_t)t;
    return true;
}

/* Takes exactly count digits off s. */
static bool take_number(Str *s, size_t count, unsigned *out)
{
    if (s->len < count) return false;
    unsigned value = 0;
    for (size_t i = 0; i < count; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9') return false;
        value = value * 10 + (unsigned)(s->ptr[i] - '0');
    }
    *s = str_slice(*s, count, s->len);
    *out = value;
    return true;
}

static bool take_text(Str *s, const char *text, size_t len)
{
    if (!str_starts_with(*s, str_of(text, len))) return false;
    *s = str_slice(*s, len, s->len);
    return true;
}

/* Takes one of the count names of three letters off s. */
static bool take_name(Str *s, const char names[][4], unsigned count, unsigned *index)
{
    for (unsigned i = 0; i < count; i++) {
        if (take_text(s, names[i], 3)) {
            *index = i;
            return true;
        }
    }
    return false;
}

static void put_number(char *at, unsigned value, unsigned digits)
{
    while (digits-- > 0) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void date_format_rfc3339(uint64_t ms, char out[DATE_RFC3339_SIZE])
{
    Civil c = civil_of(ms);
    memcpy(out, "0000-00-00T00:00:00.000Z", DATE_RFC3339_SIZE);
    put_number(out, c.year, 4);
    put_number(out + 5, c.month, 2);
    put_number(out + 8, c.day, 2);
    put_number(out + 11, c.hour, 2);
    put_number(out + 14, c.minute, 2);
    put_number(out + 17, c.second, 2);
    put_number(out + 20, c.ms, 3);
}

/* ".123456" of 1..9 digits, cut to milliseconds. */
static bool take_fraction(Str *s, unsigned *ms)
{
    *ms = 0;
    if (!take_text(s, ".", 1)) return true;
    unsigned digits = 0, digit;
    for (; digits < 9 && take_number(s, 1, &digit); digits++)
        if (digits < 3) *ms = *ms * 10 + digit;
    if (digits == 0) return false;
    for (; digits < 3; digits++)
        *ms *= 10;
    return true;
}

/* "Z", "+02:00" or "-02:00". */
static bool take_offset(Str *s, int *minutes)
{
    *minutes = 0;
    if (take_text(s, "Z", 1) || take_text(s, "z", 1)) return true;
    int sign = take_text(s, "+", 1) ? 1 : take_text(s, "-", 1) ? -1 : 0;
    unsigned hour, minute;
    if (sign == 0 || !take_number(s, 2, &hour) || !take_text(s, ":", 1) ||
        !take_number(s, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = sign * (int)(hour * 60 + minute);
    return true;
}

bool date_parse_rfc3339(Str text, uint64_t *ms)
{
    Civil c = {0};
    Str s = text;
    int offset;
    bool ok = take_number(&s, 4, &c.year) && take_text(&s, "-", 1) &&
              take_number(&s, 2, &c.month) && take_text(&s, "-", 1) && take_number(&s, 2, &c.day) &&
              (take_text(&s, "T", 1) || take_text(&s, "t", 1)) && take_number(&s, 2, &c.hour) &&
              take_text(&s, ":", 1) && take_number(&s, 2, &c.minute) && take_text(&s, ":", 1) &&
              take_number(&s, 2, &c.second) && take_fraction(&s, &c.ms) && take_offset(&s, &offset);
    return ok && s.len == 0 && to_ms(&c, offset, ms);
}

void date_format_http(uint64_t ms, char out[DATE_HTTP_SIZE])
{
    Civil c = civil_of(ms);
    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", DATE_HTTP_SIZE);
    memcpy(out, weekdays[c.weekday], 3);
    put_number(out + 5, c.day, 2);
    memcpy(out + 8, months[c.month - 1], 3);
    put_number(out + 12, c.year, 4);
    put_number(out + 17, c.hour, 2);
    put_number(out + 20, c.minute, 2);
    put_number(out + 23, c.second, 2);
}

bool date_parse_http(Str text, uint64_t *ms)
{
    Civil c = {0};
    Str s = text;
    unsigned month, weekday;
    uint64_t result;
    bool ok = take_name(&s, weekdays, 7, &weekday) && take_text(&s, ", ", 2) &&
              take_number(&s, 2, &c.day) && take_text(&s, " ", 1) &&
              take_name(&s, months, 12, &month) && take_text(&s, " ", 1) &&
              take_number(&s, 4, &c.year) && take_text(&s, " ", 1) && take_number(&s, 2, &c.hour) &&
              take_text(&s, ":", 1) && take_number(&s, 2, &c.minute) && take_text(&s, ":", 1) &&
              take_number(&s, 2, &c.second) && take_text(&s, " GMT", 4);
    if (!ok || s.len != 0) return false;
    c.month = month + 1;
    if (!to_ms(&c, 0, &result) || civil_of(result).weekday != weekday) return false;
    *ms = result;
    return true;
}
