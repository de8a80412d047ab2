/* What the files of the engine share. */
#ifndef HOLDFAST_SERVICE_ENGINE_PRIV_H
#define HOLDFAST_SERVICE_ENGINE_PRIV_H

#include "base/rng.h"
#include "service/engine.h"

/* Entries whose bytes are in memory, by lsn: those of the newest that some member may still lack.
 */
typedef struct {
    Sealed **items; /* a ring */
    size_t capacity;
    size_t first; /* of the ring */
    size_t count;
    Lsn first_lsn; /* of the oldest; what it would be if there is none */
} Kept;

/* One replica of a shard, on one root. */
typedef struct {
    unsigned root;
    Replica *replica;
    Record *open_first; /* in the log, or on its way; not committed; in lsn order, by next */
    Record *open_last;
    Lsn logged_lsn;       /* highest lsn that came back durable, of those that no cut took … */
    uint64_t logged_cuts; /* … after so many cuts */
    bool logged_news;     /* EVENT_STORED is owed */
    bool state_news;      /* EVENT_STATE_STORED is, with these: */
    Term state_term;
    Uuid state_vote;
    bool cas_lost; /* EVENT_CAS_UNKNOWN is, of this one: */
    Uuid cas_uid;
    bool restarted;    /* EVENT_RESTART was */
    Lsn forgotten_lsn; /* EVENT_FORGOTTEN is, up to this; 0: none */
    uint64_t cuts;     /* TRUNCATEs given to the log */
    bool fetching;     /* a FetchJob is out */
    bool wants_seed;   /* its log began anew, durably; the rest is to come … */
    Lsn seed_base;     /* … as of this lsn or later */
    Kept kept;         /* several roots only */
} EngineMember;

/* Shards that stand on the same root, the group's *lead*, as long as it is well, so that a listing
 * is one scan of one index: those of a class; the system's goes with the standard class's. */
typedef struct {
    PlacementClass rules;
    size_t first; /* of Engine.shard_list … */
    size_t count;
    uint8_t *replicas; /* memory of all of them: pages that are not used are not taken */
    unsigned lead;
    uint64_t full_ns;      /* the lead has no room since then; 0: it has, or it was just tried */
    uint64_t lead_out_ns;  /* others lead, and left the lead out, since then; 0: it is not so */
    bool failed;           /* of too many roots the log did: no more changes */
    bool broken;           /* its shards could not be started */
    bool stood;            /* its shards were primary on a lead, and its buckets are counted */
    uint64_t room;         /* engine_set_room() */
    uint64_t told_entries; /* of the lead: acknowledged and not committed */
    uint64_t told_bytes;
} EngineGroup;

/* A shard of this process. */
typedef struct {
    ShardId shard;
    EngineGroup *group;
    EngineMember on[ENGINE_ROOTS_MAX];
    uint32_t members_first; /* how many there were when it was first led from here; 0: not yet */
    Lsn counted_lsn;        /* buckets know of its commits up to here */
    Mutation *waiting;      /* answered already, told when their wait_lsn commits; linked by next */
    bool has_async;         /* asynchronous ones may be open that are not told … */
    bool has_whole;         /* … and in `waiting` some that every copy must have */
    Lsn told_lsn;           /* of the lead: up to here all of them are told */
    uint64_t stand_again_ns; /* whoever stands is left alone until then */
    unsigned stands;         /* since there was a primary */
} EngineShard;

/* A message on its way between two roots of this process. */
typedef struct Mail Mail;
struct Mail {
    Mail *next;
    unsigned turns;  /* that it still stays away */
    Message message; /* of its entries a reference each; last: its end is not there if unused */
};

typedef struct {
    Store *store;
    StoreReader *reader;
    bool failed;         /* silent: what its members are owed waits … */
    bool evicted;        /* … until it is added again, for an administrator left it out */
    bool committed_news; /* io.committed is owed */
    bool seeding;        /* a SeedJob is out */
    bool still;          /* by the last tick its disk does nothing */
    size_t suspects;    /* shards of which the rows were to be taken from the others at the start */
    size_t log_items;   /* at its writer … */
    uint64_t log_bytes; /* … and what they hold */
    OMap *usage;        /* until all is ready: what buckets hold, by uid: BucketStatRow */
} EngineRoot;

struct Engine {
    EngineOptions options;
    EngineRoot roots[ENGINE_ROOTS_MAX];
    EngineGroup *groups[CLASSES_MAX]; /* by class; NULL: none, or not yet */
    EngineGroup *base;                /* of the system and of the standard class */
    unsigned asked;                   /* bit c: rows of class c are being looked for, or made */
    bool usage_kept;                  /* roots[].usage, for classes that did not stand yet */
    bool groups_due;                  /* a class may have no group yet: asked for, though … */
    uint64_t groups_at_ns;            /* … not before then, if it was not to be had … */
    uint64_t groups_until_ns;         /* … and the start waits until then */
    Classes *own_classes;             /* if nobody else has any */
    bool moving;        /* leads go to moving_to as soon as they rest, by moving_until_ns … */
    bool moving_evicts; /* … or away from it, and it is left out then */
    unsigned moving_to;
    const char *moving_why;
    uint64_t moving_until_ns;
    Rng rng;
    EngineShard *shards[SHARD_COUNT_MAX];
    ShardId shard_list[ENGINE_SHARDS_MAX];
    size_t shard_count;
    Effects effects;
    Record *appending; /* of the entry that a primary is just given */
    Mail *mail_first;
    Mail *mail_last;
    Mail *mail_late; /* not to be delivered yet */
    bool pumping;
    ControlJob *control_next; /* what is to be asked of the control store; NULL: nothing */
    bool control_out;         /* one is out */
    uint64_t kept_bytes;      /* of all Kept */
    bool class_waits;         /* somebody who made a class */
    size_t class_changes;     /* the same of placement classes as the next of buckets */
    size_t bucket_changes;   /* bucket creations and deletions of the lead that are not committed */
    Mutation *stalled_first; /* wait for room, in order of arrival */
    Mutation *stalled_last;
    size_t in_flight;
    bool has_async; /* of some shard, like the next */
    bool has_whole;
    uint64_t told_ever;
    bool first_bucket_asked;
    bool first_bucket_done;
    bool ready;
    bool retired;      /* engine_retire_roots() has nothing left to do */
    uint64_t appended; /* bytes given to the log so far */
    bool draining;
    bool failed;    /* the log of the only root, or of too many */
    bool read_only; /* the applier */
    Mutation first_bucket;
};

/* What a change of a file is about. */
typedef struct {
    ShardId shard;
    BucketUid bucket;
    Versioning versioning;
    BucketUid charged;    /* of an upload: the bucket of the file to be; 0: none */
    uint64_t older_bytes; /* of versions before `found` that a DELETE ends, too */
    Str key;
    StoreFound found; /* the newest version, be it a delete marker; its views end with the next
                         look-up */
    bool there;       /* and clients see it: the current version */
    bool has_exact;   /* the change is about this one version: */
    bool has_older;   /* … and there are older ones */
    StoreFound exact; /* without views */
} Target;
/* decide_versions.c */
/* Has the name a version, seen or not? */
static inline bool target_has_row(const Target *t)
{
    return t->found.row.version.lsn != 0;
}
/* Is m the DELETE of one version? Without versions, naming one is a condition. */
bool target_names_version(const Mutation *m, const Target *t);
/* Looks m's version up. ERR_NOT_FOUND; t->exact says what that rests on. */
MUST_USE ErrCode target_find_exact(Engine *engine, const Mutation *m, Target *t, Err *err);
/* The same for EXPIRE; ERR_PRECONDITION: its time is not over. */
MUST_USE ErrCode target_find_over(Engine *engine, const Mutation *m, Target *t, Err *err);
/* When the version that m writes at now_ms ends, into m->attr_buf, if it does. */
MUST_USE ErrCode engine_add_expires(Mutation *m, uint64_t now_ms, Err *err);
/* What m makes more or less of its bucket. */
MUST_USE ErrCode target_count(Engine *engine, Mutation *m, const Target *t, bool writes, Err *err);
/* Of what is decided on: pending changes, too. */
StoreView engine_deciding_view(void);
/* decide_keys.c: KEY_CREATE, KEY_REVOKE; and one that was committed. */
void engine_decide_key(Engine *engine, Mutation *m);
void engine_commit_key(Engine *engine, const Record *record);
/* decide.c: m is decided again when there is room. */
void engine_stall(Engine *engine, Mutation *m);
/* Appends the DELETE of what was found. */
MUST_USE ErrCode engine_append_delete(Engine *engine, Mutation *m, const Target *t, Err *err);
/* decide.c: checks m against the state and appends its entry, or answers it. */
void engine_decide(Engine *engine, Mutation *m);
/* Answers with code now, or when what the look-up rests on is committed. */
void engine_refuse(Engine *engine, Mutation *m, ErrCode code, const StoreFound *found);
/* When a repeat of m, which changed file, is to be answered: as its bucket has it. */
void engine_note_writes(Engine *engine, Mutation *m, FileId file);
/* With the file looked up: refuses, or appends. */
void engine_decide_found(Engine *engine, Mutation *m, Target *t);
/* m waits, to be decided anew. */
void engine_stall(Engine *engine, Mutation *m);
/* decide_meta.c: other tags for what was looked up, or for m's version of it. */
void engine_decide_tags(Engine *engine, Mutation *m, Target *t);
/* decide_uploads.c: a change of an upload or of a part of it. */
void engine_decide_upload(Engine *engine, Mutation *m);
/* Of the bytes of uploads that are there in group, at start. */
MUST_USE ErrCode engine_count_uploads(Engine *engine, const EngineGroup *group, Err *err);
/* Is the upload that m takes as m says? Else m is answered, or will be. */
bool engine_may_take(Engine *engine, Mutation *m);
/* repeat.c: was the change of m, which has a request, made before? Then m is answered, or will be.
 */
bool engine_decide_repeat(Engine *engine, Mutation *m);
/* The key of a new file whose request names none; view into m. */
MUST_USE ErrCode engine_request_key(Mutation *m, Str *key, Err *err);
/* Answers m: code and text, done(). */
void engine_answer(Engine *engine, Mutation *m, ErrCode code);
/* Answers m with code when lsn of shard is committed; at once if it is. With OK, m is as durable as
 * that. */
void engine_answer_after(Engine *engine, Mutation *m, ErrCode code, ShardId shard, Lsn lsn);
/* Gives the entry its place, and the time unless it has one, seals it, appends. m (may be NULL) is
 * answered by its commit. */
MUST_USE ErrCode engine_append(Engine *engine, Entry *entry, Mutation *m, Err *err);
/* The same on a member that leads its shard, which may have to wait for no room. */
MUST_USE ErrCode engine_append_on(Engine *engine, EngineMember *member, Entry *entry, Mutation *m,
                                  Err *err);
bool engine_is_bucket_change(const Record *record);
bool engine_is_class_change(const Record *record); /* decide_classes.c */
EngineShard *engine_shard(const Engine *engine, ShardId shard);
/* May this shard take another entry now (window, log queue, backlog)? */
bool engine_has_room(const Engine *engine, const EngineShard *shard);

/* engine_operator.c: the lead is to go to root, which is in sync, when what is under way is
 * committed.
 */
void engine_begin_moving(Engine *engine, unsigned to, const char *why);
/* Is nothing of the lead of group under way, nor anybody waiting for it? */
bool engine_group_rests(const Engine *engine, const EngineGroup *group);
/* Goes on with that, and with what an administrator asked for. */
void engine_move_on(Engine *engine);
/* engine_roots.c: the shards of group are to stand on root `to`; why: of the log's line. */
void engine_move_lead(Engine *engine, EngineGroup *group, unsigned to, const char *why);

/* engine_members.c: the replicas of one root each, and what they want done. */
/* The one on the lead. */
static inline EngineMember *engine_lead_member(EngineShard *shard)
{
    return &shard->on[shard->group->lead];
}
static inline const Replica *engine_lead_replica(const EngineShard *shard)
{
    return shard->on[shard->group->lead].replica;
}
/* The i-th of a group. */
static inline EngineShard *engine_group_shard(const Engine *engine, const EngineGroup *group,
                                              size_t i)
{
    return engine->shards[engine->shard_list[group->first + i]];
}
/* What the lead of a group has. */
static inline Store *engine_group_store(const Engine *engine, const EngineGroup *group)
{
    return engine->roots[group->lead].store;
}
static inline StoreReader *engine_group_reader(const Engine *engine, const EngineGroup *group)
{
    return engine->roots[group->lead].reader;
}
/* Of the system's records. */
static inline StoreReader *engine_system_reader(const Engine *engine)
{
    return engine_group_reader(engine, engine->base);
}
/* Of the files of a shard that is there. */
static inline StoreReader *engine_shard_reader(const Engine *engine, ShardId shard)
{
    return engine_group_reader(engine, engine->shards[shard]->group);
}
/* The next one behind *class (0 at first), each once; NULL at the end. */
static inline EngineGroup *engine_next_group(const Engine *engine, unsigned *class)
{
    while (++*class < CLASSES_MAX) {
        if (engine->groups[*class] != NULL) return engine->groups[*class];
    }
    return NULL;
}
/* Which root of this process that is; false: none. */
bool engine_root_of(const Engine *engine, Uuid uuid, unsigned *root);
/* Bits of the roots of this process that are in sync by config. */
unsigned engine_isr_of(const Engine *engine, const ShardConfig *config);
/* What the protocol must know of it; valid as long as sealed. */
LogEntry engine_log_entry(Sealed *sealed);
void engine_step(Engine *engine, EngineShard *shard, EngineMember *member, Event *event);
/* Until nothing is left: mail is delivered, configurations are swapped. */
void engine_pump(Engine *engine);
/* A turn: of the mail that is late, what is due now stands in the queue. */
void engine_mail_due(Engine *engine);
void engine_mail_free(Engine *engine);
/* Makes the replicas of shard. */
void engine_members_init(Engine *engine, EngineShard *shard, uint8_t *memory, size_t stride);
void engine_members_free(Engine *engine, EngineShard *shard);
/* Starts its replica on root, from what its log says and config, its row in the control store. */
MUST_USE ErrCode engine_member_restart(Engine *engine, EngineShard *shard, EngineMember *member,
                                       const ShardConfig *config, Err *err);
/* EVENT_STORED for all that is owed one. */
void engine_step_stored(Engine *engine);
/* What else was not told to the members of root while it was left out; those of classes that were
 * begun meanwhile start. */
MUST_USE ErrCode engine_step_owed(Engine *engine, unsigned root, Err *err);
/* What no member lacks any more is given free. */
void engine_forget(Engine *engine, EngineShard *shard, EngineMember *member);

/* engine_control.c: what goes with the next job. */
void engine_ask_swap(Engine *engine, ShardId shard, unsigned root, const ShardConfig *wanted);
void engine_ask_look(Engine *engine, ShardId shard, unsigned root);
void engine_ask_retire(Engine *engine, Uuid *kept, size_t count); /* kept is taken over */
/* rows of class, which are taken over, are made where there are none; those in force come back.
 * False: other rows are to be made first. */
bool engine_ask_make(Engine *engine, unsigned class, ControlShard *rows, size_t count);
bool engine_control_due(const Engine *engine);
/* Sends it, unless one is out. */
void engine_control(Engine *engine);
/* Runs it here and tells the replicas; what came of its swaps. */
MUST_USE ErrCode engine_control_now(Engine *engine, Err *err);

/* engine_seed.c: begins what is wanted and can be. */
void engine_start_seeds(Engine *engine);
/* Is member of shard, by the row that is given, to be taken for SUSPECT because its index was made
 * of packs: it is to be given the others' rows? At start. */
bool engine_is_suspect(Engine *engine, const EngineShard *shard, const EngineMember *member,
                       const ShardConfig *config);
/* Is root a member of every shard of group, and of none incomplete or SUSPECT? */
bool engine_counts(const Engine *engine, const EngineGroup *group, unsigned root);

/* engine_async.c */
/* Acknowledges what is asynchronous and synced on the lead. */
void engine_tell(Engine *engine);
/* record of the lead, if it was told, is open; with done, no more. */
void engine_count_told(EngineGroup *group, const Record *record, bool done);
/* The lead goes elsewhere: says what of it is acknowledged and not committed. */
void engine_leave_told(const EngineGroup *group);
/* Has every copy that there is to be lsn of shard? */
bool engine_all_have(const Engine *engine, const EngineShard *shard, Lsn lsn);
/* Answers what waits for every copy and is there now. */
void engine_answer_whole(Engine *engine);

/* engine_late.c: whoever waits for too long is told so. */
void engine_answer_late(Engine *engine);

/* engine_groups.c: classes. */
/* Copies that its files are to have. */
unsigned engine_group_copies(const Engine *engine, const EngineGroup *group);
/* Of a shard of a class that never was, or of which control.json was lost: so many roots of this
 * process are its members, and all in sync: nothing was ever committed. */
ShardConfig engine_first_config(Engine *engine, const PlacementClass *rules);
/* Looks for the rows of classes that have no group yet, and has those made that never were. */
void engine_ask_groups(Engine *engine);
/* They came: its shards are taken. code not OK: asked for again later. */
void engine_begin_group(Engine *engine, unsigned class, const ControlShard *rows, size_t count,
                        ErrCode code);
/* Those that stand for the first time: their buckets are counted. */
void engine_groups_stand(Engine *engine);
/* Do all classes stand, or are not likely to soon? */
bool engine_groups_settled(const Engine *engine);
/* Does the class that m made, if it did, stand, or is not going to soon? */
bool engine_class_stands(const Engine *engine, const Mutation *m);
/* May a change of class be decided now? If not m is answered, or waits. */
bool engine_class_takes(Engine *engine, Mutation *m, unsigned class);
/* The same of the class that is in its id; an id that no file has, or the system's, is not found.
 */
bool engine_file_takes(Engine *engine, Mutation *m, FileId file);
/* What engine_class() says of it. */
uint64_t engine_group_read_until(const Engine *engine, const EngineGroup *group);
unsigned engine_group_members(const Engine *engine, const EngineGroup *group);
unsigned engine_group_in_sync(const Engine *engine, const EngineGroup *group);
unsigned engine_group_needed(const Engine *engine, const EngineGroup *group);
Durability engine_group_durability(const Engine *engine, const EngineGroup *group);
/* Does each primary stand on its lead, and hold the promises of enough members? */
bool engine_group_may_read(const Engine *engine, const EngineGroup *group);
/* decide_classes.c: CLASS_SET; and one that was committed. */
void engine_decide_class(Engine *engine, Mutation *m);
void engine_commit_class(Engine *engine, const Record *record);

/* engine_plan.c: asks for the next step towards the members that shard is to have. */
void engine_plan(Engine *engine, EngineShard *shard);
/* Once all shards have them: roots that none names are declared lost. */
void engine_retire_roots(Engine *engine);

/* engine_roots.c: which root leads. */
/* From now on it is root: of what its log has and nobody knows committed, buckets know. */
void engine_take_lead(Engine *engine, EngineGroup *group, unsigned root);
/* The lead's log has record, which nobody knows committed: it is under way; with done, no more. */
void engine_count_open(Engine *engine, const EngineShard *shard, const Record *record, bool done);
/* The well root that is best for it; false: there is none. */
bool engine_choose_lead(const Engine *engine, const EngineGroup *group, unsigned *out);
/* The member of shard that has most stands. */
void engine_stand(Engine *engine, EngineShard *shard);
/* engine_safety.c: is every copy of shard that there is to be in sync? */
bool engine_all_in_sync(const Engine *engine, const EngineShard *shard);
/* How many are? */
unsigned engine_synced(const Engine *engine, const EngineShard *shard);
/* How safe lsn of the shard of member, a primary, is. */
Durability engine_durability_of(const Engine *engine, const EngineShard *shard,
                                const EngineMember *member, Lsn lsn);
/* All shards of group are primary on its lead. */
bool engine_lead_stands(const Engine *engine, const EngineGroup *group);

/* engine.c */
/* Answers what waits in shard for something that holds now. */
void engine_answer_due(Engine *engine, EngineShard *shard);
/* Commits of member up to lsn: into its store; on the lead, buckets and requests learn of it. */
void engine_commit_to(Engine *engine, EngineShard *shard, EngineMember *member, Lsn lsn);
/* Whoever waits for what the lead's log has, or for what rests on that, is told that nobody knows.
 */
void engine_answer_unknown(Engine *engine, EngineShard *shard);
/* The log of the only root, or of so many that nothing of group can be committed, failed. */
void engine_fail_group(Engine *engine, EngineGroup *group);
/* Says so, of a class that is not the standard one. */
void engine_tell_class_failed(const EngineGroup *group);
void engine_free_usage(Engine *engine);
/* What the buckets of group hold, as its lead's store had it at the start. */
void engine_set_usage(Engine *engine, const EngineGroup *group);
/* Makes it, with its shards, which are not restarted yet; system: and the system's. */
EngineGroup *engine_group_new(Engine *engine, const PlacementClass *rules, bool system);
/* Would m's body leave the disk its reserve, with all that waits in the log? */
bool engine_fits_disk(const Engine *engine, const EngineGroup *group, const Mutation *m);

#endif
