#include "cli/command.h"

#include <stdio.h>

#include "format/segment.h"

const CommandSpec spec_version = {
    .name = "version",
    .arguments = "",
    .summary = "prints the version",
    .usage = "version [--json]",
    .text = "Prints the version, and the feature level: what of the formats on disk and between\n"
            "nodes this binary knows.",
    .example = "  holdfast version",
    .options = OPTION_LOCAL | OPTION_JSON,
};

int command_version(int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    if (!command_options(&spec_version, argc, argv, &options, &status)) return status;
    if (options.json) {
        printf("{\"version\":\"%s\",\"feature_level\":%d}\n", HOLDFAST_VERSION, FEATURE_LEVEL);
    } else {
        printf("holdfast %s (feature level %d)\n", HOLDFAST_VERSION, FEATURE_LEVEL);
    }
    return 0;
}
