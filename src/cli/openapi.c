/* holdfast openapi: the document that /openapi.json answers, without a server. */
#include "cli/command.h"

#include <stdio.h>

#include "api/rest/rest.h"

const CommandSpec spec_openapi = {
    .name = "openapi",
    .arguments = "",
    .summary = "prints the OpenAPI document of the REST door",
    .usage = "openapi [--json]",
    .text =
        "Prints what a server answers to GET /openapi.json: every operation, parameter, header,\n"
        "status and code of the REST door, as OpenAPI 3.1. It is JSON, on one line, with\n"
        "--json or without. It needs no server.",
    .example = "  holdfast openapi >openapi.json",
    .options = OPTION_LOCAL | OPTION_JSON,
};

int command_openapi(int argc, char **argv)
{
    ClientOptions options;
    int status = 0;
    if (!command_options(&spec_openapi, argc, argv, &options, &status)) return status;
    Err err = {0};
    AUTO_BUF(document, REST_OPENAPI_MAX);
    ErrCode code = rest_openapi_print(&document, &err);
    if (code == OK) code = buf_append(&document, "\n", 1, &err);
    if (code != OK) return command_fail("openapi", &err);
    fwrite(document.data, 1, document.len, stdout);
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    (void)err_set(&err, ERR_IO, "standard output takes no more"); /* for its text */
    return command_fail("openapi", &err);
}
