# Of tuning/check: the file system, the disks below it, and what the drive does.

readonly REQUESTS_MIN=64

# The mount that holds the data directory: the longest mount point above it, the latest if there are several.
find_mount() {
    local number path fields place source
    mount_point='' mount_type='' mount_options='' mount_source='' mount_number=''
    while read -r _ _ number _ place fields; do
        printf -v path '%b' "${place//\\/\\0}" # \040 in mountinfo is a blank.
        [[ $data_dir/ == "${path%/}"/* ]] || continue
        ((${#path} >= ${#mount_point})) || continue
        mount_point=$path mount_number=$number
        mount_options=${fields%% *}
        read -r mount_type source fields <<<"${fields#* - }"
        mount_source=$source
        mount_options+=,$fields
    done 2>/dev/null <"$proc/self/mountinfo"
}

# leaf_disks DIR: the whole disks under a block device (partition, LVM, RAID), in `disks`.
leaf_disks() {
    local dir slave slaves=0
    dir=$(CDPATH='' cd -P -- "$1" 2>/dev/null && pwd -P) || return
    [[ -e $dir/partition ]] && dir=${dir%/*}
    for slave in "$dir"/slaves/*; do
        [[ -e $slave ]] || continue
        slaves=1
        leaf_disks "$slave"
    done
    ((slaves)) && return
    [[ " ${disks[*]-} " == *" $dir "* ]] || disks+=("$dir")
}

find_disks() {
    local device
    disks=()
    [[ -n $mount_number ]] || return
    leaf_disks "$sys/dev/block/$mount_number"
    [[ ${#disks[@]} == 0 && $mount_source == /dev/* ]] || return
    device=$(readlink -f -- "$mount_source" 2>/dev/null) || return # btrfs has no device number of its own
    leaf_disks "$sys/class/block/${device##*/}"
}

check_disk_scheduler() {
    local disk value='' state=unknown
    for disk in ${disks[@]+"${disks[@]}"}; do
        first_line "$disk/queue/scheduler" || continue
        [[ $REPLY =~ \[([^]]+)\] ]] && REPLY=${BASH_REMATCH[1]}
        value+="${value:+, }${disk##*/}: $REPLY"
        [[ $state == unknown ]] && state=good
        case $REPLY in none | mq-deadline | noop | deadline) ;; *) state=warn ;; esac
    done
    local name=${disks[0]-DISK}
    add disk_scheduler "$state" "${value:-unknown}" \
        'Each core already writes one ordered stream; a fair scheduler (bfq, kyber) only adds work and delay to synced writes.' \
        "echo none > /sys/block/${name##*/}/queue/scheduler"
}

check_disk_queue() {
    local disk depth merges state=unknown value=''
    for disk in ${disks[@]+"${disks[@]}"}; do
        first_line "$disk/queue/nr_requests" && [[ $REPLY =~ ^[0-9]+$ ]] || continue
        depth=$REPLY
        first_line "$disk/queue/nomerges" || REPLY=unknown
        merges=$REPLY
        [[ $state == unknown ]] && state=good
        ((depth < REQUESTS_MIN)) && state=warn
        [[ ${disk##*/} == nvme* && $merges == 0 ]] && state=warn
        value+="${value:+, }${disk##*/}: nr_requests $depth, nomerges $merges"
    done
    local name=${disks[0]-DISK}
    add disk_queue "$state" "${value:-unknown}" \
        "With fewer than $REQUESTS_MIN requests a queue is full before the drive is busy. On NVMe looking for requests to merge costs time and finds none: the broker's are large already." \
        "echo 256 > /sys/block/${name##*/}/queue/nr_requests; echo 2 > /sys/block/${name##*/}/queue/nomerges"
}

check_disk_write_cache() {
    local disk value='' state=unknown
    flush_needed=0
    for disk in ${disks[@]+"${disks[@]}"}; do
        first_line "$disk/queue/write_cache" || { flush_needed=1 && continue; }
        [[ $REPLY == 'write through' ]] || flush_needed=1
        value+="${value:+, }${disk##*/}: $REPLY"
        state=good
    done
    ((${#disks[@]})) || flush_needed=1
    add disk_write_cache "$state" "${value:-unknown}" \
        'With "write back" each durable acknowledgement also waits for a flush of the drive; with "write through" (drives with power-loss protection) it does not. Both are safe.' \
        'A drive with power-loss protection. Never set "write through" on a drive that reports "write back": the flushes that protect data would stop.'
}

check_file_system() {
    local state=bad note=''
    case $mount_type in
        '') state=unknown ;;
        xfs | ext4) state=good ;;
        btrfs) state=warn note='copies on write, so reused blocks move and each sync writes metadata; chattr +C on the empty directory helps' ;;
        zfs) state=warn note='copies on write, and direct I/O needs OpenZFS 2.3 or newer' ;;
        bcachefs | f2fs) state=warn note='copies on write, so reused blocks move' ;;
        ext2 | ext3) state=warn note='no extents; allocation is slow' ;;
        tmpfs | ramfs) note='memory, nothing survives a restart of the host' ;;
        overlay | aufs) note="a container's own layer, it goes with the container; mount a volume" ;;
        nfs* | cifs | smb* | 9p | virtiofs | ceph | fuse* | glusterfs) note='a network or user-space file system: slow syncs, direct I/O not dependable' ;;
        *) state=warn note='not tested' ;;
    esac
    add file_system "$state" "${mount_type:-unknown}${note:+ ($note)}" \
        'The journal overwrites recycled blocks by direct writes; on xfs and ext4 that costs no metadata.' \
        'mkfs.xfs /dev/DISK && mount -o noatime /dev/DISK DIR, on a disk of its own'
}

check_mount_options() {
    local list=",$mount_options," state=good notes='' option shown='' change=noatime quoted
    for option in noatime relatime discard nobarrier barrier=0 sync dirsync data=journal ro; do
        [[ $list == *",$option,"* || $list == *",$option="* ]] || continue
        shown+="${shown:+,}$option"
        case $option in
            discard)
                notes+='; discard: deleting large files stalls synced writes, fstrim.timer does not' ;;
            sync | dirsync) notes+="; $option: each metadata change waits for the disk" ;;
            data=journal) notes+='; data=journal: no direct I/O, all bytes are written twice' ;;
            ro) notes+='; ro: nothing can be written' ;;
            nobarrier | barrier=0) notes+="; $option: the drive is never flushed" ;;
        esac
        case $option in
            discard | sync | dirsync) [[ $state == bad ]] || state=warn ;;
            data=journal | ro) state=bad ;;
            nobarrier | barrier=0) ((flush_needed)) && state=bad ;;
        esac
    done
    if [[ $list != *,noatime,* && $list != *,relatime,* && $list != *,ro,* ]]; then
        notes+='; strict access times: each read writes metadata'
        [[ $state == bad ]] || state=warn
    fi
    if [[ -z $mount_point ]]; then
        state=unknown shown=unknown notes=''
    fi
    [[ $shown == *discard* ]] && change+=',nodiscard'
    [[ $shown == *barrier* ]] && change+=',barrier'
    printf -v quoted '%q' "${mount_point:-DIR}"
    add mount_options "$state" "${shown:-none that matters}${notes}" \
        'noatime saves metadata writes on reads (relatime nearly all of them); discard makes deletes stall syncs; without barriers a power cut loses acknowledged records.' \
        "mount -o remount,$change $quoted (and in /etc/fstab); systemctl enable --now fstrim.timer instead of discard"
}

now_us() {
    if [[ -n ${EPOCHREALTIME-} ]]; then
        REPLY=${EPOCHREALTIME/./}
    else
        REPLY=$(($(date +%s%N) / 1000))
    fi
}

before() { now_us && ((REPLY < $1)); }

# timed_dd ARGUMENT...: the seconds of the transfer as dd counts them (without its own start), in REPLY; dd's error on failure.
timed_dd() {
    local output
    output=$(dd "$@" 2>&1) || {
        REPLY=${output%%$'\n'*}
        return 1
    }
    [[ $output =~ copied,\ ([0-9.e+-]+)\ s ]] || {
        REPLY='dd does not print its time'
        return 1
    }
    REPLY=${BASH_REMATCH[1]}
}

# The file loses its name at once: nothing stays behind, however the probe ends.
open_probe() {
    local free=''
    probe_name=''
    free=$(stat -f -c '%a %S' -- "$data_dir" 2>/dev/null) || free=''
    [[ $free =~ ^[0-9]+\ [0-9]+$ ]] || { probe_error='free space unknown' && return 1; }
    free=$((${free% *} * ${free#* } / 1048576))
    ((free >= PROBE_FREE_MIB_MIN)) || { probe_error="only $free MiB free, $PROBE_FREE_MIB_MIN needed" && return 1; }
    trap '[[ -z $probe_name ]] || rm -f -- "$probe_name"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    probe_name=$(mktemp -p "$data_dir" --suffix=.klamm-probe 2>/dev/null) || { probe_error='the data directory cannot be written' && return 1; }
    { exec 9<>"$probe_name"; } 2>/dev/null || { probe_error='the probe file cannot be opened' && return 1; }
    rm -f -- "$probe_name"
    trap - EXIT
    probe=/proc/self/fd/9
}

# Writes each block once, so that what is measured is overwriting, as in the broker's recycled files.
fill_probe() {
    local deadline_us=$1
    chunks=0
    while ((chunks < PROBE_CHUNKS_MAX)) && { ((chunks == 0)) || before "$deadline_us"; }; do
        timed_dd if=/dev/urandom of="$probe" bs=1M count="$PROBE_CHUNK_MIB" seek=$((chunks * PROBE_CHUNK_MIB)) \
            oflag=direct conv=notrunc,fsync || return 1
        chunks=$((chunks + 1))
    done
}

# verdict VALUE GOOD_MAX WARN_MAX, in REPLY.
verdict() {
    REPLY=bad
    (($1 <= $3)) && REPLY=warn
    (($1 <= $2)) && REPLY=good
}

probe_sync() {
    local deadline_us=$1 samples=() p50_us p99_us sample_count mean_us
    local blocks=$((chunks * PROBE_CHUNK_MIB * 1048576 / PROBE_BLOCK_BYTES))
    while ((${#samples[@]} == 0)) || before "$deadline_us"; do
        timed_dd if=/proc/self/exe of="$probe" bs="$PROBE_BLOCK_BYTES" count=1 seek="${#samples[@]}" \
            oflag=direct,dsync conv=notrunc || return 1
        samples+=("$REPLY")
        ((${#samples[@]} < blocks)) || break
    done
    read -r p50_us p99_us sample_count < <(printf '%s\n' "${samples[@]}" | awk '{ printf "%.0f\n", $1 * 1e6 }' | sort -n |
        awk '{ us[NR] = $1 } END { print us[int((NR * 50 + 99) / 100)], us[int((NR * 99 + 99) / 100)], NR }')
    [[ ${p99_us-} =~ ^[0-9]+$ ]] || { REPLY='awk or sort is missing' && return 1; }
    # Single writes include waking up an idle core and drive; back to back they do not.
    timed_dd if=/dev/zero of="$probe" bs="$PROBE_BLOCK_BYTES" count="$sample_count" \
        oflag=direct,dsync conv=notrunc || return 1
    mean_us=$(awk -v seconds="$REPLY" -v count="$sample_count" 'BEGIN { printf "%.0f", seconds / count * 1e6 }')
    sync_value="p50 $p50_us us, p99 $p99_us us of $sample_count single writes; mean $mean_us us back to back"
    verdict "$p99_us" "$SYNC_P99_US_GOOD" "$SYNC_P99_US_WARN"
    sync_state=$REPLY
}

# probe_sequential DEADLINE_US DIRECTION: MB/s over the filled blocks again and again, in REPLY.
probe_sequential() {
    local deadline_us=$1 passes=0 seconds='' offset
    while ((passes == 0)) || before "$deadline_us"; do
        offset=$((passes % chunks * PROBE_CHUNK_MIB))
        if [[ $2 == write ]]; then
            timed_dd if=/dev/zero of="$probe" bs=1M count="$PROBE_CHUNK_MIB" seek="$offset" oflag=direct conv=notrunc || return 1
        else
            timed_dd if="$probe" of=/dev/null bs=1M count="$PROBE_CHUNK_MIB" skip="$offset" iflag=direct || return 1
        fi
        seconds+="$REPLY " passes=$((passes + 1))
    done
    REPLY=$(awk -v list="$seconds" -v bytes=$((passes * PROBE_CHUNK_MIB * 1048576)) \
        'BEGIN { n = split(list, s, " "); for (i = 1; i <= n; i++) sum += s[i]; printf "%.0f", (sum ? bytes / sum / 1e6 : 0) }')
    [[ $REPLY =~ ^[0-9]+$ ]] || { REPLY='awk is missing' && return 1; }
}

run_probe() {
    local start_us total_us=$((probe_seconds * 1000000))
    sync_state='' sync_value='' write_mb='' read_mb='' probe_error='--probe-seconds 0'
    ((probe_seconds)) || return
    probe_error=''
    open_probe || return
    now_us
    start_us=$REPLY
    if ! { fill_probe $((start_us + total_us / 4)) &&
        probe_sync $((start_us + total_us / 2)) &&
        probe_sequential $((start_us + total_us * 3 / 4)) read && read_mb=$REPLY &&
        probe_sequential $((start_us + total_us)) write && write_mb=$REPLY; }; then
        probe_error=$REPLY
    fi
    exec 9>&-
}

check_drive() {
    local state=unknown missing name mb why hardware='A faster drive, or one with power-loss protection; a disk that no other program uses.'
    run_probe
    missing="not measured: $probe_error"
    if [[ $probe_error == *'Invalid argument'* ]]; then
        state=bad missing='direct I/O refused'
    fi
    add synced_write "${sync_state:-$state}" "${sync_value:-$missing}" \
        'A durable acknowledgement waits for one synced write; here 4 KiB, direct, over blocks written before. The state is that of p99.' "$hardware"
    for name in write read; do
        mb=$write_mb why="All that producers send is written sequentially, to the journal and then to segments."
        [[ $name == read ]] && mb=$read_mb why="Consumers that lag read from the drive. The drive's or the host's cache may flatter this value."
        REPLY=$state
        [[ -n $mb ]] && verdict $((-mb)) $((-SEQUENTIAL_MB_GOOD)) $((-SEQUENTIAL_MB_WARN))
        add "sequential_$name" "$REPLY" "${mb:-$missing}${mb:+ MB/s}" "$why" "$hardware"
    done
}

# What tuning/drive has found out, in the data directory or in the one above it.
check_drive_report() {
    local file line state=unknown value='not measured'
    for file in "$data_dir/drive.json" "${data_dir%/*}/drive.json"; do
        while IFS= read -r line; do
            [[ $line =~ ^\ *\"headline\":\ \"(.*)\",?$ ]] || continue
            value=${BASH_REMATCH[1]} state=good
            [[ $value == *'NOT STEADY'* ]] && state=warn
            break 2
        done 2>/dev/null <"$file"
    done
    add drive "$state" "$value" \
        'What the drive does in its steady state, with one request at a time and with many: no broker is faster than that.' \
        "tuning/drive --dir $data_dir, while nothing else uses the drive"
}
