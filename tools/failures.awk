# failures.awk - picks out of a build's or a test run's log what a person needs to see of a failure.
#
# ninja prints a failed command between its other steps, ctest all that a failed program said: the blocks that
# matter are compiler errors, failed cases of cmocka and of Node, and what a sanitizer says.
function show(lines) {
    if (left < lines) left = lines
}
/^FAILED: / { compiler = 1; show(30) }
/^\[[0-9]+\/[0-9]+\] / { compiler = 0; left = 0 }
compiler && /(^|&& )\/[^ ]*(gcc|clang|cc) -/ { next } # the command line, which is long
/^CMake Error/ { show(12) }
/^ *not ok [0-9]+/ && !/# TODO/ { show(24) }
/^\[  (FAILED|ERROR) / { show(1) }
/^\[   LINE/ { show(1) }
/ERROR: (AddressSanitizer|LeakSanitizer)|WARNING: ThreadSanitizer|: runtime error: / { show(30) }
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: .*\*\*\*(Failed|Timeout|Not Run|Exception)/ { show(1) }
/^The following tests FAILED/ { show(40) }
left > 0 {
    print
    left--
    shown++
}
shown >= most { exit }
