#include "cli/tally.h"

#include "cli/show.h"
#include <inttypes.h>
#include <stdio.h>

void tally_done(Tally *tally, uint64_t bytes, uint64_t kept)
{
    ASSERT(kept <= bytes);
    tally->files++;
    tally->bytes += bytes;
    tally->kept_bytes += kept;
}

void tally_begun(Tally *tally, uint64_t bytes)
{
    tally->begun++;
    tally->begun_bytes += bytes;
}

static void keep(TallyName *names, uint64_t count, Str name, const Err *err)
{
    char shown[SHOW_NAME_SIZE];
    if (count >= TALLY_NAMES_MAX) return;
    show_name(name, shown);
    snprintf(names[count].name, sizeof names[count].name, "%.*s", TALLY_NAME_SIZE - 1, shown);
    snprintf(names[count].text, sizeof names[count].text, "%s", err_text(err));
}

void tally_fail(Tally *tally, Str name, const Err *err)
{
    ASSERT(err->code != OK);
    keep(tally->failures, tally->failed, name, err);
    tally->failed++;
    tally->failure = err->code;
    tally->damage = tally->damage || err_info(err->code)->exit_status == 6;
}

void tally_skip(Tally *tally, Str name, const Err *err)
{
    keep(tally->skips, tally->skipped, name, err);
    tally->skipped++;
}

int tally_exit_status(const Tally *tally, bool single)
{
    if (tally->interrupted) return TALLY_INTERRUPTED;
    if (tally->damage) return 6;
    if (tally->ended != OK) return err_info(tally->ended)->exit_status;
    if (tally->failed == 0) return 0;
    return single ? err_info(tally->failure)->exit_status : 1;
}

static ErrCode list_names(const TallyName *names, uint64_t count, const char *what, Buf *out,
                          Err *err)
{
    for (uint64_t i = 0; i < MIN(count, (uint64_t)TALLY_NAMES_MAX); i++) {
        TRY(buf_printf(out, err, "%s: %s: %s\n", what, names[i].name, names[i].text));
    }
    if (count <= TALLY_NAMES_MAX) return OK;
    return buf_printf(out, err, "%s: and %" PRIu64 " more\n", what,
                      count - (uint64_t)TALLY_NAMES_MAX);
}

ErrCode tally_names(const Tally *tally, Buf *out, Err *err)
{
    TRY(list_names(tally->skips, tally->skipped, "skipped", out, err));
    return list_names(tally->failures, tally->failed, "failed", out, err);
}

ErrCode tally_summary(const Tally *tally, const char *verb, uint64_t elapsed_ms, Buf *out, Err *err)
{
    char size[SHOW_SIZE_SIZE];
    char time[SHOW_DURATION_SIZE];
    char rate[SHOW_SIZE_SIZE];
    show_size(tally->bytes, size);
    show_duration(elapsed_ms, time);
    uint64_t moved = tally->bytes - tally->kept_bytes;
    show_size((uint64_t)((double)moved * 1000 / (double)MAX(elapsed_ms, (uint64_t)1)), rate);
    TRY(buf_printf(out, err, "%s %" PRIu64 " file%s", verb, tally->files,
                   tally->files == 1 ? "" : "s"));
    /* Deleting moves no bytes. */
    if (tally->bytes > 0) TRY(buf_printf(out, err, ", %s", size));
    if (!tally->dry_run) TRY(buf_printf(out, err, " in %s", time));
    if (tally->bytes > 0 && !tally->dry_run) TRY(buf_printf(out, err, " (%s/s)", rate));
    if (tally->kept_bytes > 0) {
        TRY(buf_printf(out, err, ", %s of it by an earlier run",
                       show_size(tally->kept_bytes, size)));
    }
    if (tally->deleted > 0)
        TRY(buf_printf(out, err, ", %" PRIu64 " %s", tally->deleted,
                       tally->dry_run ? "to delete" : "deleted"));
    if (tally->unchanged > 0) {
        TRY(buf_printf(out, err, ", %" PRIu64 " unchanged", tally->unchanged));
    }
    if (tally->failed > 0) TRY(buf_printf(out, err, ", %" PRIu64 " failed", tally->failed));
    if (tally->skipped > 0) TRY(buf_printf(out, err, ", %" PRIu64 " skipped", tally->skipped));
    return buf_append_str(out, STR("\n"), err);
}
