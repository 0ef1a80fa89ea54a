# count-tests.awk - counts the cases of a ctest run, and names those that were skipped.
#
#   awk -f tools/count-tests.awk WHAT_CTEST_PRINTED Testing/Temporary/LastTest.log
#
# First line of the answer: passed failed skipped. Then one line for each skipped case. cmocka and Node tell
# how many cases a program held; one that does not, or that died before it could tell, counts as one case. What
# became of the program comes from what ctest printed: its log calls a skipped or missing program passed.
function close_test() {
    if (name == "") return
    if (result[name] == "Skipped") {
        s++
        list = list name ": " reason "\n"
    } else if (result[name] == "Passed") {
        if (p + f + s == 0) p = 1
    } else if (f == 0) {
        f = 1
    }
    passed += p
    failed += f
    skipped += s
    name = ""
}
FNR == NR {
    if ($0 ~ /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: /) {
        line = $0
        sub(/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: /, "", line)
        split(line, word, " ")
        result[word[1]] = "Failed"
        if (line ~ /\*\*\*Skipped/) result[word[1]] = "Skipped"
        if (line ~ / Passed +[0-9.]+ sec/) result[word[1]] = "Passed"
    }
    next
}
/^[0-9]+\/[0-9]+ Test: / {
    close_test()
    name = $3
    p = f = s = 0
    reason = "(the program gave no reason)"
}
/^SKIP/ { reason = $0; sub(/^SKIP[: ]*/, "", reason) }

# cmocka: [  PASSED  ] 3 test(s).   [  FAILED  ] group: 1 test(s), listed below:
/^\[  (PASSED|FAILED|SKIPPED|ERROR) .* test\(s\)/ {
    line = $0
    sub(/ test\(s\).*/, "", line)
    sub(/.*[^0-9]/, "", line)
    if ($2 == "PASSED") p += line
    else if ($2 == "SKIPPED") s += line
    else f += line
}
/^\[  SKIPPED / && !/test\(s\)/ {
    line = $0
    sub(/.*\] */, "", line)
    if (!((name, line) in told)) list = list name ": " line "\n"
    told[name, line] = 1
}

# Node's TAP: "# pass 3" at the end, "ok 2 - name # SKIP reason" on the way
/^# (pass|fail|cancelled|skipped|todo) [0-9]+$/ {
    if ($2 == "pass") p += $3
    else if ($2 == "fail" || $2 == "cancelled") f += $3
    else s += $3
}
/^ *(not )?ok [0-9]+ - .* # (SKIP|TODO)/ {
    line = $0
    sub(/^ *(not )?ok [0-9]+ - /, "", line)
    list = list name ": " line "\n"
}

# vitest:       Tests  1 failed | 52 passed | 2 skipped (55)
/^ +Tests +[0-9]+ (failed|passed|skipped|todo)/ {
    line = $0
    sub(/^ +Tests +/, "", line)
    sub(/ *\([0-9]+\).*/, "", line)
    n = split(line, part, / *\| */)
    for (i = 1; i <= n; i++) {
        split(part[i], word, " ")
        if (word[2] == "passed") p += word[1]
        else if (word[2] == "failed") f += word[1]
        else s += word[1]
    }
}
END {
    close_test()
    print passed + 0, failed + 0, skipped + 0
    printf "%s", list
}
