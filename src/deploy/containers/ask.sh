# Tells which engine it is, what images it has, and what was noted.
k=own;
if [ $e = docker ]; then
    v=$(docker version --format "{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}") || exit 80;
    case "$(docker info --format "{{json .DriverStatus}}" 2>/dev/null)" in *io.containerd.snapshotter*) k=containerd;; esac;
else
    v=$(podman version --format "{{.Client.Version}} {{.Client.OsArch}}") || exit 80;
fi;
i=$($e image ls -q --no-trunc) || exit 80;
i=$(echo "$i" | sort -u);
echo "coil-engine $e $v $k $r";
# One that is removed meanwhile is no failure.
[ -z "$i" ] || $e image inspect --format "coil-image {{.Id}} {{json .RepoTags}} {{json .RootFS.Layers}}" $i 2>/dev/null;
if [ -r "$d/$a.log" ]; then tail -n 200 "$d/$a.log" | sed "s/^/coil-noted /"; fi;
echo coil-end
