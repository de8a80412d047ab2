/* The state search: the real replica code in every order of what may happen, within a budget of
 * elections, crashes, changes and so on; invariants I1 to I9 are looked at in every state.
 *
 *   search_protocol [--set NAME] [--states N] [--walks N] [--seed N] [--plant NAME] [--required N]
 *                   [--trace PATH] | --bugs | --sets
 *
 * Breadth first: states are numbered in the order in which they are found, of each only its hash,
 * its parent and the action between them are kept (22 bytes), and it is made again from there. What
 * is found wrong is a shortest way to it. Walks go on from there by chance, deeper than that, and
 * add to the states. PATH, as it is printed, is told step by step. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "search_world.h"

#define DEPTH_MAX 120
#define NO_NODE UINT32_MAX

typedef struct {
    const char *name;
    const char *text;
    SearchBudget budget;
} SearchSet;
static const SearchSet sets[] = {
    {"elections",
     "3 members, 2 elections, 1 change of the configuration, 1 crash, 1 roll-back",
     {.stands = 2,
      .writes = 1,
      .ticks = 2,
      .jumps = 3,
      .crashes = 1,
      .roll_backs = 1,
      .unknown = 1,
      .changes = 1,
      .instant = 1,
      .min_isr = 2}},
    {"members",
     "3 members and a learner: changes, restarts, damaged and cut logs, snapshots",
     {.stands = 1,
      .writes = 1,
      .ticks = 3,
      .jumps = 3,
      .crashes = 1,
      .suspects = 1,
      .changes = 2,
      .cuts = 1,
      .instant = 1,
      .spare = 1,
      .min_isr = 2}},
    {"syncs",
     "3 members, of which one in sync is enough: each sync is a step of its own, 2 crashes",
     {.stands = 2,
      .writes = 2,
      .ticks = 2,
      .jumps = 3,
      .crashes = 2,
      .roll_backs = 1,
      .rows = 1,
      .lazy = 1,
      .instant = 1,
      .min_isr = 1}},
    {"polls",
     "as elections, and polls, reads of the row and a hand-over are steps of their own",
     {.stands = 2,
      .writes = 2,
      .ticks = 2,
      .jumps = 3,
      .crashes = 1,
      .roll_backs = 1,
      .unknown = 1,
      .changes = 1,
      .hand_overs = 1,
      .rows = 1,
      .min_isr = 2}},
};

#define BUG_NAME(id, name) name,
static const char *const bugs[] = {REPLICA_BUGS(BUG_NAME) "page-cache-durable",
                                   "votes-cut-with-log", "previous-config-forgotten"};
_Static_assert(ARRAY_LEN(bugs) == (int)REPLICA_BUG_COUNT + (int)SEARCH_BUG_COUNT, "in order");

typedef struct {
    const SearchSet *set;
    uint64_t states;
    uint64_t walks;
    uint64_t seed;
    uint64_t required;
    uint64_t bug;
    const char *trace;
} Arguments;

typedef struct {
    uint32_t *parents;
    SearchAction *actions;
    uint32_t count;
    uint32_t room;
    uint64_t *seen; /* hashes, open addressing; 0: free */
    uint64_t seen_mask;
    uint64_t distinct;
    uint64_t transitions;
    unsigned depth;
    SearchWorld *world;
    SearchSnapshot *snapshots[DEPTH_MAX]; /* of the path's states */
    uint32_t path[DEPTH_MAX];
    unsigned path_len; /* of which snapshots are true */
    bool found;
} Search;

/* The way to what is being done, for on_abort() too. */
static SearchAction way[DEPTH_MAX + 1];
static volatile unsigned way_len;

static void say_way(void)
{
    dprintf(STDOUT_FILENO, "way:");
    for (unsigned i = 0; i < way_len; i++)
        dprintf(STDOUT_FILENO, " %s.%u", search_action_name(way[i]), way[i] & 0xffu);
    dprintf(STDOUT_FILENO, "\n");
}

static void on_abort(int signal)
{
    UNUSED(signal);
    dprintf(STDOUT_FILENO, "found: an assertion failed after %u steps\n", way_len);
    say_way();
}

/* Is this state new? */
static bool insert(Search *s, uint64_t hash)
{
    if (hash == 0) hash = 1;
    uint64_t at = hash & s->seen_mask;
    for (; s->seen[at] != 0; at = (at + 1) & s->seen_mask) {
        if (s->seen[at] == hash) return false;
    }
    if (2 * (s->distinct + 1) > s->seen_mask) return false; /* full: no more are told apart */
    s->seen[at] = hash;
    s->distinct++;
    return true;
}

static void add_node(Search *s, uint32_t parent, SearchAction action)
{
    if (s->count == s->room) return;
    s->parents[s->count] = parent;
    s->actions[s->count++] = action;
}

/* Makes the world that of node, and `path` its ancestors; what both paths share is not made again.
 */
static void go_to(Search *s, uint32_t node)
{
    uint32_t chain[DEPTH_MAX];
    unsigned len = 0;
    for (uint32_t at = node; at != NO_NODE; at = s->parents[at])
        chain[len++] = at;
    unsigned same = 0;
    while (same < len && same < s->path_len && s->path[same] == chain[len - 1 - same])
        same++;
    ASSERT(same > 0);
    search_restore(s->world, s->snapshots[same - 1], true);
    for (unsigned i = same; i < len; i++) {
        s->path[i] = chain[len - 1 - i];
        way[i - 1] = s->actions[s->path[i]];
        way_len = i;
        search_act(s->world, s->actions[s->path[i]]);
        if (s->snapshots[i] == NULL) s->snapshots[i] = search_snapshot_new();
        search_save(s->world, s->snapshots[i]);
    }
    for (unsigned i = 1; i < len; i++)
        way[i - 1] = s->actions[s->path[i]];
    s->path_len = len;
    s->world->touched = 0;
    s->depth = MAX(s->depth, len);
}

static void found(Search *s, const char *how)
{
    s->found = true;
    printf("found: %s, %s after %u steps\n", s->world->wrong, how, way_len);
    fflush(stdout);
    say_way();
}

static void expand(Search *s, uint32_t node)
{
    go_to(s, node);
    SearchAction actions[SEARCH_ACTIONS_MAX];
    unsigned count = search_actions(s->world, actions);
    unsigned depth = s->path_len;
    if (depth == DEPTH_MAX) return;
    for (unsigned i = 0; i < count && !s->found; i++) {
        if (i > 0) search_restore(s->world, s->snapshots[depth - 1], false);
        way[depth - 1] = actions[i];
        way_len = depth;
        search_act(s->world, actions[i]);
        s->transitions++;
        if (s->world->wrong[0] != '\0') {
            found(s, "breadth first");
        } else if (insert(s, search_hash(s->world))) {
            add_node(s, node, actions[i]);
        }
    }
}

/* Mostly what goes on by itself, so that not all is spent before anything comes of it. */
static SearchAction pick(Rng *rng, const SearchAction *actions, unsigned count)
{
    SearchAction usual[SEARCH_ACTIONS_MAX];
    unsigned usual_count = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned type = actions[i] >> 8;
        bool is_usual = type == ACT_DELIVER || type == ACT_SYNC || type == ACT_CAS ||
                        type == ACT_STREAMED;
        if (is_usual) usual[usual_count++] = actions[i];
    }
    if (usual_count > 0 && rng_chance(rng, 800000)) return usual[rng_below(rng, usual_count)];
    return actions[rng_below(rng, count)];
}

/* One way by chance from the beginning, until nothing is left to do; how many states were new. */
static uint64_t walk(Search *s, Rng *rng)
{
    uint64_t fresh = 0;
    search_restore(s->world, s->snapshots[0], true);
    way_len = 0;
    while (way_len < DEPTH_MAX && !s->found) {
        SearchAction actions[SEARCH_ACTIONS_MAX];
        unsigned count = search_actions(s->world, actions);
        if (count == 0) break;
        SearchAction action = pick(rng, actions, count);
        way[way_len] = action;
        way_len++;
        search_act(s->world, action);
        s->transitions++;
        if (s->world->wrong[0] != '\0')
            found(s, "by chance");
        else if (insert(s, search_hash(s->world)))
            fresh++;
    }
    return fresh;
}

static Search *search_begin(const Arguments *args)
{
    Search *s = mem_new(sizeof *s);
    uint64_t room = 1024;
    while (room < 4 * (args->states + 20 * args->walks))
        room *= 2;
    s->seen = mem_new_array(room, sizeof *s->seen);
    s->seen_mask = room - 1;
    s->room = (uint32_t)MIN(args->states + 1, (uint64_t)NO_NODE - 1);
    s->parents = mem_new_array(s->room, sizeof *s->parents);
    s->actions = mem_new_array(s->room, sizeof *s->actions);
    s->world = search_new(&args->set->budget, args->bug, false);
    s->snapshots[0] = search_snapshot_new();
    search_save(s->world, s->snapshots[0]);
    s->path_len = 1;
    bool is_new = insert(s, search_hash(s->world));
    ASSERT(is_new);
    add_node(s, NO_NODE, 0);
    return s;
}

static void search_end(Search *s)
{
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        search_snapshot_free(s->snapshots[i]);
    search_free(s->world);
    mem_free(s->seen);
    mem_free(s->parents);
    mem_free(s->actions);
    mem_free(s);
}

static int run(const Arguments *args)
{
    Search *s = search_begin(args);
    uint64_t begun = clock_boot_ns(clock_real());
    uint32_t next = 0;
    for (; next < s->count && s->count < s->room && !s->found; next++)
        expand(s, next);
    bool exhausted = next == s->count && !s->found;
    uint64_t breadth = s->distinct;
    uint64_t fresh = 0;
    Rng rng;
    rng_init(&rng, args->seed);
    for (uint64_t i = 0; i < args->walks && !s->found; i++)
        fresh += walk(s, &rng);
    double seconds = (double)(clock_boot_ns(clock_real()) - begun) / 1e9;
    printf("%s: %s\n", args->set->name, args->set->text);
    printf("%" PRIu64 " states breadth first up to %u steps deep%s, %" PRIu64 " more by %" PRIu64
           " walks; %" PRIu64 " steps, %.0f a second; %" PRIu64 " messages found no room\n",
           breadth, s->depth - 1, exhausted ? ", exhausted" : "", fresh, args->walks,
           s->transitions, (double)s->transitions / seconds, s->world->dropped);
    bool good = !s->found && s->distinct >= args->required;
    printf("LAYER search required=%" PRIu64 " executed=%" PRIu64 " failed=%d\n", args->required,
           s->distinct, s->found);
    search_end(s);
    return good ? 0 : 1;
}

/* --trace: the way that was printed, told. */
static int tell(const Arguments *args)
{
    SearchWorld *w = search_new(&args->set->budget, args->bug, true);
    Str rest = str_from_cstr(args->trace);
    while (rest.len > 0 && w->wrong[0] == '\0') {
        size_t len = 0;
        while (len < rest.len && rest.ptr[len] != ' ')
            len++;
        Str word = str_of(rest.ptr, len);
        rest = str_of(rest.ptr + MIN(len + 1, rest.len), rest.len - MIN(len + 1, rest.len));
        size_t dot = 0;
        while (dot < word.len && word.ptr[dot] != '.')
            dot++;
        uint64_t arg = 0;
        if (dot >= word.len ||
            !str_to_u64(str_of(word.ptr + dot + 1, word.len - dot - 1), 255, &arg)) {
            return 2;
        }
        for (unsigned type = 1; type < ACT_COUNT; type++) {
            SearchAction action = (SearchAction)(type << 8 | (unsigned)arg);
            const char *name = search_action_name(action);
            if (!str_eq(str_from_cstr(name), str_of(word.ptr, dot))) continue;
            printf("%s %u\n", name, (unsigned)arg);
            search_act(w, action);
        }
        for (unsigned m = 0; m < w->count; m++) {
            const Replica *r = w->replicas[m];
            printf("        %u: %s, term %u, lsn %" PRIu64 ", commit %" PRIu64 "\n", m,
                   replica_role_name(replica_role(r)), replica_term(r), replica_last_lsn(r),
                   replica_commit_lsn(r));
        }
    }
    printf("%s\n", w->wrong[0] != '\0' ? w->wrong : "nothing is wrong");
    search_free(w);
    return 0;
}

static bool parse_text(const char *name, const char *value, Arguments *out)
{
    if (strcmp(name, "--trace") == 0) {
        out->trace = value;
        return true;
    }
    for (size_t i = 0; strcmp(name, "--plant") == 0 && i < ARRAY_LEN(bugs); i++) {
        if (strcmp(bugs[i], value) != 0) continue;
        out->bug |= UINT64_C(1) << i;
        return true;
    }
    for (size_t i = 0; strcmp(name, "--set") == 0 && i < ARRAY_LEN(sets); i++) {
        if (strcmp(sets[i].name, value) != 0) continue;
        out->set = &sets[i];
        return true;
    }
    return false;
}

static bool parse(int argc, char **argv, Arguments *out)
{
    *out = (Arguments){.set = &sets[0], .states = 100000, .seed = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *number = strcmp(argv[i], "--states") == 0     ? &out->states
                           : strcmp(argv[i], "--walks") == 0    ? &out->walks
                           : strcmp(argv[i], "--seed") == 0     ? &out->seed
                           : strcmp(argv[i], "--required") == 0 ? &out->required
                                                                : NULL;
        bool good = number != NULL ? str_to_u64(str_from_cstr(argv[i + 1]), UINT32_MAX, number)
                                   : parse_text(argv[i], argv[i + 1], out);
        if (!good) return false;
    }
    return argc % 2 == 1;
}

int main(int argc, char **argv)
{
    Arguments args;
    if (argc == 2 && (strcmp(argv[1], "--bugs") == 0 || strcmp(argv[1], "--sets") == 0)) {
        for (size_t i = 0; argv[1][2] == 'b' && i < ARRAY_LEN(bugs); i++)
            printf("%s\n", bugs[i]);
        for (size_t i = 0; argv[1][2] == 's' && i < ARRAY_LEN(sets); i++)
            printf("%s  %s\n", sets[i].name, sets[i].text);
        return 0;
    }
    if (!parse(argc, argv, &args)) {
        fprintf(stderr, "usage: search_protocol [--set NAME] [--states N] [--walks N] [--seed N] "
                        "[--plant NAME] [--required N] [--trace WAY] | --bugs | --sets\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    ASSERT(signal(SIGABRT, on_abort) != SIG_ERR);
    return args.trace != NULL ? tell(&args) : run(&args);
}
