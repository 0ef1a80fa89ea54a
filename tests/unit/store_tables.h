/* store_tables.h - the tables of the store's own tests: a migration after the first of the release, and statements. */
#ifndef TESTS_STORE_TABLES_H
#define TESTS_STORE_TABLES_H

#include "store_fixture.h"

static const char tables_text[] =
    "-- database: main\n"
    "CREATE TABLE things (\n"
    "    id {uuid} PRIMARY KEY,\n"
    "    workspace_id {uuid} NOT NULL,\n"
    "    name {text} NOT NULL,\n"
    "    n {int} NOT NULL DEFAULT 0 CONSTRAINT n_is_small CHECK (n < 1000000),\n"
    "    weight {real},\n"
    "    data {blob},\n"
    "    UNIQUE (workspace_id, name)\n"
    ");\n"
    "CREATE TABLE parts (\n"
    "    id {id},\n"
    "    thing_id {uuid} NOT NULL REFERENCES things (id),\n"
    "    n {int} NOT NULL\n"
    ");\n"
    "-- database: usage\n"
    "CREATE TABLE calls (node {uuid} NOT NULL, n {int} NOT NULL, model {text} NOT NULL,\n"
    "    cost {int} NOT NULL, PRIMARY KEY (node, n));\n"
    "-- database: people\n"
    "CREATE TABLE keys (id {uuid} PRIMARY KEY, secret {blob} NOT NULL);\n";

static struct migration tables_list[2];

static inline void use_tables(void)
{
    tables_list[0] = migrations_embedded[0];
    tables_list[1] =
        (struct migration){"9000_tables", tables_text, tables_text + sizeof tables_text - 1, NULL, NULL};
    fixture_list = tables_list;
    fixture_list_n = 2;
}

static inline uuid test_uuid(unsigned n)
{
    uuid u = {{0}};
    u.b[0] = 1;
    for (unsigned i = 0; i < 4; i++)
        u.b[15 - i] = (uint8_t)(n >> 8 * i);
    return u;
}

#endif
