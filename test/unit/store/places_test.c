#include "store/places.h"

#include "base/rng.h"
#include "testing.h"

#define STEPS 30000

static Place place_of(Lsn lsn, uint32_t turn)
{
    return (Place){.pos = {.segment = lsn, .offset = 4096}, .len = turn};
}

/* Against a plain array: the newest PLACES_MAX of an unbroken run, and what was cut is forgotten.
 */
static void model(void **state)
{
    UNUSED(state);
    AUTO(void, mem_free) memory = mem_new_array(STEPS + 1, sizeof(uint32_t));
    uint32_t *turns = memory; /* of lsn; 0: not known */
    Places places = {0};
    Rng rng;
    Lsn last = 0;
    rng_init(&rng, 1);
    for (uint32_t turn = 1; turn <= STEPS; turn++) {
        uint64_t pick = rng_below(&rng, 1000);
        if (pick == 0) {
            last = rng_below(&rng, last + 1);
            places_cut(&places, last);
        }
        last++;
        places_add(&places, last, place_of(last, turn));
        turns[last] = turn;
        Lsn ask = 1 + rng_below(&rng, last + 2);
        const Place *found = places_at(&places, ask);
        if (ask > last) {
            assert_null(found);
        } else if (found != NULL) {
            assert_int_equal(found->pos.segment, ask);
            assert_int_equal(found->len, turns[ask]);
        } else {
            assert_true(last - ask >= PLACES_MAX / 2); /* old, or behind a cut at its time */
        }
    }
    places_deinit(&places);
}

static void what_does_not_follow_begins_anew(void **state)
{
    UNUSED(state);
    Places places = {0};
    places_add(&places, 7, place_of(7, 1));
    places_add(&places, 8, place_of(8, 1));
    places_add(&places, 20, place_of(20, 1));
    assert_null(places_at(&places, 8));
    assert_non_null(places_at(&places, 20));
    places_cut(&places, 3); /* below all */
    assert_null(places_at(&places, 20));
    places_add(&places, 4, place_of(4, 2));
    assert_int_equal(places_at(&places, 4)->len, 2);
    places_deinit(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model),
        cmocka_unit_test(what_does_not_follow_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
