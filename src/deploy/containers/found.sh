# Before all others: the engine is $e, one of $engines; the app $a has its images there as $r.
umask 022;
e=;
for c in $engines; do if command -v $c >/dev/null 2>&1; then e=$c; break; fi; done;
[ -n "$e" ] || exit 79;
# Debian's podman-docker is podman under the other name.
if [ $e = docker ]; then case "$(docker --version 2>/dev/null)" in podman*) e=podman;; esac; fi;
# Podman's own names are full ones: nothing looks for them elsewhere.
r=$a; [ $e = docker ] || r=localhost/$a;
d=/var/lib/coil/images; [ "$(id -u)" = 0 ] || d=${XDG_STATE_HOME:-$HOME/.local/state}/coil/images;
# The id of the image with this tag, and the release that it is.
id_of() { $e image inspect --format "{{.Id}}" "$r:$1" 2>/dev/null | sed "s/^sha256://"; };
release_of() {
    $e image inspect --format "{{range .RepoTags}}{{println .}}{{end}}" "$r:$1" 2>/dev/null
    | sed -n "s#^$r:\([0-9a-f]\{12\}\)\$#\1#p" | head -n 1;
};
# A line in the log. Where none can be written, the order of releases is lost and nothing else.
note() { { mkdir -p "$d" && echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $e $*" >>"$d/$a.log"; } 2>/dev/null; };
