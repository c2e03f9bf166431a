# Of tuning/check: limits of the cgroup, and whether memory and drive have room for what the settings allow the broker.

readonly THROTTLED_MIN=10
readonly INODES_MIN=10000
readonly MEMORY_BASE_MIB=100 MEMORY_CORE_MIB=32 # See "What memory the broker may use" in the README.

# setting NAME DEFAULT: a number of the broker's properties (--config), in REPLY.
setting() {
    local line
    REPLY=$2
    [[ -n $config ]] || return 0
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line =~ ^[[:space:]]*([a-z.]+)[[:space:]]*[=:][[:space:]]*([0-9]+)[[:space:]]*$ && ${BASH_REMATCH[1]} == "$1" ]] &&
            REPLY=${BASH_REMATCH[2]}
    done <"$config"
}

# What the broker may take, by its settings: `memory_need_mib`, and on the drive `journal_mib` and `segment_mib`.
read_needs() {
    local core_bytes request_bytes
    setting core.memory.bytes 134217728
    core_bytes=$REPLY
    setting socket.request.max.bytes 104857600
    request_bytes=$REPLY
    memory_need_mib=$((MEMORY_BASE_MIB + ${#cores[@]} * (MEMORY_CORE_MIB + (core_bytes * 7 / 2 + request_bytes) / 1048576)))
    setting journal.file.bytes 67108864
    journal_mib=$((REPLY / 1048576))
    setting journal.files.max 8
    journal_mib=$((journal_mib * REPLY * ${#cores[@]}))
    setting log.segment.bytes 1073741824
    segment_mib=$((REPLY / 1048576))
}

# cgroup_files CONTROLLER FILE_V2 FILE_V1: the files that limit this process, of its cgroup and of those above it, in `found`.
cgroup_files() {
    local number controllers path dir file
    found=()
    while IFS=: read -r number controllers path; do
        if [[ $number == 0 && -z $controllers ]]; then
            dir=$sys/fs/cgroup file=$2
        elif [[ ,$controllers, == *,$1,* ]]; then
            dir=$sys/fs/cgroup/$1 file=$3
        else
            continue
        fi
        # A container sees its own cgroup as the topmost, whatever its name outside.
        [[ -d $dir$path ]] || path=''
        path=${path%/}
        while [[ -n $path ]]; do
            [[ -r $dir$path/$file ]] && found+=("$dir$path/$file")
            path=${path%/*}
        done
        [[ -r $dir/$file ]] && found+=("$dir/$file")
    done 2>/dev/null <"$proc/self/cgroup"
}

check_cgroup_cpu() {
    local state=unknown value=unknown file quota period percent percent_min=-1 key number throttled=0
    cgroup_files cpu cpu.max cpu.cfs_quota_us
    [[ -r $proc/self/cgroup ]] && state=good
    for file in ${found[@]+"${found[@]}"}; do
        first_line "$file" || continue
        read -r quota period <<<"$REPLY"
        [[ -n ${period-} ]] || { first_line "${file%/*}/cpu.cfs_period_us" && period=$REPLY; }
        [[ $quota =~ ^[0-9]+$ && ${period-} =~ ^[1-9][0-9]*$ ]] || continue
        percent=$((quota * 100 / period))
        ((percent_min < 0 || percent < percent_min)) && percent_min=$percent
        while read -r key number; do
            [[ $key == nr_throttled ]] && throttled=$((throttled + number))
        done 2>/dev/null <"${file%/*}/cpu.stat"
    done
    if [[ $state == good ]]; then
        value='no quota'
        if ((percent_min >= 0)); then
            value="quota of $((percent_min / 100)).$((percent_min % 100 / 10)) cores for ${#cores[@]}, throttled $throttled times"
            ((throttled >= THROTTLED_MIN)) && state=warn
            ((percent_min < 100 * ${#cores[@]})) && state=bad
        fi
    fi
    add cgroup_cpu "$state" "$value" \
        'A core of the broker that has used up its quota stands still until the period ends, tens of milliseconds with all its partitions.' \
        'No CPU quota, but cores of its own: docker run --cpuset-cpus without --cpus; Kubernetes: static CPU manager policy and whole cores, requests equal to limits'
}

check_cgroup_memory() {
    local state=unknown value=unknown file mib mib_min=-1
    cgroup_files memory memory.max memory.limit_in_bytes
    [[ -r $proc/self/cgroup ]] && state=good value='no limit'
    for file in ${found[@]+"${found[@]}"}; do
        first_line "$file" && [[ $REPLY =~ ^[0-9]{1,18}$ ]] || continue
        mib=$((REPLY / 1048576))
        ((mib_min < 0 || mib < mib_min)) && mib_min=$mib
    done
    if ((mib_min >= 0)); then
        value="limit of $mib_min MiB, the settings allow the broker $memory_need_mib MiB"
        ((mib_min < memory_need_mib)) && state=bad
    fi
    add cgroup_memory "$state" "$value" \
        'The kernel kills the broker at the limit, while the broker holds itself only to its own settings.' \
        "A limit above $memory_need_mib MiB, or less core.memory.bytes"
}

check_memory_free() {
    local state=unknown value=unknown key kib mib
    while read -r key kib _; do
        [[ $key == MemAvailable: && $kib =~ ^[0-9]+$ ]] || continue
        mib=$((kib / 1024)) state=good
        ((mib < memory_need_mib)) && state=bad
        value="$mib MiB available, the settings allow the broker $memory_need_mib MiB"
    done 2>/dev/null <"$proc/meminfo"
    add memory_free "$state" "$value" \
        'What the broker may use by its settings is used under load; without it the host swaps or kills.' \
        'Less core.memory.bytes, fewer cores, or more memory'
}

check_disk_free() {
    local state=unknown value=unknown free='' mib inodes
    free=$(stat -f -c '%a %S %d %c' -- "$data_dir" 2>/dev/null) || free=''
    if [[ $free =~ ^([0-9]+)\ ([0-9]+)\ ([0-9]+)\ ([0-9]+)$ ]]; then
        mib=$((BASH_REMATCH[1] * BASH_REMATCH[2] / 1048576)) inodes=${BASH_REMATCH[3]}
        value="$mib MiB free; the journal may take $journal_mib MiB, each partition's newest segment $segment_mib MiB" state=good
        ((mib < journal_mib + segment_mib)) && state=warn
        if ((BASH_REMATCH[4] > 0 && inodes < INODES_MIN)); then
            value+=", only $inodes more files" state=warn
        fi
        ((mib < journal_mib)) && state=bad
    fi
    add disk_free "$state" "$value" \
        'A full drive ends all writes. Each segment has up to four files.' \
        'A larger drive, fewer journal.files.max, shorter retention'
}
