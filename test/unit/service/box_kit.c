#include "box_kit.h"

#include "look.h"
#include "testing.h"

BucketUid box_uid(NodeFixture *f)
{
    return look_bucket(f->kit.buckets, BOX);
}

ErrCode box_set(NodeFixture *f, Versioning versioning)
{
    Mutation m;
    mutation_init(&m, MUTATION_BUCKET_CREATE);
    m.bucket = BOX;
    m.settings.has_versioning = true;
    m.settings.versioning = versioning;
    ErrCode code = node_kit_do(&f->kit, &m);
    if (code == OK) assert_int_equal(m.bucket_record.versioning, versioning);
    mutation_deinit(&m);
    return code;
}

void box_put_init(Mutation *m, const char *key, const char *body)
{
    mutation_init(m, MUTATION_PUT);
    m->bucket = BOX;
    m->key = str_from_cstr(key);
    m->inline_body = str_from_cstr(body);
    m->size = m->inline_body.len;
    m->digest = sha256_of(body, m->size);
}

ErrCode box_drop(NodeFixture *f, const char *key, VersionId version, VersionId *marker)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE);
    m.bucket = BOX;
    m.key = str_from_cstr(key);
    m.version = version;
    ErrCode code = node_kit_do(&f->kit, &m);
    if (marker != NULL) *marker = m.marked ? m.row.version : (VersionId){0};
    mutation_deinit(&m);
    return code;
}

void box_expect(NodeFixture *f, const char *key, const char *want)
{
    AUTO_BUF(body, 4 * KIB);
    Err err = {0};
    ErrCode code = node_kit_get(&f->kit, BOX, str_from_cstr(key), &body, &err);
    assert_int_equal(code, want == NULL ? ERR_NOT_FOUND : OK);
    if (want != NULL) assert_str(buf_str(&body), want);
}

void box_reopen(NodeFixture *f, bool lose_index)
{
    Err err = {0};
    node_fixture_stop(f);
    if (lose_index) assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    node_fixture_open(f);
}
