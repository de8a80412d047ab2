/* The table of commands, and nothing else. */
#include "cli/command.h"

static const Command commands[] = {
    {&spec_serve, command_serve, NULL},     {&spec_put, command_put, NULL},
    {&spec_get, command_get, NULL},         {&spec_sync, command_sync, NULL},
    {&spec_cat, command_cat, NULL},         {&spec_ls, command_ls, NULL},
    {&spec_stat, command_stat, NULL},       {&spec_rm, command_rm, NULL},
    {&spec_bucket, command_bucket, NULL},   {&spec_class, command_class, NULL},
    {&spec_key, command_key, NULL},         {&spec_admin, command_admin, NULL},
    {&spec_bench, command_bench, NULL},     {&spec_fsck, command_fsck, NULL},
    {&spec_recover, command_recover, NULL}, {&spec_doctor, command_doctor, NULL},
    {&spec_config, command_config, NULL},   {&spec_help, NULL, command_help},
    {&spec_man, NULL, command_man},         {&spec_completion, NULL, command_completion},
    {&spec_openapi, command_openapi, NULL}, {&spec_version, command_version, NULL},
};

int main(int argc, char **argv)
{
    return command_main(commands, ARRAY_LEN(commands), argc, argv);
}
