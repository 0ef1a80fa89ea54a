# report.awk - Markdown from the measurements of tests/bench/gateway/run.
#
# Input, tab-separated: case, server (nginx, catalyst, direct), round, units, CPU ns, share of user time, p50 µs,
# p99 µs, seconds, reads of the load. Variables: other, the name of the second server; facts, a file of lines fact, server, value.
function sorted(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) {
        t = list[i]
        for (j = i - 1; j >= 1 && list[j] > t; j--) list[j + 1] = list[j]
        list[j + 1] = t
    }
}
function median(list, n) {
    if (!n) return 0
    sorted(list, n)
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function median_of(values, name, server,    list, n, r) {
    n = 0
    for (r = 1; r <= rounds; r++) if ((name, server, r) in values) list[++n] = values[name, server, r]
    return median(list, n)
}
function ratios(name,    r) {
    n_ratio = 0
    for (r = 1; r <= rounds; r++)
        if ((name, "catalyst", r) in cpu && cpu[name, "nginx", r] > 0)
            ratio[++n_ratio] = cpu[name, "catalyst", r] / cpu[name, "nginx", r]
    return median(ratio, n_ratio)
}
function user_system(name, server,    r, user, all) {
    user = all = 0
    for (r = 1; r <= rounds; r++) {
        user += share[name, server, r] * total[name, server, r]
        all += total[name, server, r]
    }
    if (!all) return "-"
    all = user / all
    return sprintf("%.1f + %.1f", all * median_of(cpu, name, server), (1 - all) * median_of(cpu, name, server))
}
{
    name = $1
    if (!(name in seen)) { seen[name] = 1; names[++n_names] = name }
    if ($3 > rounds) rounds = $3
    if ($4 > 0) cpu[name, $2, $3] = $5 / $4 / 1000
    # Events that come two in a read were gathered by a server that had to wait for its core: such rounds say nothing
    # about the cost of one.
    if (name == "stream" && $4 > 1.1 * $10) gathered[$3] = 1
    total[name, $2, $3] = $5; share[name, $2, $3] = $6
    p50[name, $2, $3] = $7; p99[name, $2, $3] = $8
    rate[name, $2, $3] = $4 / $9; busy[name, $2, $3] = $5 / $9 / 1e7
}
END {
    n_gathered = 0
    for (r in gathered) {
        n_gathered++
        for (s = 1; s <= 2; s++) {
            server = s == 1 ? "nginx" : "catalyst"
            delete cpu["stream", server, r]
            delete total["stream", server, r]
            delete rate["stream", server, r]
            delete busy["stream", server, r]
        }
    }
    if (n_names) {
        print "\n### CPU per request (µs)\n"
        print "| connections × request → answer | nginx | user + system | " other \
            " | user + system | ratio (rounds) | goal |"
        print "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    }
    for (i = 1; i <= n_names; i++) {
        name = names[i]
        split_at = index(name, "x")
        if (name == "stream") {
            title = "**streamed event** (128 streams, one event per 5 ms each)"
            goal = "≤ 1.00"
        } else {
            c = substr(name, 1, split_at - 1)
            rest = substr(name, split_at + 1)
            answer = 1
            if (plus = index(rest, "+")) {
                answer = substr(rest, plus + 1)
                rest = substr(rest, 1, plus - 1)
            }
            title = c " × " rest " KiB → " answer " KiB"
            goal = c + 0 >= 16 ? "≤ 1.25" : ""
        }
        middle = ratios(name)
        if (!n_ratio) {
            printf "| %s | | | | | not measurable: the machine was too busy | %s |\n", title, goal
            continue
        }
        printf "| %s | %.2f | %s | %.2f | %s | **%.2f** (%.2f–%.2f) | %s |\n", title, \
            median_of(cpu, name, "nginx"), user_system(name, "nginx"), \
            median_of(cpu, name, "catalyst"), user_system(name, "catalyst"), middle, ratio[1], ratio[n_ratio], goal
    }
    if (n_names) {
        if (n_gathered)
            print "\n" n_gathered " round(s) of the streams left out: the machine was too busy to keep events apart."
        print "\n### Throughput and latency\n"
        print "| case | nginx /s | core busy | p50 µs | p99 µs | " other " /s | core busy | p50 µs | p99 µs |"
        print "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for (i = 1; i <= n_names; i++) {
            name = names[i]
            printf "| %s |", name
            for (s = 1; s <= 2; s++) {
                server = s == 1 ? "nginx" : "catalyst"
                printf " %.0f | %.0f %% |", median_of(rate, name, server), median_of(busy, name, server)
                if (name == "stream") printf " | |"
                else printf " %.0f | %.0f |", median_of(p50, name, server), median_of(p99, name, server)
            }
            printf "\n"
        }
    }
    header = 0
    for (i = 1; i <= n_names; i++) {
        name = names[i]
        if (substr(name, 1, 2) != "1x") continue
        if (!header++) {
            print "\n### Added latency at one connection (p50, µs; goal ≤ 150)\n"
            print "| request | directly | nginx adds | " other " adds |"
            print "| --- | ---: | ---: | ---: |"
        }
        for (s = 1; s <= 2; s++) {
            server = s == 1 ? "nginx" : "catalyst"
            n = 0
            for (r = 1; r <= rounds; r++) added[++n] = p50[name, server, r] - p50[name, "direct", r]
            adds[s] = median(added, n)
        }
        printf "| %s KiB | %.0f | %.0f | %.0f |\n", substr(name, 3), median_of(p50, name, "direct"), adds[1], adds[2]
    }
    while ((getline line < facts) > 0) {
        split_fields(line)
    }
    print "\n### Memory and start\n"
    print "| | nginx | " other " | goal |"
    print "| --- | ---: | ---: | ---: |"
    row("idle_1", "resident memory per idle stream, KiB (5,000 streams, 1 KiB requests)", 1, "≤ 4")
    row("idle_8", "the same, 8 KiB requests", 1, "≤ 4")
    row("rss_idle", "resident memory without work, MiB", 1024, "≤ 25")
    row("rss_5000", "with 5,000 idle streams, MiB", 1024, "")
    row("rss_after", "after the load of one round, MiB", 1024, "")
    row("start", "exec to ready, ms", 1, "≤ 100")
    row("first_start", "exec to ready in an empty data folder, ms", 1, "≤ 100")
}
function split_fields(line,    a) {
    a = index(line, "\t")
    key_of = substr(line, 1, a - 1)
    line = substr(line, a + 1)
    a = index(line, "\t")
    server_of = substr(line, 1, a - 1)
    n_fact[key_of, server_of]++
    fact_value[key_of, server_of, n_fact[key_of, server_of]] = substr(line, a + 1) + 0
}
function value_of(key, server, unit,    n, k, list) {
    n = n_fact[key, server]
    if (!n) return "-"
    for (k = 1; k <= n; k++) list[k] = fact_value[key, server, k]
    return sprintf("%.1f", median(list, n) / unit)
}
function row(key, title, unit, goal) {
    if (value_of(key, "nginx", unit) == "-" && value_of(key, "catalyst", unit) == "-") return
    printf "| %s | %s | %s | %s |\n", title, value_of(key, "nginx", unit), value_of(key, "catalyst", unit), goal
}
