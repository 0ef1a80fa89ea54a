# Writes the C file that embeds every migration of this folder, and hands back its name in migrations_source.
# Included by the CMakeLists.txt at the top; a new file is found by glob.
file(GLOB migration_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.sql)
set(asm "")
set(externs "")
set(rows "")
set(numbers "")
foreach(file IN LISTS migration_files)
    get_filename_component(name ${file} NAME)
    if(NOT name MATCHES "^[0-9][0-9][0-9][0-9]_[a-z0-9_]+(\\.postgres)?\\.sql$")
        message(FATAL_ERROR "${file}: a migration is called NNNN_name.sql or NNNN_name.postgres.sql")
    endif()
    string(REGEX REPLACE "\\.sql$" "" name ${name})
    string(REPLACE "." "_" symbol "migration_${name}")
    # An assembler directive, because it needs no tool that turns files into C.
    string(APPEND asm
        "    \".hidden ${symbol}\\n.globl ${symbol}\\n${symbol}:\\n.incbin \\\"${file}\\\"\\n\"\n"
        "    \".hidden ${symbol}_end\\n.globl ${symbol}_end\\n${symbol}_end:\\n.byte 0\\n\"\n")
    string(APPEND externs
        "extern const char ${symbol}[] __attribute__((visibility(\"hidden\")));\n"
        "extern const char ${symbol}_end[] __attribute__((visibility(\"hidden\")));\n")
    if(name MATCHES "\\.postgres$")
        continue()
    endif()
    string(SUBSTRING ${name} 0 4 number)
    if(number IN_LIST numbers)
        message(FATAL_ERROR "${file}: there are two migrations ${number}")
    endif()
    list(APPEND numbers ${number})
    set(postgres "NULL, NULL")
    if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/${name}.postgres.sql)
        set(postgres "migration_${name}_postgres, migration_${name}_postgres_end")
    endif()
    string(APPEND rows "    {\"${name}\", migration_${name}, migration_${name}_end, ${postgres}},\n")
endforeach()
set(migrations_source ${CMAKE_BINARY_DIR}/generated/migrations.c)
file(CONFIGURE OUTPUT ${migrations_source} @ONLY CONTENT "/* Made by CMake from the files of src/store/migrations. */
#include \"store/migrate.h\"

__asm__(\".section .rodata\\n\"
@asm@    \".previous\\n\");
@externs@
const struct migration migrations_embedded[] = {
@rows@};
const unsigned migrations_embedded_n = LENGTH_OF(migrations_embedded);
")
# Link-time optimisation may tear the directives from the symbols around them.
set_source_files_properties(${migrations_source} PROPERTIES
                            COMPILE_OPTIONS -fno-lto OBJECT_DEPENDS "${migration_files}")
