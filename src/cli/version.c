#include "cli/command.h"

#include <stdio.h>

#include "format/segment.h"

int command_version(int argc, char **argv)
{
    UNUSED(argv);
    if (argc > 1) {
        puts("usage: holdfast version");
        return argc == 2 ? 0 : EXIT_USAGE;
    }
    printf("holdfast %s (feature level %d)\n", HOLDFAST_VERSION, FEATURE_LEVEL);
    return 0;
}
