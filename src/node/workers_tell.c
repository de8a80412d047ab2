/* What others see of the engine: the core publishes it after each turn, and whoever asks is
 * answered from that. */
#include "node/workers_priv.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"

#define NS_PER_MS 1000000ULL
#define STILL_NS (500 * NS_PER_MS) /* of a sync: who does so does not count as room */
#define SNAPSHOT_EVERY_NS (100 * NS_PER_MS)

/* --- the core --- */

const char *workers_dir(const Workers *workers, unsigned root)
{
    const char *dir = workers->options.dirs[root];
    return dir == NULL ? "?" : dir;
}

/* Of the standard class, and so of the system's records. */
static const ClassState *standard_state(const Workers *workers)
{
    return &workers->states[PLACE_CLASS_STANDARD];
}

/* Who is in sync changed, or who leads. */
static void note_changes(Workers *workers, unsigned lead, unsigned in_sync)
{
    uint64_t now = clock_boot_ns(workers->options.clock);
    unsigned before = atomic_load(&standard_state(workers)->in_sync);
    bool moved = lead != atomic_load(&standard_state(workers)->lead);
    if (!moved && in_sync == before && workers->noted) return;
    lock_take(&workers->lock);
    workers->lead_moves += workers->noted && moved;
    workers->sync_changes += workers->noted && in_sync != before;
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        bool is = (in_sync >> r & 1) != 0;
        if (is) workers->behind_ns[r] = 0;
        if (!is && workers->behind_ns[r] == 0) workers->behind_ns[r] = now;
    }
    lock_give(&workers->lock);
    for (unsigned r = 0; r < workers->options.root_count && workers->noted; r++) {
        if (((in_sync ^ before) >> r & 1) == 0) continue;
        blobs_leave(store_blobs(workers->options.stores[r]), (in_sync >> r & 1) == 0);
        if ((in_sync >> r & 1) != 0)
            LOG_TO(OPERATIONS, INFO, "root.in_sync", "root=%u directory=" LOG_STR, r,
                   LOG_CSTR(workers_dir(workers, r)));
        else
            LOG_TO(OPERATIONS, WARN, "root.behind", "root=%u directory=" LOG_STR, r,
                   LOG_CSTR(workers_dir(workers, r)));
    }
    workers->noted = workers->noted || engine_ready(workers->engine);
}

static unsigned classes_there(const Workers *workers)
{
    unsigned mask = 0;
    for (unsigned class = 0; class < CLASSES_MAX; class ++)
        mask |= (unsigned)atomic_load(&workers->states[class].there) << class;
    return mask;
}

static void take_snapshot(Workers *workers)
{
    uint64_t now = clock_boot_ns(workers->options.clock);
    unsigned classes = classes_there(workers);
    bool news = classes != workers->snapshot_classes; /* a new one is asked for at once */
    if (workers->ready && !news && now - workers->shards_ns < SNAPSHOT_EVERY_NS) return;
    workers->snapshot_classes = classes;
    workers->shards_ns = now;
    lock_take(&workers->lock);
    workers->shard_count = engine_shards(workers->engine, workers->shards, ENGINE_SHARDS_MAX);
    for (unsigned class = 0; class < CLASSES_MAX; class ++) {
        EngineClass now_is = engine_class(workers->engine, class);
        workers->durability[class] = now_is.durability;
        workers->needed[class] = now_is.needed;
    }
    workers->async = engine_async(workers->engine);
    lock_give(&workers->lock);
}

static void tell_failed(Workers *workers)
{
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        bool out = engine_root_is_out(workers->engine, r);
        bool evicted = engine_root_is_evicted(workers->engine, r);
        if (evicted && !workers->evicted[r]) storage_root_evict(workers->roots[r]);
        if (!out && workers->evicted[r]) storage_root_add(workers->roots[r]);
        workers->evicted[r] = out && (evicted || workers->evicted[r]);
        if (out) storage_root_tell_failed(workers->roots[r]);
    }
    if (engine_failed(workers->engine) && !atomic_exchange(&workers->failed, true) &&
        workers->options.root_count > 1)
        LOG_TO(OPERATIONS, ERROR, "node.read_only", "roots=%u", workers->options.root_count);
}

/* Do all shards stand, and may what they have be told? Until the others' first promises it may not.
 */
static bool serves(const Workers *workers)
{
    uint64_t until = atomic_load(&standard_state(workers)->read_until);
    return engine_ready(workers->engine) && until > clock_boot_ns(workers->options.clock);
}

/* Room that enough of the roots of a class have; the standard class asks all roots. */
static uint64_t class_room(const Workers *workers, const EngineClass *class)
{
    uint64_t best[ENGINE_ROOTS_MAX + 1] = {0}; /* falling */
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        uint64_t room = storage_root_room(workers->roots[r]);
        unsigned at = r;
        if ((class->members >> r & 1) == 0) continue;
        for (; at > 0 && best[at - 1] < room; at--)
            best[at] = best[at - 1];
        best[at] = room;
    }
    return best[MIN(class->needed, (unsigned)ENGINE_ROOTS_MAX) - 1];
}

static void publish_class(Workers *workers, unsigned number)
{
    ClassState *state = &workers->states[number];
    EngineClass class = engine_class(workers->engine, number);
    if (!class.there) return;
    /* Who loads a lead, and then until when, must not find another one's time. */
    if (atomic_load(&state->lead) != class.lead) atomic_store(&state->read_until, 0);
    atomic_store(&state->lead, class.lead);
    atomic_store(&state->in_sync, class.in_sync);
    atomic_store(&state->members, class.members);
    atomic_store(&state->read_until, class.read_until);
    atomic_store(&state->failed, class.failed);
    atomic_store(&state->there, true);
    if (number <= PLACE_CLASS_STANDARD) return;
    uint64_t room = class_room(workers, &class);
    atomic_store(&state->full, room == 0);
    engine_set_room(workers->engine, number, room);
}

/* Which roots have no room, and can be done without? Large bodies do not go there. */
/* Could each class that root keeps do without it: would enough others that have room be in sync? */
static bool classes_spare(const Workers *workers, unsigned root, unsigned roomy)
{
    for (unsigned i = PLACE_CLASS_STANDARD + 1; i < CLASSES_MAX; i++) {
        const ClassState *state = &workers->states[i];
        bool keeps = atomic_load(&state->there) && !atomic_load(&state->failed) &&
                     (atomic_load(&state->members) >> root & 1) != 0;
        unsigned others = atomic_load(&state->in_sync) & roomy & ~(1U << root);
        if (keeps && (unsigned)__builtin_popcount(others) < workers->needed[i]) return false;
    }
    return true;
}

static void publish_spared(Workers *workers, unsigned in_sync)
{
    unsigned roomy = 0;
    unsigned spared = 0;
    unsigned needed = place_min_isr_default((uint8_t)workers->options.root_count);
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        bool full = atomic_load(storage_root_full(workers->roots[r]));
        bool still = storage_root_health(workers->roots[r]).sync_age_ns >= STILL_NS;
        if ((in_sync >> r & 1) != 0 && !full && !still) roomy |= 1U << r;
    }
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        bool enough = (unsigned)__builtin_popcount(roomy & ~(1U << r)) >= needed &&
                      classes_spare(workers, r, roomy);
        bool left = engine_is_left(workers->engine, r);
        if (enough && (roomy >> r & 1) == 0) spared |= 1U << r;
        storage_root_set_spared(workers->roots[r], enough, left);
    }
    atomic_store(&workers->spared, spared);
}

void workers_publish(Workers *workers)
{
    unsigned lead = engine_lead(workers->engine);
    unsigned in_sync = engine_in_sync(workers->engine);
    atomic_store(&workers->in_flight, engine_in_flight(workers->engine));
    if (workers->options.root_count > 1) note_changes(workers, lead, in_sync);
    for (unsigned class = 0; class < CLASSES_MAX; class ++)
        publish_class(workers, class);
    if (workers->options.root_count > 1) publish_spared(workers, in_sync);
    tell_failed(workers);
    take_snapshot(workers);
    if (!workers->ready && serves(workers)) {
        LOG(INFO, "node.ready", "shards=%zu", workers->shard_count);
        atomic_store(&workers->ready, true);
    }
}

/* --- any thread --- */

static void sum_up_lag(const Workers *workers, unsigned root, WorkersRoot *out)
{
    uint64_t now_ms = clock_wall_ms(workers->options.clock);
    out->lag_known = true;
    for (size_t i = 0; i < workers->shard_count; i++) {
        const EngineCopy *copy = &workers->shards[i].copies[root];
        out->lag_entries += copy->lag_entries;
        out->lag_bytes += copy->lag_bytes;
        out->lag_known = out->lag_known && copy->lag_known;
        bool dated = copy->lag_from_ms != 0 && copy->lag_from_ms < now_ms;
        if (dated) out->lag_ms = MAX(out->lag_ms, now_ms - copy->lag_from_ms);
    }
}

/* With each class that it is to keep. */
static bool is_in_sync(const Workers *workers, unsigned root)
{
    for (unsigned i = 0; i < CLASSES_MAX; i++) {
        const ClassState *state = &workers->states[i];
        unsigned keeps = atomic_load(&state->there) ? atomic_load(&state->members) : 0;
        if (i == PLACE_CLASS_STANDARD) keeps |= 1U << root;
        if (((keeps & ~atomic_load(&state->in_sync)) >> root & 1) != 0) return false;
    }
    return true;
}

void workers_root_status(Workers *workers, unsigned root, WorkersRoot *out)
{
    StorageRoot *storage = workers->roots[root];
    uint64_t now = clock_boot_ns(workers->options.clock);
    uint64_t synced = storage_root_synced_ns(storage);
    EngineHealth health = storage_root_health(storage);
    *out = (WorkersRoot){.leads = atomic_load(&standard_state(workers)->lead) == root,
                         .in_sync = is_in_sync(workers, root),
                         .full = atomic_load(storage_root_full(storage)),
                         .sync_age_ms = health.sync_age_ns / NS_PER_MS,
                         .sync_p99_ms = health.sync_p99_ns / NS_PER_MS,
                         .synced_ms = synced == 0 ? UINT64_MAX
                                                  : (now - MIN(now, synced)) / NS_PER_MS};
    storage_root_cause(storage, &out->cause);
    lock_take(&workers->lock);
    sum_up_lag(workers, root, out);
    uint64_t behind = workers->behind_ns[root];
    lock_give(&workers->lock);
    if (behind != 0) out->lag_ms = MAX(out->lag_ms, (now - MIN(now, behind)) / NS_PER_MS);
    out->out = out->cause.code != OK;
    out->evicted = storage_root_is_evicted(storage);
}

Queue *workers_told(Workers *workers)
{
    return workers->told;
}

uint64_t workers_told_missed(Workers *workers)
{
    return atomic_exchange(&workers->told_missed, 0);
}

void workers_copies(Workers *workers, WorkersCopies *out)
{
    lock_take(&workers->lock);
    *out = (WorkersCopies){.needed = workers->needed[PLACE_CLASS_STANDARD],
                           .in_sync = workers->durability[PLACE_CLASS_STANDARD].synced,
                           .lead_moves = workers->lead_moves,
                           .sync_changes = workers->sync_changes,
                           .async = workers->async};
    lock_give(&workers->lock);
}

void workers_why_failed(void *arg, Err *out)
{
    Workers *workers = arg;
    unsigned count = workers->options.root_count;
    char text[sizeof out->message];
    size_t len = 0;
    unsigned left = 0;
    err_clear(out);
    if (!atomic_load(&workers->failed)) return;
    text[0] = '\0';
    for (unsigned r = 0; r < count; r++) {
        Err cause;
        storage_root_cause(workers->roots[r], &cause);
        left += cause.code == OK;
        if (cause.code == OK || len >= sizeof text - 1) continue;
        char uuid[37];
        uuid_text(store_root(storage_root_store(workers->roots[r]))->uuid, uuid);
        int more = snprintf(text + len, sizeof text - len, "%sroot %s failed: %s",
                            len == 0 ? "" : "; ", uuid, err_text(&cause));
        len = more < 0 ? len : MIN(len + (size_t)more, sizeof text - 1);
    }
    ErrCode code = count == 1
                       ? err_set(out, ERR_ROOT_FAILED, "%s", text)
                       : err_set(out, ERR_ROOT_FAILED, "%u of %u copies are needed, %u %s left: %s",
                                 workers->needed[PLACE_CLASS_STANDARD], count, left,
                                 left == 1 ? "is" : "are", text);
    ASSERT(code == ERR_ROOT_FAILED);
}

Durability workers_durability(Workers *workers, unsigned class)
{
    ASSERT(class < CLASSES_MAX);
    lock_take(&workers->lock);
    Durability durability = workers->durability[class];
    lock_give(&workers->lock);
    return durability;
}

StorageRoot *workers_root(const Workers *workers, unsigned root)
{
    ASSERT(root < workers->options.root_count);
    return workers->roots[root];
}

bool workers_failed(const Workers *workers)
{
    return atomic_load(&workers->failed);
}

size_t workers_in_flight(const Workers *workers)
{
    return atomic_load(&workers->in_flight);
}

size_t workers_shards(Workers *workers, EngineShardStatus *out, size_t max)
{
    lock_take(&workers->lock);
    for (size_t i = 0; i < MIN(max, workers->shard_count); i++)
        out[i] = workers->shards[i];
    size_t count = workers->shard_count;
    lock_give(&workers->lock);
    return count;
}
