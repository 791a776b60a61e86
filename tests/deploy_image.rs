//! Promise: `coil deploy --image` brings a release's image to the container engine of every host before it is current on any,
//! sends what an engine lacks and all of it where the engine wants that, and names what is current and what was; a
//! command that fails leaves what was current.
//!
//! Hosts are directories: in place of ssh a script runs the line with that directory's programs, one of which behaves like
//! docker or podman. Real ones are in tests/containers_deploy.rs.

mod kit;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use coil_bootstrap::bundle::Bundle;
use kit::outcomes::{json, of};
use kit::{Bench, Packed, Ran, small};
use serde_json::Value;

/// In place of ssh.
const SSH: &str = r#"#!/bin/sh
while :; do case $1 in -T) shift;; -o) shift 2;; *) break;; esac; done
host=$1 home=HOSTS/$1
[ -d "$home" ] || { echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255; }
if [ -e "$home/down" ]; then echo "ssh: connect to host $host port 22: Connection refused" >&2; exit 255; fi
echo "$2" >>"$home/connections"
cut=$(cat "$home/cut" 2>/dev/null)
case $cut,$2 in
,*) ;;
"$cut",*"$cut"*)
    rm "$home/cut"; head -c 1000 >/dev/null
    echo "Connection to $host closed by remote host." >&2; exit 255
esac
exec env -i PATH="$home/bin:HOSTS/tools" HOME="$home" sh -c "$2"
"#;

/// The programs of a host, beside its engine.
const TOOLS: [&str; 10] = ["sh", "sleep", "sed", "sort", "head", "tail", "cat", "mkdir", "date", "env"];

/// Hosts, and what `coil` is started with.
struct Hosts {
    bench: Bench,
}

impl Hosts {
    /// Hosts of these names, each with docker, and nothing in it.
    fn named(names: &[&str]) -> Hosts {
        let bench = Bench::new();
        let script = SSH.replace("HOSTS", bench.root().to_str().unwrap());
        let hosts = Hosts { bench: bench.program("ssh", &script) };
        fs::create_dir(hosts.bench.path("tools")).unwrap();
        for tool in TOOLS {
            let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(tool));
            let place = places.iter().find(|place| place.exists()).unwrap();
            symlink(place, hosts.bench.path("tools").join(tool)).unwrap();
        }
        for name in names {
            fs::create_dir_all(hosts.path(name, "bin")).unwrap();
            hosts.program(name, "id", "#!/bin/sh\necho 1000\n");
            hosts.install(name, "docker");
        }
        hosts
    }

    fn path(&self, host: &str, name: &str) -> PathBuf {
        self.bench.path(host).join(name)
    }

    fn mark(&self, host: &str, name: &str, text: &str) {
        fs::write(self.path(host, name), text).unwrap();
    }

    fn read(&self, host: &str, name: &str) -> String {
        fs::read_to_string(self.path(host, name)).unwrap_or_default()
    }

    fn program(&self, host: &str, name: &str, text: &str) {
        let path = self.path(host, "bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An engine of this name.
    fn install(&self, host: &str, name: &str) {
        let python =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let python = String::from_utf8(python.stdout).unwrap();
        self.program(host, name, &format!("#!{} -IS{}", python.trim(), include_str!("kit/engine.py")));
    }

    /// `coil` with these words.
    fn coil(&self, words: &[&str]) -> Ran {
        let mut command = self.bench.coil(words);
        command.env("COIL_SSH", self.bench.path("ssh"));
        Ran::of(command, b"")
    }

    /// `coil deploy --image` of the bundle.
    fn deploy(&self, app: &App, words: &[&str]) -> Ran {
        let bundle = app.packed.path().to_str().unwrap();
        self.coil(&[&["deploy", "--image", "--bundle", bundle], words].concat())
    }

    /// The image that has this name on the host.
    fn image(&self, host: &str, name: &str) -> Option<String> {
        let state: Value = serde_json::from_str(&self.read(host, "images.json")).unwrap_or_default();
        let images = state.as_object()?.iter();
        let mut found = images.filter(|(_, image)| image["tags"].as_array().unwrap().contains(&name.into()));
        found.next().map(|(id, _)| id.clone())
    }

    /// The releases that the host has images of, with the two moving tags.
    fn tags(&self, host: &str) -> Vec<String> {
        let state: Value = serde_json::from_str(&self.read(host, "images.json")).unwrap_or_default();
        let images = state.as_object().unwrap().values();
        let tags = images.flat_map(|image| image["tags"].as_array().unwrap().clone());
        let mut tags: Vec<String> =
            tags.map(|tag| tag.as_str().unwrap().rsplit(':').next().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }

    /// How many layers came with each archive that was loaded or refused.
    fn loads(&self, host: &str) -> Vec<usize> {
        self.read(host, "loads").lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Whether the tag and the release name one image.
    fn is(&self, host: &str, tag: &str, app: &App) -> bool {
        let image = self.image(host, &format!("small:{tag}"));
        image.is_some() && image == self.image(host, &format!("small:{}", app.id))
    }
}

/// A bundle, and the name of its release.
struct App {
    packed: Packed,
    id: String,
}

fn app(version: &str) -> App {
    let packed = small(version);
    let id = Bundle::open(packed.path()).unwrap().digest().hex()[..12].to_owned();
    App { packed, id }
}

/// Why it failed for the host.
fn why<'a>(told: &'a Value, host: &str) -> &'a str {
    of(told, host)["error"].as_str().unwrap_or_default()
}

#[test]
fn an_image_is_everywhere_then_current_everywhere_and_the_one_before_comes_back() {
    let hosts = Hosts::named(&["web1", "web2"]);
    let (one, two) = (app("1"), app("2"));
    let told = hosts.deploy(&one, &["web1", "web2", "--json"]).json();
    assert_eq!((&told["app"], &told["release"]), (&"small".into(), &one.id.as_str().into()));
    for host in ["web1", "web2"] {
        assert_eq!(of(&told, host)["outcome"], "active");
        assert!(of(&told, host)["before"].is_null() && of(&told, host)["now"] == *one.id, "{told}");
        assert_eq!(hosts.tags(host).len(), 2);
        assert!(hosts.is(host, "current", &one), "{host}");
        // One connection asks, one loads, one activates.
        assert_eq!(hosts.read(host, "connections").lines().count(), 3);
    }
    let told = hosts.deploy(&two, &["web1", "web2", "--json"]).json();
    let sent = of(&told, "web1")["sent"].as_u64().unwrap();
    assert!(
        of(&told, "web1")["before"] == *one.id && of(&told, "web1")["now"] == *two.id && sent > 0,
        "{told}"
    );
    assert!(hosts.is("web1", "current", &two) && hosts.is("web1", "previous", &one));
    let all = hosts.loads("web1")[0];
    // What is above the app is loaded again: Docker knows a layer by all that is below it.
    assert_eq!(hosts.loads("web1"), [all, 2]);

    let told = hosts.deploy(&two, &["web1", "--json"]).json();
    assert_eq!((of(&told, "web1")["sent"].as_u64(), hosts.loads("web1").len()), (Some(0), 2));
    assert!(
        hosts.is("web1", "current", &two) && hosts.is("web1", "previous", &one),
        "repeating changes nothing"
    );

    let told = hosts.coil(&["rollback", "web1", "--image", "--app", "small", "--json"]).json();
    assert_eq!(of(&told, "web1")["outcome"], "rolled-back");
    assert!(of(&told, "web1")["before"] == *two.id && of(&told, "web1")["now"] == *one.id, "{told}");
    assert!(hosts.is("web1", "current", &one) && hosts.is("web1", "previous", &two));
    assert!(hosts.is("web2", "current", &two));
    let log = hosts.read("web1", ".local/state/coil/images/small.log");
    let last = log.lines().last().unwrap();
    assert!(last.ends_with(&format!(" docker rolled-back-to {} after {}", one.id, two.id)), "{log}");
}

#[test]
fn an_engine_that_wants_the_whole_image_gets_it() {
    let hosts = Hosts::named(&["web1"]);
    let (one, two) = (app("1"), app("2"));
    hosts.deploy(&one, &["web1"]).succeeded();
    hosts.mark("web1", "refuses-thin", "");
    let ran = hosts.deploy(&two, &["web1", "--verbose"]).succeeded();
    let loads = hosts.loads("web1");
    assert_eq!(loads, [loads[0], 2, loads[0]]);
    assert!(
        hosts.is("web1", "current", &two) && ran.stderr.contains("docker wants the whole image"),
        "{ran}"
    );
}

#[test]
fn an_old_docker_gets_gzip_and_others_the_bundles_own_bytes() {
    let hosts = Hosts::named(&["old", "new", "pod"]);
    let one = app("1");
    hosts.mark("new", "version", "27.1.2");
    fs::remove_file(hosts.path("pod", "bin/docker")).unwrap();
    hosts.install("pod", "podman");
    hosts.deploy(&one, &["old", "new", "pod"]).succeeded();
    assert_eq!(["old", "new", "pod"].map(|host| hosts.read(host, "form")), ["gzip", "zstd", "zstd"]);
    assert!(hosts.image("pod", "localhost/small:current").is_some(), "podman's names are full ones");
    // It knows layers by themselves, so the one above the app is there.
    hosts.deploy(&app("2"), &["pod"]).succeeded();
    assert_eq!(hosts.loads("pod")[1], 1);
    // docker goes first, unless somebody decides.
    hosts.install("new", "podman");
    hosts.deploy(&app("2"), &["new", "--engine", "podman"]).succeeded();
    assert!(
        hosts.image("new", "localhost/small:current").is_some()
            && hosts.image("new", "small:previous").is_none()
    );
}

#[test]
fn the_command_gets_the_names_of_both_images_and_whatever_it_says_reaches_no_other_shell() {
    let hosts = Hosts::named(&["web1"]);
    let (one, two) = (app("1"), app("2"));
    let run = "echo \"$COIL_IMAGE after $COIL_PREVIOUS, it's \\\"fine\\\"!\" >>$HOME/ran\n# two lines";
    hosts.deploy(&one, &["web1", "--run", run]).succeeded();
    hosts.deploy(&two, &["web1", "--run", run]).succeeded();
    hosts.coil(&["rollback", "web1", "--image", "--app", "small", "--run", run]).succeeded();
    let names = [(&one.id, ""), (&two.id, one.id.as_str()), (&one.id, &two.id)];
    let line = |(now, before): (&String, &str)| {
        let before = if before.is_empty() { String::new() } else { format!("small:{before}") };
        format!("small:{now} after {before}, it's \"fine\"!\n")
    };
    assert_eq!(hosts.read("web1", "ran"), names.map(line).concat());
    assert!(!hosts.read("web1", "connections").contains("fine"));
}

#[test]
fn a_command_that_fails_leaves_what_was_current_and_stops_there() {
    let hosts = Hosts::named(&["web1", "web2", "web3"]);
    let (one, two) = (app("1"), app("2"));
    let all = ["web1", "web2", "web3"];
    let run = "echo $COIL_IMAGE >>$HOME/ran; [ $COIL_IMAGE = \"$(cat $HOME/bad 2>/dev/null)\" ] || exit 0; echo it is not my day; exit 7";
    hosts.deploy(&one, &[&all[..], &["--run", run]].concat()).succeeded();
    // The canary fails: the others are not touched.
    hosts.mark("web1", "bad", &format!("small:{}", two.id));
    let words = ["--canary", "1", "--wait", "0s", "--run", run, "--json"];
    let ran = hosts.deploy(&two, &[&all[..], &words].concat());
    let told = json(&ran);
    let error = why(&told, "web1");
    assert!(
        error.starts_with("the command of --run ended with status 7:\n  it is not my day\n")
            && error
                .ends_with(&format!("small:{} is current as before, and it was run for that again", one.id)),
        "{error}"
    );
    assert_eq!(
        all.map(|host| of(&told, host)["outcome"].as_str().unwrap()),
        ["failed", "installed", "installed"]
    );
    for host in all {
        assert!(hosts.is(host, "current", &one) && hosts.image(host, "small:previous").is_none(), "{host}");
    }
    let ran_there = hosts.read("web1", "ran");
    assert_eq!(ran_there, format!("small:{0}\nsmall:{1}\nsmall:{0}\n", one.id, two.id));

    // The last one fails: those before it stay or go back, as is wanted.
    fs::rename(hosts.path("web1", "bad"), hosts.path("web3", "bad")).unwrap();
    let ran = hosts.deploy(&two, &[&all[..], &["--parallel", "1", "--run", run]].concat());
    let hint = format!("coil rollback web1 web2 --app small --image --run '{run}'");
    assert!(
        ran.code() == Some(1) && ran.stderr.contains("coil rollback web1 web2 --app small --image --run "),
        "{hint}: {ran}"
    );
    assert!(hosts.is("web1", "current", &two) && hosts.is("web3", "current", &one));
    let words = ["--parallel", "1", "--rollback-on-failure", "--run", run, "--json"];
    hosts.coil(&["rollback", "web1", "web2", "--image", "--app", "small"]).succeeded();
    let told = json(&hosts.deploy(&two, &[&all[..], &words].concat()));
    assert_eq!(
        all.map(|host| of(&told, host)["outcome"].as_str().unwrap()),
        ["rolled-back", "rolled-back", "failed"]
    );
    assert!(all.iter().all(|host| hosts.is(host, "current", &one)));

    // Where nothing was current, nothing is.
    let fresh = Hosts::named(&["web4"]);
    let told = json(&fresh.deploy(&one, &["web4", "--run", "exit 3", "--json"]));
    assert!(
        why(&told, "web4").ends_with("no image is current, as before")
            && fresh.tags("web4") == [one.id.as_str()],
        "{told}"
    );
}

#[test]
fn two_changes_of_an_app_on_a_host_do_not_mix_and_nothing_that_is_started_is_in_their_way() {
    let hosts = Hosts::named(&["web1"]);
    let (one, two) = (app("1"), app("2"));
    symlink("/usr/bin/flock", hosts.bench.path("tools/flock")).unwrap();
    // What is left running has not the lock.
    hosts.deploy(&one, &["web1", "--run", "sleep 60 >/dev/null 2>&1 & echo $! >$HOME/pid"]).succeeded();
    let lock = fs::File::open(hosts.path("web1", ".local/state/coil/images/small.lock")).unwrap();
    lock.try_lock().unwrap();
    let told = json(&hosts.deploy(&two, &["web1", "--json"]));
    assert_eq!(why(&told, "web1"), "somebody else is making a release current there");
    assert!(hosts.is("web1", "current", &one));
    drop(lock);
    hosts.deploy(&two, &["web1"]).succeeded();
    assert!(hosts.is("web1", "current", &two) && hosts.is("web1", "previous", &one));
    let left = hosts.read("web1", "pid");
    assert!(Command::new("kill").arg(left.trim()).status().unwrap().success(), "it ran until now");
}

#[test]
fn a_canary_whose_containers_are_not_well_keeps_the_release_from_the_others() {
    let hosts = Hosts::named(&["web1", "web2"]);
    let (one, two) = (app("1"), app("2"));
    let canary = ["web1", "web2", "--canary", "1", "--wait", "1s", "--json"];
    hosts.mark("web1", "containers", "site-1 Up 3 seconds (healthy)\nstep Exited (0) 1 second ago\n");
    hosts.deploy(&one, &canary).succeeded();
    assert!(hosts.is("web2", "current", &one));
    hosts.mark("web1", "containers", "site-1 Restarting (1) 2 seconds ago\n");
    let told = json(&hosts.deploy(&two, &canary));
    assert_eq!(why(&told, "web1"), "the container site-1 is not well: Restarting (1) 2 seconds ago");
    assert!(hosts.is("web2", "current", &one));
    // Whoever has made another one current meanwhile is told so.
    hosts.mark("web1", "containers", "");
    hosts.coil(&["rollback", "web1", "--image", "--app", "small"]).succeeded();
    let meddle =
        format!("docker tag $(docker image inspect --format '{{{{.Id}}}}' small:{}) small:current", one.id);
    let told = json(&hosts.deploy(&two, &[&canary[..], &["--run", &meddle]].concat()));
    assert_eq!(why(&told, "web1"), format!("somebody made release {} current meanwhile", one.id));
}

#[test]
fn what_keeps_a_host_from_it_is_told_in_a_sentence_and_changes_nothing_for_others() {
    let hosts = Hosts::named(&["good", "none", "off", "user", "full", "arm", "wrong", "down"]);
    let one = app("1");
    fs::remove_file(hosts.path("none", "bin/docker")).unwrap();
    hosts.mark(
        "off",
        "no-daemon",
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    );
    hosts.mark("user", "no-daemon", "permission denied while trying to connect to the Docker daemon socket");
    hosts.mark("arm", "architecture", "arm64");
    for name in ["full", "wrong", "down"] {
        hosts.mark(name, name, "");
    }
    let all = ["good", "none", "off", "user", "full", "arm", "wrong", "down"];
    let ran = hosts.deploy(&one, &[&all[..], &["--json"]].concat());
    let told = json(&ran);
    let is = |host: &str, error: &str, hint: &str| {
        assert!(why(&told, host).starts_with(error), "{host}: {}", why(&told, host));
        let said = of(&told, host)["hint"].as_str().unwrap_or_default();
        assert!(said.contains(hint), "{host}: {said}");
    };
    is("none", "it has neither docker nor podman", "apt install podman");
    is(
        "off",
        "docker does not answer there: Cannot connect to the Docker daemon",
        "`ssh off systemctl start docker`",
    );
    is("user", "the login may not use docker: permission denied", "--sudo");
    is("full", "no space is left for its images: ", "docker image prune");
    is(
        "arm",
        "it runs linux/arm64, and the bundle is for linux/amd64",
        "pack the app on a machine of that kind",
    );
    is("wrong", "it has loaded the image \"", "coil verify");
    is("down", "ssh cannot reach it: connect to host down port 22: Connection refused", "");
    assert!(ran.code() == Some(1) && of(&told, "good")["outcome"] == "installed", "{told}");
    assert_eq!((hosts.tags("good"), hosts.tags("wrong")), (vec![one.id.clone()], vec![]));
    assert!(hosts.image("full", "small:current").is_none());
    let ran = hosts.deploy(&one, &["none", "--engine", "podman"]);
    assert!(ran.stderr.contains("it has no podman"), "{ran}");
    let ran = hosts.coil(&["rollback", "good", "--image", "--app", "small"]);
    assert!(ran.stderr.contains("there is no image small:previous"), "{ran}");
    let ran = hosts.deploy(&one, &["good", "--no-activate", "--run", "true"]);
    assert_eq!(ran.code(), Some(2), "{ran}");
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let hosts = Hosts::named(&["web1"]);
    let one = app("1");
    hosts.mark("web1", "cut", "load -q");
    hosts.deploy(&one, &["web1", "--no-activate"]).succeeded();
    assert_eq!(hosts.tags("web1"), [one.id.as_str()]);
    assert_eq!(hosts.read("web1", "connections").lines().count(), 4);
    // One that breaks before the host has said anything does not.
    hosts.mark("web1", "cut", "coil-engine");
    let ran = hosts.deploy(&one, &["web1"]);
    assert!(ran.code() == Some(1) && ran.stderr.contains("closed by remote host"), "{ran}");
}

#[test]
fn the_last_five_releases_stay_and_what_is_current_or_in_use_does_too() {
    let hosts = Hosts::named(&["web1"]);
    let apps: Vec<App> = (0..8).map(|number| app(&number.to_string())).collect();
    for app in &apps {
        hosts.mark("web1", "in-use", &apps[1].id);
        hosts.deploy(app, &["web1"]).succeeded();
    }
    let mut kept: Vec<&str> = [1, 3, 4, 5, 6, 7].map(|number| apps[number].id.as_str()).to_vec();
    kept.extend(["current", "previous"]);
    kept.sort_unstable();
    assert_eq!(hosts.tags("web1"), kept);
    hosts
        .coil(&["rollback", "web1", "--image", "--bundle", apps[0].packed.path().to_str().unwrap()])
        .succeeded();
    assert!(hosts.is("web1", "current", &apps[6]));
}
