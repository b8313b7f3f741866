#!/bin/sh
# Keeps one lab host going until it is powered off or killed. Every boot gets a network namespace and a cgroup of its
# own, because a machine that restarts forgets its sockets and firewall rules. nspawn exits with 133 on a reboot.
#
# Wants: CGROUP (of this host), NETNS, LINK (our end of the cable), BRIDGE, MAC, MACHINE, ROOT, LINE (a script that
# makes the cable slow, which need not exist). May have: ADDR and GATEWAY, ADDR6, JOIN (more cgroups), LXCFS (a folder).

unplug() {
	ip link del "$LINK" 2>/dev/null
	ip netns del "$NETNS" 2>/dev/null
	find "$CGROUP/box" -depth -type d -exec rmdir {} \; 2>/dev/null
}

plug() {
	mkdir "$CGROUP/box" &&
		ip netns add "$NETNS" &&
		ip link add "$LINK" type veth peer name host0 address "$MAC" netns "$NETNS" &&
		ip link set "$LINK" master "$BRIDGE" up &&
		ip -n "$NETNS" -batch - <<-EOF || return
			link set lo up
			${ADDR:+addr add $ADDR/24 dev host0}
			${ADDR6:+addr add $ADDR6/64 dev host0 nodad}
			link set host0 up
			${ADDR:+route add default via $GATEWAY}
		EOF
	[ ! -e "$LINE" ] || sh "$LINE"
}

# Debian 13 refuses to boot on cgroup v1, so the host sees the v2 tree alone, whatever the machine has mounted.
# Without CAP_SYS_TIME left out, a command in the host would move the clock of the whole machine.
boot() (
	for group in "$CGROUP/box" $JOIN; do
		echo 0 >"$group/cgroup.procs" || exit 1
	done
	set --
	if [ -n "$LXCFS" ]; then
		# nspawn looks for what it is to mount on /proc inside of the host, where the folder then has the same name.
		set -- --bind="$LXCFS"
		for file in /proc/meminfo /proc/cpuinfo /proc/stat /proc/swaps /sys/devices/system/cpu/online; do
			set -- "$@" --bind="$LXCFS$file:$file"
		done
	fi
	exec unshare --mount sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"' - \
		systemd-nspawn --quiet --boot --directory="$ROOT" --machine="$MACHINE" --hostname="${MACHINE#*-}" \
		--register=no --keep-unit --settings=no --link-journal=no --timezone=off --resolv-conf=off \
		--network-namespace-path="/run/netns/$NETNS" --capability=all --drop-capability=CAP_SYS_TIME "$@"
)

while unplug; plug; do
	boot
	rc=$?
	[ "$rc" = 133 ] || break
done
unplug
exit "${rc:-1}"
