/* postgres.h - a private PostgreSQL for a test program, started when first asked for (tests/lib/postgres.sh) and
 * ended with the program, however that ends. */
#ifndef TESTS_POSTGRES_H
#define TESTS_POSTGRES_H

#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    bool is_started;
    char url[256]; /* empty: there are no programs */
    int hold;      /* the server lives as long as the other end of this pipe */
    FILE *answers;
    pid_t pid;
    unsigned n_databases;
} private_postgres = {.hold = -1};

static inline void postgres_end(void)
{
    if (private_postgres.hold < 0) return;
    close(private_postgres.hold);
    private_postgres.hold = -1;
    waitpid(private_postgres.pid, NULL, 0);
    fclose(private_postgres.answers);
}

/* Its URL, or NULL where PostgreSQL is not installed. */
static inline const char *postgres_url(void)
{
    int in[2], out[2], status;
    if (private_postgres.is_started) return *private_postgres.url ? private_postgres.url : NULL;
    private_postgres.is_started = true;
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) abort();
    private_postgres.pid = fork();
    if (private_postgres.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(SOURCE_DIR "/tests/lib/postgres.sh", "postgres.sh", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    private_postgres.hold = in[1];
    FILE *f = fdopen(out[0], "r");
    if (!f) abort();
    if (fgets(private_postgres.url, sizeof private_postgres.url, f)) {
        private_postgres.url[strcspn(private_postgres.url, "\n")] = '\0';
        private_postgres.answers = f;
        atexit(postgres_end);
    } else {
        close(in[1]);
        private_postgres.hold = -1;
        waitpid(private_postgres.pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 77) {
            fprintf(stderr, "tests/lib/postgres.sh ended with %d\n", status);
            abort();
        }
        fclose(f);
    }
    return *private_postgres.url ? private_postgres.url : NULL;
}

/* "stop fast", "stop smart", "stop immediate", "start"; when it is done. */
static inline void postgres_command(const char *command)
{
    char answer[32];
    if (dprintf(private_postgres.hold, "%s\n", command) < 0 ||
        !fgets(answer, sizeof answer, private_postgres.answers))
        abort();
}

/* The process of the server. */
static inline pid_t postgres_pid(void)
{
    char path[320];
    long pid = 0;
    snprintf(path, sizeof path, "%s/data/postmaster.pid", strstr(private_postgres.url, "host=") + 5);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%ld", &pid) != 1) abort();
    fclose(f);
    return (pid_t)pid;
}

/* One statement on a connection of its own. */
static inline void postgres_do(const char *url, const char *statement)
{
    PGconn *pg = PQconnectdb(url);
    PGresult *r = PQexec(pg, statement);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s\n", statement, PQerrorMessage(pg));
        abort();
    }
    PQclear(r);
    PQfinish(pg);
}

/* The URL of a fresh, empty database of it. */
static inline void postgres_database(char *url, size_t size)
{
    char statement[80];
    unsigned n = ++private_postgres.n_databases;
    snprintf(statement, sizeof statement, "CREATE DATABASE test%u TEMPLATE template0", n);
    postgres_do(postgres_url(), statement);
    const char *query = strchr(private_postgres.url, '?');
    snprintf(url, size, "postgresql://catalyst@/test%u%s", n, query);
}

#endif
