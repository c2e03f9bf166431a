# Of tuning/check: whose the cores are, how fast they are, and the clock.

readonly STEAL_PERMILLE_GOOD=10 STEAL_PERMILLE_WARN=100
readonly CLOCK_ERROR_US_GOOD=100000
readonly TIME_ERROR=5 # adjtimex: the clock is not synchronised.

# read_steal: ticks of all cores, and those that the hypervisor gave to others, in `steal_all` and `steal_ticks`.
read_steal() {
    local name user nice system idle iowait irq softirq steal
    steal_all=0 steal_ticks=0
    first_line "$proc/stat" || return
    read -r name user nice system idle iowait irq softirq steal _ <<<"$REPLY"
    [[ $name == cpu && ${steal-} =~ ^[0-9]+$ ]] || return
    steal_ticks=$steal steal_all=$((user + nice + system + idle + iowait + irq + softirq + steal))
}

# check_steal ALL STEAL: since that state of the start, or since boot if that was too short a time.
check_steal() {
    local span='while this ran' state=unknown value=unknown permille
    read_steal
    if ((steal_all - $1 < 100)); then
        span='since boot'
        set -- 0 0
    fi
    if ((steal_all > $1)); then
        permille=$(((steal_ticks - $2) * 1000 / (steal_all - $1)))
        value="$((permille / 10)).$((permille % 10)) % of all time $span"
        verdict "$permille" "$STEAL_PERMILLE_GOOD" "$STEAL_PERMILLE_WARN"
        state=$REPLY
    fi
    add steal "$state" "$value" \
        'Time in which the hypervisor ran others on the cores: the broker stands still, and no figure of a benchmark means much.' \
        'Dedicated cores, or another host.'
}

check_smt_siblings() {
    local core sibling state=unknown value='' others=''
    for core in "${cores[@]}"; do
        first_line "$sys/devices/system/cpu/cpu$core/topology/thread_siblings_list" || continue
        expand_cores "$REPLY" || continue
        [[ $state == unknown ]] && state=good
        for sibling in "${expanded[@]}"; do
            ((sibling == core)) && continue
            if [[ " ${cores[*]} " != *" $sibling "* ]]; then
                others+="${others:+, }$core with $sibling"
            elif ((sibling > core)); then
                value+="${value:+, }$core and $sibling"
            fi
        done
    done
    [[ -n $value$others ]] && state=warn
    value=${value:+"each on one physical core: $value"}
    [[ -n $others ]] && value+="${value:+; }shared with other programs: $others"
    [[ $state == good ]] && value='none'
    add smt_siblings "$state" "${value:-unknown}" \
        'Two hardware threads share one physical core, and each is slower while the other works: two broker cores on it carry little more than one, and another program there is felt at once.' \
        '--cores (and the setting cores) with one thread of each physical core; keep others off the siblings, or echo off > /sys/devices/system/cpu/smt/control'
}

# numa_node DEVICE: the number of its node in REPLY, empty if it has none.
numa_node() {
    first_line "$1/device/numa_node" || first_line "$1/device/device/numa_node" || REPLY=''
    [[ $REPLY =~ ^[0-9]+$ ]] || REPLY=''
}

check_numa() {
    local dir node core nodes='' away='' device state=unknown value=unknown
    for dir in "$sys"/devices/system/node/node[0-9]*; do
        first_line "$dir/cpulist" && expand_cores "$REPLY" || continue
        node=${dir##*/node}
        for core in "${cores[@]}"; do
            [[ " ${expanded[*]} " == *" $core "* && " $nodes " != *" $node "* ]] && nodes+="${nodes:+ }$node"
        done
    done
    if [[ -n $nodes ]]; then
        state=good value="cores on node $nodes"
        for device in ${disks[@]+"${disks[@]}"} "$sys"/class/net/*; do
            numa_node "$device"
            [[ -n $REPLY && " $nodes " != *" $REPLY "* ]] && away+="${away:+, }${device##*/} on node $REPLY"
        done
        [[ $nodes == *' '* || -n $away ]] && state=warn
        value+=${away:+"; $away"}
    fi
    add numa "$state" "$value" \
        'Memory and devices of another node are reached over the link between them: more latency for each message between cores, each request, each write.' \
        '--cores (and the setting cores) of one node, that of the drive and the network card; or one broker on each node'
}

check_isolated_cores() {
    local isolated state=unknown value=unknown core ours=0 spare=0
    if [[ -r $sys/devices/system/cpu/isolated ]]; then
        first_line "$sys/devices/system/cpu/isolated" || REPLY=''
        isolated=$REPLY state=good value='none: other programs may be run on the broker'"'"'s cores'
        if [[ -n $isolated ]] && expand_cores "$isolated"; then
            for core in "${expanded[@]}"; do
                if [[ " ${cores[*]} " == *" $core "* ]]; then ours=$((ours + 1)); else spare=$((spare + 1)); fi
            done
            value="$isolated; of the broker's cores $ours of ${#cores[@]}"
            ((ours < ${#cores[@]} && ours + spare > 0)) && state=warn
        fi
    fi
    add isolated_cores "$state" "$value" \
        "Isolated cores (isolcpus) run nothing that is not pinned there: best for the broker's, wasted if it runs on others." \
        "isolcpus=$cores_list nohz_full=$cores_list on the kernel's command line, and those same cores as --cores and the setting cores"
}

# check_clock NAME FILE NONE WHY: whether the broker's cores are all set to performance in this file of cpufreq.
check_clock() {
    local core seen='' state=unknown
    for core in "${cores[@]}"; do
        first_line "$sys/devices/system/cpu/cpu$core/cpufreq/$2" || continue
        [[ $state == unknown ]] && state=good
        [[ $REPLY == performance ]] || state=warn
        [[ " $seen " == *" $REPLY "* ]] || seen="${seen:+$seen }$REPLY"
    done
    add "$1" "$state" "${seen:-unknown ($3)}" "$4" \
        "for c in ${cores[*]}; do echo performance > /sys/devices/system/cpu/cpu\$c/cpufreq/$2; done"
}

check_cpu_governor() {
    check_clock cpu_governor scaling_governor 'no cpufreq here, as in most virtual machines' \
        'A core that clocks down between bursts answers the first requests of each burst late.'
}

check_energy_preference() {
    check_clock energy_preference energy_performance_preference 'no EPP here' \
        'With another preference than performance the processor itself clocks down between bursts, whatever the governor says.'
}

check_turbo() {
    local state=unknown value='unknown (not told here)'
    if first_line "$sys/devices/system/cpu/intel_pstate/no_turbo"; then
        state=good value=on
        [[ $REPLY == 1 ]] && state=warn value=off
    elif first_line "$sys/devices/system/cpu/cpufreq/boost"; then
        state=good value=on
        [[ $REPLY == 0 ]] && state=warn value=off
    fi
    add turbo "$state" "$value" \
        'Without turbo the cores are slower than they can be; with it, figures depend on temperature and on what the other cores do, so for comparisons alone it is better off.' \
        'echo 0 > /sys/devices/system/cpu/intel_pstate/no_turbo, or echo 1 > /sys/devices/system/cpu/cpufreq/boost'
}

check_time_sync() {
    local state=unknown value='unknown (no python3 to ask the kernel)' clock error_us
    read -r clock error_us <<<"$asked_clock"
    if [[ ${error_us-} =~ ^[0-9]+$ ]]; then
        state=good value="synchronised, off by at most $((error_us / 1000)) ms"
        ((error_us > CLOCK_ERROR_US_GOOD)) && state=warn
        ((clock == TIME_ERROR)) && state=warn value='not synchronised'
    fi
    add time_sync "$state" "$value" \
        'Times of records, retention and delivery latency between hosts are those of the clock.' \
        'systemctl enable --now chronyd (or systemd-timesyncd)'
}
