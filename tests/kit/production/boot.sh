# Becomes the first process of a host. It runs in new namespaces of all kinds but users, in the host's control group.
# $1: the root's files, $2: a directory with `up`, `work` and `root`, $3: the address with its length, $4: the way out,
# $5: the size of /var, or nothing.
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work" "$2/root"
address=$3 way_out=$4 var=$5
cd "$2/root"

mount -t proc proc proc -o nosuid,nodev,noexec
# Read-only, as containers have it: nothing of the machine is ours, and udev stays away.
mount -t sysfs sysfs sys -o ro,nosuid,nodev,noexec
mount -t cgroup2 cgroup2 sys/fs/cgroup -o nosuid,nodev,noexec
mount -t tmpfs tmpfs dev -o mode=755,nosuid
for node in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do
    mknod -m 666 "dev/${node% *}" c 1 "${node#* }"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620,gid=5
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs tmpfs dev/shm -o mode=1777
mount -t tmpfs tmpfs run -o mode=755
mount -t tmpfs tmpfs tmp -o mode=1777
if [ -n "$var" ]; then
    mount -t tmpfs tmpfs mnt -o "mode=755,size=$var"
    cp -a var/. mnt/
    mount --move mnt var
fi

ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
ip route add default via "$way_out"

pivot_root . mnt
umount -l mnt
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=journal systemd.unified_cgroup_hierarchy=1
