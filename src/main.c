/* The table of commands, and nothing else. */
#include "cli/command.h"

static const Command commands[] = {
    {"serve", "--data DIR [OPTIONS]", "serves a data directory", command_serve},
    {"put", "[-r] PATH BUCKET/KEY", "stores a file, or all below a directory", command_put},
    {"sync", "DIRECTORY BUCKET[/PREFIX]", "stores what has changed, may delete", command_sync},
    {"get", "[-r] BUCKET/KEY PATH", "fetches a file, or all below a prefix", command_get},
    {"cat", "BUCKET/KEY", "writes a file's content to standard output", command_cat},
    {"ls", "[BUCKET[/PREFIX]]", "names files, or buckets", command_ls},
    {"stat", "BUCKET/KEY", "tells what is known of a file", command_stat},
    {"rm", "[-r] BUCKET/KEY", "deletes a file, or all below a prefix", command_rm},
    {"bucket", "create|list|remove [NAME]", "makes, names and removes buckets", command_bucket},
    {"admin", "status|risk|wal|shards|scrub", "tells how the server is", command_admin},
    {"fsck", "[--repair|--salvage OUT] DIR", "reads a stopped data directory", command_fsck},
    {"config", "[check FILE|docs]", "prints and checks settings of the server", command_config},
    {"recover", "--rebuild WHAT DIR", "makes a part of a stopped directory again", command_recover},
    {"version", "", "prints the version", command_version},
};

int main(int argc, char **argv)
{
    return command_main(commands, ARRAY_LEN(commands), argc, argv);
}
