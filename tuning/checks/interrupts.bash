# Of tuning/check: interrupts, and how the network is spread over the cores.

readonly LISTEN_QUEUE_MIN=1024

# device_interrupts PATH: adds to `numbers` and `labels` what /proc/interrupts may call the device at that sysfs path.
device_interrupts() {
    local path part file
    path=$(CDPATH='' cd -P -- "$1" 2>/dev/null && pwd -P) || return
    labels+=" ${path##*/}"
    for part in ${path//\// }; do
        [[ $part =~ ^(virtio|nvme)[0-9]+$ ]] && labels+=" $part"
    done
    while [[ $path == */devices/* ]]; do
        if [[ -d $path/msi_irqs ]]; then
            for file in "$path"/msi_irqs/*; do numbers+=" ${file##*/}"; done
            return
        fi
        path=${path%/*}
    done
}

# Prints: interrupts of the devices on all CPUs, on the broker's cores, the busiest of them, its interrupts, their numbers.
count_interrupts() {
    awk -v cores="${cores[*]}" -v numbers="$numbers" -v labels="$labels" '
        function named(text,   i, at, before) {
            for (i = 1; i <= label_count; i++) {
                at = index(text, label[i])
                before = at > 1 ? substr(text, at - 1, 1) : " "
                if (at && before !~ /[a-z0-9]/ && substr(text, at + length(label[i]), 1) !~ /[0-9]/) return 1
            }
            return 0
        }
        BEGIN {
            n = split(cores, list, " "); for (i = 1; i <= n; i++) ours["CPU" list[i]] = 1
            n = split(numbers, list, " "); for (i = 1; i <= n; i++) wanted[list[i] ":"] = 1
            label_count = split(labels, label, " ")
        }
        NR == 1 { cpus = NF; for (i = 1; i <= NF; i++) cpu[i] = $i; next }
        $1 ~ /^[0-9]+:$/ {
            text = ""; for (i = cpus + 2; i <= NF; i++) text = text " " $i
            if (!($1 in wanted) && !named(text)) next
            all = all " " ($1 + 0)
            for (i = 1; i <= cpus; i++) {
                total += $(i + 1)
                if (cpu[i] in ours) { sum += $(i + 1); by[cpu[i]] += $(i + 1) }
            }
        }
        END {
            for (c in by) if (by[c] > most) { most = by[c]; busiest = c }
            printf "%.0f %.0f %s %.0f%s\n", total, sum, (busiest == "" ? "none" : busiest), most, all
        }' "$proc/interrupts" 2>/dev/null
}

# check_interrupts NAME WHAT, of the devices in `numbers` and `labels`.
check_interrupts() {
    local value=unknown state=unknown total='' sum busiest most list share fair core_share
    [[ -n $numbers$labels ]] && read -r total sum busiest most list < <(count_interrupts)
    # The kernel itself spreads those of NVMe.
    [[ $labels == *' nvme'* ]] || movable+=" ${list-}"
    if [[ $total =~ ^[0-9]+$ ]]; then
        value="only $total since boot, too few to tell"
        if ((total >= INTERRUPTS_MIN)); then
            share=$((sum * 100 / total)) core_share=$((most * 100 / total))
            fair=$((${#cores[@]} * 100 / ${#online[@]}))
            value="$share % on the broker's cores since boot"
            ((sum > 0)) && value+=", $core_share % on $busiest alone"
            state=good
            ((share > fair + INTERRUPT_EXCESS_PERCENT_MAX)) && state=warn
            ((core_share > INTERRUPT_CORE_PERCENT_MAX && ${#online[@]} > 1)) && state=warn
            if [[ $labels == *' nvme'* ]]; then
                state=good
                value+=' (NVMe completes on the core that submitted)'
            fi
        fi
    fi
    add "$1" "$state" "$value" \
        "The core that handles the $2 interrupts has less time for its partitions: best is an even spread, or other cores than the broker's." \
        'echo CPUS > /proc/irq/N/smp_affinity_list for each of its interrupts (N as in /proc/interrupts; those that the kernel spreads itself, as for NVMe, refuse)'
}

# check_interrupt_affinity, of the interrupts in `movable`.
check_interrupt_affinity() {
    local number core state=unknown value='' on_ours
    for number in $movable; do
        first_line "$proc/irq/$number/effective_affinity_list" || first_line "$proc/irq/$number/smp_affinity_list" || continue
        expand_cores "$REPLY" || continue
        [[ $state == unknown ]] && state=good
        on_ours=0
        for core in "${expanded[@]}"; do
            [[ " ${cores[*]} " == *" $core "* ]] && on_ours=1
        done
        ((on_ours)) && value+="${value:+, }$number on $REPLY"
    done
    if [[ $state == good ]]; then
        if ((${#cores[@]} == ${#online[@]})); then
            value='all cores are the broker'"'"'s'
        elif [[ -n $value ]]; then
            state=warn value="on the broker's cores: $value"
        else
            value="none on the broker's cores"
        fi
    fi
    add interrupt_affinity "$state" "${value:-unknown}" \
        "Where other cores are free, the devices' interrupts belong there." \
        'echo CPUS > /proc/irq/N/smp_affinity_list for each of these interrupts'
}

# any_bit FILE...: whether one of the masks of CPUs is not zero.
any_bit() {
    local file
    for file in "$@"; do
        first_line "$file" && [[ $REPLY =~ [1-9a-f] ]] && return 0
    done
    return 1
}

check_packet_steering() {
    local dir queues state=unknown value='' rps xps fewest=0
    for dir in "$sys"/class/net/*; do
        [[ -e $dir/device ]] || continue
        queues=("$dir"/queues/rx-*)
        [[ -e ${queues[0]} ]] || continue
        [[ $state == unknown ]] && state=good
        rps=off xps=off
        any_bit "$dir"/queues/rx-*/rps_cpus && rps=on
        any_bit "$dir"/queues/tx-*/xps_cpus && xps=on
        fewest=${#queues[@]}
        ((fewest < ${#cores[@]})) && [[ $rps == off ]] && state=warn
        queues=("$dir"/queues/tx-*)
        ((${#queues[@]} > 1)) && [[ $xps == off ]] && state=warn
        value+="${value:+, }${dir##*/}: $fewest receive queues, RPS $rps, ${#queues[@]} send queues, XPS $xps"
    done
    add packet_steering "$state" "${value:-unknown}" \
        'With fewer receive queues than cores and without RPS, the cores of the queues take in the packets of all; without XPS cores share send queues and wait for each other.' \
        'ethtool -L DEVICE combined N; or echo MASK > /sys/class/net/DEVICE/queues/rx-0/rps_cpus, and one core each in queues/tx-N/xps_cpus'
}

check_listen_queue() {
    local state=unknown value=unknown
    if first_line "$proc/sys/net/core/somaxconn" && [[ $REPLY =~ ^[0-9]+$ ]]; then
        value="somaxconn $REPLY" state=good
        ((REPLY < LISTEN_QUEUE_MIN)) && state=warn
    fi
    add listen_queue "$state" "$value" \
        'When many clients come at once, after a restart for example, those that the queue has no room for try again seconds later.' \
        'sysctl -w net.core.somaxconn=4096'
}

check_interrupts_all() {
    local dir disk numbers='' labels='' movable=''
    for dir in "$sys"/class/net/*; do
        [[ -e $dir/device ]] && device_interrupts "$dir"
    done
    check_interrupts interrupts_network network
    numbers='' labels=''
    for disk in ${disks[@]+"${disks[@]}"}; do
        device_interrupts "$disk"
    done
    check_interrupts interrupts_disk disk
    check_interrupt_affinity
}

check_irqbalance() {
    local file value=unknown state=unknown banned=''
    for file in "$proc"/[0-9]*/comm; do
        first_line "$file" || continue
        [[ $state == unknown ]] && state=good value='not running'
        [[ $REPLY == irqbalance ]] && state=warn value=running
    done
    if [[ $state == warn ]]; then
        for file in "$etc"/{default,sysconfig}/irqbalance; do
            [[ -r $file ]] || continue
            while IFS= read -r REPLY || [[ -n $REPLY ]]; do
                [[ $REPLY =~ ^IRQBALANCE_BANNED_CPULIST=[\"\']?([0-9,-]+) ]] && banned=${BASH_REMATCH[1]}
            done <"$file"
        done
        value+=${banned:+", keeps off cores $banned"}
        expand_cores "${banned:-none}" && within "${expanded[@]}" && state=good
    fi
    add irqbalance "$state" "$value" "irqbalance moves interrupts onto the broker's cores, and undoes affinities set by hand." \
        "IRQBALANCE_BANNED_CPULIST=$cores_list in /etc/default/irqbalance (Red Hat: /etc/sysconfig/irqbalance), then systemctl restart irqbalance; or systemctl disable --now irqbalance"
}
