# Of tuning/check: the kernel, the limits, the idle states, the memory.

check_kernel() {
    local state=bad
    kernel_at_least 5 10 && state=good
    [[ $kernel =~ ^[0-9]+\.[0-9]+ ]] || state=unknown
    add kernel "$state" "${kernel:-unknown}" \
        'The broker does its disk I/O and its waiting with io_uring as of Linux 5.10.' \
        'Boot Linux 5.10 or newer.'
}

# Asks the kernel what no file says: whether io_uring_setup is allowed here, and how right the clock is. Sets `asked_ring` to ok
# or the error's name, `asked_clock` to the state and the largest error in microseconds; empty without python3.
ask_kernel() {
    local what answer
    asked_ring='' asked_clock=''
    while read -r what answer; do
        case $what in
            ring) asked_ring=$answer ;;
            clock) asked_clock=$answer ;;
        esac
    done < <(python3 - 2>/dev/null <<'PYTHON'
import ctypes, errno, os, sys

IO_URING_SETUP, ENTRIES, PARAMS_BYTES = 425, 8, 120
libc = ctypes.CDLL(None, use_errno=True)
ring = libc.syscall(ctypes.c_long(IO_URING_SETUP), ctypes.c_uint(ENTRIES), ctypes.create_string_buffer(PARAMS_BYTES))
print("ring", "ok" if ring >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()))
if ring >= 0:
    os.close(ring)
timex = ctypes.create_string_buffer(256)  # struct timex, whose first bytes of zero mean: read only
state = libc.adjtimex(timex)
print("clock", state, int.from_bytes(timex.raw[24:32], sys.byteorder))
PYTHON
    )
}

check_io_uring() {
    local value state switch=unknown filter=unknown key number
    first_line "$proc/sys/kernel/io_uring_disabled" && switch=$REPLY
    while read -r key number; do
        [[ $key == Seccomp: ]] || continue
        case $number in
            0) filter=off ;;
            *) filter=on ;;
        esac
    done 2>/dev/null <"$proc/self/status"
    case $asked_ring in
        ok) state=good value='io_uring_setup works' ;;
        '')
            state=unknown value='io_uring_setup was not called, as there is no python3'
            [[ $switch == 2 ]] && state=bad
            ;;
        *) state=bad value="io_uring_setup fails: $asked_ring" ;;
    esac
    add io_uring "$state" "$value (kernel.io_uring_disabled $switch, seccomp filter $filter)" \
        "The broker cannot start without io_uring. The kernel's switch or a seccomp filter forbids it; Docker's default profile does." \
        'sysctl -w kernel.io_uring_disabled=0; docker run --security-opt seccomp=unconfined ..., or a profile that allows io_uring_setup, io_uring_enter and io_uring_register'
}

check_memlock() {
    local kib value state=warn
    kib=$(ulimit -l 2>/dev/null) || kib=''
    case $kib in
        unlimited) state=good value=unlimited ;;
        '' | *[!0-9]*) state=unknown value=unknown ;;
        *)
            value="$((kib / 1024)) MiB"
            ((kib < 1024)) && value="$kib KiB"
            ((kib < MEMLOCK_KIB_MIN)) && state=bad
            ((kib >= MEMLOCK_KIB_GOOD)) && state=good
            ;;
    esac
    add memlock "$state" "$value" \
        'Buffers registered with io_uring count as locked memory. With the usual 8 MiB the broker runs, with fewer of them; 64 MiB or more is recommended, below 512 KiB it cannot start.' \
        'ulimit -l unlimited; systemd: LimitMEMLOCK=infinity; docker run --ulimit memlock=-1; lasting: "* - memlock unlimited" in /etc/security/limits.conf'
}

check_open_files() {
    local files value state=warn
    files=$(ulimit -Sn 2>/dev/null) || files=''
    value="$files (hard limit $(ulimit -Hn 2>/dev/null))"
    case $files in
        unlimited) state=good ;;
        '' | *[!0-9]*) state=unknown value=unknown ;;
        *)
            ((files < OPEN_FILES_MIN)) && state=bad
            ((files >= OPEN_FILES_GOOD)) && state=good
            ;;
    esac
    add open_files "$state" "$value" \
        "Each connection and each open segment file takes a descriptor; $OPEN_FILES_GOOD or more is recommended." \
        "ulimit -n $OPEN_FILES_GOOD; systemd: LimitNOFILE=$OPEN_FILES_GOOD; docker run --ulimit nofile=$OPEN_FILES_GOOD"
}

check_cpu_idle() {
    local core dir name driver=unknown deepest='' off=0 latency_us latency_us_max=-1 state=unknown value
    first_line "$sys/devices/system/cpu/cpuidle/current_driver" && driver=$REPLY
    for core in "${cores[@]}"; do
        for dir in "$sys/devices/system/cpu/cpu$core/cpuidle"/state*; do
            first_line "$dir/latency" || continue
            [[ $REPLY =~ ^[0-9]+$ ]] || continue
            latency_us=$REPLY
            first_line "$dir/name" || REPLY=${dir##*/}
            name=$REPLY
            if first_line "$dir/disable" && [[ $REPLY != 0 ]]; then
                off=$((off + 1))
            elif ((latency_us > latency_us_max)); then
                latency_us_max=$latency_us deepest=$name
            fi
        done
    done
    value="driver $driver"
    if [[ -n $deepest ]]; then
        value+=", deepest enabled state $deepest wakes in $latency_us_max us, $off disabled on cores $cores_list"
        state=good
        ((latency_us_max > IDLE_LATENCY_US_MAX)) && state=warn
    fi
    add cpu_idle "$state" "$value" \
        "Waking from a deep idle state adds its time to each request on a quiet core; up to $IDLE_LATENCY_US_MAX us does little harm." \
        "cpupower idle-set -D $IDLE_LATENCY_US_MAX, or echo 1 > /sys/devices/system/cpu/cpuN/cpuidle/stateM/disable"
}

check_clock_source() {
    local value=unknown state=unknown available=unknown
    local dir=$sys/devices/system/clocksource/clocksource0
    first_line "$dir/available_clocksource" && available=${REPLY% }
    if first_line "$dir/current_clocksource"; then
        value=$REPLY
        case $value in
            tsc | kvm-clock | hyperv_clocksource_tsc_page | arch_sys_counter | riscv_clocksource) state=good ;;
            xen) state=warn ;;
            hpet | acpi_pm | jiffies | refined-jiffies | pit) state=bad ;;
        esac
        value+=" (available: $available)"
    fi
    add clock_source "$state" "$value" \
        'The broker reads the clock all the time: tens of nanoseconds with tsc or kvm-clock, a system call and a slow device with hpet or acpi_pm.' \
        'echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource'
}

check_transparent_huge_pages() {
    local value=unknown state=unknown
    if first_line "$sys/kernel/mm/transparent_hugepage/enabled" && [[ $REPLY =~ \[([a-z]+)\] ]]; then
        value=${BASH_REMATCH[1]}
        state=good
        [[ $value == always ]] && state=warn
    fi
    add transparent_huge_pages "$state" "$value" \
        'With "always" the kernel rounds sparse memory up to 2 MiB pages: the broker grows, and stalls while pages are compacted.' \
        'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled'
}

check_swap() {
    local file size used areas='' value=unknown state=unknown swappiness=unknown
    first_line "$proc/sys/vm/swappiness" && swappiness=$REPLY
    if first_line "$proc/swaps"; then
        while read -r file _ size used _; do
            [[ $file == Filename ]] || areas+="${areas:+, }$file $((size / 1024)) MiB ($((used / 1024)) used)"
        done <"$proc/swaps"
        state=good value=none
        if [[ -n $areas ]]; then
            value="$areas, swappiness $swappiness"
            [[ $swappiness =~ ^[01]$ ]] || state=warn
        fi
    fi
    add swap "$state" "$value" 'A broker core that waits for a swapped page stalls all its partitions and connections.' \
        'swapoff -a (and remove it from /etc/fstab), or sysctl -w vm.swappiness=1'
}

check_iowait() {
    local value='waits of io_uring do not count as iowait before Linux 6.5'
    kernel_at_least 6 5 && value='an idle broker shows iowait; that is no load'
    [[ $kernel =~ ^[0-9]+\.[0-9]+ ]] || value=unknown
    add iowait good "$value" \
        'For information: from Linux 6.5 waiting in io_uring counts as iowait, so idle brokers look busy in top although the core is free.' \
        'Nothing to change; alert on user and system time instead.'
}
