# Makes the image with the tag $target current, and runs what it reads. A connection that breaks ends nothing of it.
trap "" 1 13;
run=$(cat);
# One change at a time, where the host has flock. The lock ends with this shell: no engine and nothing that is started gets it.
lock() {
    command -v flock >/dev/null 2>&1 && mkdir -p "$d" 2>/dev/null && ( : >>"$d/$a.lock" ) 2>/dev/null || return 0;
    exec 9>>"$d/$a.lock";
    flock -n 9 || exit 82;
};
change() {
    new=$(id_of $target); old=$(id_of current); older=$(id_of previous);
    old_release=$(release_of current); older_release=$(release_of previous);
    echo "coil-before $old_release";
    if [ -z "$new" ]; then echo "there is no image $r:$target" >&2; exit 66; fi;
    new_release=$target; [ $target = previous ] && new_release=$older_release;
    # What an image is called: by its release, where it is one.
    called() { if [ -n "$2" ]; then echo "$r:$2"; else echo "$1"; fi; };
    start() {
        [ -z "$run" ] ||
        ( trap - 1 13; export COIL_IMAGE="$1" COIL_PREVIOUS="$2"; exec sh -c "$run" </dev/null 2>&1 );
    };
    new_name=$(called "$new" "$new_release"); old_name=$(called "$old" "$old_release"); older_name=$(called "$older" "$older_release");
    s=0;
    if [ "$old" = "$new" ]; then
        said=$(start "$new_name" "$older_name") || s=$?;
    else
        { [ -z "$old" ] || $e tag $old $r:previous; } && $e tag $new $r:current || exit 1;
        said=$(start "$new_name" "$old_name") || s=$?;
    fi;
    [ -z "$said" ] || echo "$said" >&2;
    if [ $s = 0 ]; then :; else
        echo "coil-failed $s";
        if [ -z "$old" ]; then
            $e rmi $r:current >/dev/null;
        elif [ "$old" = "$new" ]; then :; else
            $e tag $old $r:current;
            if [ -n "$older" ]; then $e tag $older $r:previous; else $e rmi $r:previous >/dev/null; fi;
            start "$old_name" "$older_name" >/dev/null; echo "coil-again $?";
        fi;
        note refused $new_release after ${old_release:--}: status $s;
    fi;
    echo "coil-current $(release_of current)";
    [ $s = 0 ] || exit 1;
    note $verb $new_release after ${old_release:--};
    # What is current, previous or used by a container stays.
    for o in $superseded; do
        case "$(id_of $o)" in
            "$(id_of current)"|"$(id_of previous)") ;;
            *) $e rmi $r:$o >/dev/null 2>&1 && note removed $o;;
        esac;
    done;
    exit 0;
};
lock;
change 9>&-
