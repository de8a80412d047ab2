#include "upload_kit.h"

#include "disk/sim.h"

void *upload_kit_new(uint64_t seed)
{
    UploadKit *oracle = mem_new(sizeof *oracle);
    Rng rng;
    rng_init(&rng, seed);
    rng_bytes(&rng, oracle->body, sizeof oracle->body);
    oracle->seed = seed;
    return oracle;
}

void upload_kit_free(void *oracle)
{
    mem_free(oracle);
}

ErrCode upload_kit_setup(Disk *disk, void *ctx, Err *err)
{
    UploadKit *oracle = ctx;
    NodeKit kit;
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    TRY(node_kit_open_small(&kit, disk, oracle->seed, err));
    oracle->id = file_id_make(shard_id(standard.number, 0), 1, &kit.rng);
    ErrCode code = node_kit_close(&kit, err);
    disk_sim_kill(disk);
    return code;
}

ErrCode upload_kit_run(Disk *disk, UploadKit *oracle, UploadKitSteps *steps, Err *err)
{
    NodeKit kit;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 1, err));
    ErrCode code = steps(&kit, oracle, err);
    node_kit_crash(&kit, disk);
    return code;
}

ErrCode upload_kit_step(NodeKit *kit, UploadKit *oracle, Mutation *m, unsigned state, Err *err)
{
    oracle->asked = state;
    ErrCode code = node_kit_do(kit, m);
    if (code == OK) oracle->acked = state;
    if (code == OK && m->upload && m->part == 0) oracle->version = m->row.version;
    if (code != OK) (void)err_set(err, code, "%s", err_text(&m->err)); /* for its text */
    mutation_deinit(m);
    return code;
}

ErrCode upload_kit_extent(NodeKit *kit, UploadKit *oracle, size_t number, size_t from, size_t to,
                          Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    BlobInfo info = {.shard = file_id_shard(oracle->id), .bucket = 2};
    Blobs *blobs = store_blobs(kit->store);
    TRY(blob_writer_open(blobs, id128_random(&kit->rng), 0, &writer, err));
    TRY(blob_writer_write(writer, oracle->body + from, to - from, err));
    return blob_writer_finish(writer, &info, &oracle->extents[number], err);
}

ErrCode upload_kit_check(NodeKit *kit, const StoreFound *found, Str bytes, Err *err)
{
    AUTO_BUF(body, UPLOAD_KIT_BODY);
    TRY(node_kit_read(kit, kit->reader, found, &body, err));
    if (str_eq(buf_str(&body), bytes)) return OK;
    return err_set(err, ERR_ABORTED, "other bytes");
}

ErrCode upload_kit_bucket(NodeKit *kit, BucketUid *out, Err *err)
{
    BucketRecord bucket;
    if (!buckets_find(kit->buckets, STR("files"), &bucket))
        return err_set(err, ERR_ABORTED, "no bucket");
    *out = bucket.uid;
    return OK;
}

ErrCode upload_kit_find(NodeKit *kit, Str key, StoreFound *found, bool *there, Err *err)
{
    BucketUid bucket = 0;
    TRY(upload_kit_bucket(kit, &bucket, err));
    return store_find(kit->reader, bucket, key, NULL, STORE_COMMITTED, found, there, err);
}

static ErrCode count_extent(void *ctx, BodyId body_id, uint32_t number, Err *err)
{
    size_t *count = ctx;
    UNUSED(body_id);
    UNUSED(number);
    UNUSED(err);
    (*count)++;
    return OK;
}

static ErrCode check_node(NodeKit *kit, const UploadKit *oracle, UploadKitLook *look,
                          uint64_t *outcome, Err *err)
{
    UploadKitFound found = {0};
    UploadKitFound again = {0};
    size_t extents = 0;
    uint64_t removed = 0;
    TRY(look(kit, oracle, &found, err));
    if (found.state != oracle->acked && found.state != oracle->asked)
        return err_set(err, ERR_ABORTED, "state %u, acknowledged was %u, asked for %u", found.state,
                       oracle->acked, oracle->asked);
    TRY(store_sweep_orphans(kit->store, &removed, err));
    TRY(node_kit_apply(kit, err));
    TRY(node_kit_apply(kit, err)); /* garbage is unlinked behind a checkpoint */
    TRY(look(kit, oracle, &again, err));
    if (again.state != found.state) return err_set(err, ERR_ABORTED, "another state when applied");
    TRY(blobs_list(store_blobs(kit->store), count_extent, &extents, err));
    if (extents != found.extents)
        return err_set(err, ERR_ABORTED, "%zu extents stay in state %u", extents, found.state);
    *outcome = found.state;
    return OK;
}

ErrCode upload_kit_verify(Disk *disk, const UploadKit *oracle, UploadKitLook *look,
                          uint64_t *outcome, Err *err)
{
    NodeKit kit;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 2, err));
    ErrCode code = check_node(&kit, oracle, look, outcome, err);
    node_kit_crash(&kit, disk);
    return code;
}
