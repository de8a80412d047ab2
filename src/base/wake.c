#include "base/wake.h"

#include <time.h>

void wake_init(Wake *wake)
{
    pthread_condattr_t attr;
    int failed = pthread_condattr_init(&attr);
    ASSERT(failed == 0);
    failed = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    ASSERT(failed == 0);
    failed = pthread_mutex_init(&wake->mutex, NULL);
    ASSERT(failed == 0);
    failed = pthread_cond_init(&wake->cond, &attr);
    ASSERT(failed == 0);
    pthread_condattr_destroy(&attr);
    wake->set = false;
}

void wake_deinit(Wake *wake)
{
    pthread_cond_destroy(&wake->cond);
    pthread_mutex_destroy(&wake->mutex);
}

void wake_set(void *ptr)
{
    Wake *wake = ptr;
    pthread_mutex_lock(&wake->mutex);
    if (!wake->set) {
        wake->set = true;
        pthread_cond_signal(&wake->cond);
    }
    pthread_mutex_unlock(&wake->mutex);
}

bool wake_wait(Wake *wake, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&wake->mutex);
    int waited = 0;
    while (!wake->set && waited == 0) {
        waited = timeout_ms < 0 ? pthread_cond_wait(&wake->cond, &wake->mutex)
                                : pthread_cond_timedwait(&wake->cond, &wake->mutex, &until);
    }
    bool set = wake->set;
    wake->set = false;
    pthread_mutex_unlock(&wake->mutex);
    return set;
}
