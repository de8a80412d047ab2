/* Points get a row in `points` the first time they are passed or named; a row is never moved or
 * removed. What tests ask for is a list of rules: each counts the passes of the points that it
 * matches and acts on the one it waits for. One lock, of the last rank, guards both. */
#include "base/fault.h"

#include "base/str.h"

#if HOLDFAST_FAULTS

#include "base/lock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define NAME_SIZE 64 /* bytes of a name, its NUL included */
#define RULES_MAX 64

typedef struct {
    char name[NAME_SIZE];
    uint64_t hits;
    uint64_t fired;
    bool planted;
} Point;

typedef enum { ACTION_FAIL, ACTION_KILL, ACTION_PLANT } Action;

typedef struct {
    char name[NAME_SIZE];
    bool is_prefix; /* any point whose name starts with name */
    Action action;
    int errno_value;
    uint64_t left; /* passes until it acts; 0: it did, and is done unless sticky */
    bool sticky;
} Rule;

static Lock fault_lock = LOCK_INIT(LOCK_RANK_FAULT);
static Point points[FAULT_POINTS_MAX];
static size_t point_count;
static Rule rules[RULES_MAX];
static size_t rule_count;
/* Hash of a name → index in points + 1; twice as many slots, so that one is always free. */
static uint16_t slots[2 * FAULT_POINTS_MAX];

static Point *point_named(const char *name)
{
    uint32_t hash = 2166136261; /* FNV-1a */
    size_t len = 0;
    for (; name[len] != '\0'; len++)
        hash = (hash ^ (uint8_t)name[len]) * 16777619;
    size_t at = hash % ARRAY_LEN(slots);
    for (; slots[at] != 0; at = (at + 1) % ARRAY_LEN(slots)) {
        Point *point = &points[slots[at] - 1];
        if (strcmp(point->name, name) == 0) return point;
    }
    ASSERT(len < NAME_SIZE && point_count < FAULT_POINTS_MAX);
    Point *point = &points[point_count++];
    memcpy(point->name, name, len + 1);
    slots[at] = (uint16_t)point_count;
    return point;
}

static bool rule_matches(const Rule *rule, const char *name)
{
    if (rule->is_prefix) return strncmp(rule->name, name, strlen(rule->name)) == 0;
    return strcmp(rule->name, name) == 0;
}

int fault_point(const char *name)
{
    int errno_value = 0;
    lock_take(&fault_lock);
    Point *point = point_named(name);
    point->hits++;
    for (size_t i = 0; i < rule_count; i++) {
        Rule *rule = &rules[i];
        if (!rule_matches(rule, name)) continue;
        if (rule->left == 0 && !rule->sticky) continue;
        if (rule->left > 0 && --rule->left > 0) continue;
        if (rule->action == ACTION_KILL) ASSERT(raise(SIGKILL) == 0);
        if (errno_value == 0) errno_value = rule->errno_value;
    }
    if (errno_value != 0) point->fired++;
    lock_give(&fault_lock);
    return errno_value;
}

bool fault_planted(const char *name)
{
    lock_take(&fault_lock);
    Point *point = point_named(name);
    bool planted = point->planted;
    point->hits++;
    point->fired += planted;
    lock_give(&fault_lock);
    return planted;
}

static void rule_add(const Rule *rule)
{
    lock_take(&fault_lock);
    ASSERT(rule_count < RULES_MAX);
    rules[rule_count++] = *rule;
    if (!rule->is_prefix) point_named(rule->name); /* so that its count is listed, even if none */
    lock_give(&fault_lock);
}

static void arm(const char *name, bool is_prefix, int errno_value, uint64_t nth, bool sticky)
{
    size_t len = strlen(name);
    ASSERT(errno_value > 0 && nth >= 1 && len < NAME_SIZE);
    Rule rule = {.is_prefix = is_prefix, .errno_value = errno_value, .left = nth, .sticky = sticky};
    memcpy(rule.name, name, len + 1);
    rule_add(&rule);
}

void fault_arm(const char *name, int errno_value, uint64_t nth, bool sticky)
{
    arm(name, false, errno_value, nth, sticky);
}

void fault_arm_any(const char *prefix, int errno_value, uint64_t nth, bool sticky)
{
    arm(prefix, true, errno_value, nth, sticky);
}

void fault_plant(const char *name, bool on)
{
    lock_take(&fault_lock);
    point_named(name)->planted = on;
    lock_give(&fault_lock);
}

void fault_reset(void)
{
    lock_take(&fault_lock);
    rule_count = 0;
    for (size_t i = 0; i < point_count; i++) {
        points[i].hits = 0;
        points[i].fired = 0;
        points[i].planted = false;
    }
    lock_give(&fault_lock);
}

size_t fault_stats(FaultStat *out, size_t max)
{
    lock_take(&fault_lock);
    size_t count = MIN(max, point_count);
    for (size_t i = 0; i < count; i++) {
        out[i] = (FaultStat){points[i].name, points[i].hits, points[i].fired};
    }
    lock_give(&fault_lock);
    return count;
}

/* "EIO" or "5" */
static bool parse_errno(Str text, int *out)
{
    static const struct {
        const char *name;
        int value;
    } known[] = {
        {"EACCES", EACCES},
        {"EAGAIN", EAGAIN},
        {"EBADF", EBADF},
        {"EBUSY", EBUSY},
        {"ECONNREFUSED", ECONNREFUSED},
        {"ECONNRESET", ECONNRESET},
        {"EDQUOT", EDQUOT},
        {"EEXIST", EEXIST},
        {"EFBIG", EFBIG},
        {"EINTR", EINTR},
        {"EINVAL", EINVAL},
        {"EIO", EIO},
        {"EMFILE", EMFILE},
        {"ENFILE", ENFILE},
        {"ENODEV", ENODEV},
        {"ENOENT", ENOENT},
        {"ENOMEM", ENOMEM},
        {"ENOSPC", ENOSPC},
        {"ENOTDIR", ENOTDIR},
        {"EPERM", EPERM},
        {"EPIPE", EPIPE},
        {"EROFS", EROFS},
        {"ESTALE", ESTALE},
        {"ETIMEDOUT", ETIMEDOUT},
        {"EXDEV", EXDEV},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!str_eq(text, str_from_cstr(known[i].name))) continue;
        *out = known[i].value;
        return true;
    }
    uint64_t number;
    if (!str_to_u64(text, 4095, &number) || number == 0) return false;
    *out = (int)number;
    return true;
}

/* name=action[:ERRNO][@n[+]], or name*=…: any point that starts so */
static bool parse_rule(Str text, Rule *out)
{
    Rule rule = {.left = 1};
    Str name, action, count, errno_name;
    if (!str_split(text, '=', &name, &action)) return false;
    if (str_ends_with(name, STR("*"))) {
        rule.is_prefix = true;
        name.len--;
    }
    if (!str_to_cstr(name, rule.name, sizeof rule.name)) return false;
    if (rule.name[0] == '\0' && !rule.is_prefix) return false;
    if (str_split(action, '@', &action, &count)) {
        if (str_ends_with(count, STR("+"))) {
            rule.sticky = true;
            count.len--;
        }
        if (!str_to_u64(count, UINT64_MAX, &rule.left) || rule.left == 0) return false;
    }
    bool has_errno = str_split(action, ':', &action, &errno_name);
    if (str_eq(action, STR("fail"))) {
        rule.action = ACTION_FAIL;
        if (!has_errno || !parse_errno(errno_name, &rule.errno_value)) return false;
    } else if (str_eq(action, STR("kill")) && !has_errno) {
        rule.action = ACTION_KILL;
    } else if (str_eq(action, STR("plant")) && !has_errno && !rule.is_prefix) {
        rule.action = ACTION_PLANT;
    } else {
        return false;
    }
    *out = rule;
    return true;
}

ErrCode fault_configure(const char *spec, Err *err)
{
    Rule parsed[RULES_MAX];
    size_t count = 0;
    Str rest = str_from_cstr(spec);
    while (rest.len > 0) {
        Str one;
        str_split(rest, ',', &one, &rest);
        if (count == RULES_MAX) return err_set(err, ERR_CONFIG, "more than %d faults", RULES_MAX);
        if (!parse_rule(one, &parsed[count])) {
            return err_set(err, ERR_CONFIG, "HOLDFAST_FAULT: \"%.*s\" is not understood",
                           STR_ARG(one));
        }
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        if (parsed[i].action == ACTION_PLANT)
            fault_plant(parsed[i].name, true);
        else
            rule_add(&parsed[i]);
    }
    return OK;
}

#else /* a release build: nothing can be made to fail */

ErrCode fault_configure(const char *spec, Err *err)
{
    if (str_from_cstr(spec).len == 0) return OK;
    return err_set(err, ERR_CONFIG, "HOLDFAST_FAULT is set, but this build has no fault points");
}

void fault_arm(const char *name, int errno_value, uint64_t nth, bool sticky)
{
    UNUSED(name);
    UNUSED(errno_value);
    UNUSED(nth);
    UNUSED(sticky);
}

void fault_arm_any(const char *prefix, int errno_value, uint64_t nth, bool sticky)
{
    fault_arm(prefix, errno_value, nth, sticky);
}

void fault_plant(const char *name, bool on)
{
    UNUSED(name);
    UNUSED(on);
}

void fault_reset(void)
{
}

size_t fault_stats(FaultStat *out, size_t max)
{
    UNUSED(out);
    UNUSED(max);
    return 0;
}

#endif
