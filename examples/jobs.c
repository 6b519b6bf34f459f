/* Jobs from C with nothing but libcurl, in the form that the Qiskit C client gives them.
 *
 *     cc jobs.c -lcurl -o jobs && ./jobs
 *
 * The variables are those of `qiskit-runtime-server connect`. A circuit is QPY, compressed by zlib, in base64. The C
 * client (https://github.com/Qiskit/qiskit-ibm-runtime-c) makes that of a QkCircuit; here are two that it would make: a
 * Bell state on the qubits 0 and 1 of fake_manila, with measurements and without.
 */
#define _POSIX_C_SOURCE 200112L
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char MEASURED[] =
    "eJwL9Az29gzhY2JkgALGgkIGhjQGDiCTFYiZoMIgGqaGjQEJVNcmM4LlWRhzUxOLGVAB3FiwJkYUEVSFQVHuiSWphSB2GlSM"
    "Q0LXJeS34k97uI24NAdHwDVTxyImLBpB2BlhUSFYjB1ZFosmX2CYlBZBdCSDhUjQwZgMVfMfCcAUAgAc9Svh";
static const char BELL[] =
    "eJwL9Az29gzhY2JkgALGgkIGhjQGDiCTlQEBmEBSUDYLkjhDdW0yRJyFMTc1sRguzgbVwMiAFTAGRbknlqQWgthpUDEOCV2X"
    "kN+KP+3BmhnwaA6OgGumjkVMWDSCsDPCokKo2H8kAFMLAFkxJHg=";

static CURL *curl;
static struct curl_slist *headers;
static const char *url;

struct answer {
    char *text;
    size_t size;
};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* Return text made as by printf; the caller frees it. */
static char *text(const char *format, ...) {
    va_list values;
    va_start(values, format);
    int size = vsnprintf(NULL, 0, format, values);
    va_end(values);
    char *made = malloc((size_t)size + 1);
    if (made == NULL) fail("malloc", "no memory");
    va_start(values, format);
    vsnprintf(made, (size_t)size + 1, format, values);
    va_end(values);
    return made;
}

static size_t keep(char *piece, size_t one, size_t size, void *into) {
    struct answer *answer = into;
    char *grown = realloc(answer->text, answer->size + size + 1);
    if (grown == NULL) return 0;
    memcpy(grown + answer->size, piece, one * size);
    answer->text = grown;
    answer->size += size;
    grown[answer->size] = '\0';
    return size;
}

/* Return what the server answers: to a POST if there is a body, else to a GET. The caller frees it. */
static char *asked(const char *path, const char *body) {
    struct answer answer = {text(""), 0};
    char *whole = text("%s%s", url, path);
    curl_easy_setopt(curl, CURLOPT_URL, whole);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    if (body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) fail(whole, curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400) fail(whole, answer.text);
    free(whole);
    return answer.text;
}

/* Return the first string of that name in a JSON document; the caller frees it. Larger programs have a JSON library. */
static char *field(const char *json, const char *name) {
    char *key = text("\"%s\":", name);
    const char *found = strstr(json, key);
    const char *start = found == NULL ? NULL : strchr(found + strlen(key), '"');
    const char *end = start == NULL ? NULL : strchr(start + 1, '"');
    if (end == NULL) fail(name, json);
    free(key);
    return text("%.*s", (int)(end - start - 1), start + 1);
}

/* Add a header to those of all further requests. */
static void add_header(const char *name, const char *value) {
    char *line = text("%s: %s", name, value);
    headers = curl_slist_append(headers, line);
    if (headers == NULL) fail(name, "no memory");
    free(line);
}

static void sign_in(const char *token) {
    char *escaped = curl_easy_escape(curl, token, 0);
    char *form = text("grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey=%s", escaped);
    char *answer = asked("/identity/token", form);
    char *access = field(answer, "access_token");
    char *bearer = text("Bearer %s", access);
    add_header("Authorization", bearer);
    add_header("Content-Type", "application/json");
    add_header("IBM-API-Version", "2025-06-01");
    free(answer);
    answer = asked("/v3/resources/search", "{\"query\": \"service_name:quantum-computing\"}");
    char *instance = field(answer, "crn");
    add_header("Service-CRN", instance);
    curl_free(escaped);
    free(form);
    free(answer);
    free(access);
    free(bearer);
    free(instance);
}

/* Run a program and print how it ended, and its result. */
static void run(const char *program, const char *params) {
    const char *form = "{\"program_id\": \"%s\", \"backend\": \"fake_manila@aer\", \"params\": %s, \"version\": 2}";
    char *job = text(form, program, params);
    char *answer = asked("/api/v1/jobs", job);
    char *id = field(answer, "id");
    char *path = text("/api/v1/jobs/%s?exclude_params=true", id);
    char *results = text("/api/v1/jobs/%s/results", id);
    char *status = text("Queued");
    while (strcmp(status, "Queued") == 0 || strcmp(status, "Running") == 0) {
        const struct timespec moment = {0, 200 * 1000 * 1000};
        nanosleep(&moment, NULL);
        free(answer);
        free(status);
        answer = asked(path, NULL);
        status = field(answer, "status");
    }
    printf("%s %s: %s\n", program, id, status);
    free(answer);
    answer = asked(results, NULL);
    printf("%s\n", answer);
    free(job);
    free(answer);
    free(id);
    free(path);
    free(results);
    free(status);
}

int main(void) {
    const char *token = getenv("QISKIT_IBM_TOKEN");
    url = getenv("IAM_URL");
    if (url == NULL) url = "http://127.0.0.1:8000";
    curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = curl_easy_init();
    if (curl == NULL) fail("libcurl", "cannot be used");
    sign_in(token == NULL ? "anonymous" : token);

    /* A pub of the sampler is a circuit, one of the estimator a circuit and observables. */
    const char *circuit = "{\"__type__\": \"QuantumCircuit\", \"__value__\": \"%s\"}";
    char *measured = text(circuit, MEASURED);
    char *bell = text(circuit, BELL);
    char *sampler = text("{\"pubs\": [%s], \"shots\": 1000, \"version\": 2}", measured);
    const char *observable = "{\"IIIZZ\": 0.5, \"IIIXX\": 0.5}";
    char *estimator = text("{\"pubs\": [[%s, %s]], \"resilience_level\": 1, \"version\": 2}", bell, observable);
    run("sampler", sampler);
    run("estimator", estimator);

    free(measured);
    free(bell);
    free(sampler);
    free(estimator);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return 0;
}
