# rbac.cmake - makes code and documentation of access control from its one source, src/core/rbac.json.
#
#   cmake -DJSON=src/core/rbac.json -DOUT=FOLDER -P tools/rbac.cmake
#
# Writes into OUT: core/permissions.def (an X-macro of the catalogue), core/rbac.def (role sets, and a row per
# endpoint) and permissions.md (docs/permissions.md is a copy; a test compares them).
cmake_minimum_required(VERSION 3.25)
file(READ ${JSON} all)

set(roles owner admin developer reviewer viewer)
set(role_count 5)
string(JSON n LENGTH "${all}" roles)
if(NOT n EQUAL role_count)
    message(FATAL_ERROR "${JSON} has ${n} roles, the program ${role_count}")
endif()

set(permissions_def "/* Made from src/core/rbac.json by tools/rbac.cmake. */\n")
foreach(role IN LISTS roles)
    set(set_${role} "")
    set(rows_${role} "")
endforeach()
set(set_keys "")
set(names "")
set(table "| Permission | owner | admin | developer | reviewer | viewer | API keys | Meaning |\n|---|---|---|---|---|---|---|---|\n")

string(JSON list GET "${all}" permissions)
string(JSON n LENGTH "${list}")
math(EXPR last "${n} - 1")
foreach(i RANGE ${last})
    string(JSON entry GET "${list}" ${i})
    string(JSON name GET "${entry}" name)
    string(JSON meaning GET "${entry}" description)
    string(JSON for_keys GET "${entry}" keys)
    if(NOT name MATCHES "^[a-z]+\\.[a-z_]+$" OR name IN_LIST names)
        message(FATAL_ERROR "${JSON}: permission '${name}' is not well named or stands there twice")
    endif()
    list(APPEND names ${name})
    string(REPLACE "." "_" id ${name})
    string(TOUPPER "PERMISSION_${id}" id)
    string(REPLACE "\"" "\\\"" meaning_c "${meaning}")
    string(APPEND permissions_def "X(${id}, \"${name}\", \"${meaning_c}\")\n")
    string(APPEND table "| `${name}` |")
    foreach(role IN LISTS roles)
        string(JSON how ERROR_VARIABLE missing GET "${entry}" roles ${role})
        if(missing)
            string(APPEND table "  |")
        else()
            string(APPEND set_${role} " X(${id})")
            string(APPEND table " y |")
        endif()
    endforeach()
    if(for_keys)
        string(APPEND set_keys " X(${id})")
        string(APPEND table " y |")
    else()
        string(APPEND table "  |")
    endif()
    string(APPEND table " ${meaning} |\n")
endforeach()

set(rbac_def "/* Made from src/core/rbac.json by tools/rbac.cmake. */\n")
foreach(role IN LISTS roles)
    string(TOUPPER ${role} upper)
    string(APPEND rbac_def "#define ROLE_${upper}_PERMISSIONS(X)${set_${role}}\n")
endforeach()
string(APPEND rbac_def "#define KEY_PERMISSIONS(X)${set_keys}\n")

set(endpoints "| Endpoint | Permission | Scope | owner | admin | developer | reviewer | viewer | API keys | Rule |\n|---|---|---|---|---|---|---|---|---|---|\n")
set(seen "")
string(APPEND rbac_def "#ifdef R\n")
string(JSON list GET "${all}" endpoints)
string(JSON n LENGTH "${list}")
math(EXPR last "${n} - 1")
foreach(i RANGE ${last})
    string(JSON entry GET "${list}" ${i})
    string(JSON method GET "${entry}" method)
    string(JSON path GET "${entry}" path)
    string(JSON permission GET "${entry}" permission)
    string(JSON scope GET "${entry}" scope)
    string(JSON note GET "${entry}" note)
    string(JSON for_keys GET "${entry}" keys)
    if("${method} ${path}" IN_LIST seen)
        message(FATAL_ERROR "${JSON}: ${method} ${path} stands there twice")
    endif()
    list(APPEND seen "${method} ${path}")
    if(NOT permission MATCHES "^\\(.*\\)$" AND NOT permission IN_LIST names)
        message(FATAL_ERROR "${JSON}: ${method} ${path} names '${permission}', which is no permission")
    endif()
    if(for_keys)
        set(takes_keys true)
        set(mark y)
    else()
        set(takes_keys false)
        set(mark "")
    endif()
    string(APPEND rbac_def "R(\"${method}\", \"${path}\", \"${permission}\", \"${scope}\", ${takes_keys})\n")
    string(APPEND endpoints "| `${method} ${path}` | ${permission} | ${scope} |")
    foreach(role IN LISTS roles)
        string(JSON allowed GET "${entry}" allow ${role})
        if(allowed)
            string(APPEND endpoints " y |")
        else()
            string(APPEND endpoints "  |")
        endif()
    endforeach()
    string(APPEND endpoints " ${mark} | ${note} |\n")
endforeach()
string(APPEND rbac_def "#endif\n")

file(WRITE ${OUT}/core/permissions.def "${permissions_def}")
file(WRITE ${OUT}/core/rbac.def "${rbac_def}")
file(WRITE ${OUT}/permissions.md "# Permissions

Made from [src/core/rbac.json](../src/core/rbac.json) by `tools/rbac.cmake`; a test fails when they differ (`cmake --build --preset dev
--target permissions_docs` writes this page anew). The program's own tables come from the same file: an endpoint without a row there does
not start.

## Catalogue and built-in roles

`y` in the column \"API keys\" says that an API key can be given the permission at all, as one of its scopes. The others are for people
only: a key never makes or manages API keys, changes roles, sign-on or billing, ends sessions or deletes a workspace.

${table}
## Endpoints

Scope is where the permission must be held. A resource of a workspace that the caller is not a member of does not exist for them (404);
a member without the permission gets 403, a caller without a valid credential 401. `y` in the column \"API keys\" says that a key is
accepted at all; the permission must also be one of its scopes. Rows also exist for endpoints that are planned.

${endpoints}")
