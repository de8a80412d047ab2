#include "store/places.h"

#include "base/mem.h"

#define CAPACITY_FIRST 64

static void grow(Places *places)
{
    size_t capacity = places->capacity == 0 ? CAPACITY_FIRST : places->capacity * 2;
    Place *items = mem_new_array(capacity, sizeof *items);
    for (Lsn lsn = places->first; places->capacity > 0 && lsn < places->next; lsn++)
        items[lsn % capacity] = places->items[lsn % places->capacity];
    mem_free(places->items);
    places->items = items;
    places->capacity = capacity;
}

void places_add(Places *places, Lsn lsn, Place place)
{
    if (lsn != places->next) {
        places->first = lsn;
        places->next = lsn;
    }
    size_t count = (size_t)(places->next - places->first);
    if (count == PLACES_MAX)
        places->first++;
    else if (count == places->capacity)
        grow(places);
    places->items[lsn % places->capacity] = place;
    places->next = lsn + 1;
}

void places_cut(Places *places, Lsn lsn)
{
    if (places->next <= lsn + 1) return;
    places->next = MAX(places->first, lsn + 1);
}

const Place *places_at(const Places *places, Lsn lsn)
{
    if (lsn < places->first || lsn >= places->next) return NULL;
    return &places->items[lsn % places->capacity];
}

void places_deinit(Places *places)
{
    mem_free(places->items);
    *places = (Places){0};
}
