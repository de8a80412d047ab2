#include "base/clock.h"

#include <time.h>

static struct timespec now(clockid_t id)
{
    struct timespec ts;
    ASSERT(clock_gettime(id, &ts) == 0);
    return ts;
}

static uint64_t real_wall_ms(Clock *clock)
{
    UNUSED(clock);
    struct timespec ts = now(CLOCK_REALTIME);
    /* Before 1970 there is no time. */
    if (ts.tv_sec < 0) return 0;
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t real_boot_ns(Clock *clock)
{
    UNUSED(clock);
    struct timespec ts = now(CLOCK_BOOTTIME);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

Clock *clock_real(void)
{
    static Clock real = {.wall_ms = real_wall_ms, .boot_ns = real_boot_ns};
    return &real;
}

static uint64_t manual_wall_ms(Clock *clock)
{
    return ((ManualClock *)clock)->wall_ms;
}

static uint64_t manual_boot_ns(Clock *clock)
{
    return ((ManualClock *)clock)->boot_ns;
}

_Static_assert(offsetof(ManualClock, clock) == 0, "a Clock of ours is the ManualClock");

void clock_manual_init(ManualClock *manual, uint64_t wall_ms)
{
    *manual = (ManualClock){
        .clock = {.wall_ms = manual_wall_ms, .boot_ns = manual_boot_ns},
        .wall_ms = wall_ms,
    };
}
