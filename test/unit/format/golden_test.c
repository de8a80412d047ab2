/* The formats are frozen: the bytes of one example of each structure, in golden/NAME.hex. A change
 * of bytes fails here; it needs a new format number, and the old bytes must still be read.
 *
 * For a new structure: add the row to examples.c and the one here, touch golden/NAME.hex, build,
 * and run with HOLDFAST_GOLDEN_WRITE=<top of the tree>: files that are empty are written, and the
 * fuzz corpus of each example. */
#include "testing.h"

#include "examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_LEN 4096
#define PATH_LEN 512

typedef struct {
    const char *name;
    const char *hex; /* of a block: without the zeros before its CRC */
} Golden;

/* clang-format off */
static const Golden goldens[] = {
    {"entry_create",
#include "golden/entry_create.hex"
    },
    {"entry_update",
#include "golden/entry_update.hex"
    },
    {"entry_delete",
#include "golden/entry_delete.hex"
    },
    {"entry_meta",
#include "golden/entry_meta.hex"
    },
    {"frame_entry",
#include "golden/frame_entry.hex"
    },
    {"frame_attest",
#include "golden/frame_attest.hex"
    },
    {"truncate",
#include "golden/truncate.hex"
    },
    {"segment_header",
#include "golden/segment_header.hex"
    },
    {"replica_state",
#include "golden/replica_state.hex"
    },
    {"replica_state_before",
#include "golden/replica_state_before.hex"
    },
    {"replica_state_incomplete",
#include "golden/replica_state_incomplete.hex"
    },
    {"checkpoint",
#include "golden/checkpoint.hex"
    },
    {"config",
#include "golden/config.hex"
    },
    {"pack_header",
#include "golden/pack_header.hex"
    },
    {"pack_body",
#include "golden/pack_body.hex"
    },
    {"pack_body_sealed",
#include "golden/pack_body_sealed.hex"
    },
    {"pack_meta",
#include "golden/pack_meta.hex"
    },
    {"pack_tombstone",
#include "golden/pack_tombstone.hex"
    },
    {"pack_mark",
#include "golden/pack_mark.hex"
    },
    {"blob_footer",
#include "golden/blob_footer.hex"
    },
    {"chunk_row",
#include "golden/chunk_row.hex"
    },
    {"row_key_name",
#include "golden/row_key_name.hex"
    },
    {"file_row",
#include "golden/file_row.hex"
    },
    {"file_row_extents",
#include "golden/file_row_extents.hex"
    },
    {"id_row",
#include "golden/id_row.hex"
    },
    {"applied_row",
#include "golden/applied_row.hex"
    },
    {"request_row",
#include "golden/request_row.hex"
    },
    {"pack_row",
#include "golden/pack_row.hex"
    },
    {"names_part",
#include "golden/names_part.hex"
    },
    {"bucket_stat",
#include "golden/bucket_stat.hex"
    },
    {"attrs",
#include "golden/attrs.hex"
    },
    {"bucket_record",
#include "golden/bucket_record.hex"
    },
    {"class_record",
#include "golden/class_record.hex"
    },
    {"key_record",
#include "golden/key_record.hex"
    },
    {"upload_record",
#include "golden/upload_record.hex"
    },
    {"upload_parts",
#include "golden/upload_parts.hex"
    },
    {"id_text",
#include "golden/id_text.hex"
    },
    {"uuid_text",
#include "golden/uuid_text.hex"
    },
    {"version_text",
#include "golden/version_text.hex"
    },
};
/* clang-format on */

/* The example's bytes; of a block, what stands before its trailing zeros, and its CRC. */
static size_t example_bytes(const Example *example, uint8_t out[EXAMPLE_MAX])
{
    Enc enc = enc_of(out, EXAMPLE_MAX);
    example->encode(&enc);
    assert_false(enc.failed);
    if (!example->block) return enc.len;
    assert_int_equal(enc.len, BLOCK_LEN);
    size_t len = BLOCK_LEN - 4;
    while (len > 0 && out[len - 1] == 0)
        len--;
    memmove(out + len, out + BLOCK_LEN - 4, 4);
    return len + 4;
}

static const char *golden_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        if (strcmp(goldens[i].name, name) == 0) return goldens[i].hex;
    }
    fail_msg("no golden row for %s", name);
    return NULL;
}

static FILE *open_out(const char *top, const char *folder, const char *name, const char *end)
{
    char path[PATH_LEN];
    int len = snprintf(path, sizeof path, "%s/test/%s/%s%s", top, folder, name, end);
    assert_true(len > 0 && (size_t)len < sizeof path);
    FILE *file = fopen(path, "wb");
    if (file == NULL) fail_msg("%s cannot be written", path);
    return file;
}

static void write_files(const char *top, const Example *example, const uint8_t *data, size_t len)
{
    char folder[PATH_LEN];
    snprintf(folder, sizeof folder, "fuzz/corpus/%s", example->corpus);
    FILE *file = open_out(top, folder, example->name, "");
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    if (golden_of(example->name)[0] != '\0') return;
    file = open_out(top, "unit/format/golden", example->name, ".hex");
    for (size_t at = 0; at < len; at += 32) {
        char hex[65];
        hex_encode(data + at, MIN(len - at, (size_t)32), hex);
        fprintf(file, "\"%s\"\n", hex);
    }
    assert_int_equal(fclose(file), 0);
}

static void test_bytes_are_frozen(void **state)
{
    UNUSED(state);
    const char *top = getenv("HOLDFAST_GOLDEN_WRITE");
    for (size_t i = 0; i < example_count; i++) {
        static uint8_t data[EXAMPLE_MAX];
        static char hex[2 * EXAMPLE_MAX + 1];
        size_t len = example_bytes(&examples[i], data);
        hex_encode(data, len, hex);
        if (top != NULL)
            write_files(top, &examples[i], data, len);
        else if (strcmp(hex, golden_of(examples[i].name)) != 0)
            fail_msg("%s: encoded as %s", examples[i].name, hex);
    }
    assert_int_equal(ARRAY_LEN(goldens), example_count);
}

/* The golden bytes as they would be stored. */
static size_t golden_bytes(const Example *example, uint8_t out[EXAMPLE_MAX])
{
    Str hex = str_from_cstr(golden_of(example->name));
    size_t len = hex.len / 2;
    assert_true(len > 4 || !example->block);
    assert_true(len <= EXAMPLE_MAX && hex_decode(hex, out, len));
    if (!example->block) return len;
    uint8_t crc[4];
    memcpy(crc, out + len - 4, 4);
    memset(out + len - 4, 0, BLOCK_LEN - (len - 4));
    memcpy(out + BLOCK_LEN - 4, crc, 4);
    return BLOCK_LEN;
}

static void test_frozen_bytes_are_read(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < example_count; i++) {
        static uint8_t data[EXAMPLE_MAX];
        size_t len = golden_bytes(&examples[i], data);
        if (!examples[i].check(str_of(data, len))) fail_msg("%s is refused", examples[i].name);
    }
}

/* Every shorter beginning and every changed byte is refused or means something else, and nothing
 * is read behind the end (the copy ends where its memory ends: ASan sees it). */
static void test_damaged_bytes(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < example_count; i++) {
        const Example *example = &examples[i];
        static uint8_t good[EXAMPLE_MAX];
        size_t len = golden_bytes(example, good);
        size_t step = example->block ? 61 : 1;
        for (size_t cut = 0; cut < len; cut += step) {
            uint8_t *data = mem_new(MAX(cut, (size_t)1));
            memcpy(data, good, cut);
            if (example->check(str_of(data, cut)) && example->guarded)
                fail_msg("%s is accepted at %zu of %zu bytes", example->name, cut, len);
            mem_free(data);
        }
        uint8_t *data = mem_new(len);
        memcpy(data, good, len);
        for (size_t at = 0; at < len; at += at < 128 ? 1 : step) {
            for (unsigned bit = 0; bit < 8; bit++) {
                data[at] = (uint8_t)(good[at] ^ (1u << bit));
                if (example->check(str_of(data, len)) && example->guarded)
                    fail_msg("%s: bit %u of byte %zu may change", example->name, bit, at);
            }
            data[at] = good[at];
        }
        mem_free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_frozen),
        cmocka_unit_test(test_frozen_bytes_are_read),
        cmocka_unit_test(test_damaged_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
