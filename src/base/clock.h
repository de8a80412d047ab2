/* Time, as a table of functions, so that the simulator can be the clock. wall is for people and
 * stored times only; nothing is ordered by it. boot counts through suspend (CLOCK_BOOTTIME). */
#ifndef HOLDFAST_BASE_CLOCK_H
#define HOLDFAST_BASE_CLOCK_H

#include "base/check.h"

typedef struct Clock Clock;
struct Clock {
    uint64_t (*wall_ms)(Clock *clock); /* milliseconds since 1970-01-01T00:00:00Z */
    uint64_t (*boot_ns)(Clock *clock); /* nanoseconds, never going back */
};

Clock *clock_real(void);
static inline uint64_t clock_wall_ms(Clock *clock)
{
    return clock->wall_ms(clock);
}
static inline uint64_t clock_boot_ns(Clock *clock)
{
    return clock->boot_ns(clock);
}

/* A clock that a test moves by hand: initialize, then set the two fields. */
typedef struct {
    Clock clock;
    uint64_t wall_ms;
    _Atomic uint64_t boot_ns; /* moved while another thread looks at it */
} ManualClock;
void clock_manual_init(ManualClock *manual, uint64_t wall_ms);

#endif
