#include "cli/bench_mix.h"

#define WEIGHT_MAX 1000

static const char *const names[BENCH_OPS] = {"put", "get", "list", "delete", "multipart"};

const char *bench_op_name(BenchOp op)
{
    return names[op];
}

static bool parse_one(Str part, BenchMix *mix, unsigned *seen)
{
    Str name;
    Str value;
    uint64_t weight = 0;
    if (!str_split(part, '=', &name, &value) || !str_to_u64(value, WEIGHT_MAX, &weight))
        return false;
    for (unsigned op = 0; op < BENCH_OPS; op++) {
        if (!str_eq(name, str_from_cstr(names[op])) || (*seen & (1U << op)) != 0) continue;
        *seen |= 1U << op;
        mix->weights[op] = (unsigned)weight;
        mix->sum += (unsigned)weight;
        return true;
    }
    return false;
}

ErrCode bench_mix_parse(Str text, BenchMix *out, Err *err)
{
    BenchMix mix = {0};
    unsigned seen = 0;
    bool more = true;
    for (Str rest = text; more;) {
        Str part;
        more = str_split(rest, ',', &part, &rest);
        if (!parse_one(part, &mix, &seen))
            return err_set(err, ERR_USAGE,
                           "--mix: \"%.*s\" is not one of put=N, get=N, list=N, delete=N, "
                           "multipart=N with N up to %d, each once",
                           STR_ARG(part), WEIGHT_MAX);
    }
    if (mix.sum == 0) return err_set(err, ERR_USAGE, "--mix: all are 0");
    *out = mix;
    return OK;
}

BenchOp bench_mix_at(const BenchMix *mix, unsigned number)
{
    ASSERT(number < mix->sum);
    BenchOp op = BENCH_PUT;
    for (; number >= mix->weights[op]; op++)
        number -= mix->weights[op];
    return op;
}
