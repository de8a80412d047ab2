#include "cli/progress.h"

#include "base/clock.h"
#include "cli/show.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEFT_AFTER_MS 2000 /* earlier a guess is worth nothing */

/* x ≥ 0 as an integer; what is too large for one is its largest. */
static uint64_t whole(double x)
{
    return x < (double)UINT64_MAX ? (uint64_t)x : UINT64_MAX;
}

/* What is left, in ms, by the rate so far; false: nobody can tell. */
static bool time_left(const ProgressState *s, uint64_t *ms)
{
    if (!s->total_known || s->elapsed_ms < LEFT_AFTER_MS) return false;
    uint64_t done = s->bytes;
    uint64_t total = s->bytes_total - MIN(s->bytes_total, s->bytes_kept);
    /* Small files cost by the piece: count each as 4 KiB of work more. */
    done += (s->files + s->failed) * 4096;
    total += s->files_total * 4096;
    if (done == 0 || total < done) return false;
    *ms = whole((double)s->elapsed_ms * (double)(total - done) / (double)done);
    return true;
}

const char *progress_format(const ProgressState *s, char out[PROGRESS_LINE_SIZE])
{
    char bytes[SHOW_SIZE_SIZE];
    char total[SHOW_SIZE_SIZE];
    char rate[SHOW_SIZE_SIZE];
    char left[SHOW_DURATION_SIZE];
    char tail[64] = "";
    uint64_t left_ms = 0;
    uint64_t per_s = s->elapsed_ms == 0 ? 0
                                        : whole((double)s->bytes * 1000 / (double)s->elapsed_ms);
    show_size(s->bytes + s->bytes_kept, bytes);
    show_size(s->bytes_total, total);
    show_size(per_s, rate);
    if (s->failed > 0) snprintf(tail, sizeof tail, "  %" PRIu64 " failed", s->failed);
    if (time_left(s, &left_ms)) {
        size_t used = strlen(tail);
        snprintf(tail + used, sizeof tail - used, "  %s left", show_duration(left_ms, left));
    }
    if (s->total_known) {
        snprintf(out, PROGRESS_LINE_SIZE, "%" PRIu64 "/%" PRIu64 " files  %s/%s  %s/s%s", s->files,
                 s->files_total, bytes, total, rate, tail);
    } else {
        snprintf(out, PROGRESS_LINE_SIZE, "%" PRIu64 " files  %s  %s/s%s", s->files, bytes, rate,
                 tail);
    }
    return out;
}

static uint64_t now_ms(void)
{
    return clock_boot_ns(clock_real()) / 1000000;
}

void progress_init(Progress *progress, bool quiet)
{
    *progress = (Progress){.shown = !quiet && isatty(STDERR_FILENO) == 1, .start_ms = now_ms()};
    progress->last_ms = progress->start_ms;
}

uint64_t progress_elapsed_ms(const Progress *progress)
{
    return now_ms() - progress->start_ms;
}

bool progress_due(const Progress *progress)
{
    return progress->shown && now_ms() - progress->last_ms >= PROGRESS_EVERY_MS;
}

void progress_print(Progress *progress, const char *line)
{
    if (!progress->shown) return;
    /* To the first column, the text, and whatever the old line had beyond it goes. */
    fprintf(stderr, "\r%s\x1b[K", line);
    fflush(stderr);
    progress->last_ms = now_ms();
    progress->line = true;
}

void progress_show(Progress *progress, ProgressState *state)
{
    char line[PROGRESS_LINE_SIZE];
    if (!progress->shown) return;
    state->elapsed_ms = progress_elapsed_ms(progress);
    progress_print(progress, progress_format(state, line));
}

void progress_clear(Progress *progress)
{
    if (!progress->line) return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    progress->line = false;
}
