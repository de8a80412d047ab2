/* The table of commands, and nothing else. */
#include "cli/command.h"

static const Command commands[] = {
    {"serve", "--data DIR [OPTIONS]", "serves a data directory", command_serve},
    {"version", "", "prints the version", command_version},
};

int main(int argc, char **argv)
{
    return command_main(commands, ARRAY_LEN(commands), argc, argv);
}
