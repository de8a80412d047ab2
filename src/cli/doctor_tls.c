/* What holdfast doctor says of the certificate that the settings name. */
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "net/tls.h"
#include "text/dates.h"

#define DAY_MS UINT64_C(86400000)
#define RENEW                                                                                      \
    "Get a new one, put it and its key in the place of these (or set tls-cert and tls-key), then " \
    "systemctl reload holdfast, or SIGHUP: no connection is dropped."

static void look_at_rights(Doctor *doctor)
{
    Err err = {0};
    const char *path = doctor->config->tls_key;
    if (certificate_key_rights(path, &err) == OK) {
        doctor_tell(doctor, DOCTOR_OK, "tls key", NULL, "only its owner, or its group, reads %s",
                    path);
    } else {
        doctor_tell(doctor, DOCTOR_FAIL, "tls key",
                    "The server does not start with it: who reads the key can pretend to be the "
                    "server. It has to be the file of the user who runs it.",
                    "%s", err_text(&err));
    }
}

static void look_at_dates(Doctor *doctor, const Certificate *certificate)
{
    Err err = {0};
    char date[DATE_HTTP_SIZE];
    uint64_t now_ms = clock_wall_ms(clock_real());
    uint64_t ends_ms = certificate_not_after_ms(certificate);
    date_format_http(ends_ms, date);
    if (certificate_check_time(certificate, now_ms, &err) != OK) {
        doctor_tell(doctor, DOCTOR_FAIL, "certificate", RENEW, "%s", err_text(&err));
    } else if (ends_ms - now_ms < TLS_ENDS_SOON_MS) {
        doctor_tell(doctor, DOCTOR_WARN, "certificate", RENEW, "it ends in %" PRIu64 " days, on %s",
                    (ends_ms - now_ms) / DAY_MS, date);
    } else {
        doctor_tell(doctor, DOCTOR_OK, "certificate", NULL,
                    "it has the key that is set, and is good until %s", date);
    }
}

/* The host of an address to listen on; empty: all interfaces, so any name may be right. */
static Str host_of(const char *text, Address *address)
{
    static const uint8_t any[16];
    if (!address_parse(str_from_cstr(text), address)) return (Str){NULL, 0};
    if (memcmp(address->bytes, any, sizeof any) == 0) return (Str){NULL, 0};
    Str host = address->host;
    if (host.len > 2 && host.ptr[0] == '[') host = str_slice(host, 1, host.len - 2);
    return host;
}

static void look_at_names(Doctor *doctor, const Certificate *certificate)
{
    const char *addresses[] = {doctor->config->http, doctor->config->s3};
    char names[CERTIFICATE_NAMES_SIZE];
    bool fine = true;
    certificate_names(certificate, names);
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        Address address;
        Str host = host_of(addresses[i], &address);
        if (host.len == 0 || certificate_covers(certificate, host)) continue;
        if (i > 0 && !fine) break; /* the same again */
        fine = false;
        doctor_tell(doctor, DOCTOR_WARN, "tls names",
                    "Clients that go to that address refuse it: get one that has it as "
                    "subjectAltName, or let them use a name that is in it.",
                    "%.*s, where the server listens, is not among %s", STR_ARG(host),
                    names[0] != '\0' ? names : "its names: it has none");
    }
    if (strcmp(doctor->config->s3_domain, "none") != 0) {
        char bucket[256];
        snprintf(bucket, sizeof bucket, "bucket.%s", doctor->config->s3_domain);
        if (!certificate_covers(certificate, str_from_cstr(bucket))) {
            fine = false;
            doctor_tell(doctor, DOCTOR_WARN, "tls names",
                        "S3 clients that put the bucket into the host refuse it: get one that has "
                        "*.DOMAIN as well.",
                        "*.%s, of s3-domain, is not among its names", doctor->config->s3_domain);
        }
    }
    if (fine) doctor_tell(doctor, DOCTOR_OK, "tls names", NULL, "%s", names);
}

void doctor_certificate(Doctor *doctor)
{
    const Config *config = doctor->config;
    Err err = {0};
    AUTO(Certificate, certificate_free) certificate = NULL;
    if (config == NULL || config->tls_cert == NULL || config->tls_cert[0] == '\0') return;
    look_at_rights(doctor);
    if (certificate_read(config->tls_cert, config->tls_key, &certificate, &err) != OK) {
        doctor_tell(doctor, DOCTOR_FAIL, "certificate", "The server does not start with it.", "%s",
                    err_text(&err));
        return;
    }
    look_at_dates(doctor, certificate);
    look_at_names(doctor, certificate);
}
